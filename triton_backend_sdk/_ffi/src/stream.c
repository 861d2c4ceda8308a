// Responses one after another: a request that a generator or a ResponseSender answers. All of it with the GIL, which is
// released while Triton sends.
#include "state.h"

bool tb_stream_is_mine(const tb_record* record) { return record->locked && pthread_equal(record->builder, pthread_self()); }

bool tb_stream_lock(tb_record* record)
{
  if (tb_stream_is_mine(record))
    return tb_raise(tb_py.internal_error, "this thread is already making a response of this request") != NULL;
  if (pthread_mutex_trylock(&record->lock) != 0) {
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&record->lock);
    Py_END_ALLOW_THREADS
  }
  record->builder = pthread_self();
  record->locked = true;
  return true;
}

void tb_stream_unlock(tb_record* record)
{
  record->locked = false;
  pthread_mutex_unlock(&record->lock);
}

bool tb_record_cancelled(tb_record* record)
{
  bool cancelled = false;
  TRITONSERVER_Error* error = record->given_back ? TRITONBACKEND_ResponseFactoryIsCancelled(record->factory, &cancelled)
                                                 : TRITONBACKEND_RequestIsCancelled(record->request, &cancelled);
  if (error != NULL) TRITONSERVER_ErrorDelete(error);
  return cancelled;
}

static void discard(tb_record* record)
{
  if (record->instance->decoupled) tb_reply_discard(record);  // else views may look at its outputs: sent as they are, with the error
}

// What is in the record goes to the client. In a model that is not decoupled the end of the reply sends it.
static void send(tb_record* record, bool final, uint64_t given)
{
  record->answered = final || record->reschedule;
  if (!record->instance->decoupled) return;
  Py_BEGIN_ALLOW_THREADS
  tb_reply_send(record, final, given);
  Py_END_ALLOW_THREADS
}

static bool build(tb_record* record, PyObject* item)
{
  if (record->answered) return tb_raise(tb_py.internal_error, "the request has its final response: nothing can be sent after it") != NULL;
  if (tb_answer(record, item, -1)) return true;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  discard(record);
  PyErr_Restore(type, value, traceback);
  if (!tb_answer_is_error(item)) return false;
  record->error = tb_take_exception(record->instance);
  return true;
}

static void finish(tb_record* record)
{
  Py_BEGIN_ALLOW_THREADS
  tb_record_finish(record);
  Py_END_ALLOW_THREADS
}

bool tb_stream_send(tb_record* record, PyObject* item, bool final)
{
  if (!tb_stream_lock(record)) return false;
  uint64_t given = tb_now();
  bool built = build(record, item);
  bool silent = record->reschedule && record->outputs == NULL && record->response == NULL;
  if (built && silent) record->answered = true;
  else if (built) send(record, !record->reschedule && (final || !record->instance->decoupled), given);
  bool last = built && record->answered;
  tb_stream_unlock(record);
  if (last) finish(record);
  return built;
}

// Under the lock; takes the error.
static void fail(tb_record* record, TRITONSERVER_Error* error)
{
  discard(record);
  record->error = error;
  record->failed = true;
  record->reschedule = false;
  send(record, true, tb_now());
}

static void end(tb_record* record)
{
  record->answered = true;
  Py_BEGIN_ALLOW_THREADS
  tb_reply_end(record);
  Py_END_ALLOW_THREADS
}

void tb_stream_fail(tb_record* record, TRITONSERVER_Error* error)
{
  if (!tb_stream_lock(record)) {  // its maker will see it answered
    PyErr_Clear();
    TRITONSERVER_ErrorDelete(error);
    return;
  }
  bool open = !record->answered;
  if (open) fail(record, error);
  else TRITONSERVER_ErrorDelete(error);
  tb_stream_unlock(record);
  if (open) finish(record);
}

bool tb_stream_close(tb_record* record, const char* unanswered)
{
  if (!tb_stream_lock(record)) return false;
  bool open = !record->answered;
  if (open && record->instance->decoupled && (record->sent > 0 || unanswered == NULL)) {
    if (tb_states_answer(record, Py_None)) end(record);
    else fail(record, tb_take_exception(record->instance));
  } else if (open) fail(record, TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, unanswered ? unanswered : "the request was closed without a response"));
  tb_stream_unlock(record);
  if (open) finish(record);
  return true;
}

// --- generators ------------------------------------------------------------------------------------------------------

static void close_generator(tb_record* record, PyObject* generator)
{
  PyObject* closed = PyObject_HasAttr(generator, tb_py.str_close) ? PyObject_CallMethodNoArgs(generator, tb_py.str_close) : Py_NewRef(Py_None);
  if (closed == NULL) TRITONSERVER_ErrorDelete(tb_take_exception(record->instance));
  Py_XDECREF(closed);
}

// Nobody would see what a generator returns.
static void finish_generator(tb_record* record, PyObject* returned)
{
  if (returned == Py_None) tb_stream_close(record, NULL);
  else {
    tb_raise(tb_py.internal_error, "execute is a generator and returned %s at its end; yield it", Py_TYPE(returned)->tp_name);
    tb_stream_fail(record, tb_take_exception(record->instance));
  }
  Py_DECREF(returned);
}

// One response of a generator; false: it was the last.
static bool step(tb_record* record, PyObject* generator)
{
  if (tb_record_cancelled(record)) {
    close_generator(record, generator);
    tb_stream_fail(record, TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_CANCELLED, "the client cancelled the request"));
    return false;
  }
  PyObject* item = NULL;
  PySendResult result = PyIter_Send(generator, Py_None, &item);
  if (result == PYGEN_RETURN) {
    finish_generator(record, item);
    return false;
  }
  bool sent = result == PYGEN_NEXT && tb_stream_send(record, item, false);
  Py_XDECREF(item);
  if (sent && !record->answered) return true;
  TRITONSERVER_Error* error = sent ? NULL : tb_take_exception(record->instance);
  if (item != NULL) close_generator(record, generator);
  if (!sent) tb_stream_fail(record, error);
  return false;
}

// In turns, so that no stream of a batch waits for the end of another.
void tb_stream_pump(tb_record** records, PyObject** generators, uint32_t count)
{
  uint32_t active = 0;
  for (uint32_t i = 0; i < count; i++) active += generators[i] != NULL;
  while (active > 0)
    for (uint32_t i = 0; i < count; i++) {
      if (generators[i] == NULL || step(records[i], generators[i])) continue;
      Py_CLEAR(generators[i]);
      active--;
    }
}
