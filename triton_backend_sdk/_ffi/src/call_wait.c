// How a thread waits for a call: it looks for a moment, then it sleeps, and wakes for signals, deadlines and cancellations.
#include "call.h"
#include <errno.h>
#include <time.h>

#define SLICE 100000000u        // ns between two looks for a signal
#define PARENT_SLICE 10000000u  // ns between two looks at the parent's cancellation
#define GLANCE 50000u           // ns of looking before a thread sleeps

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

void tb_call_sleep(tb_call* call)
{
  if (!glance(call)) sleep_slices(call, UINT64_MAX);
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
