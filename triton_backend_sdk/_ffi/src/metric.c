// Series: one metric of Triton's, as hot code uses it. All its methods keep the GIL: they take less time than giving it away,
// and a metric that is deleted on another thread is then never under use.
#include "shim.h"
#include <math.h>

typedef struct {
  PyObject_HEAD
  TRITONSERVER_Metric* metric;  // NULL once deleted
  char* name;
} series;

static PyObject* done(TRITONSERVER_Error* error, series* self)
{
  if (error == NULL) Py_RETURN_NONE;
  TRITONSERVER_Error_Code code = TRITONSERVER_ErrorCode(error);
  PyObject* type = code == TRITONSERVER_ERROR_INVALID_ARG ? tb_py.invalid_arg_error
    : code == TRITONSERVER_ERROR_UNSUPPORTED              ? tb_py.unsupported_error
                                                          : tb_py.internal_error;
  tb_raise(type, "metric %s: %s", self->name, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return NULL;
}

static bool is_there(series* self)
{
  return self->metric != NULL || tb_raise(tb_py.internal_error, "metric %s is gone: its model was unloaded", self->name) != NULL;
}

static bool parse(series* self, PyObject* value, double* number)
{
  *number = PyFloat_AsDouble(value);
  return (*number != -1.0 || !PyErr_Occurred()) && is_there(self);
}

static PyObject* increment(series* self, PyObject* value)
{
  double number;
  if (!parse(self, value, &number)) return NULL;
  if (isnan(number)) return tb_raise(tb_py.invalid_arg_error, "metric %s: adding nan would leave nothing else", self->name);
  return done(TRITONSERVER_MetricIncrement(self->metric, number), self);
}

static PyObject* set(series* self, PyObject* value)
{
  double number;
  return parse(self, value, &number) ? done(TRITONSERVER_MetricSet(self->metric, number), self) : NULL;
}

// Only on a Triton that has it: an older one makes no histogram.
static PyObject* observe(series* self, PyObject* value)
{
  double number;
  return parse(self, value, &number) ? done(TRITONSERVER_MetricObserve(self->metric, number), self) : NULL;
}

static PyObject* read_value(series* self, PyObject* unused)
{
  (void)unused;
  double number = 0;
  if (!is_there(self)) return NULL;
  PyObject* none = done(TRITONSERVER_MetricValue(self->metric, &number), self);
  Py_XDECREF(none);
  return none ? PyFloat_FromDouble(number) : NULL;
}

static PyObject* delete(series* self, PyObject* unused)
{
  (void)unused;
  TRITONSERVER_Metric* metric = self->metric;
  self->metric = NULL;
  return done(metric ? TRITONSERVER_MetricDelete(metric) : NULL, self);
}

// Series(address, name): takes over the TRITONSERVER_Metric at the address.
static PyObject* series_new(PyTypeObject* type, PyObject* args, PyObject* kwargs)
{
  (void)kwargs;
  unsigned long long address;
  const char* name;
  if (!PyArg_ParseTuple(args, "Ks", &address, &name)) return NULL;
  series* self = (series*)type->tp_alloc(type, 0);
  if (self == NULL) return NULL;
  self->metric = (TRITONSERVER_Metric*)(uintptr_t)address;
  self->name = strdup(name);
  if (self->name != NULL) return (PyObject*)self;
  Py_DECREF(self);
  return PyErr_NoMemory();
}

static void series_dealloc(series* self)
{
  PyTypeObject* type = Py_TYPE(self);
  free(self->name);
  type->tp_free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
  {"increment", (PyCFunction)increment, METH_O, NULL},
  {"set", (PyCFunction)set, METH_O, NULL},
  {"observe", (PyCFunction)observe, METH_O, NULL},
  {"value", (PyCFunction)read_value, METH_NOARGS, NULL},
  {"delete", (PyCFunction)delete, METH_NOARGS, NULL},
  {0},
};

static PyType_Slot slots[] = {
  {Py_tp_new, series_new},
  {Py_tp_dealloc, series_dealloc},
  {Py_tp_methods, methods},
  {0},
};

PyObject* tb_series_type_new(PyObject* module)
{
  PyType_Spec spec = {"triton_backend_sdk._hot.Series", sizeof(series), 0, Py_TPFLAGS_DEFAULT, slots};
  return PyType_FromModuleAndSpec(module, &spec, NULL);
}
