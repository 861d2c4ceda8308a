// Request: a mapping from input name to Tensor over a gathered record.
#include "state.h"
#include <stddef.h>

PyTypeObject* tb_request_type;

typedef struct {
  PyObject_VAR_HEAD
  tb_record* record;    // NULL once it was released
  PyObject* tensors[];  // made when first asked for
} request;

tb_record* tb_request_record(PyObject* self)
{
  tb_record* record = ((request*)self)->record;
  if (record == NULL) tb_raise(tb_py.internal_error, "the request was given back by its release(): read what you need before");
  return record;
}

PyObject* tb_request_new(tb_record* record)
{
  request* self = (request*)tb_request_type->tp_alloc(tb_request_type, record->input_count);
  if (self == NULL) return NULL;
  self->record = record;
  tb_keep(&record->owner);
  return (PyObject*)self;
}

static void request_dealloc(request* self)
{
  PyTypeObject* type = Py_TYPE(self);
  tb_record* record = self->record;
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) Py_XDECREF(self->tensors[i]);
  type->tp_free(self);
  Py_DECREF(type);
  if (record != NULL) tb_drop_with_gil(&record->owner);
}

static int find(request* self, PyObject* name)
{
  const char* wanted = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  if (wanted == NULL) return -1;
  for (uint32_t i = 0; i < self->record->input_count; i++)
    if (strcmp(self->record->inputs[i].name, wanted) == 0) return (int)i;
  return -1;
}

static PyObject* names(tb_record* record)
{
  PyObject* list = PyTuple_New(record->input_count);
  for (uint32_t i = 0; list != NULL && i < record->input_count; i++) {
    PyObject* name = PyUnicode_FromString(record->inputs[i].name);
    if (name == NULL) Py_CLEAR(list);
    else PyTuple_SET_ITEM(list, i, name);
  }
  return list;
}

static PyObject* no_such_input(tb_record* record, PyObject* name)
{
  if (PyErr_Occurred()) return NULL;
  PyObject* known = names(record);
  PyObject* message = known ? PyUnicode_FromFormat("the request has no input %R; it has %R", name, known) : NULL;
  if (message != NULL) PyErr_SetObject(tb_py.not_found_error, message);
  Py_XDECREF(message);
  Py_XDECREF(known);
  return NULL;
}

static PyObject* input_tensor(tb_record* record, tb_input* input)
{
  if (!tb_input_gather(input)) return NULL;
  tb_view view = {&record->owner, input->name, input->dtype, input->shape, input->ndim, (void*)input->data, input->nbytes, input->memory_type,
    input->memory_type_id, true};
  return tb_wish_granted(record->instance, tb_tensor_new(&view));
}

static PyObject* request_item(request* self, PyObject* name)
{
  tb_record* record = tb_request_record((PyObject*)self);
  int index = record ? find(self, name) : -1;
  if (index >= 0 && self->tensors[index] != NULL) return Py_NewRef(self->tensors[index]);
  if (record == NULL) return NULL;
  tb_keep(&record->owner);  // moving it to a device runs Python, and another thread may call release()
  PyObject* tensor = index < 0 ? no_such_input(record, name) : input_tensor(record, &record->inputs[index]);
  if (tensor != NULL && self->record != NULL) Py_XSETREF(self->tensors[index], Py_NewRef(tensor));
  tb_drop_with_gil(&record->owner);
  return tensor;
}

static Py_ssize_t request_length(request* self) { return Py_SIZE(self); }
static int request_contains(request* self, PyObject* name)
{
  if (tb_request_record((PyObject*)self) == NULL) return -1;
  int index = find(self, name);
  return index >= 0 ? 1 : PyErr_Occurred() ? -1 : 0;
}
static PyObject* request_iter(request* self)
{
  tb_record* record = tb_request_record((PyObject*)self);
  PyObject* list = record ? names(record) : NULL;
  PyObject* iterator = list ? PyObject_GetIter(list) : NULL;
  Py_XDECREF(list);
  return iterator;
}

static void scratch_free(tb_owner* owner) { free(owner); }

tb_scratch* tb_scratch_new(const int64_t* shape, uint32_t ndim, uint64_t nbytes)
{
  tb_scratch* memory = malloc(sizeof *memory + nbytes);
  if (memory == NULL) return NULL;
  memory->owner = (tb_owner){1, scratch_free};
  memcpy(memory->shape, shape, ndim * sizeof *shape);
  return memory;
}

// Memory of ours, for an output that nobody asked for, and for one of a stream: there the next response must not wait until
// the plugin has let go of the last one's arrays, so it is copied when it is sent.
static PyObject* scratch_tensor(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim, uint64_t nbytes)
{
  tb_scratch* memory = tb_scratch_new(shape, ndim, nbytes);
  if (memory == NULL) return PyErr_NoMemory();
  tb_view view = {&memory->owner, spec->name, spec->dtype, memory->shape, ndim, memory + 1, nbytes, TRITONSERVER_MEMORY_CPU, 0, false};
  PyObject* tensor = tb_tensor_new(&view);
  const char* wrong = NULL;
  if (tensor != NULL && record != NULL && tb_stream_lock(record)) {
    wrong = tb_output_scratch(record, spec, shape, ndim, nbytes, memory + 1, &memory->owner);
    tb_stream_unlock(record);
  }
  tb_drop(&memory->owner);
  if (wrong != NULL) tb_raise(tb_py.internal_error, "output '%s': %s", spec->name, wrong);
  if (PyErr_Occurred()) Py_CLEAR(tensor);
  return tensor;
}

bool tb_parse_shape(PyObject* given, int64_t* shape, uint32_t* ndim)
{
  PyObject* dims = PySequence_Tuple(given);  // not the list itself: a dimension's __index__ may change it
  if (dims == NULL) return false;
  Py_ssize_t count = PyTuple_GET_SIZE(dims);
  for (Py_ssize_t i = 0; i < count && i < PyBUF_MAX_NDIM; i++) {
    PyObject* dim = PyNumber_Index(PyTuple_GET_ITEM(dims, i));
    shape[i] = dim ? PyLong_AsLongLong(dim) : -1;
    Py_XDECREF(dim);
    if (PyErr_Occurred()) break;
  }
  Py_DECREF(dims);
  *ndim = (uint32_t)count;
  return !PyErr_Occurred();
}

bool tb_same_dtype(const tb_spec* spec, PyObject* dtype)
{
  if (dtype == Py_None) return true;
  PyObject* asked = PyObject_CallOneArg(tb_py.datatype_of, dtype);
  if (asked == NULL) return false;
  Py_DECREF(asked);  // the enum keeps its members
  if (asked == tb_py.datatypes[spec->dtype]) return true;
  return tb_raise(tb_py.internal_error, "%s '%s': asked for as %S, but the config says %S", spec->kind, spec->name, asked, tb_py.datatypes[spec->dtype]) != NULL;
}

static PyObject* make_output(tb_record* record, const char* name, PyObject* given, PyObject* dtype)
{
  int64_t shape[PyBUF_MAX_NDIM];
  uint32_t ndim = 0;
  const tb_spec* spec = tb_output_spec(record, name);
  if (spec == NULL || !tb_parse_shape(given, shape, &ndim) || !tb_output_check_shape(record, spec, shape, ndim)) return NULL;
  if (!tb_same_dtype(spec, dtype)) return NULL;
  if (spec->dtype == TRITONSERVER_TYPE_BYTES)
    return tb_raise(tb_py.internal_error, "output '%s' is BYTES, whose size is not known ahead: return it in the Response", name);
  uint64_t nbytes = (uint64_t)tb_elements(shape, ndim) * tb_itemsize(spec->dtype);
  if (!tb_record_wants(record, spec)) return scratch_tensor(NULL, spec, shape, ndim, nbytes);
  if (record->answered) return tb_raise(tb_py.internal_error, "output '%s': the request was already answered", name);
  if (record->instance->decoupled) return scratch_tensor(record, spec, shape, ndim, nbytes);
  tb_keep(&record->reply);  // execute may end, on its thread, before the output is made on this one
  tb_output* output = tb_output_new(record, spec, spec->dtype, shape, ndim, nbytes, spec->memory_type, spec->memory_type_id);
  PyObject* tensor = NULL;
  if (output != NULL) {
    tb_view view = {&record->reply, spec->name, spec->dtype, output->shape, ndim, output->data, nbytes, output->memory_type, output->memory_type_id, false};
    tensor = tb_tensor_new(&view);
  }
  tb_drop_with_gil(&record->reply);
  return tensor;
}

static PyObject* request_output(request* self, PyObject* args, PyObject* kwargs)
{
  static char* keywords[] = {"name", "shape", "dtype", NULL};
  const char* name;
  PyObject *given, *dtype = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO|O:output", keywords, &name, &given, &dtype)) return NULL;
  tb_record* record = tb_request_record((PyObject*)self);
  if (record == NULL) return NULL;
  tb_keep(&record->owner);  // a dimension's __index__, or another thread, may call release()
  PyObject* tensor = make_output(record, name, given, dtype);
  tb_drop_with_gil(&record->owner);
  return tensor;
}

// The parts of an input as Triton holds them, not gathered.
static PyObject* request_input_buffers(request* self, PyObject* name)
{
  if (tb_request_record((PyObject*)self) == NULL) return NULL;
  int index = find(self, name);
  if (index >= 0) return tb_input_parts(&self->record->owner, &self->record->inputs[index]);
  return PyErr_Occurred() ? NULL : request_item(self, name);  // raises
}

static PyObject* sender_of(request* self, bool watched)
{
  tb_record* record = tb_request_record((PyObject*)self);
  if (record == NULL) return NULL;
  tb_keep(&record->owner);  // another thread may call release()
  PyObject* sender = tb_sender_new(record, watched);
  tb_drop_with_gil(&record->owner);
  return sender;
}

static PyObject* request_sender(request* self, PyObject* unused) { (void)unused; return sender_of(self, true); }

// For the event loop, whose tasks lose none.
static PyObject* request_own_sender(request* self, PyObject* unused) { (void)unused; return sender_of(self, false); }

// Whoever is making a response may need the request for it: from now on it is made by the factory.
static bool give_up(tb_record* record)
{
  if (record->building) return tb_raise(tb_py.internal_error, "another thread is making an output of this request: release it after that") != NULL;
  TRITONSERVER_Error* error = record->answered ? NULL : tb_reply_factory(record);
  if (error == NULL) return record->given_back = true;
  tb_raise(tb_py.internal_error, "%s", TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return false;
}

static PyObject* request_release(request* self, PyObject* unused)
{
  (void)unused;
  tb_record* record = self->record;
  if (record == NULL) Py_RETURN_NONE;
  tb_keep(&record->owner);  // of two threads that release it the other may be quicker
  bool own = tb_stream_is_mine(record);
  bool given = (own || tb_stream_lock(record)) && give_up(record);
  if (!own) tb_stream_unlock(record);
  if (!given || self->record == NULL) {
    tb_drop_with_gil(&record->owner);
    return given ? Py_NewRef(Py_None) : NULL;
  }
  self->record = NULL;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) Py_CLEAR(self->tensors[i]);
  uint64_t now = tb_now();
  Py_BEGIN_ALLOW_THREADS
  tb_record_settle(record, record->start, now);
  // An answer that is not made yet needs the request: it lets go by itself, and soon.
  if (!record->reschedule && (record->factory != NULL || record->response != NULL)) tb_record_unhold(record);
  tb_drop(&record->owner);
  tb_drop(&record->owner);
  Py_END_ALLOW_THREADS
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
  {"input_buffers", (PyCFunction)request_input_buffers, METH_O, NULL},
  {"output", (PyCFunction)(void (*)(void))request_output, METH_VARARGS | METH_KEYWORDS, NULL},
  {"state", (PyCFunction)(void (*)(void))tb_request_state, METH_VARARGS | METH_KEYWORDS, NULL},
  {"_trace_info", tb_trace_info, METH_NOARGS, NULL},
  {"_trace_report", tb_trace_report, METH_O, NULL},
  {"response_sender", (PyCFunction)request_sender, METH_NOARGS, NULL},
  {"_response_sender", (PyCFunction)request_own_sender, METH_NOARGS, NULL},
  {"release", (PyCFunction)request_release, METH_NOARGS, NULL},
  {"is_cancelled", tb_request_is_cancelled, METH_NOARGS, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_dealloc, request_dealloc},
  {Py_tp_getset, tb_request_getters},
  {Py_tp_methods, methods},
  {Py_tp_iter, request_iter},
  {Py_mp_length, request_length},
  {Py_mp_subscript, request_item},
  {Py_sq_contains, request_contains},
  {0},
};

PyTypeObject* tb_request_type_new(PyObject* module, PyObject* base)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.Request", sizeof(request), sizeof(PyObject*), Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  return tb_type_new(module, &spec, base);
}
