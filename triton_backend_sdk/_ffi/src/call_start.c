// start(...): from what Python gives for a call to a request that is under way.
#include "batcher.h"
#include "call.h"

// What server.py gives, in this order; a call without options ends with the inputs.
typedef struct {
  PyObject *kind, *server, *manager, *model, *version, *inputs;
  PyObject *outputs, *parameters, *id, *priority, *timeout, *correlation, *flags, *memory_type, *memory_type_id, *parent, *timeout_us, *trace, *wait_here;
} arguments;
enum { BARE = 6, ARGUMENTS = sizeof(arguments) / sizeof(PyObject*) };

static bool set_parameter(TRITONSERVER_InferenceRequest* request, const char* key, PyObject* value)
{
  TRITONSERVER_Error* error = NULL;
  if (PyBool_Check(value)) error = TRITONSERVER_InferenceRequestSetBoolParameter(request, key, value == Py_True);
  else if (PyLong_Check(value)) {
    int64_t number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred()) return false;
    error = TRITONSERVER_InferenceRequestSetIntParameter(request, key, number);
  } else if (PyFloat_Check(value)) error = TRITONSERVER_InferenceRequestSetDoubleParameter(request, key, PyFloat_AS_DOUBLE(value));
  else if (PyUnicode_Check(value)) {
    const char* text = PyUnicode_AsUTF8(value);
    if (text == NULL) return false;
    error = TRITONSERVER_InferenceRequestSetStringParameter(request, key, text);
  } else return tb_raise(tb_py.internal_error, "parameter '%s' of a call is a %s; give str, int, bool or float", key, Py_TYPE(value)->tp_name) != NULL;
  return error == NULL || tb_triton_raise(error) != NULL;
}

static bool set_parameters(TRITONSERVER_InferenceRequest* request, PyObject* parameters)
{
  if (parameters == Py_None) return true;
  if (!PyDict_Check(parameters)) return tb_raise(tb_py.internal_error, "the parameters of a call are a dict, not a %s", Py_TYPE(parameters)->tp_name) != NULL;
  Py_ssize_t at = 0;
  PyObject *key, *value;
  while (PyDict_Next(parameters, &at, &key, &value)) {
    const char* name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
    if (name == NULL) return tb_raise(tb_py.internal_error, "%R is no name of a parameter", key) != NULL;
    if (!set_parameter(request, name, value)) return false;
  }
  return true;
}

static bool set_outputs(TRITONSERVER_InferenceRequest* request, PyObject* outputs)
{
  if (outputs == Py_None) return true;
  PyObject* names = PyUnicode_Check(outputs) ? NULL : PySequence_Tuple(outputs);
  if (names == NULL && !PyErr_Occurred()) tb_raise(tb_py.internal_error, "outputs are a list of names; %R is one", outputs);
  for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
    PyObject* given = PyTuple_GET_ITEM(names, i);
    if (!PyUnicode_Check(given)) tb_raise(tb_py.internal_error, "%R is no name of an output", given);
    const char* name = PyErr_Occurred() ? NULL : PyUnicode_AsUTF8(given);
    TRITONSERVER_Error* error = name ? TRITONSERVER_InferenceRequestAddRequestedOutput(request, name) : NULL;
    if (error != NULL) tb_triton_raise(error);
    if (PyErr_Occurred()) Py_CLEAR(names);
  }
  Py_XDECREF(names);
  return names != NULL;
}

static bool set_correlation(TRITONSERVER_InferenceRequest* request, PyObject* correlation)
{
  TRITONSERVER_Error* error;
  if (PyUnicode_Check(correlation)) {
    const char* text = PyUnicode_AsUTF8(correlation);
    if (text == NULL) return false;
    error = TRITONSERVER_InferenceRequestSetCorrelationIdString(request, text);
  } else {
    uint64_t number = PyLong_AsUnsignedLongLong(correlation);
    if (PyErr_Occurred()) return false;
    if (number == 0) return true;
    error = TRITONSERVER_InferenceRequestSetCorrelationId(request, number);
  }
  return error == NULL || tb_triton_raise(error) != NULL;
}

static bool set_numbers(tb_call* call, const arguments* given)
{
  TRITONSERVER_InferenceRequest* request = call->request;
  uint64_t priority = PyLong_AsUnsignedLongLong(given->priority);
  uint64_t timeout = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(given->timeout);  // us; 0: none
  uint64_t timeout_us = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(given->timeout_us);  // the request's own
  unsigned long flags = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLong(given->flags);
  const char* id = PyErr_Occurred() ? NULL : PyUnicode_AsUTF8(given->id);
  if (PyErr_Occurred()) return false;
  if (flags > UINT32_MAX) return tb_raise(tb_py.internal_error, "the flags of a call are those of RequestFlag, not %R", given->flags) != NULL;
  if (timeout != 0) call->deadline = tb_now() + timeout * 1000;
  TRITONSERVER_Error* error = *id ? TRITONSERVER_InferenceRequestSetId(request, id) : NULL;
  if (error == NULL && priority != 0) error = TRITONSERVER_InferenceRequestSetPriorityUInt64(request, priority);
  if (error == NULL && timeout_us != 0) error = TRITONSERVER_InferenceRequestSetTimeoutMicroseconds(request, timeout_us);
  if (error == NULL && flags != 0) error = TRITONSERVER_InferenceRequestSetFlags(request, (uint32_t)flags);
  return error == NULL || tb_triton_raise(error) != NULL;
}

static bool set_parent(tb_call* call, PyObject* parent)
{
  if (Py_TYPE(parent) != tb_request_type) return parent == Py_None || tb_raise(tb_py.internal_error, "parent is the Request that the call is made for, not %R", parent) != NULL;
  tb_record* record = tb_request_record(parent);
  if (record == NULL) return false;
  tb_keep(&record->owner);
  tb_record_lend(&record->owner);
  call->parent = record;
  return true;
}

// Of the request whose trace gets a child.
static bool set_trace(PyObject* traced, TRITONSERVER_InferenceTrace** trace)
{
  if (Py_TYPE(traced) != tb_request_type) return true;
  tb_record* record = tb_request_record(traced);
  if (record == NULL) return false;
  TRITONSERVER_InferenceTrace* own = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestTrace(record->request, &own);
  if (error == NULL && own != NULL) error = TRITONSERVER_InferenceTraceSpawnChildTrace(own, trace);
  if (error != NULL) TRITONSERVER_ErrorDelete(error);  // a server without tracing
  return true;
}

static bool set_options(tb_call* call, const arguments* given, TRITONSERVER_InferenceTrace** trace)
{
  call->wait_here = given->wait_here == Py_True;
  call->anywhere = given->memory_type == Py_None;
  call->memory_type = call->anywhere ? TRITONSERVER_MEMORY_CPU : (TRITONSERVER_MemoryType)PyLong_AsLong(given->memory_type);
  call->memory_type_id = PyLong_AsLongLong(given->memory_type_id);
  call->manager = PyLong_AsVoidPtr(given->manager);
  return !PyErr_Occurred() && set_outputs(call->request, given->outputs) && set_parameters(call->request, given->parameters)
    && set_correlation(call->request, given->correlation) && set_numbers(call, given) && set_parent(call, given->parent)
    && set_trace(given->trace == Py_None ? given->parent : given->trace, trace);
}

// Whoever runs the loop of this thread would wait for himself.
static bool in_event_loop(void)
{
  static PyObject* running_loop;
  if (running_loop == NULL) {
    PyObject *name = PyUnicode_InternFromString("_asyncio"), *module = name ? PyImport_GetModule(name) : NULL;  // not imported: no loop either
    if (module != NULL) running_loop = PyObject_GetAttrString(module, "_get_running_loop");
    Py_XDECREF(module);
    Py_XDECREF(name);
    PyErr_Clear();
  }
  PyObject* loop = running_loop ? PyObject_CallNoArgs(running_loop) : NULL;
  PyErr_Clear();
  Py_XDECREF(loop);
  return loop != NULL && loop != Py_None;
}

bool tb_call_may_block(const tb_call* call)
{
  if (call->wait_here || !in_event_loop()) return true;
  return tb_raise(tb_py.internal_error, "waiting for model '%s' here would block the event loop: await infer_async(), or iterate the stream with async for", call->model) != NULL;
}

// The request is made without the GIL: a server that stops holds the lock that Triton takes for it while it waits for a
// batcher, which may be in a hook that wants the GIL.
static tb_call* prepare(const arguments* given, bool bare, TRITONSERVER_InferenceTrace** trace)
{
  const char* model = PyUnicode_AsUTF8(given->model);
  TRITONSERVER_Server* server = model ? PyLong_AsVoidPtr(given->server) : NULL;
  int64_t version = PyErr_Occurred() ? -1 : PyLong_AsLongLong(given->version);
  Py_ssize_t inputs = PyErr_Occurred() ? -1 : PyObject_Length(given->inputs);
  tb_call* call = inputs < 0 ? NULL : tb_call_new(server, model, version, (uint32_t)inputs);
  if (call == NULL) return NULL;
  TRITONSERVER_Error* error;
  Py_BEGIN_ALLOW_THREADS
  error = TRITONSERVER_InferenceRequestNew(&call->request, server, call->model, version);
  Py_END_ALLOW_THREADS
  if (error != NULL) tb_triton_raise(error);
  else if (tb_call_add_inputs(call, given->inputs) && (bare || set_options(call, given, trace))) return call;
  return tb_call_discard(call);
}

// Python has done with it, whether it was sent or not.
tb_call* tb_call_discard(tb_call* call)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  tb_call_close(call);
  tb_call_unref(call);
  PyErr_Restore(type, value, traceback);
  return NULL;
}

tb_call* tb_call_start(PyObject* const* args, Py_ssize_t count, tb_call_kind* kind)
{
  if (count != BARE && count != ARGUMENTS) return (void*)PyErr_Format(PyExc_TypeError, "start takes %d or %d arguments, not %zd", BARE, ARGUMENTS, count);
  const arguments* given = (const arguments*)args;
  *kind = (tb_call_kind)PyLong_AsLong(given->kind);
  if (tb_in_batch_hook())
    return (void*)tb_raise_code(TRITONSERVER_ERROR_UNAVAILABLE, "a batch hook cannot call models: Triton keeps the model's queue locked while it runs");
  TRITONSERVER_InferenceTrace* trace = NULL;
  tb_call* call = PyErr_Occurred() ? NULL : prepare(given, count == BARE, &trace);
  if (call == NULL) return NULL;
  call->plain = *kind != TB_STREAM;
  call->address = call->request;
  tb_wait_enlist(call);
  bool waits = *kind == TB_INFER || *kind == TB_AWAIT;  // from now on; with wait_here soon
  bool begun = (*kind != TB_INFER || tb_call_may_block(call)) && ((!waits && !call->wait_here) || tb_wait_begin(call));
  if (begun && !waits) tb_wait_end(call);
  if (begun && tb_call_send(call, trace, *kind == TB_INFER)) return call;
  if (!begun && trace != NULL) tb_check(TRITONSERVER_InferenceTraceDelete(trace), "deleting a trace");
  return tb_call_discard(call);
}
