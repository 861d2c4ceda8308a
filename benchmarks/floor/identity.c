// SPDX-License-Identifier: Apache-2.0
// The floor of most rows: copies IN to OUT.
#include "floor.h"

#include <string.h>

typedef TRITONSERVER_Error Error;

static Error* copy(TRITONBACKEND_Request* request, TRITONBACKEND_Response* response) {
  Error* error;
  TRITONBACKEND_Input* input;
  TRITONBACKEND_Output* output;
  const char* name;
  TRITONSERVER_DataType datatype;
  TRITONSERVER_MemoryType memory_type = TRITONSERVER_MEMORY_CPU;
  const int64_t* shape;
  uint32_t dims, buffers;
  uint64_t byte_size;
  int64_t memory_type_id = 0;
  char* to;
  if ((error = TRITONBACKEND_RequestInputByIndex(request, 0, &input))) return error;
  if ((error = TRITONBACKEND_InputProperties(input, &name, &datatype, &shape, &dims, &byte_size, &buffers))) return error;
  if ((error = TRITONBACKEND_ResponseOutput(response, &output, "OUT", datatype, shape, dims))) return error;
  if ((error = TRITONBACKEND_OutputBuffer(output, (void**)&to, byte_size, &memory_type, &memory_type_id))) return error;
  for (uint32_t i = 0; i < buffers; ++i) {
    const void* from;
    uint64_t size;
    TRITONSERVER_MemoryType from_type = TRITONSERVER_MEMORY_CPU;
    if ((error = TRITONBACKEND_InputBuffer(input, i, &from, &size, &from_type, &memory_type_id))) return error;
    if (memory_type == TRITONSERVER_MEMORY_GPU || from_type == TRITONSERVER_MEMORY_GPU)
      return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNSUPPORTED, "the floor copies in main memory only");
    memcpy(to, from, size);
    to += size;
  }
  return 0;
}

Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, const uint32_t count) {
  const uint64_t start = now_ns();
  for (uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Response* response;
    Error* error = TRITONBACKEND_ResponseNew(&response, requests[i]);
    const uint64_t compute_start = now_ns();
    if (error) {
      drop(error);
    } else {
      error = copy(requests[i], response);
      drop(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, error));
      report(instance, requests[i], !error, start, compute_start);
      drop(error);
    }
    drop(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
  }
  report_batch(instance, count, start);
  return 0;
}
