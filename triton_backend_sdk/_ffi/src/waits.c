// Who waits for whom: a call that nobody would ever answer is refused before it hangs.
//
// Seats are the instances of our models, by server, name and version. A seat that waits for a call moves on when the call is
// answered: where a seat is executing it, by that seat; where it is queued, by any seat of the model. A seat that waits for
// nothing moves on, and so does whoever waits for a model of which we know no seat. What does not move on in the smallest
// solution of these rules is a ring. As each wait is judged, under one lock, before it begins, and may begin only if its own
// seat moves on afterwards, those before it keep moving on too: two seats cannot slip into each other's arms.
//
// A call is executed under the address of the request that was sent: Triton's TRITONBACKEND_Request is that very object. Where
// it is another (an ensemble's inner requests) the rule for queued calls holds instead, which refuses less.
#include "call.h"

struct tb_seat {
  struct tb_seat* next;
  tb_instance* instance;
  TRITONSERVER_Server* server;
  char *name, *model;
  int64_t version;
  tb_call* calls;  // made by what it executes
  bool moves;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tb_seat* seats;
static atomic_uint enlisted;  // calls; while there are none an execution costs one look at it
static __thread tb_instance* executing;

void tb_seat_add(tb_instance* instance, TRITONBACKEND_ModelInstance* handle)
{
  TRITONBACKEND_Model* model = NULL;
  const char *name = NULL, *model_name = NULL;
  uint64_t version = 0;
  tb_seat* seat = calloc(1, sizeof *seat);
  if (seat == NULL) return;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceModel(handle, &model);
  if (error == NULL) error = TRITONBACKEND_ModelInstanceName(handle, &name);
  if (error == NULL) error = TRITONBACKEND_ModelName(model, &model_name);
  if (error == NULL) error = TRITONBACKEND_ModelVersion(model, &version);
  if (error == NULL) error = TRITONBACKEND_ModelServer(model, &seat->server);
  if (error == NULL) {
    seat->name = strdup(name);
    seat->model = strdup(model_name);
  }
  if (error != NULL || seat->name == NULL || seat->model == NULL) {  // calls to it are bounded by their timeout alone
    tb_check(error, "asking for an instance's model");
    free(seat->name);
    free(seat);
    return;
  }
  seat->instance = instance;
  seat->version = (int64_t)version;
  pthread_mutex_lock(&lock);
  seat->next = seats;
  seats = seat;
  pthread_mutex_unlock(&lock);
}

// sit(address): this thread is the instance's own, and runs nothing but its hooks.
static PyObject* sit(PyObject* module, PyObject* address)
{
  (void)module;
  executing = PyLong_AsVoidPtr(address);
  if (PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}
PyMethodDef tb_seat_functions[] = {{"sit", sit, METH_O, NULL}, {0}};

static tb_seat* seat_of(const tb_instance* instance)
{
  tb_seat* seat = seats;
  while (seat != NULL && seat->instance != instance) seat = seat->next;
  return seat;
}

static void forget_calls(tb_seat* seat)
{
  while (seat->calls != NULL) {
    tb_call* call = seat->calls;
    seat->calls = call->next_of_seat;
    call->seat = NULL;
    call->blocking = false;
    atomic_fetch_sub(&enlisted, 1);
  }
}

// Calls that the seat was executing will be answered, or not, without it.
static void let_loose(const tb_seat* gone)
{
  for (tb_seat* seat = seats; seat != NULL; seat = seat->next)
    for (tb_call* call = seat->calls; call != NULL; call = call->next_of_seat)
      if (call->runs == gone) {
        call->runs = NULL;
        call->loose = true;
      }
}

void tb_seat_remove(tb_instance* instance)
{
  pthread_mutex_lock(&lock);
  tb_seat* seat = seat_of(instance);
  for (tb_seat** at = &seats; *at != NULL; at = &(*at)->next)
    if (*at == seat) {
      *at = seat->next;
      break;
    }
  if (seat != NULL) {
    forget_calls(seat);
    let_loose(seat);
  }
  pthread_mutex_unlock(&lock);
  if (seat == NULL) return;
  free(seat->name);
  free(seat->model);
  free(seat);
}

void tb_seat_enter(tb_instance* instance, TRITONBACKEND_Request** requests, uint32_t count)
{
  executing = instance;
  if (atomic_load(&enlisted) == 0) return;
  pthread_mutex_lock(&lock);
  tb_seat* own = seat_of(instance);
  for (tb_seat* seat = seats; seat != NULL; seat = seat->next)
    for (tb_call* call = seat->calls; call != NULL; call = call->next_of_seat)
      for (uint32_t i = 0; i < count; i++)
        if (requests[i] == call->address) call->runs = own;
  pthread_mutex_unlock(&lock);
}

void tb_seat_leave(tb_instance* instance)
{
  executing = NULL;
  if (atomic_load(&enlisted) == 0) return;
  pthread_mutex_lock(&lock);
  tb_seat* seat = seat_of(instance);
  if (seat != NULL) {
    forget_calls(seat);
    let_loose(seat);
  }
  pthread_mutex_unlock(&lock);
}

void tb_wait_enlist(tb_call* call)
{
  if (executing == NULL) return;
  pthread_mutex_lock(&lock);
  tb_seat* seat = seat_of(executing);
  if (seat != NULL) {
    call->seat = seat;
    call->next_of_seat = seat->calls;
    seat->calls = call;
    atomic_fetch_add(&enlisted, 1);
  }
  pthread_mutex_unlock(&lock);
}

static bool serves(const tb_seat* seat, const tb_call* call)
{
  return seat->server == call->server && (call->version < 0 || seat->version == call->version) && strcmp(seat->model, call->model) == 0;
}

// Of several versions Triton takes the highest, where the call names none.
static int64_t version_of(const tb_call* call)
{
  int64_t version = call->version;
  for (tb_seat* seat = seats; seat != NULL && call->version < 0; seat = seat->next)
    if (serves(seat, call) && seat->version > version) version = seat->version;
  return version;
}

static bool answered(const tb_call* call)
{
  if (call->loose) return true;
  if (call->runs != NULL) return call->runs->moves;
  int64_t version = version_of(call);
  bool known = false;
  for (tb_seat* seat = seats; seat != NULL; seat = seat->next) {
    if (!serves(seat, call) || seat->version != version) continue;
    if (seat->moves) return true;
    known = true;
  }
  return !known;
}

static bool moves(const tb_seat* seat)
{
  for (tb_call* call = seat->calls; call != NULL; call = call->next_of_seat)
    if (call->blocking && !answered(call)) return false;
  return true;
}

static void solve(void)
{
  bool changed = true;
  for (tb_seat* seat = seats; seat != NULL; seat = seat->next) seat->moves = false;
  while (changed) {
    changed = false;
    for (tb_seat* seat = seats; seat != NULL; seat = seat->next)
      if (!seat->moves && moves(seat)) changed = seat->moves = true;
  }
}

static void refuse(const tb_call* call, char* text, size_t size)
{
  size_t length = (size_t)snprintf(text, size, "'%s' calls '%s', which nobody would ever answer:", call->seat->model, call->model);
  for (tb_seat* seat = seats; seat != NULL; seat = seat->next)
    for (tb_call* other = seat->calls; other != NULL && length < size; other = other->next_of_seat)
      if (!seat->moves && other->blocking)
        length += (size_t)snprintf(text + length, size - length, " %s waits for '%s';", seat->name, other->model);
  if (length < size)
    snprintf(text + length, size - length, " give one of these models more instances (instance_group { count }), or make its execute async, which occupies no instance while it awaits");
}

bool tb_wait_begin(tb_call* call)
{
  char text[2048];
  pthread_mutex_lock(&lock);
  bool goes_on = call->seat == NULL || executing != call->seat->instance;
  if (!goes_on) {
    call->blocking = true;
    solve();
    goes_on = call->seat->moves;
    if (!goes_on) {
      refuse(call, text, sizeof text);
      call->blocking = false;
    }
  }
  pthread_mutex_unlock(&lock);
  return goes_on || tb_raise_code(TRITONSERVER_ERROR_UNAVAILABLE, text) != NULL;
}

void tb_wait_end(tb_call* call)
{
  pthread_mutex_lock(&lock);
  call->blocking = false;
  pthread_mutex_unlock(&lock);
}

void tb_wait_delist(tb_call* call)
{
  if (atomic_load(&enlisted) == 0) return;
  pthread_mutex_lock(&lock);
  if (call->seat != NULL) {
    tb_call** at = &call->seat->calls;
    while (*at != call) at = &(*at)->next_of_seat;
    *at = call->next_of_seat;
    call->seat = NULL;
    call->blocking = false;
    atomic_fetch_sub(&enlisted, 1);
  }
  pthread_mutex_unlock(&lock);
}
