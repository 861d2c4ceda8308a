// The Python module _hot: how the package's Python side reaches the C of the request path.
#include "batcher.h"
#include "call.h"
#include "state.h"
#include <stdarg.h>
#include <structmember.h>

tb_python tb_py;

PyObject* tb_raise(PyObject* type, const char* format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  PyObject* message = PyUnicode_FromFormatV(format, arguments);
  va_end(arguments);
  if (message != NULL) PyErr_SetObject(type, message);
  Py_XDECREF(message);
  return NULL;
}

PyTypeObject* tb_type_new(PyObject* module, PyType_Spec* spec, PyObject* base)
{
  PyObject* bases = PyTuple_Pack(1, base);
  PyObject* type = bases ? PyType_FromModuleAndSpec(module, spec, bases) : NULL;
  Py_XDECREF(bases);
  return (PyTypeObject*)type;
}

static bool fetch(PyObject** slot, PyObject* names, const char* name)
{
  *slot = PyMapping_GetItemString(names, name);
  return *slot != NULL;
}

static bool fetch_members(PyObject** slots, int first, int count, PyObject* names, const char* name)
{
  PyObject* members;
  bool fetched = fetch(&members, names, name);
  for (int i = first; fetched && i < count; i++) fetched = (slots[i] = PySequence_GetItem(members, i - first)) != NULL;
  return fetched;
}

static bool slot_offset(Py_ssize_t* offset, const char* name)
{
  PyObject* descriptor = PyObject_GetAttrString(tb_py.response_class, name);
  bool is_slot = descriptor != NULL && Py_TYPE(descriptor) == &PyMemberDescr_Type;
  if (is_slot) *offset = ((PyMemberDescrObject*)descriptor)->d_member->offset;
  else if (descriptor != NULL) PyErr_Format(PyExc_TypeError, "Response.%s is no slot", name);
  Py_XDECREF(descriptor);
  return is_slot;
}

// install(names): the classes and functions of the package that the C code uses. Gives the C types.
static PyObject* install(PyObject* module, PyObject* names)
{
  PyObject *tensor, *request, *sender;
  bool fetched = fetch(&tb_py.response_class, names, "Response") && fetch(&tb_py.datatype_of, names, "datatype_of") && fetch(&tb_py.coerce, names, "coerce")
    && fetch(&tb_py.move, names, "move") && fetch(&tb_py.device_copy, names, "device_copy")
    && fetch(&tb_py.as_numpy_dtype, names, "as_numpy_dtype") && fetch(&tb_py.internal_error, names, "InternalError")
    && fetch(&tb_py.not_found_error, names, "NotFoundError") && fetch(&tb_py.invalid_arg_error, names, "InvalidArgError")
    && fetch(&tb_py.unsupported_error, names, "UnsupportedError") && fetch(&tb_py.triton_error, names, "TritonError")
    && fetch(&tb_py.from_code, names, "from_code") && fetch_members(tb_py.datatypes, 1, TB_DTYPES, names, "datatypes")
    && fetch_members(tb_py.memory_types, 0, 3, names, "memory_types") && fetch(&tb_py.deadline, names, "Deadline")
    && fetch(&tb_py.request_flag, names, "RequestFlag") && fetch(&tb_py.describe, names, "describe") && fetch(&tensor, names, "Tensor") && fetch(&request, names, "Request")
    && fetch(&sender, names, "ResponseSender");
  fetched = fetched && slot_offset(&tb_py.response_outputs, "outputs") && slot_offset(&tb_py.response_error, "error") && slot_offset(&tb_py.response_sent, "sent")
    && slot_offset(&tb_py.response_parameters, "parameters") && slot_offset(&tb_py.response_states, "states") && slot_offset(&tb_py.response_reschedule, "reschedule");
  tb_py.str_dlpack = PyUnicode_InternFromString("__dlpack__");
  tb_py.str_close = PyUnicode_InternFromString("close");
  tb_py.kw_max_version = Py_BuildValue("(s)", "max_version");
  tb_py.max_version = Py_BuildValue("(ii)", 1, 0);
  if (!fetched || PyErr_Occurred()) return NULL;
  tb_tensor_type = tb_tensor_type_new(module, tensor);
  tb_request_type = tb_tensor_type ? tb_request_type_new(module, request) : NULL;
  tb_sender_type = tb_request_type ? tb_sender_type_new(module, sender) : NULL;
  if (tb_sender_type == NULL || PyModule_AddFunctions(module, tb_sender_functions) != 0 || PyModule_AddFunctions(module, tb_call_functions) != 0 || PyModule_AddFunctions(module, tb_seat_functions) != 0
      || !tb_call_types(module, names)) return NULL;
  return Py_BuildValue("OOO", tb_tensor_type, tb_request_type, tb_sender_type);
}

bool tb_spec_read(tb_spec* spec, const char* kind, PyObject* given)
{
  const char* name;
  int dtype;
  PyObject* dims;
  if (!PyArg_ParseTuple(given, "siO!", &name, &dtype, &PyTuple_Type, &dims)) return false;
  spec->kind = kind;
  spec->name = strdup(name);
  spec->dtype = dtype;
  spec->ndim = (uint32_t)PyTuple_GET_SIZE(dims);
  spec->dims = calloc(spec->ndim + 1, sizeof *spec->dims);
  if (spec->name == NULL || spec->dims == NULL) return PyErr_NoMemory() != NULL;
  for (uint32_t i = 0; i < spec->ndim; i++) spec->dims[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(dims, i));
  return !PyErr_Occurred();
}

void tb_spec_free(tb_spec* spec)
{
  free(spec->name);
  free(spec->dims);
}

static void instance_free(tb_owner* owner)
{
  tb_instance* instance = (tb_instance*)owner;
  for (uint32_t i = 0; i < instance->output_count; i++) tb_spec_free(&instance->outputs[i]);
  free(instance->outputs);
  tb_sequences_free(instance->sequences);
  tb_place_free(instance);
  tb_ready_free(instance->ready);
  pthread_mutex_destroy(&instance->lock);
  free(instance);
}

// Triton executes it no more. Its Python side goes now, the rest with the last of its requests.
static void instance_let_go(tb_instance* instance)
{
  tb_seat_remove(instance);
  Py_BEGIN_ALLOW_THREADS
  pthread_mutex_lock(&instance->lock);
  instance->handle = NULL;
  pthread_mutex_unlock(&instance->lock);
  Py_END_ALLOW_THREADS
  Py_CLEAR(instance->python);
  Py_CLEAR(instance->execute);
  Py_CLEAR(instance->on_error);
  tb_drop(&instance->owner);
}

// bind(handle, instance, execute, on_error, batching, decoupled, as_given, outputs): gives the address to unbind, sets the instance's state.
static PyObject* bind(PyObject* module, PyObject* args)
{
  (void)module;
  unsigned long long handle;
  PyObject *python, *execute, *on_error, *outputs;
  int batching, decoupled, as_given;
  if (!PyArg_ParseTuple(args, "KOOOpppO!", &handle, &python, &execute, &on_error, &batching, &decoupled, &as_given, &PyTuple_Type, &outputs)) return NULL;
  Py_ssize_t count = PyTuple_GET_SIZE(outputs);
  tb_instance* instance = calloc(1, sizeof *instance);
  if (instance == NULL || (instance->outputs = calloc((size_t)count + 1, sizeof *instance->outputs)) == NULL) {
    free(instance);
    return PyErr_NoMemory();
  }
  instance->owner = (tb_owner){1, instance_free};
  instance->python = Py_NewRef(python);
  instance->execute = Py_NewRef(execute);
  instance->on_error = Py_NewRef(on_error);
  instance->batching = batching;
  instance->decoupled = decoupled;
  instance->as_given = as_given;
  pthread_mutex_init(&instance->lock, NULL);
  instance->handle = (TRITONBACKEND_ModelInstance*)(uintptr_t)handle;
  bool read = true;
  for (Py_ssize_t i = 0; read && i < count; i++) {
    read = tb_spec_read(&instance->outputs[i], "output", PyTuple_GET_ITEM(outputs, i));
    instance->output_count++;
  }
  TRITONSERVER_Error* error = read ? TRITONBACKEND_ModelInstanceSetState((TRITONBACKEND_ModelInstance*)(uintptr_t)handle, instance) : NULL;
  if (error != NULL) {
    tb_raise(tb_py.internal_error, "%s", TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_ErrorDelete(error);
  }
  if (read && error == NULL) {
    tb_seat_add(instance, (TRITONBACKEND_ModelInstance*)(uintptr_t)handle);
    return PyLong_FromVoidPtr(instance);
  }
  instance_let_go(instance);
  return NULL;
}

static PyObject* unbind(PyObject* module, PyObject* address)
{
  (void)module;
  tb_instance* instance = PyLong_AsVoidPtr(address);
  if (instance == NULL) return NULL;
  instance_let_go(instance);
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
  {"install", install, METH_O, NULL},
  {"bind", bind, METH_VARARGS, NULL},
  {"bind_sequences", tb_bind_sequences, METH_VARARGS, NULL},
  {"unbind", unbind, METH_O, NULL},
  {"place", tb_place, METH_VARARGS, NULL},
  {"allocate", tb_allocate, METH_VARARGS, NULL},
  {"handoff_new", tb_handoff_new, METH_NOARGS, NULL},
  {"handoff_call", tb_handoff_call, METH_VARARGS, NULL},
  {"handoff_serve", tb_handoff_serve, METH_O, NULL},
  {"handoff_close", tb_handoff_close, METH_O, NULL},
  {0},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "triton_backend_sdk._hot", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__hot(void)
{
  PyObject* module = PyModule_Create(&definition);
  if (module != NULL && PyModule_AddFunctions(module, tb_batcher_methods) != 0) Py_CLEAR(module);
  PyObject* series = module ? tb_series_type_new(module) : NULL;
  if (series == NULL || PyModule_AddObjectRef(module, "Series", series) != 0) Py_CLEAR(module);
  Py_XDECREF(series);
  return module;
}
