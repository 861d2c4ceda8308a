// What Triton says of a request beside its inputs.
#include "shim.h"

static void triton_error(TRITONSERVER_Error* error)
{
  tb_raise(tb_py.internal_error, "%s", TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
}

PyObject* tb_request_id(TRITONBACKEND_Request* request)
{
  const char* id = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestId(request, &id);
  if (error != NULL) return triton_error(error), NULL;
  return PyUnicode_FromString(id ? id : "");
}

static PyObject* parameter_value(TRITONSERVER_ParameterType type, const void* value)
{
  switch (type) {
    case TRITONSERVER_PARAMETER_STRING: return PyUnicode_FromString(value);
    case TRITONSERVER_PARAMETER_INT: return PyLong_FromLongLong(*(const int64_t*)value);
    case TRITONSERVER_PARAMETER_BOOL: return PyBool_FromLong(*(const bool*)value);
    case TRITONSERVER_PARAMETER_DOUBLE: return PyFloat_FromDouble(*(const double*)value);
    default: return tb_raise(tb_py.unsupported_error, "request parameters of type %d are not known here", type);
  }
}

PyObject* tb_request_parameters(TRITONBACKEND_Request* request)
{
  uint32_t count = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestParameterCount(request, &count);
  PyObject* parameters = error == NULL ? PyDict_New() : NULL;
  for (uint32_t i = 0; i < count && parameters != NULL && error == NULL; i++) {
    const char* key = NULL;
    TRITONSERVER_ParameterType type;
    const void* raw = NULL;
    error = TRITONBACKEND_RequestParameter(request, i, &key, &type, &raw);
    PyObject* value = error == NULL ? parameter_value(type, raw) : NULL;
    if (value == NULL || PyDict_SetItemString(parameters, key, value) != 0) Py_CLEAR(parameters);
    Py_XDECREF(value);
  }
  if (error != NULL) triton_error(error);
  return parameters;
}

PyObject* tb_requested_outputs(TRITONBACKEND_Request* request)
{
  uint32_t count = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestOutputCount(request, &count);
  PyObject* outputs = error == NULL ? PyTuple_New(count) : NULL;
  for (uint32_t i = 0; i < count && outputs != NULL && error == NULL; i++) {
    const char* name = NULL;
    error = TRITONBACKEND_RequestOutputName(request, i, &name);
    PyObject* text = error == NULL ? PyUnicode_FromString(name) : NULL;
    if (text == NULL) Py_CLEAR(outputs);
    else PyTuple_SET_ITEM(outputs, i, text);
  }
  if (error != NULL) triton_error(error);
  return outputs;
}

static PyObject* get_id(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? tb_request_id(record->request) : NULL;
}

static PyObject* get_parameters(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? tb_request_parameters(record->request) : NULL;
}

static PyObject* get_requested_outputs(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? tb_requested_outputs(record->request) : NULL;
}

static PyObject* get_instance(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  if (record == NULL) return NULL;
  PyObject* instance = record->instance->python;
  return Py_NewRef(instance ? instance : Py_None);
}

// TRITONBACKEND_Request*, for what Python asks Triton through cffi.
static PyObject* get_handle(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? PyLong_FromVoidPtr(record->request) : NULL;
}


static PyObject* get_batch_size(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? PyLong_FromLongLong(record->batch_size) : NULL;
}

// An int, or a str where the client's is one.
static PyObject* get_correlation_id(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  if (record == NULL) return NULL;
  uint64_t number = 0;
  const char* text = NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestCorrelationId(record->request, &number);
  if (error == NULL) return PyLong_FromUnsignedLongLong(number);
  TRITONSERVER_ErrorDelete(error);
  error = TRITONBACKEND_RequestCorrelationIdString(record->request, &text);
  if (error != NULL) return triton_error(error), NULL;
  return PyUnicode_FromString(text);
}

static PyObject* get_flags(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  uint32_t flags = 0;
  if (record == NULL) return NULL;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestFlags(record->request, &flags);
  if (error != NULL) return triton_error(error), NULL;
  return PyObject_CallFunction(tb_py.request_flag, "I", flags);
}

static bool timeout(PyObject* self, tb_record** record, uint64_t* microseconds)
{
  *record = tb_request_record(self);
  if (*record == NULL) return false;
  TRITONSERVER_Error* error = TRITONBACKEND_InferenceRequestTimeoutMicroseconds((*record)->request, microseconds);
  if (error != NULL) triton_error(error);
  return error == NULL;
}

static PyObject* get_timeout_us(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record;
  uint64_t microseconds = 0;
  return timeout(self, &record, &microseconds) ? PyLong_FromUnsignedLongLong(microseconds) : NULL;
}

static PyObject* get_deadline(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record;
  uint64_t microseconds = 0;
  if (!timeout(self, &record, &microseconds)) return NULL;
  return PyObject_CallFunction(tb_py.deadline, "KK", (unsigned long long)microseconds, (unsigned long long)record->start);
}

PyObject* tb_request_is_cancelled(PyObject* self, PyObject* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  return record ? PyBool_FromLong(tb_record_cancelled(record)) : NULL;
}

PyGetSetDef tb_request_getters[] = {
  {"id", get_id, NULL, NULL, NULL},
  {"parameters", get_parameters, NULL, NULL, NULL},
  {"requested_outputs", get_requested_outputs, NULL, NULL, NULL},
  {"batch_size", get_batch_size, NULL, NULL, NULL},
  {"correlation_id", get_correlation_id, NULL, NULL, NULL},
  {"flags", get_flags, NULL, NULL, NULL},
  {"timeout_us", get_timeout_us, NULL, NULL, NULL},
  {"deadline", get_deadline, NULL, NULL, NULL},
  {"outputs", tb_request_outputs, NULL, NULL, NULL},
  {"instance", get_instance, NULL, NULL, NULL},
  {"_handle", get_handle, NULL, NULL, NULL},
  {"_is_traced", tb_trace_is_on, NULL, NULL, NULL},
  {0},
};
