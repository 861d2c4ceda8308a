// A call to another model, from ServerInferAsync to the last response. Triton's callbacks come on any thread, without the GIL
// and in any order; each of the three sides (Python, the request, the responses) holds the call until it is done with it.
#include "call.h"

tb_call* tb_call_new(TRITONSERVER_Server* server, const char* model, int64_t version, uint32_t inputs)
{
  tb_call* call = calloc(1, sizeof *call + inputs * sizeof *call->given);
  char* name = call != NULL ? strdup(model) : NULL;
  if (name == NULL) {
    free(call);
    return (void*)PyErr_NoMemory();
  }
  call->model = name;
  call->version = version;
  call->server = server;
  call->refs = 1;
  call->given_room = inputs;
  call->plain = true;
  pthread_mutex_init(&call->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&call->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  return call;
}

static void give_back(tb_given* place)
{
  tb_given given = *place;
  memset(place, 0, sizeof *place);  // first: what follows may let another thread in, which gives back too
  if (given.owner != NULL) tb_drop_anywhere(given.owner);
  free(given.block);
  if (given.buffer.obj != NULL) PyBuffer_Release(&given.buffer);
  Py_XDECREF(given.holder);
}

static void let_go_of_inputs(tb_call* call)
{
  for (uint32_t i = 0; i < call->given_count; i++) give_back(&call->given[i]);
  call->given_count = 0;
}

// Nobody waits any longer, so that its cancellation is of no interest.
static void drop_parent(tb_call* call)
{
  pthread_mutex_lock(&call->lock);
  tb_record* parent = call->parent;
  call->parent = NULL;
  pthread_mutex_unlock(&call->lock);
  if (parent != NULL) tb_drop_anywhere(&parent->owner);
}

// The last one out: neither Triton nor Python knows the call any more.
void tb_call_unref(tb_call* call)
{
  if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) return;
  while (call->first != NULL) {
    tb_result* result = call->first;
    call->first = result->next;
    tb_drop(&result->owner);
  }
  if (call->mailbox != NULL) tb_mailbox_drop(call->mailbox);
  drop_parent(call);
  pthread_mutex_destroy(&call->lock);
  pthread_cond_destroy(&call->changed);
  free(call->model);
  free(call);
}

bool tb_call_ready(const tb_call* call) { return call->final || call->count > (call->plain ? 1 : 0); }

// Under the lock: a request that is both released and answered is nobody's but ours.
static TRITONSERVER_InferenceRequest* finished(tb_call* call)
{
  if (!call->released || !call->final) return NULL;
  TRITONSERVER_InferenceRequest* request = call->request;
  call->request = NULL;
  return request;
}

static void on_response(TRITONSERVER_InferenceResponse* response, uint32_t flags, void* userp)
{
  tb_call* call = userp;
  tb_result* result = response != NULL ? tb_result_read(response) : NULL;
  bool final = flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL;
  if (final) tb_wait_delist(call);
  pthread_mutex_lock(&call->lock);
  call->lost |= response != NULL && result == NULL;
  tb_result* unwanted = call->abandoned ? result : NULL;
  if (result != NULL && unwanted == NULL) {
    if (call->last != NULL && call->first != NULL) call->last->next = result;
    else call->first = result;
    call->last = result;
    call->count++;
  }
  call->final = final;
  call->bare_end = final && response == NULL;
  TRITONSERVER_InferenceRequest* request = finished(call);
  bool wake = tb_call_ready(call);
  if (wake && call->mailbox != NULL) tb_mailbox_post(call->mailbox, call);
  pthread_mutex_unlock(&call->lock);
  if (wake) pthread_cond_broadcast(&call->changed);
  if (unwanted != NULL) tb_drop(&unwanted->owner);
  if (request != NULL) tb_check(TRITONSERVER_InferenceRequestDelete(request), "deleting a request");
  if (!final) return;
  drop_parent(call);
  tb_call_unref(call);
}

// What needs no GIL goes; true if there is more.
static bool let_go_without_gil(tb_call* call)
{
  bool more = false;
  for (uint32_t i = 0; i < call->given_count; i++) {
    if (call->given[i].buffer.obj == NULL && call->given[i].holder == NULL) give_back(&call->given[i]);
    else more = true;
  }
  return more;
}

// Python lets go of arrays itself when it takes the result; only where it has done with the call before does this
// thread, which may be the callee's only one, wait for the GIL.
static void on_release(TRITONSERVER_InferenceRequest* request, uint32_t flags, void* userp)
{
  (void)request;
  tb_call* call = userp;
  if (!(flags & TRITONSERVER_REQUEST_RELEASE_ALL)) return;
  bool arrays = let_go_without_gil(call);  // until `released` they are this thread's
  pthread_mutex_lock(&call->lock);
  call->released = true;
  bool ours = call->abandoned;
  TRITONSERVER_InferenceRequest* done = finished(call);
  pthread_mutex_unlock(&call->lock);
  if (done != NULL) tb_check(TRITONSERVER_InferenceRequestDelete(done), "deleting a request");
  if (ours && arrays) {
    PyGILState_STATE state = tb_enter();
    let_go_of_inputs(call);
    tb_leave(state);
  }
  tb_call_unref(call);
}

bool tb_call_send(tb_call* call, TRITONSERVER_InferenceTrace* trace, bool wait)
{
  TRITONSERVER_ResponseAllocator* allocator = tb_call_allocator();
  if (allocator == NULL) return tb_raise(tb_py.internal_error, "Triton makes no response allocator") != NULL;
  TRITONSERVER_Error* error = TRITONSERVER_InferenceRequestSetReleaseCallback(call->request, on_release, call);
  if (error == NULL) error = TRITONSERVER_InferenceRequestSetResponseCallback(call->request, allocator, call, on_response, call);
  if (error == NULL) {
    atomic_store(&call->refs, 3);
    Py_BEGIN_ALLOW_THREADS  // once for both: between them the callee would have to give the GIL back
    error = TRITONSERVER_ServerInferAsync(call->server, call->request, trace);
    if (error == NULL && wait) tb_call_sleep(call);
    Py_END_ALLOW_THREADS
    if (error == NULL) return call->sent = true;
    atomic_store(&call->refs, 1);  // refused: no callback will come
  }
  // A child trace is lost with it: Triton does not say whether it has released it.
  return tb_triton_raise(error) != NULL;
}

void tb_call_settle(tb_call* call)
{
  pthread_mutex_lock(&call->lock);
  bool released = call->released;
  pthread_mutex_unlock(&call->lock);
  if (released) let_go_of_inputs(call);
}

void tb_call_cancel(tb_call* call)
{
  pthread_mutex_lock(&call->lock);
  if (!call->final && !call->cancelled && call->sent && !call->detached) {
    call->cancelled = true;
    bool sent = atomic_load(&call->refs) > 1;  // Triton cancels nothing that it was not given
    if (sent) tb_check(TRITONSERVER_InferenceRequestCancel(call->request), "cancelling a call");
    pthread_cond_broadcast(&call->changed);
    if (call->mailbox != NULL) tb_mailbox_post(call->mailbox, call);
  }
  pthread_mutex_unlock(&call->lock);
  drop_parent(call);
}

void tb_call_stop(tb_call* call)
{
  pthread_mutex_lock(&call->lock);
  if (!call->final && !call->cancelled && call->sent) tb_check(TRITONSERVER_InferenceRequestCancel(call->request), "cancelling a call");
  pthread_mutex_unlock(&call->lock);
}

void tb_call_close(tb_call* call)
{
  tb_call_cancel(call);
  tb_wait_delist(call);
  pthread_mutex_lock(&call->lock);
  if (atomic_load(&call->refs) == 1) call->released = call->final = true;  // never sent, or all is over
  call->abandoned = true;
  bool ours = call->released;
  TRITONSERVER_InferenceRequest* request = finished(call);  // it was never sent
  tb_result* results = call->first;
  call->first = call->last = NULL;
  call->count = 0;
  pthread_mutex_unlock(&call->lock);
  if (request != NULL) tb_check(TRITONSERVER_InferenceRequestDelete(request), "deleting a request");
  if (ours) let_go_of_inputs(call);
  for (tb_result* next; results != NULL; results = next) {
    next = results->next;
    tb_drop(&results->owner);
  }
}

bool tb_call_parent_cancelled(tb_call* call)
{
  bool cancelled = false;
  pthread_mutex_lock(&call->lock);
  if (call->parent != NULL) tb_check(TRITONBACKEND_RequestIsCancelled(call->parent->request, &cancelled), "asking for a cancellation");
  pthread_mutex_unlock(&call->lock);
  return cancelled;
}

tb_result* tb_call_take(tb_call* call, bool* over)
{
  pthread_mutex_lock(&call->lock);
  tb_result* result = call->first;
  if (result != NULL) {
    call->first = result->next;
    result->next = NULL;
    call->count--;
  }
  *over = call->final && call->first == NULL;
  pthread_mutex_unlock(&call->lock);
  return result;
}
