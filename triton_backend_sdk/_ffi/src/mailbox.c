// How an event loop hears that calls have news: a file descriptor that becomes readable. The callee's thread writes to it
// without the GIL; the loop finds all that came meanwhile at one waking.
#include "call.h"
#include <sys/eventfd.h>
#include <unistd.h>

struct tb_mailbox {
  atomic_int refs;
  int fd;
  pthread_mutex_t lock;
  tb_call *first, *last;
};

typedef struct {
  PyObject_HEAD
  tb_mailbox* mailbox;
} mailbox_object;

static PyTypeObject* mailbox_type;

void tb_mailbox_keep(tb_mailbox* mailbox) { atomic_fetch_add(&mailbox->refs, 1); }

void tb_mailbox_drop(tb_mailbox* mailbox)
{
  if (atomic_fetch_sub_explicit(&mailbox->refs, 1, memory_order_acq_rel) != 1) return;
  close(mailbox->fd);
  pthread_mutex_destroy(&mailbox->lock);
  free(mailbox);
}

// Under the call's lock.
void tb_mailbox_post(tb_mailbox* mailbox, tb_call* call)
{
  if (call->mailed) return;
  call->mailed = true;
  atomic_fetch_add(&call->refs, 1);
  pthread_mutex_lock(&mailbox->lock);
  bool empty = mailbox->first == NULL;
  if (empty) mailbox->first = call;
  else mailbox->last->next_mail = call;
  mailbox->last = call;
  call->next_mail = NULL;
  pthread_mutex_unlock(&mailbox->lock);
  uint64_t one = 1;
  if (empty && write(mailbox->fd, &one, sizeof one) < 0) tb_log(TRITONSERVER_LOG_ERROR, "waking an event loop failed");
}

// drain() -> list of the tokens of calls with news
static PyObject* mailbox_drain(mailbox_object* self, PyObject* unused)
{
  (void)unused;
  tb_mailbox* mailbox = self->mailbox;
  uint64_t woken;
  if (read(mailbox->fd, &woken, sizeof woken) < 0) woken = 0;
  pthread_mutex_lock(&mailbox->lock);
  tb_call* call = mailbox->first;
  mailbox->first = mailbox->last = NULL;
  pthread_mutex_unlock(&mailbox->lock);
  PyObject* tokens = PyList_New(0);
  for (tb_call* next; call != NULL; call = next) {
    pthread_mutex_lock(&call->lock);
    next = call->next_mail;
    call->mailed = false;
    PyObject* token = tokens ? PyLong_FromUnsignedLongLong(call->token) : NULL;
    pthread_mutex_unlock(&call->lock);
    if (token == NULL || PyList_Append(tokens, token) != 0) Py_CLEAR(tokens);
    Py_XDECREF(token);
    tb_call_unref(call);
  }
  return tokens;
}

static PyObject* mailbox_fileno(mailbox_object* self, PyObject* unused)
{
  (void)unused;
  return PyLong_FromLong(self->mailbox->fd);
}

static PyObject* mailbox_new(PyTypeObject* type, PyObject* args, PyObject* kwargs)
{
  if (!PyArg_ParseTuple(args, ":Mailbox") || (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0)) return NULL;
  mailbox_object* self = (mailbox_object*)type->tp_alloc(type, 0);
  if (self == NULL) return NULL;
  self->mailbox = calloc(1, sizeof *self->mailbox);
  int fd = self->mailbox != NULL ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
  if (fd < 0) {
    free(self->mailbox);
    self->mailbox = NULL;
    Py_DECREF(self);
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  self->mailbox->refs = 1;
  self->mailbox->fd = fd;
  pthread_mutex_init(&self->mailbox->lock, NULL);
  return (PyObject*)self;
}

static void mailbox_dealloc(mailbox_object* self)
{
  PyTypeObject* type = Py_TYPE(self);
  if (self->mailbox != NULL) tb_mailbox_drop(self->mailbox);
  type->tp_free(self);
  Py_DECREF(type);
}

tb_mailbox* tb_mailbox_of(PyObject* mailbox)
{
  if (Py_TYPE(mailbox) == mailbox_type) return ((mailbox_object*)mailbox)->mailbox;
  PyErr_Format(PyExc_TypeError, "%R is no Mailbox", mailbox);
  return NULL;
}

static PyMethodDef methods[] = {
  {"drain", (PyCFunction)mailbox_drain, METH_NOARGS, NULL},
  {"fileno", (PyCFunction)mailbox_fileno, METH_NOARGS, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_new, mailbox_new},
  {Py_tp_dealloc, mailbox_dealloc},
  {Py_tp_methods, methods},
  {0},
};

bool tb_mailbox_types(PyObject* module)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.Mailbox", sizeof(mailbox_object), 0, Py_TPFLAGS_DEFAULT, slots};
  mailbox_type = (PyTypeObject*)PyType_FromModuleAndSpec(module, &spec, NULL);
  return mailbox_type != NULL && PyModule_AddObjectRef(module, "Mailbox", (PyObject*)mailbox_type) == 0;
}
