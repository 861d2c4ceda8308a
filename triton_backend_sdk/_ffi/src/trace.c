// What a request's trace is asked and told. The GIL is kept: it keeps the request from being given back meanwhile, and it
// keeps two threads from reporting at once, which Triton's trace does not bear: it reads the context that another one writes.
#include "shim.h"

// False and a Python error; NULL where the request is not traced, or Triton was built without traces.
static bool find(PyObject* request, TRITONSERVER_InferenceTrace** trace)
{
  tb_record* record = tb_request_record(request);
  *trace = NULL;
  if (record == NULL) return false;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestTrace(record->request, trace);
  if (error != NULL) TRITONSERVER_ErrorDelete(error);
  return true;
}

static PyObject* raise(TRITONSERVER_Error* error)
{
  tb_raise(tb_py.internal_error, "the trace: %s", TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return NULL;
}

PyObject* tb_trace_is_on(PyObject* request, void* unused)
{
  (void)unused;
  TRITONSERVER_InferenceTrace* trace;
  return find(request, &trace) ? PyBool_FromLong(trace != NULL) : NULL;
}

// (id, parent's id, context)
PyObject* tb_trace_info(PyObject* request, PyObject* unused)
{
  (void)unused;
  TRITONSERVER_InferenceTrace* trace;
  if (!find(request, &trace)) return NULL;
  uint64_t id = 0, parent = 0;
  const char* context = "";
  TRITONSERVER_Error* error = trace ? TRITONSERVER_InferenceTraceId(trace, &id) : NULL;
  if (error == NULL && trace != NULL) error = TRITONSERVER_InferenceTraceParentId(trace, &parent);
  if (error == NULL && trace != NULL) error = TRITONSERVER_InferenceTraceContext(trace, &context);
  if (error != NULL) return raise(error);
  return Py_BuildValue("KKs", (unsigned long long)id, (unsigned long long)parent, context);
}

PyObject* tb_trace_report(PyObject* request, PyObject* name)
{
  static uint64_t last;  // Triton finds an activity's name by its time: no two may have the same
  TRITONSERVER_InferenceTrace* trace;
  const char* text = PyUnicode_AsUTF8(name);
  if (text == NULL || !find(request, &trace)) return NULL;
  uint64_t now = tb_now();
  last = now > last ? now : last + 1;
  TRITONSERVER_Error* error = trace ? TRITONSERVER_InferenceTraceReportActivity(trace, last, text) : NULL;
  if (error != NULL) return raise(error);
  Py_RETURN_NONE;
}
