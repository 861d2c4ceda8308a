/* The smallest backend there is: every request is answered with its input, under the name OUT.
 * The tests measure the host against it, as it has no interpreter to blame. Parameters of a request change that:
 * "responses" (int): so many, in decoupled mode; "error_at" (int): this one of them is an error;
 * "finals" (int): so many empty final responses instead of a flag at the last; "hang" (bool): none until cancelled. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

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

extern Error* TRITONBACKEND_RequestParameterCount(void* request, uint32_t* count);
extern Error* TRITONBACKEND_RequestParameter(void* request, uint32_t index, const char** key, int* type, const void** value);
extern Error* TRITONBACKEND_RequestFlags(void* request, uint32_t* flags);
extern Error* TRITONBACKEND_RequestCorrelationId(void* request, uint64_t* id);
extern Error* TRITONBACKEND_RequestCorrelationIdString(void* request, const char** id);
extern Error* TRITONBACKEND_InferenceRequestTimeoutMicroseconds(void* request, uint64_t* timeout);
extern Error* TRITONBACKEND_RequestTrace(void* request, void** trace);
extern Error* TRITONBACKEND_ResponseFactoryNew(void** factory, void* request);
extern Error* TRITONBACKEND_ResponseFactoryDelete(void* factory);
extern Error* TRITONBACKEND_ResponseFactorySendFlags(void* factory, uint32_t flags);
extern Error* TRITONBACKEND_ResponseFactoryIsCancelled(void* factory, bool* cancelled);
extern Error* TRITONBACKEND_ResponseNewFromFactory(void** response, void* factory);
extern Error* TRITONBACKEND_ResponseSetStringParameter(void* response, const char* name, const char* value);
extern Error* TRITONSERVER_InferenceTraceReportActivity(void* trace, uint64_t timestamp, const char* name);
extern Error* TRITONSERVER_ErrorNew(int code, const char* message);
extern void TRITONSERVER_ErrorDelete(Error* error);

extern Error* TRITONBACKEND_ModelAutoCompleteConfig(void* model, bool* completes);
extern Error* TRITONSERVER_LogMessage(int level, const char* file, int line, const char* text);

static int64_t parameter(void* request, const char* name, int64_t missing)
{
  uint32_t count = 0;
  TRITONBACKEND_RequestParameterCount(request, &count);
  for (uint32_t i = 0; i < count; i++) {
    const char* key;
    const void* value;
    int type;
    TRITONBACKEND_RequestParameter(request, i, &key, &type, &value);
    if (strcmp(key, name) == 0) return type == 2 ? *(const bool*)value : *(const int64_t*)value;
  }
  return missing;
}

static void properties(void* request, void* response)
{
  uint32_t flags = 0;
  uint64_t number = 0, timeout = 0;
  const char* text = "";
  void* trace = NULL;
  TRITONBACKEND_RequestFlags(request, &flags);
  Error* is_text = TRITONBACKEND_RequestCorrelationId(request, &number);
  if (is_text != NULL) {
    TRITONSERVER_ErrorDelete(is_text);
    TRITONBACKEND_RequestCorrelationIdString(request, &text);
  }
  TRITONBACKEND_InferenceRequestTimeoutMicroseconds(request, &timeout);
  if (flags) TRITONBACKEND_ResponseSetIntParameter(response, "flags", flags);
  if (number) TRITONBACKEND_ResponseSetIntParameter(response, "correlation", (int64_t)number);
  if (*text) TRITONBACKEND_ResponseSetStringParameter(response, "correlation", text);
  if (timeout) TRITONBACKEND_ResponseSetIntParameter(response, "timeout_us", (int64_t)timeout);
  if (TRITONBACKEND_RequestTrace(request, &trace) == NULL && trace) TRITONSERVER_InferenceTraceReportActivity(trace, 7, "echoing \"it\"");
}

static void* hang(void* factory)
{
  void* response;
  for (bool cancelled = false; !cancelled; usleep(1000)) TRITONBACKEND_ResponseFactoryIsCancelled(factory, &cancelled);
  Error* error = TRITONSERVER_ErrorNew(7, "cancelled");
  TRITONBACKEND_ResponseNewFromFactory(&response, factory);
  TRITONBACKEND_ResponseSend(response, 1, error);
  TRITONSERVER_ErrorDelete(error);
  TRITONBACKEND_ResponseFactoryDelete(factory);
  return NULL;
}

static void stream(void* request)
{
  void *factory, *response;
  pthread_t thread;
  int64_t count = parameter(request, "responses", 0), finals = parameter(request, "finals", 0);
  TRITONBACKEND_ResponseFactoryNew(&factory, request);
  if (parameter(request, "hang", 0)) {
    pthread_create(&thread, NULL, hang, factory);
    pthread_detach(thread);
    TRITONBACKEND_RequestRelease(request, 1);
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    Error* error = i == parameter(request, "error_at", -1) ? TRITONSERVER_ErrorNew(3, "asked for") : NULL;
    TRITONBACKEND_ResponseNewFromFactory(&response, factory);
    TRITONBACKEND_ResponseSetIntParameter(response, "number", i);
    TRITONBACKEND_ResponseSend(response, i + 1 == count && !finals, error);
    if (error) TRITONSERVER_ErrorDelete(error);
  }
  for (int64_t i = 0; i < finals; i++) TRITONBACKEND_ResponseFactorySendFlags(factory, 1);
  TRITONBACKEND_ResponseFactoryDelete(factory);
  TRITONBACKEND_RequestRelease(request, 1);
}

static void echo(void* request)
{
  if (parameter(request, "responses", -1) >= 0) {
    stream(request);
    return;
  }
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
  properties(request, response);
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

Error* TRITONBACKEND_ModelInitialize(void* model)
{
  bool completes = false;
  TRITONBACKEND_ModelAutoCompleteConfig(model, &completes);
  return TRITONSERVER_LogMessage(0, "echo", 1, completes ? "completes configs" : "takes configs as they are");
}

Error* TRITONBACKEND_ModelInstanceExecute(void* instance, void** requests, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) echo(requests[i]);
  return NULL;
}
