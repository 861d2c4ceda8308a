// ResponseSender: answers a request after execute has returned, from any thread.
#include "shim.h"

PyTypeObject* tb_sender_type;

typedef struct {
  PyObject_HEAD
  tb_record* record;  // its memory; of the request nothing
} sender;

// Senders of the authors' that are open. One that is lost in a reference cycle leaves its client waiting until Python's garbage
// collection finds it, which it may never: while some are open, a watcher of Python's sees to that.
static atomic_long open_senders;
static PyObject* watcher;  // callable(); asked to look from now on
static bool watched;       // it does

void tb_sender_answered(void) { atomic_fetch_sub(&open_senders, 1); }

static PyObject* watch_senders(PyObject* module, PyObject* callable)
{
  (void)module;
  Py_XSETREF(watcher, Py_NewRef(callable));
  Py_RETURN_NONE;
}

// How many are open; where there are none, the next one asks the watcher again.
static PyObject* count_senders(PyObject* module, PyObject* unused)
{
  (void)module, (void)unused;
  long count = atomic_load(&open_senders);
  watched = count > 0;
  return PyLong_FromLong(count);
}

PyMethodDef tb_sender_functions[] = {
  {"watch_senders", watch_senders, METH_O, NULL},
  {"count_senders", count_senders, METH_NOARGS, NULL},
  {0},
};

static bool ask_watcher(void)
{
  PyObject* asked = watched || watcher == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(watcher);
  Py_XDECREF(asked);
  return asked != NULL;
}

PyObject* tb_sender_new(tb_record* record, bool watched_for)
{
  if (watched_for && !ask_watcher()) return NULL;
  sender* self = (sender*)tb_sender_type->tp_alloc(tb_sender_type, 0);
  if (self == NULL) return NULL;
  // Only now, as other threads have been let through.
  const char* wrong = record->answered ? "the request was already answered"
    : record->deferred               ? "the request's ResponseSender was already taken: there is one"
    : record->taken                  ? "the request is being answered with what execute returned"
                                     : NULL;
  if (wrong != NULL) {
    Py_DECREF(self);
    return tb_raise(tb_py.internal_error, "%s", wrong);
  }
  self->record = record;
  atomic_fetch_add(&record->parts, 1);
  record->deferred = true;
  if (watched_for) {
    watched = record->watched = true;
    atomic_fetch_add(&open_senders, 1);
  }
  return (PyObject*)self;
}

static void sender_dealloc(sender* self)
{
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  if (self->record != NULL) {
    PyObject *error_type, *error, *traceback;
    PyErr_Fetch(&error_type, &error, &traceback);
    tb_stream_close(self->record, "the plugin dropped the request's ResponseSender without a response");
    PyErr_Restore(error_type, error, traceback);
    tb_record_part_done(self->record);
  }
  type->tp_free(self);
  Py_DECREF(type);
}

static PyObject* sender_send(sender* self, PyObject* args, PyObject* kwargs)
{
  static char* keywords[] = {"response", "final", NULL};
  PyObject* response;
  int final = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:send", keywords, &response, &final)) return NULL;
  if (!tb_stream_send(self->record, response, final)) return NULL;
  Py_RETURN_NONE;
}

static PyObject* sender_close(sender* self, PyObject* unused)
{
  (void)unused;
  if (!tb_stream_close(self->record, NULL)) return NULL;
  Py_RETURN_NONE;
}

// fail(code, message): the final response is this error; nothing if there was one before.
static PyObject* sender_fail(sender* self, PyObject* args)
{
  int code;
  const char* message;
  if (!PyArg_ParseTuple(args, "is:fail", &code, &message)) return NULL;
  tb_stream_fail(self->record, TRITONSERVER_ErrorNew(code, message));
  Py_RETURN_NONE;
}

static PyObject* sender_is_cancelled(sender* self, PyObject* unused)
{
  (void)unused;
  return PyBool_FromLong(!self->record->answered && tb_record_cancelled(self->record));
}

static PyObject* get_closed(sender* self, void* unused) { (void)unused; return PyBool_FromLong(self->record->answered); }

static PyGetSetDef getters[] = {
  {"closed", (getter)get_closed, NULL, NULL, NULL},
  {0},
};

static PyMethodDef methods[] = {
  {"send", (PyCFunction)(void (*)(void))sender_send, METH_VARARGS | METH_KEYWORDS, NULL},
  {"close", (PyCFunction)sender_close, METH_NOARGS, NULL},
  {"_fail", (PyCFunction)sender_fail, METH_VARARGS, NULL},
  {"is_cancelled", (PyCFunction)sender_is_cancelled, METH_NOARGS, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_dealloc, sender_dealloc},
  {Py_tp_getset, getters},
  {Py_tp_methods, methods},
  {0},
};

PyTypeObject* tb_sender_type_new(PyObject* module, PyObject* base)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.ResponseSender", sizeof(sender), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  return tb_type_new(module, &spec, base);
}
