// InferResponse: a mapping from output name to Tensor over a result.
#include "call.h"

static PyTypeObject* response_type;

typedef struct {
  PyObject_VAR_HEAD
  tb_result* result;
  PyObject* tensors[];  // made when first asked for
} response;

PyObject* tb_infer_response_new(tb_result* result)
{
  response* self = (response*)response_type->tp_alloc(response_type, result->part_count);
  if (self == NULL) return NULL;
  self->result = result;
  tb_keep(&result->owner);
  return (PyObject*)self;
}

static void response_dealloc(response* self)
{
  PyTypeObject* type = Py_TYPE(self);
  tb_result* result = self->result;
  PyObject_GC_UnTrack(self);  // tracked, as its base class is
  for (uint32_t i = 0; i < result->part_count; i++) Py_XDECREF(self->tensors[i]);
  type->tp_free(self);
  Py_DECREF(type);
  tb_drop(&result->owner);
}

static PyObject* response_names(response* self)
{
  PyObject* names = PyTuple_New(self->result->part_count);
  for (uint32_t i = 0; names != NULL && i < self->result->part_count; i++) {
    PyObject* name = PyUnicode_FromString(self->result->parts[i].name);
    if (name == NULL) Py_CLEAR(names);
    else PyTuple_SET_ITEM(names, i, name);
  }
  return names;
}

static int find(response* self, PyObject* name)
{
  const char* wanted = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  for (uint32_t i = 0; wanted != NULL && i < self->result->part_count; i++)
    if (strcmp(self->result->parts[i].name, wanted) == 0) return (int)i;
  return -1;
}

static PyObject* no_output(response* self, PyObject* name)
{
  PyObject* known = PyErr_Occurred() ? NULL : response_names(self);
  PyObject* message = known ? PyUnicode_FromFormat("the response of model '%s' has no output %R; it has %R", self->result->model, name, known) : NULL;
  if (message != NULL) PyErr_SetObject(tb_py.not_found_error, message);
  Py_XDECREF(message);
  Py_XDECREF(known);
  return NULL;
}

static PyObject* response_item(response* self, PyObject* name)
{
  int index = find(self, name);
  if (index < 0) return no_output(self, name);
  if (self->tensors[index] == NULL) {
    const tb_part* part = &self->result->parts[index];
    // Nobody else's memory, so it may be written to; what shares it is the author's own doing.
    tb_view view = {&self->result->owner, part->name, part->dtype, part->shape, part->ndim, (void*)part->data, part->nbytes, part->memory_type, part->memory_type_id, false};
    self->tensors[index] = tb_tensor_new(&view);
  }
  return Py_XNewRef(self->tensors[index]);
}

static Py_ssize_t response_length(response* self) { return self->result->part_count; }
static int response_contains(response* self, PyObject* name)
{
  int index = find(self, name);
  return index >= 0 ? 1 : PyErr_Occurred() ? -1 : 0;
}
static PyObject* response_iter(response* self)
{
  PyObject* names = response_names(self);
  PyObject* iterator = names ? PyObject_GetIter(names) : NULL;
  Py_XDECREF(names);
  return iterator;
}

static PyObject* setting_value(const tb_setting* setting)
{
  switch (setting->type) {
    case TRITONSERVER_PARAMETER_STRING: return PyUnicode_FromString(setting->value);
    case TRITONSERVER_PARAMETER_INT: return PyLong_FromLongLong(*(const int64_t*)setting->value);
    case TRITONSERVER_PARAMETER_BOOL: return PyBool_FromLong(*(const bool*)setting->value);
    case TRITONSERVER_PARAMETER_DOUBLE: return PyFloat_FromDouble(*(const double*)setting->value);
    default: return tb_raise(tb_py.unsupported_error, "response parameters of type %d are not known here", setting->type);
  }
}

static PyObject* get_parameters(response* self, void* unused)
{
  (void)unused;
  PyObject* parameters = PyDict_New();
  for (uint32_t i = 0; parameters != NULL && i < self->result->setting_count; i++) {
    PyObject* value = setting_value(&self->result->settings[i]);
    if (value == NULL || PyDict_SetItemString(parameters, self->result->settings[i].name, value) != 0) Py_CLEAR(parameters);
    Py_XDECREF(value);
  }
  return parameters;
}

static PyObject* get_model(response* self, void* unused) { (void)unused; return PyUnicode_FromString(self->result->model); }
static PyObject* get_id(response* self, void* unused) { (void)unused; return PyUnicode_FromString(self->result->id); }
static PyObject* get_version(response* self, void* unused) { (void)unused; return PyLong_FromLongLong(self->result->version); }

static PyGetSetDef getters[] = {
  {"model", (getter)get_model, NULL, NULL, NULL},
  {"version", (getter)get_version, NULL, NULL, NULL},
  {"id", (getter)get_id, NULL, NULL, NULL},
  {"parameters", (getter)get_parameters, NULL, NULL, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_dealloc, response_dealloc},
  {Py_tp_getset, getters},
  {Py_tp_iter, response_iter},
  {Py_mp_length, response_length},
  {Py_mp_subscript, response_item},
  {Py_sq_contains, response_contains},
  {0},
};

bool tb_infer_response_type(PyObject* module, PyObject* base)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.InferResponse", sizeof(response), sizeof(PyObject*), Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  response_type = tb_type_new(module, &spec, base);
  return response_type != NULL;
}
