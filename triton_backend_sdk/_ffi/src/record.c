// A request as C gathers it, without the GIL: names, datatypes, shapes and pointers, all Triton's own memory.
#include "state.h"
#include <stddef.h>

static const uint32_t itemsizes[TB_DTYPES] = {0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0, 2};

uint32_t tb_itemsize(TRITONSERVER_DataType dtype) { return itemsizes[dtype]; }

// -1 for a shape that no memory can have.
int64_t tb_elements(const int64_t* shape, uint32_t ndim)
{
  int64_t count = 1;
  for (uint32_t i = 0; i < ndim; i++)
    if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count)) return -1;
  return count > INT64_MAX / 8 ? -1 : count;
}

static TRITONSERVER_Error* error_new(TRITONSERVER_Error_Code code, const char* format, const char* name, const char* what)
{
  char message[512];
  snprintf(message, sizeof message, format, name, what);
  return TRITONSERVER_ErrorNew(code, message);
}

static void free_memory(tb_record* record)
{
  for (uint32_t i = 0; i < record->input_count; i++) free(record->inputs[i].gathered);
  tb_states_free(record);
  if (record->factory != NULL) tb_check(TRITONBACKEND_ResponseFactoryDelete(record->factory), "deleting a response factory");
  tb_drop(&record->instance->owner);
  free(record);
}

void tb_record_part_done(tb_record* record)
{
  if (atomic_fetch_sub_explicit(&record->parts, 1, memory_order_acq_rel) == 1) free_memory(record);
}

void tb_record_forget(tb_record* record)
{
  if (record->error != NULL) TRITONSERVER_ErrorDelete(record->error);
  free_memory(record);
}

void tb_check(TRITONSERVER_Error* error, const char* what)
{
  if (error == NULL) return;
  tb_log(TRITONSERVER_LOG_ERROR, "%s failed: %s", what, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
}

// Nothing looks at the inputs any more: the request goes back to Triton.
static void release_request(tb_owner* owner)
{
  tb_record* record = (tb_record*)owner;
  TRITONSERVER_Error* error = NULL;
  if (record->reschedule && (error = TRITONBACKEND_RequestRelease(record->request, TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)) != NULL) {
    // Not a model of iterative sequences: the request is still ours, and unanswered.
    record->reschedule = false;
    record->error = error;
    tb_reply_send(record, true, tb_now());
  }
  if (!record->reschedule) tb_check(TRITONBACKEND_RequestRelease(record->request, TRITONSERVER_REQUEST_RELEASE_ALL), "releasing a request");
  tb_record_part_done(record);
}

void tb_record_lend(tb_owner* owner)
{
  if (owner->destroy == release_request) ((tb_record*)owner)->lent = true;
}

void tb_record_settle(tb_record* record, uint64_t compute_start, uint64_t compute_end)
{
  if (atomic_exchange(&record->settled, true)) return;
  tb_instance* instance = record->instance;
  bool late = record->deferred;  // it may outlive the instance
  if (late) pthread_mutex_lock(&instance->lock);
  if (instance->handle != NULL)
    tb_check(TRITONBACKEND_ModelInstanceReportStatistics(instance->handle, record->request, !record->failed, record->start, compute_start, compute_end, tb_now()),
      "reporting statistics");
  if (late) pthread_mutex_unlock(&instance->lock);
  tb_drop(&record->owner);
}

void tb_record_unhold(tb_record* record)
{
  if (!atomic_exchange(&record->unheld, true)) tb_drop(&record->owner);
}

static void batch_finish(tb_instance* instance, tb_batch* batch, uint64_t now)
{
  if (batch == NULL || atomic_fetch_sub(&batch->unfinished, 1) != 1) return;
  pthread_mutex_lock(&instance->lock);
  if (instance->handle != NULL)
    tb_check(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance->handle, batch->size, batch->exec_start, batch->compute_start, now, now), "reporting statistics");
  pthread_mutex_unlock(&instance->lock);
  free(batch);
}

void tb_record_finish(tb_record* record)
{
  uint64_t now = tb_now();
  tb_keep(&record->instance->owner);
  tb_instance* instance = record->instance;
  tb_batch* batch = record->batch;
  uint64_t compute_start = batch ? batch->compute_start : record->start;
  record->failed |= record->error != NULL;
  if (record->watched) tb_sender_answered();
  batch_finish(instance, batch, now);  // before the release, as in execute
  tb_record_settle(record, compute_start, now);
  tb_drop(&record->reply);
  tb_drop(&instance->owner);
}

void tb_drop_with_gil(tb_owner* owner)
{
  if (!tb_drop_is_last(owner)) return;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);  // a view may end while an exception passes, and Triton may call Python
  Py_BEGIN_ALLOW_THREADS
  owner->destroy(owner);
  Py_END_ALLOW_THREADS
  PyErr_Restore(type, value, traceback);
}

void tb_drop_anywhere(tb_owner* owner)
{
  PyThreadState* current = _PyThreadState_UncheckedGet();
  if (current != NULL && current == PyGILState_GetThisThreadState()) tb_drop_with_gil(owner);
  else tb_drop(owner);
}

// A request whose bytes do not fit its own shape fails here, alone, before a plugin could trip over it.
static TRITONSERVER_Error* check_input(const tb_input* input)
{
  if (input->dtype <= TRITONSERVER_TYPE_INVALID || input->dtype >= TB_DTYPES)
    return error_new(TRITONSERVER_ERROR_UNSUPPORTED, "input '%s' has a datatype that this backend does not know%s", input->name, "");
  int64_t elements = tb_elements(input->shape, input->ndim);
  if (elements < 0 || input->ndim > PyBUF_MAX_NDIM)
    return error_new(TRITONSERVER_ERROR_INVALID_ARG, "input '%s' has a shape that no tensor can have%s", input->name, "");
  if (input->dtype != TRITONSERVER_TYPE_BYTES) {
    if ((uint64_t)elements * tb_itemsize(input->dtype) == input->nbytes) return NULL;
    char numbers[128];
    snprintf(numbers, sizeof numbers, "%lld bytes, its data %llu", (long long)(elements * tb_itemsize(input->dtype)), (unsigned long long)input->nbytes);
    return error_new(TRITONSERVER_ERROR_INVALID_ARG, "input '%s': the shape needs %s", input->name, numbers);
  }
  if (input->buffer_count > 1 || input->memory_type == TRITONSERVER_MEMORY_GPU) return NULL;  // checked when parsed
  const char* wrong = tb_bytes_check(input->data, input->nbytes, (uint64_t)elements);
  return wrong == NULL ? NULL : error_new(TRITONSERVER_ERROR_INVALID_ARG, "BYTES input '%s' is malformed: %s", input->name, wrong);
}

static TRITONSERVER_Error* gather(tb_record* record, uint32_t index)
{
  tb_input* input = &record->inputs[index];
  input->host_policy = record->instance->host_policy;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestInputByIndex(record->request, index, &input->handle);
  if (error == NULL)
    error = TRITONBACKEND_InputPropertiesForHostPolicy(input->handle, input->host_policy, &input->name, &input->dtype, &input->shape, &input->ndim, &input->nbytes, &input->buffer_count);
  if (error == NULL && input->buffer_count > 0) {
    const tb_wish* wish = record->instance->wish_count ? tb_wish_find(record->instance, input->name) : NULL;
    if (wish != NULL) input->memory_type = wish->memory_type, input->memory_type_id = wish->memory_type_id;
    uint64_t first = 0;
    error = tb_input_part(input, 0, &input->data, &first, &input->memory_type, &input->memory_type_id);
  }
  if (error == NULL) error = tb_sequence_id_trim(record, input);
  if (error == NULL) error = check_input(input);
  if (input->buffer_count > 1) input->data = NULL;
  return error;
}

static TRITONSERVER_Error* read_wanted(tb_record* record)
{
  tb_instance* instance = record->instance;
  uint32_t count = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestOutputCount(record->request, &count);
  for (uint32_t i = 0; i < count && error == NULL; i++) {
    const char* name = NULL;
    error = TRITONBACKEND_RequestOutputName(record->request, i, &name);
    for (uint32_t k = 0; k < instance->output_count && error == NULL; k++) record->wanted[k] |= strcmp(instance->outputs[k].name, name) == 0;
  }
  return error;
}

tb_record* tb_record_new(tb_instance* instance, TRITONBACKEND_Request* request, uint64_t start)
{
  uint32_t count = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestInputCount(request, &count);
  tb_record* record = calloc(1, sizeof *record + count * sizeof *record->inputs + instance->output_count * sizeof *record->wanted);
  if (record == NULL) {
    if (error != NULL) TRITONSERVER_ErrorDelete(error);
    return NULL;
  }
  record->owner = (tb_owner){2, release_request};
  record->reply = (tb_owner){1, tb_reply_drop};
  record->parts = 3;
  record->request = request;
  tb_keep(&instance->owner);
  record->instance = instance;
  record->start = record->previous = start;
  record->wanted = (bool*)&record->inputs[count];
  record->batch_size = 1;
  if (error == NULL) error = read_wanted(record);
  for (uint32_t i = 0; i < count && error == NULL; i++) {
    record->input_count = i + 1;
    error = gather(record, i);
  }
  record->error = error;
  if (error == NULL) tb_sequence_start(record);
  if (error == NULL && instance->batching && count > 0 && record->inputs[0].ndim > 0) record->batch_size = record->inputs[0].shape[0];
  return record;
}

bool tb_record_wants(const tb_record* record, const tb_spec* spec) { return record->wanted[spec - record->instance->outputs]; }

// Several buffers become one, once, when somebody looks at the input.
bool tb_input_gather(tb_input* input)
{
  if (input->data != NULL || input->nbytes == 0) return true;
  char* target = malloc(input->nbytes);
  if (target == NULL) {
    PyErr_NoMemory();
    return false;
  }
  uint64_t filled = 0;
  for (uint32_t i = 0; i < input->buffer_count; i++) {
    const void* part = NULL;
    uint64_t size = 0;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t id = 0;
    TRITONSERVER_Error* error = tb_input_part(input, i, &part, &size, &type, &id);
    const char* wrong = error != NULL ? TRITONSERVER_ErrorMessage(error) : NULL;
    if (wrong == NULL && size <= input->nbytes - filled) {
      if (type != TRITONSERVER_MEMORY_GPU) memcpy(target + filled, part, size);
      else if (!tb_device_copy(target + filled, part, size, id)) return free(target), false;
      filled += size;
      continue;
    }
    tb_raise(tb_py.internal_error, "input '%s' cannot be gathered: %s", input->name, wrong ? wrong : "its parts exceed its size");
    if (error != NULL) TRITONSERVER_ErrorDelete(error);
    free(target);
    return false;
  }
  if (input->data != NULL) return free(target), true;  // another thread was here while a device copied
  input->memory_type = TRITONSERVER_MEMORY_CPU;  // where its parts were pinned
  input->gathered = target;
  input->data = target;
  return true;
}
