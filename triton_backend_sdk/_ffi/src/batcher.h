// Which requests Triton's dynamic batcher may put together: a rule in C, hooks in Python.
#pragma once
#include "shim.h"
#include <pthread.h>

#define TB_FORMED 1024  // a power of two

// At most so much in one batch; UINT64_MAX: no limit.
typedef struct {
  uint64_t elements, bytes, padded;
  char** inputs;  // those that count; none: all
  uint32_t input_count;
} tb_rule;

typedef struct {
  uint64_t elements, bytes, rows, longest;  // longest: elements of the longest row, to which padding brings all others
} tb_size;

typedef struct tb_batcher {
  struct tb_batcher* next;
  TRITONBACKEND_Model* model;
  PyObject* python;                           // the Model
  PyObject *initialize, *include, *finalize;  // callables of a batch; NULL without hooks
  PyObject* on_error;                         // callable(hook's name, exception), logs
  bool batching;                              // the first dimension is the batch
  tb_rule rule;
  atomic_bool attached, closed;
  atomic_bool between;  // a batch was sent, and no other begun
  // The one batch that is being formed, touched by the model's scheduler thread alone.
  struct {
    tb_size size;
    bool holds_any;
    bool failed;      // a hook raised: it is asked no more, and nothing joins
    PyObject* state;  // what batch_initialize gave; NULL before the first request is looked at
  } batch;
  pthread_mutex_t lock;  // over what is below; the GIL is never waited for with it
  uint64_t serial;       // of the batch being formed
  struct { const void* request; uint64_t batch; } formed[TB_FORMED];  // which batch a request went to; newer ones push older out
} tb_batcher;

TRITONSERVER_Error* tb_batcher_initialize(TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model);
TRITONSERVER_Error* tb_batcher_finalize(TRITONBACKEND_Batcher* batcher);
TRITONSERVER_Error* tb_batch_initialize(const TRITONBACKEND_Batcher* batcher, void** userp);
TRITONSERVER_Error* tb_batch_include(TRITONBACKEND_Request* request, void* userp, bool* should_include);
TRITONSERVER_Error* tb_batch_finalize(void* userp);

// batch_hooks.c: they take the GIL, and give it back
bool tb_batch_ask(tb_batcher* batcher, TRITONBACKEND_Request* request);
void tb_batch_end(tb_batcher* batcher);
bool tb_in_batch_hook(void);  // this thread runs one
void tb_batcher_register(tb_batcher* batcher);
void tb_batcher_unregister(tb_batcher* batcher);
extern PyMethodDef tb_batcher_methods[];

// queued.c
PyTypeObject* tb_queued_type_new(PyObject* module, PyObject* base);
extern PyObject* tb_queued_input;  // the class QueuedInput
PyObject* tb_queued_new(TRITONBACKEND_Request* request, bool batching);
void tb_queued_close(PyObject* queued);
