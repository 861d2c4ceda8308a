// The native module's own header. Reading order: table.c, python.c, record.c, reply.c, tensor.c (numpy.c, dlpack.c, bytes.c),
// request.c, source.c, output.c, state.c, answer.c, execute.c, stream.c, sender.c, module.c.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "entries.h"
#include "table.h"

#define TB_DTYPES 15

// --- ownership -------------------------------------------------------------------------------------------------------
// Memory that views look at. The last to drop it destroys it: from any thread, with or without the GIL.
typedef struct tb_owner {
  atomic_long refs;
  void (*destroy)(struct tb_owner*);
} tb_owner;

static inline void tb_keep(tb_owner* owner) { atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed); }
static inline bool tb_drop_is_last(tb_owner* owner) { return atomic_fetch_sub_explicit(&owner->refs, 1, memory_order_acq_rel) == 1; }
static inline void tb_drop(tb_owner* owner)
{
  if (tb_drop_is_last(owner)) owner->destroy(owner);
}
void tb_drop_with_gil(tb_owner* owner);  // destroys with the GIL released: Triton may call back or wait
void tb_drop_anywhere(tb_owner* owner);  // the same where this thread has the GIL

// --- a model instance, as the request path needs it ------------------------------------------------------------------
typedef struct {
  const char* kind;  // "output" or "state"
  char* name;
  TRITONSERVER_DataType dtype;
  uint32_t ndim;
  int64_t* dims;  // without the batch dimension; -1: any
  TRITONSERVER_MemoryType memory_type;  // preferred
  int64_t memory_type_id;
} tb_spec;

typedef struct {
  char* tensor;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
} tb_wish;

typedef struct tb_ready tb_ready;
void tb_ready_free(tb_ready* ready);

// Its requests keep it: Triton may take an instance away while views of what it executed are still held.
typedef struct {
  tb_owner owner;
  pthread_mutex_t lock;                // of handle
  TRITONBACKEND_ModelInstance* handle;  // NULL once Triton has taken the instance away
  PyObject* python;                    // the ModelInstance
  PyObject* execute;                   // callable(list of Request) -> list of Response; NULL once unbound
  PyObject* on_error;                  // callable(exception) -> (code, message); logs the traceback
  bool batching;                       // the first dimension is the batch
  bool decoupled;                      // any number of responses per request
  bool as_given;                       // outputs need not be as the config says
  bool warned;                         // of a view that outlived execute
  uint32_t output_count;
  tb_spec* outputs;
  struct tb_sequences* sequences;  // state.h; NULL: the model has none
  char* host_policy;  // its name; NULL: not known
  uint32_t wish_count;
  tb_wish* wishes;  // in which memory inputs and outputs should lie (memory.c)
  tb_ready* ready;  // what is_ready said last (ready.c); NULL: no such hook
} tb_instance;

// --- a request and its response --------------------------------------------------------------------------------------
typedef struct {
  TRITONBACKEND_Input* handle;
  const char* name;
  TRITONSERVER_DataType dtype;
  const int64_t* shape;
  uint32_t ndim;
  uint32_t buffer_count;
  uint64_t nbytes;
  const void* data;  // NULL until gathered, where there are several buffers
  void* gathered;
  const char* host_policy;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
} tb_input;

typedef struct tb_output {
  struct tb_output* next;
  const tb_spec* spec;
  TRITONSERVER_DataType dtype;  // the spec's, unless outputs are as given
  void* data;        // Triton's buffer, or the scratch memory's
  tb_owner* scratch;  // of a decoupled model: views may outlive the response, which is copied from here
  uint64_t nbytes;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  TRITONBACKEND_State* state;  // of a state; NULL once it is Triton's
  bool hold_gil;               // while it is written
  uint32_t ndim;
  int64_t shape[];
} tb_output;

// Requests whose answers come after execute has returned share the times of their batch.
typedef struct {
  atomic_uint unfinished;
  uint64_t exec_start, compute_start, size;
} tb_batch;

// A request and how it is answered. `owner`: views of its inputs, Request objects, one for the execution until it has reported
// its statistics and one for the reply; with the last the request goes back to Triton. `reply`: the answering; in a model that
// is not decoupled views of its outputs hold it, and the response is sent with the last of them. The memory goes when both
// are done, and execute, and a sender.
typedef struct tb_record {
  tb_owner owner;
  tb_owner reply;
  atomic_int parts;    // of owner, reply, execute and a sender, those that are not done
  atomic_bool settled;  // the execution has let go of owner
  atomic_bool unheld;   // the reply has let go of owner
  TRITONBACKEND_Request* request;
  TRITONBACKEND_ResponseFactory* factory;  // made when needed; from then on responses need no request
  TRITONBACKEND_Response* response;        // under way; NULL until the first output or the end
  TRITONSERVER_Error* error;               // ours until sent
  tb_instance* instance;
  tb_output* outputs;   // of the response under way
  tb_output* states;    // new states, of all responses
  tb_batch* batch;      // of a request that is answered later
  pthread_mutex_t lock;  // of a decoupled request: one response at a time, from whatever thread
  pthread_t builder;     // who holds it
  bool locked;
  int64_t batch_size;
  uint64_t start, previous;  // when execute was called, and when the response before was sent
  uint64_t sent;    // responses
  bool returned;    // execute has returned
  bool answered;    // the last response is made: no more outputs
  bool final_sent;
  bool building;    // an output is being made
  bool deferred;    // a ResponseSender answers it
  bool taken;       // what execute returned for it is being looked at: too late for a sender
  bool failed;      // an error was sent
  bool reschedule;  // Triton shall execute it again
  bool given_back;  // by Request.release
  bool watched;     // a sender of the author's answers it, and might be lost
  bool lent;        // to a call, which may let go of it a moment after its response
  bool* wanted;     // by output of the config
  uint32_t input_count;
  tb_input inputs[];
} tb_record;

tb_record* tb_record_new(tb_instance* instance, TRITONBACKEND_Request* request, uint64_t start);  // NULL: no memory, request untouched
void tb_record_forget(tb_record* record);                                                         // free without touching the request
void tb_record_lend(tb_owner* owner);  // which may be another's than a record's
bool tb_record_wants(const tb_record* record, const tb_spec* spec);
void tb_record_part_done(tb_record* record);
// Reports the request's statistics and lets go of it, once.
void tb_record_settle(tb_record* record, uint64_t compute_start, uint64_t compute_end);
void tb_record_unhold(tb_record* record);   // the reply lets go of the request, once
void tb_record_finish(tb_record* record);   // a deferred request has its last response: settle, drop the reply
bool tb_input_gather(tb_input* input);      // false and a Python error
#include "places.h"

// --- a response under way (reply.c); none of these needs the GIL ------------------------------------------------------
TRITONSERVER_Error* tb_reply_open(tb_record* record);     // record->response is there
TRITONSERVER_Error* tb_reply_factory(tb_record* record);  // record->factory is there
TRITONSERVER_Error* tb_reply_output(tb_record* record, tb_output* output);  // gives output->data
void tb_reply_send(tb_record* record, bool final, uint64_t given);          // with record->error if it is set
void tb_reply_discard(tb_record* record);                 // of a decoupled model: the response under way is forgotten
void tb_reply_end(tb_record* record);                     // the final flag alone
void tb_reply_drop(tb_owner* reply);                      // the destroy of a record's reply

// --- Python ----------------------------------------------------------------------------------------------------------
PyGILState_STATE tb_enter(void);
void tb_leave(PyGILState_STATE state);
uint64_t tb_now(void);
void tb_log(TRITONSERVER_LogLevel level, const char* format, ...);
void tb_check(TRITONSERVER_Error* error, const char* what);  // logs and deletes it

// What the C code knows of the package's Python side; set once by _hot.install.
typedef struct {
  PyObject* response_class;
  PyObject* datatypes[TB_DTYPES];  // DataType members by C value
  PyObject* numpy_dtypes[TB_DTYPES];
  PyObject* datatype_of;  // DataType.of
  PyObject* memory_types[3];
  PyObject* as_numpy_dtype;
  PyObject* move;  // (tensor, instance, memory type, id) -> tensor
  PyObject* device_copy;  // (target, source, nbytes, device)
  PyObject* coerce;  // (value) -> (object with the buffer protocol, DataType)
  PyObject* ndarray;
  PyObject* np_empty;
  PyObject *triton_error, *from_code;
  PyObject *internal_error, *not_found_error, *invalid_arg_error, *unsupported_error;
  PyObject* deadline;  // (microseconds, start in ns) -> Deadline
  PyObject* request_flag;
  PyObject* describe;  // (exception) -> (code, message)
  PyObject *str_dlpack, *kw_max_version, *max_version, *str_close;
  Py_ssize_t response_outputs, response_error, response_parameters, response_states, response_reschedule, response_sent;  // offsets of the class's slots
} tb_python;
extern tb_python tb_py;
extern PyTypeObject *tb_tensor_type, *tb_request_type, *tb_sender_type;

typedef struct {
  tb_owner* owner;
  const char* name;
  TRITONSERVER_DataType dtype;
  const int64_t* shape;
  uint32_t ndim;
  void* data;
  uint64_t nbytes;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  bool readonly;
} tb_view;

typedef struct {
  PyObject_VAR_HEAD
  tb_view view;
  Py_ssize_t strides[];  // bytes
} tb_tensor;

PyObject* tb_tensor_new(const tb_view* view);
PyObject* tb_request_new(tb_record* record);
PyObject* tb_request_id(TRITONBACKEND_Request* request);
PyObject* tb_request_parameters(TRITONBACKEND_Request* request);
PyObject* tb_requested_outputs(TRITONBACKEND_Request* request);
tb_record* tb_request_record(PyObject* request);  // NULL and a Python error once it was released
PyObject* tb_trace_is_on(PyObject* request, void* unused);
PyObject* tb_trace_info(PyObject* request, PyObject* unused);
PyObject* tb_trace_report(PyObject* request, PyObject* name);
PyTypeObject* tb_type_new(PyObject* module, PyType_Spec* spec, PyObject* base);  // a type of C under a class of Python
PyTypeObject* tb_tensor_type_new(PyObject* module, PyObject* base);
PyTypeObject* tb_request_type_new(PyObject* module, PyObject* base);
PyObject* tb_series_type_new(PyObject* module);
PyTypeObject* tb_sender_type_new(PyObject* module, PyObject* base);
PyObject* tb_sender_new(tb_record* record, bool watched);
void tb_sender_answered(void);
extern PyMethodDef tb_sender_functions[];
extern PyGetSetDef tb_request_getters[];
PyObject* tb_request_is_cancelled(PyObject* request, PyObject* unused);
PyObject* tb_dlpack_export(tb_tensor* tensor, bool versioned, bool copy);
PyObject* tb_shape_tuple(const tb_view* view);
PyObject* tb_numpy_dtype(TRITONSERVER_DataType dtype);
PyObject* tb_numpy_view(tb_tensor* tensor);
PyObject* tb_bytes_parse(const tb_view* view, PyObject* shape);
const char* tb_bytes_check(const void* data, uint64_t nbytes, uint64_t count);  // NULL, or what is wrong
uint32_t tb_itemsize(TRITONSERVER_DataType dtype);                              // 0 for BYTES
int64_t tb_elements(const int64_t* shape, uint32_t ndim);

// A value that a plugin gave for an output, whatever it was: memory with a type, a shape and strides in bytes.
typedef struct {
  const char* data;
  TRITONSERVER_DataType dtype;
  uint32_t ndim;
  int64_t shape[PyBUF_MAX_NDIM];
  int64_t strides[PyBUF_MAX_NDIM];
  uint32_t itemsize;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  bool objects;      // elements are PyObject*, to be written as BYTES
  Py_buffer buffer;  // held while data is used
  PyObject* holder;
} tb_source;
bool tb_source_open(tb_source* source, PyObject* value);  // false and a Python error
void tb_source_close(tb_source* source);
bool tb_source_is_compact(const tb_source* source);
void tb_source_pack(const tb_source* source, char* target, uint64_t nbytes);  // needs no GIL
bool tb_numpy_source(tb_source* source, PyObject* value);
bool tb_dlpack_import(tb_source* source, PyObject* value);
bool tb_bytes_texts(tb_source* source);  // elements that are neither bytes nor str become str
bool tb_bytes_size(const tb_source* source, const char* name, uint64_t* size);
bool tb_bytes_write(const tb_source* source, char* target, uint64_t size);

// Makes an output in Triton's buffer; NULL and a Python error.
tb_output* tb_output_new(tb_record* record, const tb_spec* spec, TRITONSERVER_DataType dtype, const int64_t* shape, uint32_t ndim, uint64_t nbytes,
  TRITONSERVER_MemoryType memory_type, int64_t memory_type_id);  // preferred
// An output in memory that becomes its own; NULL, or why not. Runs no Python, as other threads may be about.
const char* tb_output_scratch(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim, uint64_t nbytes, void* data, tb_owner* memory);
const tb_spec* tb_output_spec(tb_record* record, const char* name);
bool tb_output_check_shape(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim);
tb_output* tb_output_find(tb_record* record, const tb_spec* spec);
bool tb_output_write(tb_record* record, const char* name, PyObject* value);  // false and a Python error

// From what a plugin gave for a request to its response (answer.c). With the GIL.
TRITONSERVER_Error* tb_take_exception(tb_instance* instance);  // the pending Python exception, logged
bool tb_answer(tb_record* record, PyObject* item, Py_ssize_t index);  // false and a Python error; index -1: not of a list
bool tb_answer_is_error(PyObject* item);  // given as such, and no fault

// Responses one after another (stream.c). With the GIL.
bool tb_stream_send(tb_record* record, PyObject* item, bool final);  // false and a Python error; nothing was sent then
void tb_stream_fail(tb_record* record, TRITONSERVER_Error* error);    // final; takes the error
bool tb_stream_close(tb_record* record, const char* unanswered);      // final; an error if nothing was sent and `unanswered`; false as above
void tb_stream_pump(tb_record** records, PyObject** generators, uint32_t count);
bool tb_stream_lock(tb_record* record);  // false and a Python error: this thread has it
bool tb_stream_is_mine(const tb_record* record);
void tb_stream_unlock(tb_record* record);
bool tb_record_cancelled(tb_record* record);

TRITONSERVER_Error* tb_execute(TRITONBACKEND_ModelInstance* handle, TRITONBACKEND_Request** requests, uint32_t count);
PyObject* tb_raise(PyObject* type, const char* format, ...);  // NULL
const char* tb_table_load(void);                               // NULL, or the name of the function that is missing
