// The inputs of a call: Triton reads them where they lie. Only what lies in no order that Triton knows is copied: strided
// arrays, and lists of strings.
#include "call.h"

PyObject* tb_raise_code(int code, const char* message)
{
  PyObject* text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
  PyObject* error = text ? PyObject_CallFunction(tb_py.from_code, "iN", code, text) : NULL;
  if (error != NULL) PyErr_SetObject((PyObject*)Py_TYPE(error), error);
  Py_XDECREF(error);
  return NULL;
}

PyObject* tb_triton_raise(TRITONSERVER_Error* error)
{
  tb_raise_code(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return NULL;
}

static bool append(tb_call* call, const char* name, const void* data, uint64_t nbytes, TRITONSERVER_MemoryType type, int64_t id)
{
  TRITONSERVER_Error* error = TRITONSERVER_InferenceRequestAppendInputData(call->request, name, data, nbytes, type, id);
  return error == NULL || tb_triton_raise(error) != NULL;
}

static bool declare(tb_call* call, const char* name, TRITONSERVER_DataType dtype, const int64_t* shape, uint32_t ndim)
{
  TRITONSERVER_Error* error = TRITONSERVER_InferenceRequestAddInput(call->request, name, dtype, shape, ndim);
  return error == NULL || tb_triton_raise(error) != NULL;
}

// NULL and a Python error: while one input was looked at, the plugin's code added others.
static tb_given* next_given(tb_call* call)
{
  if (call->given_count < call->given_room) return &call->given[call->given_count++];
  return (void*)tb_raise(tb_py.internal_error, "the dict of inputs grew while it was read");
}

static bool add_tensor(tb_call* call, const char* name, const tb_view* view)
{
  tb_given* given = next_given(call);
  if (given == NULL) return false;
  tb_keep(given->owner = view->owner);
  tb_record_lend(view->owner);
  return declare(call, name, view->dtype, view->shape, view->ndim) && append(call, name, view->data, view->nbytes, view->memory_type, view->memory_type_id);
}

static bool add_source(tb_call* call, const char* name, const tb_source* source)
{
  tb_given* given = next_given(call);
  if (given == NULL) return false;
  int64_t elements = tb_elements(source->shape, source->ndim);
  uint64_t nbytes = (uint64_t)elements * source->itemsize;
  if (elements < 0) return tb_raise(tb_py.internal_error, "its shape is that of no tensor") != NULL;
  if (source->objects && !tb_bytes_size(source, name, &nbytes)) return false;
  const void* data = source->data;
  if (source->memory_type == TRITONSERVER_MEMORY_GPU && !tb_source_is_compact(source))
    return tb_raise(tb_py.unsupported_error, "it is strided GPU memory; make it contiguous first") != NULL;
  if (source->objects || !tb_source_is_compact(source)) {
    if ((data = given->block = malloc(nbytes + 1)) == NULL) return PyErr_NoMemory() != NULL;
    if (!source->objects) tb_source_pack(source, given->block, nbytes);
    else if (!tb_bytes_write(source, given->block, nbytes)) return false;
  } else {
    given->buffer = source->buffer;
    given->holder = source->holder;
  }
  return declare(call, name, source->dtype, source->shape, source->ndim) && append(call, name, data, nbytes, source->memory_type, source->memory_type_id);
}

// What goes wrong with a value is said where it is looked at; here it gets the input's name.
static bool name_input(const tb_call* call, const char* name)
{
  if (PyErr_ExceptionMatches(PyExc_MemoryError)) return false;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyObject* text = PyUnicode_FromFormat("input '%s' for model '%s': %S", name, call->model, value);
  bool keeps_class = PyErr_GivenExceptionMatches(type, tb_py.triton_error);
  if (text != NULL) PyErr_SetObject(keeps_class ? type : tb_py.internal_error, text);
  Py_XDECREF(text);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return false;
}

static bool add_value(tb_call* call, const char* name, PyObject* value)
{
  if (Py_TYPE(value) == tb_tensor_type) return add_tensor(call, name, &((tb_tensor*)value)->view) || name_input(call, name);
  tb_source source;
  uint32_t before = call->given_count;
  bool added = tb_source_open(&source, value) && add_source(call, name, &source);
  bool kept = added && call->given[call->given_count - 1].block == NULL;
  PyObject *type, *error, *traceback;
  PyErr_Fetch(&type, &error, &traceback);  // closing may run Python code
  if (!kept && call->given_count > before) {
    tb_given* given = &call->given[before];
    given->buffer.obj = NULL;  // not twice
    given->holder = NULL;
  }
  if (!kept) tb_source_close(&source);
  PyErr_Restore(type, error, traceback);
  return added || name_input(call, name);
}

// An input that came in several buffers goes on in as many.
static bool pass_on(tb_call* call, tb_record* record, tb_input* input)
{
  tb_given* given = next_given(call);
  if (given == NULL) return false;
  tb_keep(given->owner = &record->owner);
  tb_record_lend(&record->owner);
  if (!declare(call, input->name, input->dtype, input->shape, input->ndim)) return false;
  if (input->data != NULL || input->nbytes == 0) return append(call, input->name, input->data, input->nbytes, input->memory_type, input->memory_type_id);
  for (uint32_t i = 0; i < input->buffer_count; i++) {
    const void* part = NULL;
    uint64_t size = 0;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t id = 0;
    TRITONSERVER_Error* error = tb_input_part(input, i, &part, &size, &type, &id);
    if (error != NULL) return tb_triton_raise(error) != NULL;
    if (!append(call, input->name, part, size, type, id)) return false;
  }
  return true;
}

static bool add_items(tb_call* call, PyObject* inputs)
{
  Py_ssize_t at = 0;
  PyObject *key, *value;
  while (PyDict_Next(inputs, &at, &key, &value)) {
    const char* name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
    if (name == NULL) return tb_raise(tb_py.internal_error, "%R is no name of an input", key) != NULL;
    Py_INCREF(key);  // looking at the value may run Python code, which may change the dict
    Py_INCREF(value);
    bool added = add_value(call, name, value);
    Py_DECREF(value);
    Py_DECREF(key);
    if (!added) return false;
  }
  return true;
}

bool tb_call_add_inputs(tb_call* call, PyObject* inputs)
{
  if (Py_TYPE(inputs) != tb_request_type) return add_items(call, inputs);
  tb_record* record = tb_request_record(inputs);
  bool added = record != NULL;
  for (uint32_t i = 0; added && i < record->input_count; i++) added = pass_on(call, record, &record->inputs[i]);
  return added;
}
