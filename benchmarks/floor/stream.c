// SPDX-License-Identifier: Apache-2.0
// The floor of streaming: IN holds one int, n; the answers are OUT = 0, 1, ... n - 1, then the final flag alone.
#include "floor.h"

static TRITONSERVER_Error* read_count(TRITONBACKEND_Request* request, int32_t* count) {
  TRITONSERVER_Error* error;
  TRITONBACKEND_Input* input;
  const void* data;
  uint64_t size;
  TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
  int64_t memory_id = 0;
  if ((error = TRITONBACKEND_RequestInputByIndex(request, 0, &input))) return error;
  if ((error = TRITONBACKEND_InputBuffer(input, 0, &data, &size, &memory, &memory_id))) return error;
  *count = *(const int32_t*)data;
  return NULL;
}

static TRITONSERVER_Error* send(TRITONBACKEND_ResponseFactory* factory, int32_t value) {
  static const int64_t shape[] = {1};
  TRITONSERVER_Error* error;
  TRITONBACKEND_Response* response;
  TRITONBACKEND_Output* output;
  void* to;
  TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
  int64_t memory_id = 0;
  if ((error = TRITONBACKEND_ResponseNewFromFactory(&response, factory))) return error;
  if (!(error = TRITONBACKEND_ResponseOutput(response, &output, "OUT", TRITONSERVER_TYPE_INT32, shape, 1)) &&
      !(error = TRITONBACKEND_OutputBuffer(output, &to, sizeof value, &memory, &memory_id)))
    *(int32_t*)to = value;
  drop(TRITONBACKEND_ResponseSend(response, 0, error));
  return error;
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,
                                                       const uint32_t count) {
  const uint64_t start = now_ns();
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t compute_start = now_ns();
    TRITONBACKEND_ResponseFactory* factory;
    int32_t answers = 0;
    drop(TRITONBACKEND_ResponseFactoryNew(&factory, requests[i]));
    drop(read_count(requests[i], &answers));
    for (int32_t value = 0; value < answers; ++value) drop(send(factory, value));
    drop(TRITONBACKEND_ResponseFactorySendFlags(factory, TRITONSERVER_RESPONSE_COMPLETE_FINAL));
    drop(TRITONBACKEND_ResponseFactoryDelete(factory));
    report(instance, requests[i], true, start, compute_start);
    drop(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
  }
  report_batch(instance, count, start);
  return NULL;
}
