// SPDX-License-Identifier: Apache-2.0
// The floor: what a backend costs that does nothing but copy INPUT to OUTPUT, written against Triton's C API.
// It answers request by request and reports statistics, as every honest backend does, so that what another
// backend takes longer than this is that backend's own doing.
// Linked to libtritonserver by its soname: the loader takes the one already in the process, whatever its scope.
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_Output Output;

enum { ERROR_UNSUPPORTED = 5, MEMORY_CPU = 0, RELEASE_ALL = 1, RESPONSE_FINAL = 1 };

Error* TRITONSERVER_ErrorNew(int code, const char* message);
void TRITONSERVER_ErrorDelete(Error* error);
Error* TRITONBACKEND_RequestInputByIndex(Request*, uint32_t index, Input**);
Error* TRITONBACKEND_InputProperties(Input*, const char** name, int* datatype, const int64_t** shape,
                                     uint32_t* dims, uint64_t* byte_size, uint32_t* buffers);
Error* TRITONBACKEND_InputBuffer(Input*, uint32_t index, const void** buffer, uint64_t* byte_size,
                                 int* memory_type, int64_t* memory_type_id);
Error* TRITONBACKEND_ResponseNew(Response**, Request*);
Error* TRITONBACKEND_ResponseOutput(Response*, Output**, const char* name, int datatype, const int64_t* shape,
                                    uint32_t dims);
Error* TRITONBACKEND_OutputBuffer(Output*, void** buffer, uint64_t byte_size, int* memory_type,
                                  int64_t* memory_type_id);
Error* TRITONBACKEND_ResponseSend(Response*, uint32_t flags, Error*);
Error* TRITONBACKEND_RequestRelease(Request*, uint32_t flags);
Error* TRITONBACKEND_ModelInstanceReportStatistics(Instance*, Request*, _Bool success, uint64_t start,
                                                   uint64_t compute_start, uint64_t compute_end, uint64_t end);
Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(Instance*, uint64_t batch_size, uint64_t start,
                                                        uint64_t compute_start, uint64_t compute_end,
                                                        uint64_t end);

static uint64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void drop(Error* error) {
  if (error) TRITONSERVER_ErrorDelete(error);
}

static Error* copy(Request* request, Response* response) {
  Error* error;
  Input* input;
  Output* output;
  const char* name;
  int datatype, memory_type = MEMORY_CPU;
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
    int from_type = MEMORY_CPU;
    if ((error = TRITONBACKEND_InputBuffer(input, i, &from, &size, &from_type, &memory_type_id))) return error;
    if (memory_type > 1 || from_type > 1)  // 0 and 1: plain and pinned main memory
      return TRITONSERVER_ErrorNew(ERROR_UNSUPPORTED, "the floor copies in main memory only");
    memcpy(to, from, size);
    to += size;
  }
  return 0;
}

Error* TRITONBACKEND_ModelInstanceExecute(Instance* instance, Request** requests, const uint32_t count) {
  const uint64_t start = now_ns();
  for (uint32_t i = 0; i < count; ++i) {
    Response* response;
    Error* error = TRITONBACKEND_ResponseNew(&response, requests[i]);
    const uint64_t compute_start = now_ns();
    if (error) {
      drop(error);
    } else {
      error = copy(requests[i], response);
      drop(TRITONBACKEND_ResponseSend(response, RESPONSE_FINAL, error));
      const uint64_t end = now_ns();
      drop(TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[i], !error, start, compute_start, end, end));
      drop(error);
    }
    drop(TRITONBACKEND_RequestRelease(requests[i], RELEASE_ALL));
  }
  const uint64_t end = now_ns();
  // Every request of the benchmark holds one row, so their count is the batch size.
  drop(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, count, start, start, end, end));
  return 0;
}
