// A response under way: opened, given outputs, sent. In a decoupled model a record has one after another.
#include "shim.h"
#include <stddef.h>

TRITONSERVER_Error* tb_reply_factory(tb_record* record)
{
  return record->factory != NULL ? NULL : TRITONBACKEND_ResponseFactoryNew(&record->factory, record->request);
}

TRITONSERVER_Error* tb_reply_open(tb_record* record)
{
  if (record->response != NULL) return NULL;
  if (!record->instance->decoupled && record->factory == NULL) return TRITONBACKEND_ResponseNew(&record->response, record->request);
  TRITONSERVER_Error* error = tb_reply_factory(record);
  return error != NULL ? error : TRITONBACKEND_ResponseNewFromFactory(&record->response, record->factory);
}

TRITONSERVER_Error* tb_reply_output(tb_record* record, tb_output* output)
{
  TRITONBACKEND_Output* handle;
  TRITONSERVER_Error* error = tb_reply_open(record);
  if (error == NULL) error = TRITONBACKEND_ResponseOutput(record->response, &handle, output->spec->name, output->dtype, output->shape, output->ndim);
  if (error == NULL) error = TRITONBACKEND_OutputBuffer(handle, &output->data, output->nbytes, &output->memory_type, &output->memory_type_id);
  return error;
}

static void free_outputs(tb_record* record)
{
  for (tb_output *output = record->outputs, *next; output != NULL; output = next) {
    next = output->next;
    if (output->scratch != NULL) tb_drop(output->scratch);
    free(output);
  }
  record->outputs = NULL;
}

void tb_reply_discard(tb_record* record)
{
  if (record->response != NULL) tb_check(TRITONBACKEND_ResponseDelete(record->response), "deleting a response");
  record->response = NULL;
  free_outputs(record);
}

// What was written into memory of ours becomes Triton's.
static TRITONSERVER_Error* hand_over(tb_record* record)
{
  TRITONSERVER_Error* error = NULL;
  for (tb_output* output = record->outputs; output != NULL && error == NULL; output = output->next) {
    if (output->scratch == NULL) continue;
    const void* from = output->data;
    error = tb_reply_output(record, output);
    if (error == NULL && output->memory_type == TRITONSERVER_MEMORY_GPU)
      error = TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNSUPPORTED, "Triton offers GPU memory for an output of Request.output in a stream: return it in the Response");
    if (error == NULL) memcpy(output->data, from, output->nbytes);
  }
  return error;
}

// What makes Triton's durations true for a stream: each response has its own, from the one before it on. `given`: when the
// plugin handed it over; 0 for one without outputs.
static void report(tb_record* record, uint64_t given)
{
  uint64_t start = record->previous, end = record->previous = tb_now();
  TRITONBACKEND_ModelInstanceResponseStatistics* statistics = NULL;
  tb_instance* instance = record->instance;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceResponseStatisticsNew(&statistics);
  if (error == NULL) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseFactory(statistics, record->factory);
  if (error == NULL) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseStart(statistics, start);
  if (error == NULL && given != 0) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetComputeOutputStart(statistics, given);
  if (error == NULL) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseEnd(statistics, end);
  if (error == NULL && record->error != NULL) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetError(statistics, record->error);
  pthread_mutex_lock(&instance->lock);
  if (instance->handle != NULL) {
    if (error == NULL) error = TRITONBACKEND_ModelInstanceResponseStatisticsSetModelInstance(statistics, instance->handle);
    if (error == NULL) error = TRITONBACKEND_ModelInstanceReportResponseStatistics(statistics);
  }
  pthread_mutex_unlock(&instance->lock);
  tb_check(error, "reporting a response's statistics");
  if (statistics != NULL) tb_check(TRITONBACKEND_ModelInstanceResponseStatisticsDelete(statistics), "deleting statistics");
}

void tb_reply_send(tb_record* record, bool final, uint64_t given)
{
  if (record->error == NULL) record->error = hand_over(record);
  TRITONSERVER_Error* failed = tb_reply_open(record);
  bool empty = record->outputs == NULL || record->error != NULL;
  free_outputs(record);
  record->failed |= record->error != NULL;
  if (failed == NULL) failed = TRITONBACKEND_ResponseSend(record->response, final ? TRITONSERVER_RESPONSE_COMPLETE_FINAL : 0, record->error);
  tb_check(failed, "sending a response");
  record->response = NULL;
  record->sent++;
  record->final_sent = final;
  if (record->instance->decoupled && record->factory != NULL) report(record, empty ? 0 : given);
  if (record->error != NULL) TRITONSERVER_ErrorDelete(record->error);
  record->error = NULL;
}

void tb_reply_end(tb_record* record)
{
  TRITONSERVER_Error* error = tb_reply_factory(record);
  if (error == NULL) error = TRITONBACKEND_ResponseFactorySendFlags(record->factory, TRITONSERVER_RESPONSE_COMPLETE_FINAL);
  tb_check(error, "closing a stream");
  record->final_sent = true;
  if (record->factory != NULL) report(record, 0);
}

// Nothing looks at the outputs any more: what is not sent is complete.
void tb_reply_drop(tb_owner* reply)
{
  tb_record* record = (tb_record*)((char*)reply - offsetof(tb_record, reply));
  uint64_t given = record->instance->decoupled ? tb_now() : 0;
  if (record->reschedule && (record->response != NULL || record->outputs != NULL)) tb_reply_send(record, false, given);
  if (!record->final_sent && !record->reschedule) tb_reply_send(record, true, given);
  free_outputs(record);
  if (record->factory != NULL) tb_check(TRITONBACKEND_ResponseFactoryDelete(record->factory), "deleting a response factory");
  record->factory = NULL;  // it keeps the model loaded, and a sender may be kept for long
  tb_record_unhold(record);
  tb_record_part_done(record);
}
