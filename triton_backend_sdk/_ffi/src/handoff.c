// A function's way to another thread, and its result's way back (instance_thread.py). Whoever is about to wait gives up
// Python's lock first and wakes the other then: it finds the lock free, where Python's own queues wake it too early.
#include "shim.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

typedef struct job {
  struct job* next;
  PyObject* work;
  PyObject *result, *type, *value, *traceback;
  sem_t done;
} job;

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t given;
  job *first, **last;
  bool closed;
} handoff;

static handoff* of(PyObject* capsule) { return PyCapsule_GetPointer(capsule, "tb_handoff"); }

static void handoff_free(PyObject* capsule)
{
  handoff* self = of(capsule);
  pthread_mutex_destroy(&self->lock);
  pthread_cond_destroy(&self->given);
  free(self);
}

PyObject* tb_handoff_new(PyObject* module, PyObject* unused)
{
  (void)module, (void)unused;
  handoff* self = calloc(1, sizeof *self);
  if (self == NULL) return PyErr_NoMemory();
  pthread_mutex_init(&self->lock, NULL);
  pthread_cond_init(&self->given, NULL);
  self->last = &self->first;
  PyObject* capsule = PyCapsule_New(self, "tb_handoff", handoff_free);
  if (capsule == NULL) free(self);
  return capsule;
}

static bool give(handoff* self, job* item)
{
  pthread_mutex_lock(&self->lock);
  bool open = !self->closed;
  if (open) {
    *self->last = item;
    self->last = &item->next;
    pthread_cond_signal(&self->given);
  }
  pthread_mutex_unlock(&self->lock);
  return open;
}

// handoff_call(handoff, work): work() on the thread that serves. None instead of a result's tuple: nobody serves any more.
PyObject* tb_handoff_call(PyObject* module, PyObject* args)
{
  (void)module;
  PyObject *capsule, *work;
  if (!PyArg_ParseTuple(args, "OO", &capsule, &work)) return NULL;
  handoff* self = of(capsule);
  if (self == NULL) return NULL;
  job item = {.work = work};
  sem_init(&item.done, 0, 0);
  bool given;
  Py_BEGIN_ALLOW_THREADS
  given = give(self, &item);
  while (given && sem_wait(&item.done) != 0 && errno == EINTR) continue;
  Py_END_ALLOW_THREADS
  sem_destroy(&item.done);
  if (!given) Py_RETURN_NONE;
  if (item.result != NULL) return Py_BuildValue("(N)", item.result);
  PyErr_Restore(item.type, item.value, item.traceback);
  return NULL;
}

static job* take(handoff* self)
{
  pthread_mutex_lock(&self->lock);
  while (self->first == NULL && !self->closed) pthread_cond_wait(&self->given, &self->lock);
  job* item = self->first;
  if (item != NULL && (self->first = item->next) == NULL) self->last = &self->first;
  pthread_mutex_unlock(&self->lock);
  return item;
}

// handoff_serve(handoff): the thread's whole life; ends when closed, after what was given before.
PyObject* tb_handoff_serve(PyObject* module, PyObject* capsule)
{
  (void)module;
  handoff* self = of(capsule);
  if (self == NULL) return NULL;
  job *item = NULL, *finished;
  do {
    finished = item;
    Py_BEGIN_ALLOW_THREADS
    if (finished != NULL) sem_post(&finished->done);  // the caller's stack may be gone from here on
    item = take(self);
    Py_END_ALLOW_THREADS
    if (item == NULL) break;
    item->result = PyObject_CallNoArgs(item->work);
    if (item->result == NULL) PyErr_Fetch(&item->type, &item->value, &item->traceback);
  } while (true);
  Py_RETURN_NONE;
}

PyObject* tb_handoff_close(PyObject* module, PyObject* capsule)
{
  (void)module;
  handoff* self = of(capsule);
  if (self == NULL) return NULL;
  pthread_mutex_lock(&self->lock);
  self->closed = true;
  pthread_cond_broadcast(&self->given);
  pthread_mutex_unlock(&self->lock);
  Py_RETURN_NONE;
}
