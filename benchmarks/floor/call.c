// SPDX-License-Identifier: Apache-2.0
// The floor of calling another model: model "call_X" sends its input to model X, waits, and copies the answer out.
#include "floor.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  TRITONSERVER_InferenceResponse* response;
  atomic_int missing;  // of two: the response, the request
  sem_t arrived;  // once for both: each wake-up of the caller is a switch of threads
} Call;

static TRITONSERVER_ResponseAllocator* allocator;

static TRITONSERVER_Error* on_alloc(TRITONSERVER_ResponseAllocator* self, const char* name, size_t size, TRITONSERVER_MemoryType memory,
                                    int64_t memory_id, void* userp, void** buffer, void** buffer_userp,
                                    TRITONSERVER_MemoryType* actual, int64_t* actual_id) {
  (void)self, (void)name, (void)memory, (void)memory_id, (void)userp;
  *buffer = malloc(size);
  *buffer_userp = NULL;
  *actual = TRITONSERVER_MEMORY_CPU;
  *actual_id = 0;
  return NULL;
}

static TRITONSERVER_Error* on_free(TRITONSERVER_ResponseAllocator* self, void* buffer, void* userp, size_t size,
                                   TRITONSERVER_MemoryType memory, int64_t memory_id) {
  (void)self, (void)userp, (void)size, (void)memory, (void)memory_id;
  free(buffer);
  return NULL;
}

static void arrived(Call* call) {
  if (atomic_fetch_sub(&call->missing, 1) == 1) sem_post(&call->arrived);
}

static void on_response(TRITONSERVER_InferenceResponse* response, uint32_t flags, void* userp) {
  (void)flags;
  Call* call = userp;
  call->response = response;
  arrived(call);
}

static void on_release(TRITONSERVER_InferenceRequest* request, uint32_t flags, void* userp) {
  (void)flags;
  drop(TRITONSERVER_InferenceRequestDelete(request));
  arrived(userp);
}

TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend) {
  (void)backend;
  return TRITONSERVER_ResponseAllocatorNew(&allocator, on_alloc, on_free, NULL);
}

// The caller's buffer is the callee's: no copy on the way there.
static TRITONSERVER_Error* call(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request, Call* call) {
  TRITONSERVER_Error* error;
  TRITONBACKEND_Model* model;
  TRITONSERVER_Server* server;
  TRITONBACKEND_Input* input;
  TRITONSERVER_InferenceRequest* inner;
  TRITONSERVER_DataType datatype;
  const char* name;
  const int64_t* shape;
  uint32_t dims, buffers;
  uint64_t size;
  const void* data;
  TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
  int64_t memory_id = 0;
  if ((error = TRITONBACKEND_ModelInstanceModel(instance, &model))) return error;
  if ((error = TRITONBACKEND_ModelServer(model, &server))) return error;
  if ((error = TRITONBACKEND_ModelName(model, &name))) return error;
  if ((error = TRITONSERVER_InferenceRequestNew(&inner, server, name + strlen("call_"), -1))) return error;
  if ((error = TRITONBACKEND_RequestInputByIndex(request, 0, &input)) ||
      (error = TRITONBACKEND_InputProperties(input, &name, &datatype, &shape, &dims, &size, &buffers)) ||
      (error = TRITONBACKEND_InputBuffer(input, 0, &data, &size, &memory, &memory_id)) ||
      (error = TRITONSERVER_InferenceRequestAddInput(inner, "IN", datatype, shape, dims)) ||
      (error = TRITONSERVER_InferenceRequestAppendInputData(inner, "IN", data, size, memory, memory_id)) ||
      (error = TRITONSERVER_InferenceRequestSetReleaseCallback(inner, on_release, call)) ||
      (error = TRITONSERVER_InferenceRequestSetResponseCallback(inner, allocator, NULL, on_response, call)) ||
      (error = TRITONSERVER_ServerInferAsync(server, inner, NULL))) {
    drop(TRITONSERVER_InferenceRequestDelete(inner));
    return error;
  }
  sem_wait(&call->arrived);
  return TRITONSERVER_InferenceResponseError(call->response);
}

static TRITONSERVER_Error* copy(TRITONSERVER_InferenceResponse* from, TRITONBACKEND_Response* response) {
  TRITONSERVER_Error* error;
  TRITONBACKEND_Output* output;
  const char* name;
  TRITONSERVER_DataType datatype;
  const int64_t* shape;
  uint64_t dims;
  const void* data;
  void *to, *userp;
  size_t size;
  TRITONSERVER_MemoryType memory;
  int64_t memory_id;
  if ((error = TRITONSERVER_InferenceResponseOutput(from, 0, &name, &datatype, &shape, &dims, &data, &size, &memory, &memory_id, &userp)))
    return error;
  if ((error = TRITONBACKEND_ResponseOutput(response, &output, "OUT", datatype, shape, (uint32_t)dims))) return error;
  if ((error = TRITONBACKEND_OutputBuffer(output, &to, size, &memory, &memory_id))) return error;
  memcpy(to, data, size);
  return NULL;
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,
                                                       const uint32_t count) {
  const uint64_t start = now_ns();
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t compute_start = now_ns();
    TRITONBACKEND_Response* response;
    Call made = {.missing = 2};
    sem_init(&made.arrived, 0, 0);
    TRITONSERVER_Error* error = call(instance, requests[i], &made);
    const bool owned = error && !made.response;  // else the inner response owns its error
    drop(TRITONBACKEND_ResponseNew(&response, requests[i]));
    if (!error) error = copy(made.response, response);
    drop(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, error));
    report(instance, requests[i], !error, start, compute_start);
    if (owned) drop(error);
    if (made.response) drop(TRITONSERVER_InferenceResponseDelete(made.response));
    drop(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
    sem_destroy(&made.arrived);
  }
  report_batch(instance, count, start);
  return NULL;
}
