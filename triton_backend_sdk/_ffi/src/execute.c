// One batch, from Triton's call to the answers. Who owns what:
//
// | what happened                                | returned to Triton | responses                          | requests              |
// |----------------------------------------------|--------------------|------------------------------------|-----------------------|
// | no memory to gather the batch                | an error           | none                               | untouched             |
// | the plugin raised for the whole batch        | success            | one final error response each      | each released once    |
// | the plugin returned an error for request i   | success            | an error for i, outputs for others | each released once    |
// | sending fails                                | success            | logged, never raised               | each released once    |
// | a view of an input outlives execute          | success            | sent at once                       | released with the view |
// | a view of an output outlives execute         | success            | sent with the view's end           | released after it     |
#include "shim.h"
#include "call.h"

// Takes the pending Python exception and makes it the request's error; the traceback goes to the log once.
static TRITONSERVER_Error* take_exception(tb_instance* instance)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != NULL) PyException_SetTraceback(value, traceback);
  PyObject* described = value ? PyObject_CallOneArg(instance->on_error, value) : NULL;
  int code = TRITONSERVER_ERROR_INTERNAL;
  const char* message = NULL;
  TRITONSERVER_Error* error;
  if (described != NULL && PyArg_ParseTuple(described, "is", &code, &message)) error = TRITONSERVER_ErrorNew(code, message);
  else error = TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "the plugin failed, and describing its exception failed too");
  PyErr_Clear();
  Py_XDECREF(described);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return error;
}

static void fail(tb_record* record)
{
  record->error = take_exception(record->instance);
}

static bool write_outputs(tb_record* record, PyObject* outputs)
{
  if (PyDict_Check(outputs)) {
    Py_ssize_t at = 0;
    PyObject *name, *value;
    while (PyDict_Next(outputs, &at, &name, &value)) {
      const char* text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
      if (text == NULL) return tb_raise(tb_py.internal_error, "%R is no name of an output", name) != NULL;
      Py_INCREF(name);  // writing may run Python code, which may change the dict
      Py_INCREF(value);
      bool written = tb_output_write(record, text, value);
      Py_DECREF(value);
      Py_DECREF(name);
      if (!written) return false;
    }
    return true;
  }
  if (outputs == Py_None) return true;
  PyObject* copied = PyObject_CallOneArg((PyObject*)&PyDict_Type, outputs);
  if (copied == NULL) return tb_raise(tb_py.internal_error, "Response takes a mapping from output name to array, not %s", Py_TYPE(outputs)->tp_name) != NULL;
  bool written = write_outputs(record, copied);
  Py_DECREF(copied);
  return written;
}

static bool has_all_outputs(tb_record* record)
{
  for (uint32_t i = 0; i < record->instance->output_count; i++) {
    const tb_spec* spec = &record->instance->outputs[i];
    if (tb_output_find(record, spec) == NULL && tb_record_wants(record, spec->name))
      return tb_raise(tb_py.internal_error, "the Response lacks output '%s', which the client asked for", spec->name) != NULL;
  }
  return true;
}

// A slot of the Python class Response, read where it lies.
static PyObject** slot(PyObject* response, Py_ssize_t offset)
{
  return (PyObject**)((char*)response + offset);
}

static bool take_response(PyObject* response)
{
  PyObject** sent = slot(response, tb_py.response_sent);
  if (*sent != Py_False) return tb_raise(tb_py.internal_error, "this Response already answered a request: make one Response per request") != NULL;
  Py_SETREF(*sent, Py_NewRef(Py_True));
  return true;
}

// False, and a Python error, when the request is to be answered with it.
static bool answer(tb_record* record, PyObject* item, Py_ssize_t index)
{
  if (PyExceptionInstance_Check(item)) return PyErr_SetObject((PyObject*)Py_TYPE(item), item), false;
  if (!PyObject_TypeCheck(item, (PyTypeObject*)tb_py.response_class))
    return tb_raise(tb_py.internal_error, "execute returned %s for request %zd; give a Response or an exception", Py_TYPE(item)->tp_name, index) != NULL;
  if (!take_response(item)) return false;
  PyObject* error = *slot(item, tb_py.response_error);
  if (error != NULL && error != Py_None) {
    if (PyExceptionInstance_Check(error)) PyErr_SetObject((PyObject*)Py_TYPE(error), error);
    else tb_raise(tb_py.internal_error, "%S", error);
    return false;
  }
  PyObject* outputs = Py_XNewRef(*slot(item, tb_py.response_outputs));
  bool written = write_outputs(record, outputs ? outputs : Py_None) && has_all_outputs(record);
  Py_XDECREF(outputs);
  return written;
}

static bool check_result(PyObject* result, Py_ssize_t count)
{
  if (result == NULL) return false;
  if (!PyList_Check(result) && !PyTuple_Check(result))
    return tb_raise(tb_py.internal_error, "execute returned %s; return a list with one Response per request", Py_TYPE(result)->tp_name) != NULL;
  if (PySequence_Fast_GET_SIZE(result) == count) return true;
  return tb_raise(tb_py.internal_error, "execute returned %zd responses for %zd requests; return one per request, in their order",
           PySequence_Fast_GET_SIZE(result), count) != NULL;
}

static PyObject* request_list(tb_record** records, uint32_t count)
{
  Py_ssize_t live = 0;
  for (uint32_t i = 0; i < count; i++) live += records[i]->error == NULL;
  PyObject* list = PyList_New(live);
  for (uint32_t i = 0, at = 0; list != NULL && i < count; i++) {
    if (records[i]->error != NULL) continue;
    PyObject* request = tb_request_new(records[i]);
    if (request == NULL) Py_CLEAR(list);
    else PyList_SET_ITEM(list, at++, request);
  }
  return list;
}

static TRITONSERVER_Error* error_copy(TRITONSERVER_Error* error)
{
  return TRITONSERVER_ErrorNew(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
}

// With the GIL: calls the plugin and brings its results into the records. Leaves no Python error behind.
static void call_plugin(tb_instance* instance, tb_record** records, uint32_t count, uint64_t* compute_end)
{
  PyObject* requests = request_list(records, count);
  Py_ssize_t live = requests ? PyList_GET_SIZE(requests) : 0;
  PyObject* result = live > 0 ? PyObject_CallOneArg(instance->execute, requests) : NULL;
  *compute_end = tb_now();
  bool usable = live > 0 && check_result(result, live);
  TRITONSERVER_Error* whole = usable || (requests != NULL && live == 0) ? NULL : take_exception(instance);
  for (uint32_t i = 0, at = 0; i < count; i++) {
    tb_record* record = records[i];
    if (record->error != NULL) continue;
    if (!usable) record->error = error_copy(whole);
    else if (at < PySequence_Fast_GET_SIZE(result)) {
      PyObject* item = Py_NewRef(PySequence_Fast_GET_ITEM(result, at));
      if (!answer(record, item, at)) fail(record);
      Py_DECREF(item);
    } else record->error = TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "execute's list of responses shrank while it was read");
    record->answered = true;
    at++;
  }
  if (whole != NULL) TRITONSERVER_ErrorDelete(whole);
  Py_XDECREF(result);
  Py_XDECREF(requests);
}

// A view that outlived execute is legal, but its author should know what it costs.
static void look_for_survivors(tb_instance* instance, tb_record** records, uint32_t count)
{
  bool output = false, input = false;
  for (uint32_t i = 0; i < count; i++) output |= atomic_load(&records[i]->reply.refs) > 1;
  if (output) PyGC_Collect();  // an exception's traceback can hold arrays in a cycle; a client is waiting
  output = false;
  for (uint32_t i = 0; i < count; i++) {
    output |= atomic_load(&records[i]->reply.refs) > 1;
    input |= atomic_load(&records[i]->owner.refs) > 2;
  }
  if (instance->warned || !(output || input)) return;
  instance->warned = true;
  tb_log(TRITONSERVER_LOG_WARN, output
      ? "the plugin still holds an array of an output after execute: the response is sent when it lets go; copy what is to be kept"
      : "the plugin still holds an array of an input after execute: its request's memory is freed, and its model unloaded, only when it lets"
        " go; copy what is to be kept");
}

TRITONSERVER_Error* tb_execute(TRITONBACKEND_ModelInstance* handle, TRITONBACKEND_Request** requests, uint32_t count)
{
  uint64_t exec_start = tb_now();
  void* state = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceState(handle, &state);
  if (error != NULL) return error;
  tb_instance* instance = state;
  tb_record* few[64];
  tb_record** records = count <= 64 ? few : malloc(count * sizeof *records);
  uint32_t made = 0;
  while (records != NULL && made < count && (records[made] = tb_record_new(instance, requests[made])) != NULL) made++;
  if (made < count) {
    while (made-- > 0) tb_record_forget(records[made]);
    if (records != few) free(records);
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "no memory to gather the batch");
  }
  uint64_t compute_start = tb_now(), compute_end, batch_size = 0;
  tb_seat_enter(instance, requests, count);
  PyGILState_STATE gil = tb_enter();
  call_plugin(instance, records, count, &compute_end);
  look_for_survivors(instance, records, count);
  tb_leave(gil);
  tb_seat_leave(instance);
  for (uint32_t i = 0; i < count; i++) {
    tb_record* record = records[i];
    bool success = record->error == NULL;
    batch_size += (uint64_t)record->batch_size;
    tb_drop(&record->reply);  // sends, unless an output is still looked at
    // Here even if the response waits: later the instance may be gone.
    tb_check(TRITONBACKEND_ModelInstanceReportStatistics(handle, record->request, success, exec_start, compute_start, compute_end, tb_now()),
      "reporting statistics");
  }
  // Before the release: who waits for that finds the statistics complete.
  tb_check(TRITONBACKEND_ModelInstanceReportBatchStatistics(handle, batch_size, exec_start, compute_start, compute_end, tb_now()), "reporting statistics");
  for (uint32_t i = 0; i < count; i++) tb_drop(&records[i]->owner);
  if (records != few) free(records);
  return NULL;
}
