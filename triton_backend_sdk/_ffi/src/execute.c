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
// | a generator answers request i                | success            | one each, then the final flag once | released after it     |
// | a ResponseSender answers request i           | success            | when it likes, the final one once  | released after that   |
// | the sender is dropped                        | success            | the final flag, or an error if none | released after that  |
// | the plugin reschedules request i             | success            | none that is final                 | released to run again |
#include "shim.h"
#include "call.h"

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

// What execute gave for one request; a generator is for later.
static void take_result(tb_record* record, PyObject* item, Py_ssize_t index, PyObject** generator)
{
  tb_instance* instance = record->instance;
  record->taken = true;
  if (record->deferred) {
    if (item == Py_None) return;
    tb_raise(tb_py.internal_error, "execute returned %s for request %zd, whose ResponseSender it took; return None for it", Py_TYPE(item)->tp_name, index);
    tb_stream_fail(record, tb_take_exception(instance));
    return;
  }
  bool iterator = PyIter_Check(item);
  if (iterator && instance->decoupled) {
    record->deferred = true;
    *generator = Py_NewRef(item);
    return;
  }
  if (iterator)
    tb_raise(tb_py.internal_error, "execute returned a %s for request %zd, but the model is not decoupled: set model_transaction_policy { decoupled: true }",
      Py_TYPE(item)->tp_name, index);
  if (iterator || !tb_answer(record, item, index)) record->error = tb_take_exception(instance);
  record->answered = true;
}

// The batch's statistics are due when the last of its requests is answered. NULL: that is now.
static tb_batch* await_deferred(tb_record** records, uint32_t count, uint64_t compute_start)
{
  uint32_t unfinished = 0;
  uint64_t size = 0;
  for (uint32_t i = 0; i < count; i++) {
    unfinished += records[i]->deferred && !records[i]->answered;
    size += (uint64_t)records[i]->batch_size;
  }
  tb_batch* batch = unfinished > 0 ? malloc(sizeof *batch) : NULL;
  if (batch == NULL) return NULL;
  *batch = (tb_batch){unfinished, records[0]->start, compute_start, size};
  for (uint32_t i = 0; i < count; i++)
    if (records[i]->deferred && !records[i]->answered) records[i]->batch = batch;
  return batch;
}

// With the GIL: calls the plugin and brings its results into the records. Leaves no Python error behind.
static void call_plugin(tb_instance* instance, tb_record** records, uint32_t count, PyObject** generators)
{
  PyObject* requests = request_list(records, count);
  Py_ssize_t live = requests ? PyList_GET_SIZE(requests) : 0;
  PyObject* result = live > 0 ? PyObject_CallOneArg(instance->execute, requests) : NULL;
  bool usable = live > 0 && check_result(result, live);
  TRITONSERVER_Error* whole = usable || (requests != NULL && live == 0) ? NULL : tb_take_exception(instance);
  for (uint32_t i = 0, at = 0; i < count; i++) {
    tb_record* record = records[i];
    if (record->error != NULL) continue;
    TRITONSERVER_Error* error = NULL;
    if (!usable) error = error_copy(whole);
    else if (at < PySequence_Fast_GET_SIZE(result)) {
      PyObject* item = Py_NewRef(PySequence_Fast_GET_ITEM(result, at));
      take_result(record, item, at, &generators[i]);
      Py_DECREF(item);
    } else error = TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "execute's list of responses shrank while it was read");
    at++;
    if (error == NULL) continue;
    if (record->deferred) tb_stream_fail(record, error);
    else record->error = error;
    record->answered = true;
  }
  if (whole != NULL) TRITONSERVER_ErrorDelete(whole);
  Py_XDECREF(result);
  Py_XDECREF(requests);
}

// Of an instance that executes, which Triton will not take away.
static const char* name_of(const tb_instance* instance)
{
  const char* name = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceName(instance->handle, &name);
  if (error != NULL) TRITONSERVER_ErrorDelete(error);
  return name != NULL ? name : "?";
}

// A view that outlived execute is legal, but its author should know what it costs.
static void look_for_survivors(tb_instance* instance, tb_record** records, uint32_t count)
{
  bool output = false, input = false;
  for (uint32_t i = 0; i < count; i++) output |= !records[i]->deferred && atomic_load(&records[i]->reply.refs) > 1;
  if (output) PyGC_Collect();  // an exception's traceback can hold arrays in a cycle; a client is waiting
  output = false;
  for (uint32_t i = 0; i < count; i++) {
    if (records[i]->deferred) continue;
    output |= atomic_load(&records[i]->reply.refs) > 1;
    input |= !records[i]->lent && atomic_load(&records[i]->owner.refs) > 2;
  }
  if (instance->warned || !(output || input)) return;
  instance->warned = true;
  tb_log(TRITONSERVER_LOG_WARN, output
      ? "%s: the plugin still holds an array of an output after execute: the response is sent when it lets go; copy what is to be kept"
      : "%s: the plugin still holds an array of an input after execute: its request's memory is freed, and its model unloaded, only when it lets"
        " go; copy what is to be kept", name_of(instance));
}

// Sends what the deferred do not send themselves, reports, and lets the requests go.
static void finish(TRITONBACKEND_ModelInstance* handle, tb_record** records, uint32_t count, bool awaited, uint64_t compute_start, uint64_t compute_end)
{
  uint64_t size = 0;
  for (uint32_t i = 0; i < count; i++) {
    size += (uint64_t)records[i]->batch_size;
    if (records[i]->deferred) continue;
    records[i]->failed = records[i]->error != NULL;
    tb_drop(&records[i]->reply);  // sends, unless an output is still looked at
  }
  // Before the release: who waits for that finds the statistics complete.
  if (!awaited)
    tb_check(TRITONBACKEND_ModelInstanceReportBatchStatistics(handle, size, records[0]->start, compute_start, compute_end, tb_now()), "reporting statistics");
  for (uint32_t i = 0; i < count; i++) {
    if (!records[i]->deferred) tb_record_settle(records[i], compute_start, compute_end);
    tb_record_part_done(records[i]);
  }
}

TRITONSERVER_Error* tb_execute(TRITONBACKEND_ModelInstance* handle, TRITONBACKEND_Request** requests, uint32_t count)
{
  uint64_t start = tb_now();
  void* state = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceState(handle, &state);
  if (error != NULL || count == 0) return error;
  tb_instance* instance = state;
  struct { tb_record* record; PyObject* generator; } few[64];
  // Records first, then a place for a generator of each.
  void** block = count <= 64 ? (void**)few : malloc(2 * count * sizeof *block);
  tb_record** records = (tb_record**)block;
  uint32_t made = 0;
  while (block != NULL && made < count && (records[made] = tb_record_new(instance, requests[made], start)) != NULL) made++;
  if (made < count) {
    while (made-- > 0) tb_record_forget(records[made]);
    if (block != (void**)few) free(block);
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "no memory to gather the batch");
  }
  PyObject** generators = (PyObject**)block + count;
  memset(generators, 0, count * sizeof *generators);
  uint64_t compute_start = tb_now();
  tb_seat_enter(instance, requests, count);
  PyGILState_STATE gil = tb_enter();
  call_plugin(instance, records, count, generators);
  uint64_t compute_end = tb_now();
  tb_batch* batch = await_deferred(records, count, compute_start);
  tb_stream_pump(records, generators, count);
  look_for_survivors(instance, records, count);
  for (uint32_t i = 0; i < count; i++) records[i]->returned = true;
  tb_leave(gil);
  tb_seat_leave(instance);
  finish(handle, records, count, batch != NULL, compute_start, compute_end);
  if (block != (void**)few) free(block);
  return NULL;
}
