// NumPy arrays over Tensors, and Tensors' worth of NumPy arrays, without the detours of the buffer protocol.
//
// Nothing is compiled against NumPy: what is used is its stable ABI, by which import_array() works, and which 1.x and
// 2.x share: two functions of the _ARRAY_API table and the first members of an array object. With a NumPy that says
// neither ABI version, or without NumPy, all goes through Python's own protocols. It buys 0.5 us per small request.
#include "shim.h"

enum { GET_C_VERSION = 0, NEW_FROM_DESCR = 94, SET_BASE_OBJECT = 282 };
enum { C_CONTIGUOUS = 0x1, ALIGNED = 0x100, WRITEABLE = 0x400 };

typedef struct {
  PyObject_HEAD
  char* data;
  int ndim;
  Py_ssize_t *shape, *strides;
  PyObject* base;
  PyObject* dtype;
} array_object;

static PyObject* (*new_from_descr)(PyTypeObject*, PyObject*, int, const Py_ssize_t*, const Py_ssize_t*, void*, int, PyObject*);
static int (*set_base_object)(PyObject*, PyObject*);

static void find_abi(void)
{
  PyObject* module = PyImport_ImportModule("numpy._core._multiarray_umath");
  if (module == NULL) {  // its name before NumPy 2
    PyErr_Clear();
    module = PyImport_ImportModule("numpy.core._multiarray_umath");
  }
  PyObject* capsule = module ? PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
  void** table = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
  Py_XDECREF(capsule);
  Py_XDECREF(module);
  PyErr_Clear();
  unsigned version = table ? ((unsigned (*)(void))table[GET_C_VERSION])() : 0;
  if (version >> 24 != 1 && version >> 24 != 2) return;
  new_from_descr = table[NEW_FROM_DESCR];
  set_base_object = table[SET_BASE_OBJECT];
}

static bool import_numpy(void)
{
  if (tb_py.ndarray != NULL) return true;
  PyObject* numpy = PyImport_ImportModule("numpy");
  if (numpy == NULL) return false;
  find_abi();
  tb_py.np_empty = PyObject_GetAttrString(numpy, "empty");
  if (tb_py.np_empty != NULL) tb_py.ndarray = PyObject_GetAttrString(numpy, "ndarray");
  Py_DECREF(numpy);
  return tb_py.ndarray != NULL;
}

PyObject* tb_numpy_dtype(TRITONSERVER_DataType dtype)
{
  PyObject** slot = &tb_py.numpy_dtypes[dtype];
  if (*slot == NULL && import_numpy()) *slot = PyObject_CallOneArg(tb_py.as_numpy_dtype, tb_py.datatypes[dtype]);
  return *slot;
}

// The array keeps the tensor, and the tensor its memory.
PyObject* tb_numpy_view(tb_tensor* tensor)
{
  static char empty[1];
  const tb_view* view = &tensor->view;
  PyObject* dtype = tb_numpy_dtype(view->dtype);
  if (dtype == NULL) return NULL;
  if (new_from_descr != NULL && view->ndim <= 32) {  // NumPy 1's limit
    int flags = C_CONTIGUOUS | ALIGNED | (view->readonly ? 0 : WRITEABLE);
    if ((uintptr_t)view->data % tb_itemsize(view->dtype) != 0) flags &= ~ALIGNED;
    PyObject* array = new_from_descr((PyTypeObject*)tb_py.ndarray, Py_NewRef(dtype), (int)view->ndim, (const Py_ssize_t*)view->shape, NULL,
      view->data ? view->data : empty, flags, NULL);
    if (array != NULL && set_base_object(array, Py_NewRef((PyObject*)tensor)) != 0) Py_CLEAR(array);
    return array;
  }
  PyObject* shape = tb_shape_tuple(view);
  if (shape == NULL) return NULL;
  PyObject* arguments[] = {shape, dtype, (PyObject*)tensor};
  PyObject* array = PyObject_Vectorcall(tb_py.ndarray, arguments, 3, NULL);
  Py_DECREF(shape);
  return array;
}

// False, and no error: not an array whose dtype is known here; the buffer protocol may do.
bool tb_numpy_source(tb_source* source, PyObject* value)
{
  if (new_from_descr == NULL || (PyObject*)Py_TYPE(value) != tb_py.ndarray) return false;
  const array_object* array = (const array_object*)value;
  source->dtype = TRITONSERVER_TYPE_INVALID;
  for (int i = 1; i < TB_DTYPES; i++)
    if (tb_py.numpy_dtypes[i] == array->dtype) source->dtype = i;
  if (source->dtype == TRITONSERVER_TYPE_INVALID || array->ndim > PyBUF_MAX_NDIM) return false;
  source->objects = source->dtype == TRITONSERVER_TYPE_BYTES;
  source->itemsize = source->objects ? sizeof(PyObject*) : tb_itemsize(source->dtype);
  source->data = array->data;
  source->ndim = (uint32_t)array->ndim;
  memcpy(source->shape, array->shape, source->ndim * sizeof *source->shape);
  memcpy(source->strides, array->strides, source->ndim * sizeof *source->strides);
  source->holder = Py_NewRef(value);
  return true;
}
