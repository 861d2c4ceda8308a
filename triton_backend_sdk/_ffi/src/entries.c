// The entries that a loader forwards to: the lifecycle goes to Python through cffi, a batch to execute.c.
#include "batcher.h"

extern TRITONSERVER_Error* tb_py_initialize(TRITONBACKEND_Backend*);
extern TRITONSERVER_Error* tb_py_finalize(TRITONBACKEND_Backend*);
extern TRITONSERVER_Error* tb_py_backend_attribute(TRITONBACKEND_Backend*, TRITONBACKEND_BackendAttribute*);
extern TRITONSERVER_Error* tb_py_model_initialize(TRITONBACKEND_Model*);
extern TRITONSERVER_Error* tb_py_model_finalize(TRITONBACKEND_Model*);
extern TRITONSERVER_Error* tb_py_instance_initialize(TRITONBACKEND_ModelInstance*);
extern TRITONSERVER_Error* tb_py_instance_finalize(TRITONBACKEND_ModelInstance*);
TRITONSERVER_Error* tb_instance_ready(TRITONBACKEND_ModelInstance*);
void tb_stop_interpreter(void);

static atomic_int backends;

// One library may be several backends: each that is a model.py alone is served by libtriton_python.so. A backend's state
// says that it was initialized, as Triton calls Finalize also where that failed.
static TRITONSERVER_Error* initialize(TRITONBACKEND_Backend* backend)
{
  TRITONSERVER_Error* error = tb_py_initialize(backend);
  if (error != NULL) return error;
  atomic_fetch_add(&backends, 1);
  return TRITONBACKEND_BackendSetState(backend, &backends);
}

static TRITONSERVER_Error* finalize(TRITONBACKEND_Backend* backend)
{
  void* state = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_BackendState(backend, &state);
  if (error != NULL || state == NULL) return error;
  error = tb_py_finalize(backend);
  if (atomic_fetch_sub(&backends, 1) == 1) tb_stop_interpreter();
  return error;
}

static const tb_entries entries = {
  initialize, finalize, tb_py_backend_attribute, tb_py_model_initialize, tb_py_model_finalize, tb_py_instance_initialize, tb_py_instance_finalize, tb_execute,
  tb_instance_ready, tb_batcher_initialize, tb_batcher_finalize, tb_batch_initialize, tb_batch_include, tb_batch_finalize};

uintptr_t tb_entries_address(void) { return (uintptr_t)&entries; }
