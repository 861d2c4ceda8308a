// A response of a called model: its buffers are ours from the start, the rest is copied into one block, and Triton's object
// is deleted on the spot.
#include "call.h"

// --- buffers ---------------------------------------------------------------------------------------------------------

static void buffer_drop(tb_buffer* buffer)
{
  if (atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel) != 1) return;
  if (buffer->manager != NULL)
    tb_check(TRITONBACKEND_MemoryManagerFree(buffer->manager, buffer->data, buffer->memory_type, buffer->memory_type_id), "freeing an output buffer");
  free(buffer);
}

// From Triton's own pools, where the caller asked for memory that malloc has not.
static bool from_pool(const tb_call* call, tb_buffer* buffer, size_t size, TRITONSERVER_MemoryType memory_type, int64_t memory_type_id)
{
  if (memory_type == TRITONSERVER_MEMORY_CPU || call->manager == NULL) return false;
  TRITONSERVER_Error* error = TRITONBACKEND_MemoryManagerAllocate(call->manager, &buffer->data, memory_type, memory_type_id, size);
  if (error != NULL) {  // "preferred" is no more than that
    TRITONSERVER_ErrorDelete(error);
    return false;
  }
  buffer->manager = call->manager;
  buffer->memory_type = memory_type;
  buffer->memory_type_id = memory_type_id;
  return true;
}

static TRITONSERVER_Error* allocate(TRITONSERVER_ResponseAllocator* allocator, const char* name, size_t size, TRITONSERVER_MemoryType memory_type, int64_t memory_type_id,
  void* userp, void** data, void** data_userp, TRITONSERVER_MemoryType* actual_type, int64_t* actual_id)
{
  (void)allocator, (void)name;
  const tb_call* call = userp;
  if (!call->anywhere) memory_type = call->memory_type, memory_type_id = call->memory_type_id;
  enum { HEADER = 64 };
  _Static_assert(sizeof(tb_buffer) <= HEADER, "the data behind it is aligned as the block is");
  tb_buffer header = {.refs = 1, .memory_type = TRITONSERVER_MEMORY_CPU};
  bool pooled = from_pool(call, &header, size, memory_type, memory_type_id);
  void* block = NULL;
  if (size > SIZE_MAX - 2 * HEADER || posix_memalign(&block, HEADER, HEADER + (pooled ? 0 : size)) != 0) {
    if (pooled) tb_check(TRITONBACKEND_MemoryManagerFree(header.manager, header.data, header.memory_type, header.memory_type_id), "freeing an output buffer");
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "no memory for the output of a call");
  }
  if (!pooled) header.data = (char*)block + HEADER;
  *(tb_buffer*)block = header;
  *data = header.data;
  *data_userp = block;
  *actual_type = header.memory_type;
  *actual_id = header.memory_type_id;
  return NULL;
}

static TRITONSERVER_Error* release(TRITONSERVER_ResponseAllocator* allocator, void* data, void* userp, size_t size, TRITONSERVER_MemoryType type, int64_t id)
{
  (void)allocator, (void)data, (void)size, (void)type, (void)id;
  buffer_drop(userp);
  return NULL;
}

// One for all calls, for good: it knows no server.
TRITONSERVER_ResponseAllocator* tb_call_allocator(void)
{
  static TRITONSERVER_ResponseAllocator* allocator;  // under the GIL
  if (allocator == NULL) tb_check(TRITONSERVER_ResponseAllocatorNew(&allocator, allocate, release, NULL), "making a response allocator");
  return allocator;
}

// --- a response ------------------------------------------------------------------------------------------------------

// Walked twice: without a block it adds up the size, with one it fills it.
typedef struct {
  char* block;
  size_t used;
} arena;

static void* store(arena* a, const void* data, size_t size)
{
  void* place = a->block ? a->block + a->used : NULL;
  if (place != NULL && data != NULL) memcpy(place, data, size);
  a->used += (size + 7) & ~(size_t)7;
  return place;
}

static const char* store_text(arena* a, const char* text)
{
  if (text == NULL) text = "";
  return store(a, text, strlen(text) + 1);
}

static TRITONSERVER_Error* read_part(TRITONSERVER_InferenceResponse* response, uint32_t index, arena* a, tb_part* place)
{
  tb_part part = {0};
  const char* name = NULL;
  const int64_t* shape = NULL;
  uint64_t ndim = 0;
  void* userp = NULL;
  TRITONSERVER_Error* error = TRITONSERVER_InferenceResponseOutput(
    response, index, &name, &part.dtype, &shape, &ndim, &part.data, &part.nbytes, &part.memory_type, &part.memory_type_id, &userp);
  if (error != NULL) return error;
  if (ndim > PyBUF_MAX_NDIM || part.dtype <= TRITONSERVER_TYPE_INVALID || part.dtype >= TB_DTYPES)
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNSUPPORTED, "the called model answered with a datatype or rank that is not known here");
  part.name = store_text(a, name);
  part.ndim = (uint32_t)ndim;
  part.shape = store(a, shape, ndim * sizeof *shape);
  part.buffer = userp;
  int64_t elements = tb_elements(part.shape ? part.shape : shape, part.ndim);
  if (part.dtype != TRITONSERVER_TYPE_BYTES && (elements < 0 || (uint64_t)elements * tb_itemsize(part.dtype) != part.nbytes))
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "the called model answered with an output whose bytes do not fit its shape");
  if (place != NULL) *place = part;
  return NULL;
}

static TRITONSERVER_Error* read_setting(TRITONSERVER_InferenceResponse* response, uint32_t index, arena* a, tb_setting* place)
{
  tb_setting setting = {0};
  const char* name = NULL;
  const void* value = NULL;
  TRITONSERVER_Error* error = TRITONSERVER_InferenceResponseParameter(response, index, &name, &setting.type, &value);
  if (error != NULL) return error;
  setting.name = store_text(a, name);
  bool text = setting.type == TRITONSERVER_PARAMETER_STRING;
  setting.value = text ? (const void*)store_text(a, value) : store(a, value, setting.type == TRITONSERVER_PARAMETER_BOOL ? sizeof(bool) : sizeof(int64_t));
  if (place != NULL) *place = setting;
  return NULL;
}

static TRITONSERVER_Error* read_response(TRITONSERVER_InferenceResponse* response, arena* a, tb_result* result)
{
  const char *model = NULL, *id = NULL;
  TRITONSERVER_Error* error = TRITONSERVER_InferenceResponseError(response);
  if (error != NULL) {  // the response's own
    result->code = TRITONSERVER_ErrorCode(error);
    result->error = store_text(a, TRITONSERVER_ErrorMessage(error));
    return NULL;
  }
  error = TRITONSERVER_InferenceResponseModel(response, &model, &result->version);
  if (error == NULL) error = TRITONSERVER_InferenceResponseId(response, &id);
  if (error == NULL) error = TRITONSERVER_InferenceResponseOutputCount(response, &result->part_count);
  if (error == NULL) error = TRITONSERVER_InferenceResponseParameterCount(response, &result->setting_count);
  if (error != NULL) return error;
  result->model = store_text(a, model);
  result->id = store_text(a, id);
  result->parts = store(a, NULL, result->part_count * sizeof *result->parts);
  result->settings = store(a, NULL, result->setting_count * sizeof *result->settings);
  for (uint32_t i = 0; error == NULL && i < result->part_count; i++) error = read_part(response, i, a, a->block ? &result->parts[i] : NULL);
  for (uint32_t i = 0; error == NULL && i < result->setting_count; i++) error = read_setting(response, i, a, a->block ? &result->settings[i] : NULL);
  return error;
}

static void result_free(tb_owner* owner)
{
  tb_result* result = (tb_result*)owner;
  for (uint32_t i = 0; i < result->part_count; i++)
    if (result->parts[i].buffer != NULL) buffer_drop(result->parts[i].buffer);
  free(result);
}

static tb_result* result_new(size_t more)
{
  tb_result* result = calloc(1, sizeof *result + more);
  if (result != NULL) result->owner = (tb_owner){1, result_free};
  return result;
}

static tb_result* unreadable(TRITONSERVER_Error* error)
{
  const char* message = TRITONSERVER_ErrorMessage(error);
  tb_result* result = result_new(strlen(message) + 1);
  if (result != NULL) {
    result->code = TRITONSERVER_ErrorCode(error);
    result->error = strcpy((char*)(result + 1), message);
  }
  TRITONSERVER_ErrorDelete(error);
  return result;
}

tb_result* tb_result_read(TRITONSERVER_InferenceResponse* response)
{
  arena a = {0};
  tb_result size = {0}, *result = NULL;
  TRITONSERVER_Error* error = read_response(response, &a, &size);
  if (error == NULL && (result = result_new(a.used)) != NULL) {
    a = (arena){(char*)(result + 1), 0};
    error = read_response(response, &a, result);
    for (uint32_t i = 0; i < result->part_count; i++)
      if (result->parts[i].buffer != NULL) atomic_fetch_add(&result->parts[i].buffer->refs, 1);
  }
  if (error != NULL) {
    if (result != NULL) tb_drop(&result->owner);
    result = unreadable(error);
  }
  tb_check(TRITONSERVER_InferenceResponseDelete(response), "deleting a response");
  return result;
}
