// A call to another model, from ServerInferAsync to the last response. Triton's callbacks come on any thread, without the GIL
// and in any order; each of the three sides (Python, the request, the responses) holds the call until it is done with it.
#include "call.h"
#include <errno.h>
#include <time.h>

#define SLICE 100000000u        // ns between two looks for a signal
#define PARENT_SLICE 10000000u  // ns between two looks at the parent's cancellation
#define GLANCE 50000u           // ns of looking before a thread sleeps

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

// Without the GIL. READY, CANCELLED, or NOT_YET when the time is over.
static tb_waited sleep_until(tb_call* call, uint64_t until)
{
  struct timespec time = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
  int slept = 0;
  pthread_mutex_lock(&call->lock);
  while (until != 0 && !tb_call_ready(call) && !call->cancelled && slept != ETIMEDOUT) slept = pthread_cond_timedwait(&call->changed, &call->lock, &time);
  tb_waited waited = tb_call_ready(call) ? TB_READY : call->cancelled ? TB_CANCELLED : TB_NOT_YET;
  pthread_mutex_unlock(&call->lock);
  return waited;
}

// Without the GIL: for as long as nobody may have sent a signal.
static tb_waited sleep_slices(tb_call* call, uint64_t until)
{
  uint64_t now = tb_now(), signals = now + SLICE;
  pthread_mutex_lock(&call->lock);
  bool has_parent = call->parent != NULL;
  pthread_mutex_unlock(&call->lock);
  if (call->deadline != 0 && call->deadline < until) until = call->deadline;
  if (signals < until) until = signals;
  for (;;) {
    uint64_t wake = has_parent && now + PARENT_SLICE < until ? now + PARENT_SLICE : until;
    tb_waited waited = sleep_until(call, wake);
    if (waited != TB_NOT_YET) return waited;
    if (tb_call_parent_cancelled(call)) return TB_PARENT_CANCELLED;
    if ((now = tb_now()) >= until) return TB_NOT_YET;
  }
}

// Without the GIL. To wake a sleeper costs tens of microseconds where a processor is idle, more than small models take; so
// whoever waits looks for a moment first, as long as that paid of late: on a busy machine it does not.
static bool glance(const tb_call* call)
{
  enum { MOST = 8, TRY = 32 };
  static atomic_int paid = MOST;
  static atomic_uint calls;
  int credit = atomic_load_explicit(&paid, memory_order_relaxed);
  if (credit <= 0 && atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) % TRY != 0) return false;
  for (uint64_t end = tb_now() + GLANCE; !atomic_load_explicit(&call->final, memory_order_acquire);)
    if (tb_now() >= end) {
      atomic_store_explicit(&paid, credit > 0 ? credit - 2 : 0, memory_order_relaxed);
      return false;
    }
  if (credit < MOST) atomic_store_explicit(&paid, credit + 1, memory_order_relaxed);
  return true;
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
    if (error == NULL && wait && !glance(call)) sleep_slices(call, UINT64_MAX);
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

tb_waited tb_call_wait(tb_call* call, uint64_t until)
{
  for (;;) {
    tb_waited waited = sleep_until(call, 0);  // no more than a look
    uint64_t now = tb_now();
    if (waited == TB_NOT_YET && tb_call_parent_cancelled(call)) waited = TB_PARENT_CANCELLED;
    if (waited != TB_NOT_YET) return waited;
    if (call->deadline != 0 && now >= call->deadline) return TB_DEADLINE;
    if (now >= until) return TB_NOT_YET;
    if (PyErr_CheckSignals() != 0) return TB_INTERRUPTED;
    Py_BEGIN_ALLOW_THREADS
    sleep_slices(call, until);
    Py_END_ALLOW_THREADS
  }
}
