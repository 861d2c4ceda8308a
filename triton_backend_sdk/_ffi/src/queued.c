// QueuedRequest: what a batch hook sees of a request that Triton still owns. It ends with the hook's call.
#include "batcher.h"

PyObject* tb_queued_input;
static PyTypeObject* queued_type;

typedef struct {
  PyObject_HEAD
  TRITONBACKEND_Request* request;  // NULL once the hook has returned
  bool batching;
} queued;

PyObject* tb_queued_new(TRITONBACKEND_Request* request, bool batching)
{
  queued* self = (queued*)queued_type->tp_alloc(queued_type, 0);
  if (self == NULL) return NULL;
  self->request = request;
  self->batching = batching;
  return (PyObject*)self;
}

void tb_queued_close(PyObject* object)
{
  ((queued*)object)->request = NULL;
  Py_DECREF(object);
}

static void queued_dealloc(queued* self)
{
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  type->tp_free(self);
  Py_DECREF(type);
}

static bool is_open(queued* self)
{
  if (self->request != NULL) return true;
  return tb_raise(tb_py.internal_error, "the queued request was kept past its batch hook: copy what you need of it, such as its shapes") != NULL;
}

typedef struct {
  const char* name;
  TRITONSERVER_DataType dtype;
  const int64_t* shape;
  uint32_t ndim, buffers;
  uint64_t nbytes;
} properties;

static bool ok(TRITONSERVER_Error* error)
{
  if (error == NULL) return true;
  tb_raise(tb_py.internal_error, "%s", TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return false;
}

static bool input_count(queued* self, uint32_t* count)
{
  return is_open(self) && ok(TRITONBACKEND_RequestInputCount(self->request, count));
}

static bool input_at(queued* self, uint32_t index, properties* found)
{
  TRITONBACKEND_Input* input;
  return ok(TRITONBACKEND_RequestInputByIndex(self->request, index, &input))
    && ok(TRITONBACKEND_InputProperties(input, &found->name, &found->dtype, &found->shape, &found->ndim, &found->nbytes, &found->buffers));
}

static PyObject* names(queued* self)
{
  uint32_t count = 0;
  PyObject* found = input_count(self, &count) ? PyTuple_New(count) : NULL;
  for (uint32_t i = 0; found != NULL && i < count; i++) {
    properties input;
    PyObject* name = input_at(self, i, &input) ? PyUnicode_FromString(input.name) : NULL;
    if (name == NULL) Py_CLEAR(found);
    else PyTuple_SET_ITEM(found, i, name);
  }
  return found;
}

// 1 found, 0 not there, -1 and a Python error.
static int find(queued* self, PyObject* name, properties* found)
{
  const char* wanted = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  uint32_t count = 0;
  if (PyErr_Occurred() || !input_count(self, &count)) return -1;
  for (uint32_t i = 0; wanted != NULL && i < count; i++) {
    if (!input_at(self, i, found)) return -1;
    if (strcmp(found->name, wanted) == 0) return 1;
  }
  return 0;
}

static PyObject* make_input(const properties* input)
{
  if (input->dtype <= TRITONSERVER_TYPE_INVALID || input->dtype >= TB_DTYPES)
    return tb_raise(tb_py.unsupported_error, "input '%s' has a datatype that this backend does not know", input->name);
  PyObject* shape = PyTuple_New(input->ndim);
  for (uint32_t i = 0; shape != NULL && i < input->ndim; i++) {
    PyObject* dim = PyLong_FromLongLong(input->shape[i]);
    if (dim == NULL) Py_CLEAR(shape);
    else PyTuple_SET_ITEM(shape, i, dim);
  }
  if (shape == NULL) return NULL;
  return PyObject_CallFunction(tb_queued_input, "sONK", input->name, tb_py.datatypes[input->dtype], shape, (unsigned long long)input->nbytes);
}

static PyObject* queued_item(queued* self, PyObject* name)
{
  properties input;
  int found = find(self, name, &input);
  if (found > 0) return make_input(&input);
  PyObject* known = found == 0 ? names(self) : NULL;
  if (known != NULL) tb_raise(tb_py.not_found_error, "the request has no input %R; it has %R", name, known);
  Py_XDECREF(known);
  return NULL;
}

static int queued_contains(queued* self, PyObject* name)
{
  properties input;
  return find(self, name, &input);
}

static Py_ssize_t queued_length(queued* self)
{
  uint32_t count = 0;
  return input_count(self, &count) ? (Py_ssize_t)count : -1;
}

static PyObject* queued_iter(queued* self)
{
  PyObject* found = names(self);
  PyObject* iterator = found ? PyObject_GetIter(found) : NULL;
  Py_XDECREF(found);
  return iterator;
}

static PyObject* get_batch_size(queued* self, void* unused)
{
  (void)unused;
  uint32_t count = 0;
  properties first;
  if (!input_count(self, &count) || (count > 0 && !input_at(self, 0, &first))) return NULL;
  return PyLong_FromLongLong(self->batching && count > 0 && first.ndim > 0 ? first.shape[0] : 1);
}

static PyObject* get_id(queued* self, void* unused) { (void)unused; return is_open(self) ? tb_request_id(self->request) : NULL; }
static PyObject* get_parameters(queued* self, void* unused) { (void)unused; return is_open(self) ? tb_request_parameters(self->request) : NULL; }
static PyObject* get_requested(queued* self, void* unused) { (void)unused; return is_open(self) ? tb_requested_outputs(self->request) : NULL; }

static PyGetSetDef getters[] = {
  {"id", (getter)get_id, NULL, NULL, NULL},
  {"parameters", (getter)get_parameters, NULL, NULL, NULL},
  {"requested_outputs", (getter)get_requested, NULL, NULL, NULL},
  {"batch_size", (getter)get_batch_size, NULL, NULL, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_dealloc, queued_dealloc},
  {Py_tp_getset, getters},
  {Py_tp_iter, queued_iter},
  {Py_mp_length, queued_length},
  {Py_mp_subscript, queued_item},
  {Py_sq_contains, queued_contains},
  {0},
};

PyTypeObject* tb_queued_type_new(PyObject* module, PyObject* base)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.QueuedRequest", sizeof(queued), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  queued_type = tb_type_new(module, &spec, base);
  return queued_type;
}
