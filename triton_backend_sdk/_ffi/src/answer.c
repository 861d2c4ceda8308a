// From what a plugin gave for a request to the outputs of its response.
#include "state.h"

// Takes the pending Python exception and makes it the request's error; the traceback goes to the log once.
TRITONSERVER_Error* tb_take_exception(tb_instance* instance)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != NULL) PyException_SetTraceback(value, traceback);
  // Without on_error the instance is gone, and only a request of its is left. Held, as describing logs, which gives other
  // threads time to unbind the instance.
  PyObject* on_error = Py_NewRef(instance->on_error ? instance->on_error : tb_py.describe);
  PyObject* described = value ? PyObject_CallOneArg(on_error, value) : NULL;
  Py_DECREF(on_error);
  int code = TRITONSERVER_ERROR_INTERNAL;
  const char* message = NULL;
  TRITONSERVER_Error* error;
  if (described != NULL && PyArg_ParseTuple(described, "is", &code, &message)) error = TRITONSERVER_ErrorNew(code, message);
  else error = TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "the plugin failed, and describing its exception failed too");
  PyErr_Clear();
  Py_XDECREF(described);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return error;
}

static bool write_outputs(tb_record* record, PyObject* outputs)
{
  if (PyDict_Check(outputs)) {
    Py_ssize_t at = 0;
    PyObject *name, *value;
    while (PyDict_Next(outputs, &at, &name, &value)) {
      const char* text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
      if (text == NULL) return tb_raise(tb_py.internal_error, "%R is no name of an output", name) != NULL;
      Py_INCREF(name);  // writing may run Python code, which may change the dict
      Py_INCREF(value);
      bool written = tb_output_write(record, text, value);
      Py_DECREF(value);
      Py_DECREF(name);
      if (!written) return false;
    }
    return true;
  }
  if (outputs == Py_None) return true;
  PyObject* copied = PyObject_CallOneArg((PyObject*)&PyDict_Type, outputs);
  if (copied == NULL) return tb_raise(tb_py.internal_error, "Response takes a mapping from output name to array, not %s", Py_TYPE(outputs)->tp_name) != NULL;
  bool written = write_outputs(record, copied);
  Py_DECREF(copied);
  return written;
}

static bool has_all_outputs(tb_record* record)
{
  if (record->instance->as_given) return true;
  for (uint32_t i = 0; i < record->instance->output_count; i++) {
    const tb_spec* spec = &record->instance->outputs[i];
    if (tb_output_find(record, spec) == NULL && tb_record_wants(record, spec))
      return tb_raise(tb_py.internal_error, "the Response lacks output '%s', which the client asked for", spec->name) != NULL;
  }
  return true;
}

static TRITONSERVER_Error* set_parameter(tb_record* record, const char* name, PyObject* value)
{
  TRITONBACKEND_Response* response = record->response;
  if (PyBool_Check(value)) return TRITONBACKEND_ResponseSetBoolParameter(response, name, value == Py_True);
  if (PyLong_Check(value)) return TRITONBACKEND_ResponseSetIntParameter(response, name, PyLong_AsLongLong(value));
  if (PyFloat_Check(value)) return TRITONBACKEND_ResponseSetDoubleParameter(response, name, PyFloat_AS_DOUBLE(value));
  const char* text = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
  if (text != NULL) return TRITONBACKEND_ResponseSetStringParameter(response, name, text);
  if (!PyErr_Occurred()) tb_raise(tb_py.internal_error, "response parameter '%s' is %R; give a bool, int, float or str", name, value);
  return NULL;
}

static bool set_parameters(tb_record* record, PyObject* parameters)
{
  if (parameters == NULL || parameters == Py_None) return true;
  PyObject* copied = PyObject_CallOneArg((PyObject*)&PyDict_Type, parameters);
  if (copied == NULL)
    return tb_raise(tb_py.internal_error, "Response takes a mapping from name to value as parameters, not %s", Py_TYPE(parameters)->tp_name) != NULL;
  TRITONSERVER_Error* error = NULL;
  if (record->building) tb_raise(tb_py.internal_error, "another thread is making an output of this request: make the response after it");
  else if (PyDict_GET_SIZE(copied) > 0) error = tb_reply_open(record);
  Py_ssize_t at = 0;
  PyObject *name, *value;
  while (error == NULL && !PyErr_Occurred() && PyDict_Next(copied, &at, &name, &value)) {
    const char* text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text != NULL) error = set_parameter(record, text, value);
    else if (!PyErr_Occurred()) tb_raise(tb_py.internal_error, "%R is no name of a response parameter", name);
  }
  Py_DECREF(copied);
  if (error != NULL) {
    if (!PyErr_Occurred()) tb_raise(tb_py.internal_error, "response parameters: %s", TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_ErrorDelete(error);
  }
  return !PyErr_Occurred();
}

// A slot of the Python class Response, read where it lies.
static PyObject** slot(PyObject* response, Py_ssize_t offset)
{
  return (PyObject**)((char*)response + offset);
}

static bool take_response(PyObject* response)
{
  PyObject** sent = slot(response, tb_py.response_sent);
  if (*sent != Py_False) return tb_raise(tb_py.internal_error, "this Response already answered a request: make one Response per request") != NULL;
  Py_SETREF(*sent, Py_NewRef(Py_True));
  return true;
}

static bool take_reschedule(tb_record* record)
{
  const char* ends = NULL;
  const char* wrong = record->given_back ? "Request.release has given it back"
    : !tb_sequence_goes_on(record, &ends) ? ends
    : !record->instance->decoupled && (record->outputs != NULL || record->response != NULL) ? "only a decoupled model can answer it as well"
                                                                                            : NULL;
  if (wrong != NULL) return tb_raise(tb_py.internal_error, "the request cannot be rescheduled: %s", wrong) != NULL;
  return record->reschedule = true;
}

// The index is that in execute's list; below zero where the item is one of a stream's, or a sender's.
bool tb_answer(tb_record* record, PyObject* item, Py_ssize_t index)
{
  if (PyExceptionInstance_Check(item)) return PyErr_SetObject((PyObject*)Py_TYPE(item), item), false;
  if (index < 0 && !PyObject_TypeCheck(item, (PyTypeObject*)tb_py.response_class))
    return tb_raise(tb_py.internal_error, "the plugin gave %s as a response; give a Response or an exception", Py_TYPE(item)->tp_name) != NULL;
  if (!PyObject_TypeCheck(item, (PyTypeObject*)tb_py.response_class))
    return tb_raise(tb_py.internal_error, "execute returned %s for request %zd; give a Response or an exception", Py_TYPE(item)->tp_name, index) != NULL;
  if (!take_response(item)) return false;
  PyObject* error = *slot(item, tb_py.response_error);
  if (error != NULL && error != Py_None) {
    if (PyExceptionInstance_Check(error)) PyErr_SetObject((PyObject*)Py_TYPE(error), error);
    else tb_raise(tb_py.internal_error, "%S", error);
    return false;
  }
  PyObject* outputs = Py_XNewRef(*slot(item, tb_py.response_outputs));
  PyObject* parameters = Py_XNewRef(*slot(item, tb_py.response_parameters));
  bool written = write_outputs(record, outputs ? outputs : Py_None) && set_parameters(record, parameters);
  Py_XDECREF(parameters);
  Py_XDECREF(outputs);
  if (!written) return false;
  PyObject* again = Py_XNewRef(*slot(item, tb_py.response_reschedule));  // NULL: the author has deleted it
  int reschedule = again != NULL && again != Py_False ? PyObject_IsTrue(again) : 0;
  Py_XDECREF(again);
  if (reschedule < 0 || !(reschedule ? take_reschedule(record) : record->instance->decoupled || has_all_outputs(record))) return false;
  PyObject* states = Py_XNewRef(*slot(item, tb_py.response_states));
  written = tb_states_answer(record, states ? states : Py_None);
  Py_XDECREF(states);
  if (!written) record->reschedule = false;
  return written;
}

bool tb_answer_is_error(PyObject* item)
{
  if (PyExceptionInstance_Check(item)) return true;
  PyObject* error = PyObject_TypeCheck(item, (PyTypeObject*)tb_py.response_class) ? *slot(item, tb_py.response_error) : NULL;
  return error != NULL && error != Py_None;
}
