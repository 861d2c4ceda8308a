// Call and Stream: what Python sees of a call under way. How they are awaited is Python's part, in calls.py.
#include "call.h"

static PyTypeObject *call_type, *stream_type;

typedef struct {
  PyObject_HEAD
  tb_call* call;
  bool armed;  // an event loop awaits it
} call_object;

static void call_dealloc(call_object* self)
{
  PyTypeObject* type = Py_TYPE(self);
  tb_call* call = self->call;
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  type->tp_free(self);
  Py_DECREF(type);
  PyObject *kind, *value, *traceback;
  PyErr_Fetch(&kind, &value, &traceback);
  tb_call_close(call);
  tb_call_unref(call);
  PyErr_Restore(kind, value, traceback);
}

// --- what came -------------------------------------------------------------------------------------------------------

// Who raised it is said: a call that Triton refuses raises the same classes.
static PyObject* raise_answer(const tb_call* call, const tb_result* result)
{
  PyObject *type, *error, *traceback;
  tb_raise_code(result->code, result->error);
  PyErr_Fetch(&type, &error, &traceback);
  PyErr_NormalizeException(&type, &error, &traceback);
  PyObject* model = error ? PyUnicode_FromString(call->model) : NULL;
  if (model == NULL || PyObject_SetAttrString(error, "model", model) != 0) PyErr_Clear();
  Py_XDECREF(model);
  PyErr_Restore(type, error, traceback);
  return NULL;
}

static PyObject* as_python(const tb_call* call, tb_result* result)
{
  return result->error != NULL ? raise_answer(call, result) : tb_infer_response_new(result);
}

static PyObject* cancelled(const tb_call* call, const char* why)
{
  char text[512];
  snprintf(text, sizeof text, "the call to model '%s' was cancelled%s", call->model, why);
  return tb_raise_code(TRITONSERVER_ERROR_CANCELLED, text);
}

static PyObject* late(const tb_call* call, bool given_up)
{
  return PyErr_Format(PyExc_TimeoutError, given_up ? "model '%s' did not answer within the call's timeout; the call is cancelled"
      : "model '%s' has not answered yet; the call is still under way", call->model);
}

// A plain call keeps its response: it can be asked for again.
static PyObject* plain_outcome(tb_call* call)
{
  tb_call_settle(call);
  pthread_mutex_lock(&call->lock);
  tb_result* result = call->first;
  uint32_t count = call->count;
  bool lost = call->lost;
  pthread_mutex_unlock(&call->lock);
  if (count == 1 && !lost) return as_python(call, result);
  tb_call_cancel(call);
  if (lost) return PyErr_NoMemory();
  return tb_raise(tb_py.internal_error, "model '%s' gave %s, where infer() is for models that give one: it is decoupled, use stream()", call->model,
    count == 0 ? "no response" : "more than one response");
}

// NULL without an error: the stream is over.
static PyObject* next_outcome(tb_call* call)
{
  bool over;
  tb_result* result = tb_call_take(call, &over);
  if (over) tb_call_settle(call);
  if (result == NULL) return call->lost ? PyErr_NoMemory() : NULL;
  PyObject* outcome = as_python(call, result);
  tb_drop(&result->owner);
  return outcome;
}

static PyObject* outcome(tb_call* call, tb_waited waited)
{
  switch (waited) {
    case TB_READY: return call->plain ? plain_outcome(call) : call->cancelled ? NULL : next_outcome(call);
    case TB_CANCELLED: return call->plain ? cancelled(call, "") : NULL;
    case TB_PARENT_CANCELLED: tb_call_cancel(call); return cancelled(call, " with its parent request");
    case TB_DEADLINE: tb_call_cancel(call); return late(call, true);
    case TB_NOT_YET: return late(call, false);
    default: return NULL;
  }
}

static PyObject* wait_for(tb_call* call, uint64_t until)
{
  tb_waited waited = tb_call_wait(call, 0);
  if (waited == TB_NOT_YET && until != 0) {
    if (!tb_call_may_block(call) || !tb_wait_begin(call)) return NULL;
    waited = tb_call_wait(call, until);
  }
  tb_wait_end(call);
  return outcome(call, waited);
}

static PyObject* call_start(PyObject* module, PyObject* const* args, Py_ssize_t count)
{
  (void)module;
  tb_call_kind kind;
  tb_call* call = tb_call_start(args, count, &kind);
  if (call == NULL) return NULL;
  if (kind == TB_INFER) {
    PyObject* response = wait_for(call, UINT64_MAX);
    tb_call_discard(call);
    return response;
  }
  PyTypeObject* type = kind == TB_STREAM ? stream_type : call_type;
  call_object* self = (call_object*)type->tp_alloc(type, 0);
  if (self != NULL) {
    self->call = call;
    return (PyObject*)self;
  }
  tb_call_close(call);
  tb_call_unref(call);
  return NULL;
}

// result(timeout=None)
static PyObject* call_result(call_object* self, PyObject* args, PyObject* kwargs)
{
  static char* keywords[] = {"timeout", NULL};
  PyObject* given = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:result", keywords, &given)) return NULL;
  uint64_t until = UINT64_MAX;
  if (given != Py_None) {
    double seconds = PyFloat_AsDouble(given);
    if (PyErr_Occurred()) return NULL;
    until = seconds <= 0 ? 0 : seconds > 1e9 ? UINT64_MAX : tb_now() + (uint64_t)(seconds * 1e9);
  }
  return wait_for(self->call, until);
}

static PyObject* stream_next(call_object* self) { return wait_for(self->call, UINT64_MAX); }

static PyObject* call_cancel(call_object* self, PyObject* unused)
{
  (void)unused;
  tb_call_cancel(self->call);
  tb_wait_end(self->call);
  Py_RETURN_NONE;
}

// cancel(drain=False) of a stream
static PyObject* stream_cancel(call_object* self, PyObject* args, PyObject* kwargs)
{
  static char* keywords[] = {"drain", NULL};
  int drain = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:cancel", keywords, &drain)) return NULL;
  if (!drain) return call_cancel(self, NULL);
  tb_call_stop(self->call);
  Py_RETURN_NONE;
}

static PyObject* stream_ended_bare(call_object* self, PyObject* unused)
{
  (void)unused;
  pthread_mutex_lock(&self->call->lock);
  bool bare = self->call->bare_end;
  pthread_mutex_unlock(&self->call->lock);
  return PyBool_FromLong(bare);
}

static PyObject* call_detach(call_object* self, PyObject* unused)
{
  (void)unused;
  pthread_mutex_lock(&self->call->lock);
  self->call->detached = true;
  pthread_mutex_unlock(&self->call->lock);
  Py_RETURN_NONE;
}

static PyObject* call_done(call_object* self, PyObject* unused)
{
  (void)unused;
  pthread_mutex_lock(&self->call->lock);
  bool done = self->call->final || self->call->cancelled;
  pthread_mutex_unlock(&self->call->lock);
  return PyBool_FromLong(done);
}

// --- for event loops -------------------------------------------------------------------------------------------------

// _arm(mailbox, token): False where there is news already; else the mailbox will hear of it, once.
static PyObject* call_arm(call_object* self, PyObject* args)
{
  PyObject* given;
  unsigned long long token;
  if (!PyArg_ParseTuple(args, "OK:_arm", &given, &token)) return NULL;
  tb_call* call = self->call;
  tb_mailbox* mailbox = tb_mailbox_of(given);
  if (mailbox == NULL) return NULL;
  if (self->armed) return tb_raise(tb_py.internal_error, "the call to model '%s' is awaited already, by another task", call->model);
  if (tb_call_wait(call, 0) != TB_NOT_YET) Py_RETURN_FALSE;
  if (!tb_wait_begin(call)) return NULL;
  pthread_mutex_lock(&call->lock);
  bool news = tb_call_ready(call) || call->cancelled;
  tb_mailbox* before = NULL;
  if (!news) {
    before = call->mailbox;
    if (before != NULL && before != mailbox) tb_mailbox_withdraw(before, call);
    tb_mailbox_keep(mailbox);
    call->mailbox = mailbox;
    call->token = token;
  }
  pthread_mutex_unlock(&call->lock);
  if (before != NULL) tb_mailbox_drop(before);
  self->armed = !news;
  return PyBool_FromLong(!news);
}

static PyObject* call_disarm(call_object* self, PyObject* unused)
{
  (void)unused;
  self->armed = false;
  Py_RETURN_NONE;
}

// _poll(): what has come, as result() and iteration give it; None where nothing has.
static PyObject* call_poll(call_object* self, PyObject* unused)
{
  (void)unused;
  tb_waited waited = tb_call_wait(self->call, 0);
  if (waited == TB_NOT_YET) Py_RETURN_NONE;
  tb_wait_end(self->call);
  PyObject* value = outcome(self->call, waited);
  if (value == NULL && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopAsyncIteration);
  return value;
}

// _watch() -> (seconds to the deadline or None, whether a parent is to be watched)
static PyObject* call_watch(call_object* self, PyObject* unused)
{
  (void)unused;
  tb_call* call = self->call;
  PyObject* parent = PyBool_FromLong(call->parent != NULL);
  if (call->deadline == 0) return Py_BuildValue("(ON)", Py_None, parent);
  return Py_BuildValue("(dN)", ((double)call->deadline - (double)tb_now()) / 1e9, parent);
}

static PyObject* call_parent_cancelled(call_object* self, PyObject* unused)
{
  (void)unused;
  return PyBool_FromLong(tb_call_parent_cancelled(self->call));
}

#define SHARED \
  {"done", (PyCFunction)call_done, METH_NOARGS, NULL}, {"detach", (PyCFunction)call_detach, METH_NOARGS, NULL}, {"_arm", (PyCFunction)call_arm, METH_VARARGS, NULL}, \
    {"_disarm", (PyCFunction)call_disarm, METH_NOARGS, NULL}, {"_poll", (PyCFunction)call_poll, METH_NOARGS, NULL}, {"_watch", (PyCFunction)call_watch, METH_NOARGS, NULL}, \
    {"_parent_cancelled", (PyCFunction)call_parent_cancelled, METH_NOARGS, NULL}

static PyMethodDef call_methods[] = {SHARED, {"cancel", (PyCFunction)call_cancel, METH_NOARGS, NULL}, {"result", (PyCFunction)(void (*)(void))call_result, METH_VARARGS | METH_KEYWORDS, NULL}, {0}};
static PyMethodDef stream_methods[] = {SHARED, {"cancel", (PyCFunction)(void (*)(void))stream_cancel, METH_VARARGS | METH_KEYWORDS, NULL},
  {"ended_bare", (PyCFunction)stream_ended_bare, METH_NOARGS, NULL}, {0}};

static PyType_Slot call_slots[] = {{Py_tp_dealloc, call_dealloc}, {Py_tp_methods, call_methods}, {0}};
static PyType_Slot stream_slots[] = {
  {Py_tp_dealloc, call_dealloc}, {Py_tp_methods, stream_methods}, {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, stream_next}, {0}};

PyMethodDef tb_call_functions[] = {{"start", (PyCFunction)(void (*)(void))call_start, METH_FASTCALL, NULL}, {0}};

bool tb_call_types(PyObject* module, PyObject* names)
{
  PyType_Spec call = {"triton_backend_sdk._hot.Call", sizeof(call_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, call_slots};
  PyType_Spec stream = {"triton_backend_sdk._hot.Stream", sizeof(call_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, stream_slots};
  PyObject *call_base = PyMapping_GetItemString(names, "Call"), *stream_base = call_base ? PyMapping_GetItemString(names, "Stream") : NULL;
  PyObject* response_base = stream_base ? PyMapping_GetItemString(names, "InferResponse") : NULL;
  bool made = response_base != NULL && tb_infer_response_type(module, response_base) && (call_type = tb_type_new(module, &call, call_base)) != NULL
    && (stream_type = tb_type_new(module, &stream, stream_base)) != NULL && tb_mailbox_types(module);
  Py_XDECREF(call_base);
  Py_XDECREF(stream_base);
  Py_XDECREF(response_base);
  return made;
}
