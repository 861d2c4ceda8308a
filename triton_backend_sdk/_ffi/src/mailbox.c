// How an event loop hears that calls have news: a file descriptor that becomes readable. The callee's thread writes to it
// without the GIL; the loop finds all that came meanwhile at one waking.
#include "call.h"
#include <sys/eventfd.h>
#include <unistd.h>

struct tb_mailbox {
  atomic_int refs;
  int fd;
  pthread_mutex_t lock;
  bool closed;  // its loop is gone
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
  pthread_mutex_lock(&mailbox->lock);
  if (mailbox->closed) {
    pthread_mutex_unlock(&mailbox->lock);
    return;
  }
  call->mailed = true;
  atomic_fetch_add(&call->refs, 1);
  bool empty = mailbox->first == NULL;
  if (empty) mailbox->first = call;
  else mailbox->last->next_mail = call;
  mailbox->last = call;
  call->next_mail = NULL;
  pthread_mutex_unlock(&mailbox->lock);
  uint64_t one = 1;
  if (empty && write(mailbox->fd, &one, sizeof one) < 0) tb_log(TRITONSERVER_LOG_ERROR, "waking an event loop failed");
}

static tb_call* empty_out(tb_mailbox* mailbox, bool closed)
{
  pthread_mutex_lock(&mailbox->lock);
  tb_call* calls = mailbox->first;
  mailbox->first = mailbox->last = NULL;
  mailbox->closed |= closed;
  pthread_mutex_unlock(&mailbox->lock);
  return calls;
}

// Gives the next one, and the token of the loop that awaits it.
static tb_call* opened(tb_call* call, uint64_t* token)
{
  pthread_mutex_lock(&call->lock);
  tb_call* next = call->next_mail;
  call->mailed = false;
  *token = call->token;
  pthread_mutex_unlock(&call->lock);
  tb_call_unref(call);
  return next;
}

// Under the call's lock, with the GIL: another loop awaits the call now, and its mailbox must hear of it.
void tb_mailbox_withdraw(tb_mailbox* mailbox, tb_call* call)
{
  tb_call* before = NULL;
  pthread_mutex_lock(&mailbox->lock);
  tb_call* at = mailbox->first;
  for (; at != NULL && at != call; at = at->next_mail) before = at;
  if (at != NULL) {
    if (before != NULL) before->next_mail = call->next_mail;
    else mailbox->first = call->next_mail;
    if (mailbox->last == call) mailbox->last = before;
    call->mailed = false;
    atomic_fetch_sub(&call->refs, 1);  // never the last: who awaits the call has it
  }
  pthread_mutex_unlock(&mailbox->lock);
}

// drain() -> list of the tokens of calls with news
static PyObject* mailbox_drain(mailbox_object* self, PyObject* unused)
{
  (void)unused;
  tb_mailbox* mailbox = self->mailbox;
  uint64_t woken;
  if (read(mailbox->fd, &woken, sizeof woken) < 0) woken = 0;
  PyObject* tokens = PyList_New(0);
  for (tb_call* call = empty_out(mailbox, false); call != NULL;) {
    uint64_t number;
    call = opened(call, &number);
    PyObject* token = tokens ? PyLong_FromUnsignedLongLong(number) : NULL;
    if (token == NULL || PyList_Append(tokens, token) != 0) Py_CLEAR(tokens);
    Py_XDECREF(token);
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
  if (self->mailbox != NULL) {  // calls that it never heard of hold it, as it holds them
    uint64_t unused;
    for (tb_call* call = empty_out(self->mailbox, true); call != NULL;) call = opened(call, &unused);
    tb_mailbox_drop(self->mailbox);
  }
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
