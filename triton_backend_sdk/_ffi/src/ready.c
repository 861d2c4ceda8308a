// Is an instance ready? Triton asks on the thread that answers a health check, which must not wait for Python's lock: it
// reads here what the is_ready hook said last (readiness.py asks it at an interval), and for how long that holds.
#include "shim.h"
#include <pthread.h>

struct tb_ready {
  pthread_mutex_t lock;
  uint64_t answered, valid_until;  // of tb_now()
  bool ready;
  char message[1024];
};

void tb_ready_free(tb_ready* ready)
{
  if (ready == NULL) return;
  pthread_mutex_destroy(&ready->lock);
  free(ready);
}

// The first call comes before the model is READY, hence before Triton asks. A message: not ready, and why.
void tb_set_ready(uintptr_t address, const char* message, double valid_seconds)
{
  tb_instance* instance = (tb_instance*)address;
  if (instance->ready == NULL) {
    tb_ready* made = calloc(1, sizeof *made);
    if (made == NULL) return;
    pthread_mutex_init(&made->lock, NULL);
    instance->ready = made;
  }
  tb_ready* ready = instance->ready;
  pthread_mutex_lock(&ready->lock);
  ready->ready = message == NULL;
  snprintf(ready->message, sizeof ready->message, "%s", message ? message : "");
  ready->answered = tb_now();
  ready->valid_until = ready->answered + (uint64_t)(valid_seconds * 1e9);
  pthread_mutex_unlock(&ready->lock);
}

TRITONSERVER_Error* tb_instance_ready(TRITONBACKEND_ModelInstance* handle)
{
  void* state = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceState(handle, &state);
  tb_ready* ready = error == NULL && state != NULL ? ((tb_instance*)state)->ready : NULL;
  if (ready == NULL) return error;  // no hook: always ready
  char message[1100] = "";
  uint64_t now = tb_now();
  pthread_mutex_lock(&ready->lock);
  if (now > ready->valid_until)
    snprintf(message, sizeof message, "is_ready has not answered for %.1f s: it hangs, or something holds Python's lock (the GIL)",
      (double)(now - ready->answered) / 1e9);
  else if (!ready->ready) snprintf(message, sizeof message, "%s", ready->message);
  pthread_mutex_unlock(&ready->lock);
  return message[0] == 0 ? NULL : TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, message);
}
