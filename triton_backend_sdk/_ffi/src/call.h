// Calls to models of the same server. Reading order: call.c (a call under way), call_wait.c, call_start.c, call_input.c, call_result.c, infer_response.c, waits.c (who
// waits for whom), mailbox.c (how an event loop hears of it), call_type.c (what Python sees).
#pragma once
#include "shim.h"
#include <pthread.h>

// --- an output buffer, a response -------------------------------------------------------------------------------------
// Triton holds it until it deletes the response, the result for as long as views look at it.
typedef struct {
  atomic_int refs;
  void* data;
  TRITONBACKEND_MemoryManager* manager;  // NULL: malloc's
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
} tb_buffer;

typedef struct {
  const char* name;
  TRITONSERVER_DataType dtype;
  uint32_t ndim;
  const int64_t* shape;
  const void* data;
  uint64_t nbytes;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  tb_buffer* buffer;
} tb_part;

typedef struct {
  const char* name;
  TRITONSERVER_ParameterType type;
  const void* value;
} tb_setting;

// A response in memory of our own: what views keep alive is no object of Triton's, so the model can be unloaded meanwhile.
typedef struct tb_result {
  tb_owner owner;
  struct tb_result* next;
  int code;
  const char* error;  // NULL: none
  const char *model, *id;
  int64_t version;
  uint32_t part_count, setting_count;
  tb_part* parts;
  tb_setting* settings;
} tb_result;

tb_result* tb_result_read(TRITONSERVER_InferenceResponse* response);  // takes the response; NULL: no memory
TRITONSERVER_ResponseAllocator* tb_call_allocator(void);              // NULL: Triton made none

// --- a call ----------------------------------------------------------------------------------------------------------
// What Triton reads an input from, until it lets go of the request.
typedef struct {
  tb_owner* owner;  // of a Tensor
  void* block;      // serialized, or made compact
  Py_buffer buffer;
  PyObject* holder;  // these two need the GIL
} tb_given;

typedef struct tb_mailbox tb_mailbox;
typedef struct tb_seat tb_seat;

typedef struct tb_call {
  atomic_int refs;  // Python's, the request's until it is released, the responses' until the final flag
  pthread_mutex_t lock;
  pthread_cond_t changed;
  TRITONSERVER_InferenceRequest* request;  // for cancel() until it is both released and answered
  bool sent, released, cancelled;
  atomic_bool final;
  bool abandoned;  // Python is not interested any more
  bool lost;       // a response found no memory
  bool detached;   // nothing cancels it any more
  tb_result *first, *last;
  uint32_t count;  // of results that nobody has taken
  bool plain;      // one response is wanted, so only the final flag wakes
  bool bare_end;   // the final flag came without a response
  bool wait_here;  // this thread waits for it, also where an event loop runs
  uint64_t deadline;  // in tb_now's time; 0: none
  char* model;
  int64_t version;
  const void* address;  // of the request that was sent
  TRITONSERVER_Server* server;
  bool anywhere;  // outputs lie where the called model likes
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  TRITONBACKEND_MemoryManager* manager;
  tb_record* parent;
  tb_mailbox* mailbox;
  struct tb_call* next_mail;
  bool mailed;
  uint64_t token;
  // waits.c, under its lock
  tb_seat *seat, *runs;
  struct tb_call* next_of_seat;
  bool blocking, loose;
  uint32_t given_count, given_room;
  tb_given given[];
} tb_call;

tb_call* tb_call_new(TRITONSERVER_Server* server, const char* model, int64_t version, uint32_t inputs);  // NULL and a Python error
bool tb_call_send(tb_call* call, TRITONSERVER_InferenceTrace* trace, bool wait);                         // false and a Python error
void tb_call_cancel(tb_call* call);
void tb_call_stop(tb_call* call);  // the model is asked to; what it still answers is waited for
void tb_call_close(tb_call* call);  // with the GIL: Python lets go; cancels what is under way
void tb_call_settle(tb_call* call);  // with the GIL: the inputs go if Triton has let go of them
void tb_call_unref(tb_call* call);
bool tb_call_parent_cancelled(tb_call* call);
bool tb_call_ready(const tb_call* call);  // under its lock
tb_result* tb_call_take(tb_call* call, bool* over);  // NULL: over, or nothing yet

typedef enum { TB_READY, TB_CANCELLED, TB_PARENT_CANCELLED, TB_DEADLINE, TB_NOT_YET, TB_INTERRUPTED } tb_waited;
void tb_call_sleep(tb_call* call);  // without the GIL: until there is news, or it is time to look for signals
tb_waited tb_call_wait(tb_call* call, uint64_t until);  // with the GIL, which it gives up; INTERRUPTED: a Python error

// INFER waits at once; START and AWAIT are waited for by result() or an event loop; STREAM may give any number of responses.
typedef enum { TB_INFER, TB_START, TB_AWAIT, TB_STREAM } tb_call_kind;
tb_call* tb_call_start(PyObject* const* args, Py_ssize_t count, tb_call_kind* kind);  // NULL and a Python error
tb_call* tb_call_discard(tb_call* call);                                              // NULL; keeps the Python error
bool tb_call_may_block(const tb_call* call);                                          // false and a Python error

bool tb_call_add_inputs(tb_call* call, PyObject* inputs);  // false and a Python error
PyObject* tb_triton_raise(TRITONSERVER_Error* error);      // NULL; deletes the error
PyObject* tb_raise_code(int code, const char* message);    // NULL

// --- who waits for whom ----------------------------------------------------------------------------------------------
// A seat is an instance of a model of ours. It executes one batch at a time, so while its plugin waits for a call nobody
// else is served there.
void tb_seat_add(tb_instance* instance, TRITONBACKEND_ModelInstance* handle);
void tb_seat_remove(tb_instance* instance);
void tb_seat_enter(tb_instance* instance, TRITONBACKEND_Request** requests, uint32_t count);  // execute begins on this thread
void tb_seat_leave(tb_instance* instance);
void tb_wait_enlist(tb_call* call);  // a call that this thread's execute makes
bool tb_wait_begin(tb_call* call);   // false and a Python error: nobody would ever answer
void tb_wait_end(tb_call* call);
void tb_wait_delist(tb_call* call);

// --- event loops -----------------------------------------------------------------------------------------------------
void tb_mailbox_post(tb_mailbox* mailbox, tb_call* call);
void tb_mailbox_withdraw(tb_mailbox* mailbox, tb_call* call);
void tb_mailbox_keep(tb_mailbox* mailbox);
void tb_mailbox_drop(tb_mailbox* mailbox);
tb_mailbox* tb_mailbox_of(PyObject* mailbox);  // NULL and a Python error
bool tb_mailbox_types(PyObject* module);

bool tb_infer_response_type(PyObject* module, PyObject* base);
PyObject* tb_infer_response_new(tb_result* result);
bool tb_call_types(PyObject* module, PyObject* names);
extern PyMethodDef tb_call_functions[], tb_seat_functions[];
