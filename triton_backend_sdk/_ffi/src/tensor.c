// Tensor: a Python object over memory of Triton's. Buffer protocol, DLPack, numpy(); no copy, no Python code on the way.
#include "shim.h"
#include <stddef.h>

PyTypeObject* tb_tensor_type;

static const char* const formats[TB_DTYPES] = {"", "?", "B", "H", "I", "Q", "b", "h", "i", "q", "e", "f", "d", "", "H"};

PyObject* tb_tensor_new(const tb_view* view)
{
  tb_tensor* self = (tb_tensor*)tb_tensor_type->tp_alloc(tb_tensor_type, view->ndim);
  if (self == NULL) return NULL;
  self->view = *view;
  tb_keep(view->owner);
  Py_ssize_t stride = tb_itemsize(view->dtype);
  for (uint32_t i = view->ndim; i-- > 0; stride *= view->shape[i]) self->strides[i] = stride;
  return (PyObject*)self;
}

static void tensor_dealloc(tb_tensor* self)
{
  PyTypeObject* type = Py_TYPE(self);
  tb_owner* owner = self->view.owner;
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  type->tp_free(self);
  Py_DECREF(type);
  tb_drop_with_gil(owner);
}

PyObject* tb_shape_tuple(const tb_view* view)
{
  PyObject* shape = PyTuple_New(view->ndim);
  for (uint32_t i = 0; shape != NULL && i < view->ndim; i++) {
    PyObject* dim = PyLong_FromLongLong(view->shape[i]);
    if (dim == NULL) Py_CLEAR(shape);
    else PyTuple_SET_ITEM(shape, i, dim);
  }
  return shape;
}

static int tensor_getbuffer(tb_tensor* self, Py_buffer* buffer, int flags)
{
  static char empty[1];
  const tb_view* view = &self->view;
  const char* wrong = view->dtype == TRITONSERVER_TYPE_BYTES ? "BYTES elements have no fixed size; use numpy() or tolist()"
    : view->memory_type == TRITONSERVER_MEMORY_GPU           ? "GPU memory has no buffer protocol; use DLPack"
    : view->readonly && (flags & PyBUF_WRITABLE)             ? "inputs are read-only"
    : (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && view->ndim > 1 ? "it is not Fortran contiguous"
                                                             : NULL;
  if (wrong != NULL) {
    PyErr_Format(PyExc_BufferError, "tensor '%s': %s", view->name, wrong);
    return -1;
  }
  *buffer = (Py_buffer){
    .buf = view->data ? view->data : empty,
    .obj = Py_NewRef((PyObject*)self),
    .len = (Py_ssize_t)view->nbytes,
    .itemsize = tb_itemsize(view->dtype),
    .readonly = view->readonly,
    .ndim = (int)view->ndim,
    .format = flags & PyBUF_FORMAT ? (char*)formats[view->dtype] : NULL,
    .shape = flags & PyBUF_ND ? (Py_ssize_t*)view->shape : NULL,  // int64_t is Py_ssize_t on every 64-bit Linux
    .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? self->strides : NULL,
  };
  return 0;
}
_Static_assert(sizeof(Py_ssize_t) == sizeof(int64_t), "shapes are handed to Python as they are");

static PyObject* tensor_numpy(tb_tensor* self, PyObject* unused)
{
  (void)unused;
  const tb_view* view = &self->view;
  if (view->memory_type == TRITONSERVER_MEMORY_GPU)
    return tb_raise(tb_py.unsupported_error, "tensor '%s' is GPU memory: copy it with .cpu(), or take it with DLPack (torch.from_dlpack, cupy.from_dlpack)", view->name);
  if (view->dtype != TRITONSERVER_TYPE_BYTES) return tb_numpy_view(self);
  PyObject* shape = tb_numpy_dtype(view->dtype) ? tb_shape_tuple(view) : NULL;
  PyObject* array = shape ? tb_bytes_parse(view, shape) : NULL;
  Py_XDECREF(shape);
  return array;
}

// __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None)
static PyObject* tensor_dlpack(tb_tensor* self, PyObject* const* args, Py_ssize_t count, PyObject* names)
{
  static const char* const known[] = {"stream", "max_version", "dl_device", "copy"};
  PyObject* given[4] = {Py_None, Py_None, Py_None, Py_None};
  if (count != 0) return PyErr_Format(PyExc_TypeError, "__dlpack__ takes keyword arguments only");
  for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
    int k = 0;
    while (k < 4 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), known[k]) != 0) k++;
    if (k == 4) return PyErr_Format(PyExc_TypeError, "__dlpack__ has no argument %R", PyTuple_GET_ITEM(names, i));
    given[k] = args[i];
  }
  long major = 0, device = 0, device_id = 0;
  if (given[1] != Py_None && !PyArg_ParseTuple(given[1], "l|l:max_version", &major, &device)) return NULL;
  PyObject* own = PyObject_CallMethod((PyObject*)self, "__dlpack_device__", NULL);
  if (own == NULL) return NULL;
  int same = given[2] == Py_None ? 1 : PyObject_RichCompareBool(given[2], own, Py_EQ);
  if (same == 0 && PyArg_ParseTuple(given[2], "ll:dl_device", &device, &device_id))
    PyErr_Format(PyExc_BufferError, "tensor '%s' is on device %S, not on %S", self->view.name, own, given[2]);
  Py_DECREF(own);
  if (same != 1) return NULL;
  if (self->view.dtype == TRITONSERVER_TYPE_BYTES)
    return PyErr_Format(PyExc_BufferError, "tensor '%s': DLPack has no BYTES; use numpy() or tolist()", self->view.name);
  bool copy = given[3] == Py_True, gpu = self->view.memory_type == TRITONSERVER_MEMORY_GPU;
  if (copy && gpu) return PyErr_Format(PyExc_BufferError, "tensor '%s' is GPU memory, which only its consumer can copy", self->view.name);
  if (major < 1 && self->view.readonly && !copy && !gpu) {
    if (given[3] == Py_False)
      return PyErr_Format(PyExc_BufferError, "tensor '%s' is read-only, which this consumer's DLPack cannot express; allow a copy", self->view.name);
    copy = true;
  }
  return tb_dlpack_export(self, major >= 1, copy);
}

static PyObject* tensor_dlpack_device(tb_tensor* self, PyObject* unused)
{
  (void)unused;
  static const int devices[] = {1, 3, 2};  // kDLCPU, kDLCUDAHost, kDLCUDA
  TRITONSERVER_MemoryType type = self->view.memory_type;
  return Py_BuildValue("(iL)", devices[type], (long long)(type == TRITONSERVER_MEMORY_GPU ? self->view.memory_type_id : 0));
}

static PyObject* get_name(tb_tensor* self, void* unused) { (void)unused; return PyUnicode_FromString(self->view.name); }
static PyObject* get_dtype(tb_tensor* self, void* unused) { (void)unused; return Py_NewRef(tb_py.datatypes[self->view.dtype]); }
static PyObject* get_shape(tb_tensor* self, void* unused) { (void)unused; return tb_shape_tuple(&self->view); }
static PyObject* get_nbytes(tb_tensor* self, void* unused) { (void)unused; return PyLong_FromUnsignedLongLong(self->view.nbytes); }
static PyObject* get_memory_type(tb_tensor* self, void* unused) { (void)unused; return Py_NewRef(tb_py.memory_types[self->view.memory_type]); }
static PyObject* get_memory_type_id(tb_tensor* self, void* unused) { (void)unused; return PyLong_FromLongLong(self->view.memory_type_id); }
static PyObject* get_data_ptr(tb_tensor* self, void* unused) { (void)unused; return PyLong_FromVoidPtr(self->view.data); }
static PyObject* get_readonly(tb_tensor* self, void* unused) { (void)unused; return PyBool_FromLong(self->view.readonly); }

static PyGetSetDef getters[] = {
  {"name", (getter)get_name, NULL, NULL, NULL},
  {"dtype", (getter)get_dtype, NULL, NULL, NULL},
  {"shape", (getter)get_shape, NULL, NULL, NULL},
  {"nbytes", (getter)get_nbytes, NULL, NULL, NULL},
  {"memory_type", (getter)get_memory_type, NULL, NULL, NULL},
  {"memory_type_id", (getter)get_memory_type_id, NULL, NULL, NULL},
  {"data_ptr", (getter)get_data_ptr, NULL, NULL, NULL},
  {"readonly", (getter)get_readonly, NULL, NULL, NULL},
  {0},
};

static PyMethodDef methods[] = {
  {"numpy", (PyCFunction)tensor_numpy, METH_NOARGS, NULL},
  {"__dlpack__", (PyCFunction)(void (*)(void))tensor_dlpack, METH_FASTCALL | METH_KEYWORDS, NULL},
  {"__dlpack_device__", (PyCFunction)tensor_dlpack_device, METH_NOARGS, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_dealloc, tensor_dealloc},
  {Py_tp_getset, getters},
  {Py_tp_methods, methods},
  {Py_bf_getbuffer, tensor_getbuffer},
  {0},
};

PyTypeObject* tb_tensor_type_new(PyObject* module, PyObject* base)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.Tensor", sizeof(tb_tensor), sizeof(Py_ssize_t), Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  return tb_type_new(module, &spec, base);
}
