/* The smallest backend there is: every request is answered with its input, under the name OUT.
 * The tests measure the host against it, as it has no interpreter to blame. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Error Error;
extern Error* TRITONBACKEND_RequestInputByIndex(void* request, uint32_t index, void** input);
extern Error* TRITONBACKEND_InputProperties(
    void* input, const char** name, int* dtype, const int64_t** shape, uint32_t* rank, uint64_t* size, uint32_t* buffers);
extern Error* TRITONBACKEND_InputBuffer(
    void* input, uint32_t index, const void** buffer, uint64_t* size, int* memory_type, int64_t* memory_id);
extern Error* TRITONBACKEND_ResponseNew(void** response, void* request);
extern Error* TRITONBACKEND_ResponseSetIntParameter(void* response, const char* name, int64_t value);
extern Error* TRITONBACKEND_ResponseOutput(
    void* response, void** output, const char* name, int dtype, const int64_t* shape, uint32_t rank);
extern Error* TRITONBACKEND_OutputBuffer(void* output, void** buffer, uint64_t size, int* memory_type, int64_t* memory_id);
extern Error* TRITONBACKEND_ResponseSend(void* response, uint32_t flags, Error* error);
extern Error* TRITONBACKEND_RequestRelease(void* request, uint32_t flags);

static void echo(void* request)
{
  void *input, *response, *output, *to;
  const char* name;
  const int64_t* shape;
  int dtype, memory_type = 0;
  int64_t memory_id = 0;
  uint32_t rank, buffers;
  uint64_t size, done = 0;

  TRITONBACKEND_RequestInputByIndex(request, 0, &input);
  TRITONBACKEND_InputProperties(input, &name, &dtype, &shape, &rank, &size, &buffers);
  TRITONBACKEND_ResponseNew(&response, request);
  TRITONBACKEND_ResponseSetIntParameter(response, "buffers", buffers);
  TRITONBACKEND_ResponseOutput(response, &output, "OUT", dtype, shape, rank);
  TRITONBACKEND_OutputBuffer(output, &to, size, &memory_type, &memory_id);
  for (uint32_t i = 0; i < buffers; i++) {
    const void* from;
    uint64_t part;
    TRITONBACKEND_InputBuffer(input, i, &from, &part, &memory_type, &memory_id);
    memcpy((char*)to + done, from, part);
    done += part;
  }
  TRITONBACKEND_ResponseSend(response, 1, NULL);
  TRITONBACKEND_RequestRelease(request, 1);
}

Error* TRITONBACKEND_ModelInstanceExecute(void* instance, void** requests, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) echo(requests[i]);
  return NULL;
}
