// The batcher's Python side: its hooks, and what batching.py asks of it.
#include "batcher.h"

static __thread bool in_hook;

bool tb_in_batch_hook(void) { return in_hook; }

static void log_exception(tb_batcher* batcher, const char* hook)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != NULL) PyException_SetTraceback(value, traceback);
  PyObject* done = PyObject_CallFunction(batcher->on_error, "sO", hook, value ? value : Py_None);
  PyErr_Clear();
  Py_XDECREF(done);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
}

static bool fail(tb_batcher* batcher, const char* hook)
{
  batcher->batch.failed = true;
  log_exception(batcher, hook);
  return false;
}

// None is what a forgotten `return` gives, and a string or list means nothing here.
static bool read_answer(tb_batcher* batcher, PyObject* answer)
{
  PyNumberMethods* number = Py_TYPE(answer)->tp_as_number;
  if (answer == Py_None || number == NULL || number->nb_bool == NULL) {
    tb_raise(PyExc_TypeError, "batch_include returned %R; return True or False", answer);
    return fail(batcher, "batch_include");
  }
  int joins = PyObject_IsTrue(answer);
  return joins < 0 ? fail(batcher, "batch_include") : joins > 0;
}

static bool begun(tb_batcher* batcher)
{
  if (batcher->batch.state != NULL) return true;
  batcher->batch.state = PyObject_CallOneArg(batcher->initialize, batcher->python);
  return batcher->batch.state != NULL || fail(batcher, "batch_initialize");
}

bool tb_batch_ask(tb_batcher* batcher, TRITONBACKEND_Request* request)
{
  PyGILState_STATE gil = tb_enter();
  bool joins = false;
  in_hook = true;
  if (begun(batcher)) {
    PyObject* queued = tb_queued_new(request, batcher->batching);
    PyObject* arguments[] = {batcher->python, batcher->batch.state, queued};
    PyObject* answer = queued ? PyObject_Vectorcall(batcher->include, arguments, 3, NULL) : NULL;
    joins = answer == NULL ? fail(batcher, "batch_include") : read_answer(batcher, answer);
    Py_XDECREF(answer);
    if (queued != NULL) tb_queued_close(queued);
  }
  in_hook = false;
  tb_leave(gil);
  return joins;
}

void tb_batch_end(tb_batcher* batcher)
{
  if (batcher->batch.state == NULL) return;
  PyGILState_STATE gil = tb_enter();
  PyObject* state = batcher->batch.state;
  batcher->batch.state = NULL;
  in_hook = true;
  if (batcher->finalize != NULL) {
    PyObject* arguments[] = {batcher->python, state};
    PyObject* done = PyObject_Vectorcall(batcher->finalize, arguments, 2, NULL);
    if (done == NULL) log_exception(batcher, "batch_finalize");
    Py_XDECREF(done);
  }
  Py_DECREF(state);
  in_hook = false;
  tb_leave(gil);
}

static void batcher_free(tb_batcher* batcher)
{
  for (uint32_t i = 0; i < batcher->rule.input_count; i++) free(batcher->rule.inputs[i]);
  free(batcher->rule.inputs);
  Py_XDECREF(batcher->python);
  Py_XDECREF(batcher->initialize);
  Py_XDECREF(batcher->include);
  Py_XDECREF(batcher->finalize);
  Py_XDECREF(batcher->on_error);
  pthread_mutex_destroy(&batcher->lock);
  free(batcher);
}

static PyObject* reference(PyObject* callable)
{
  return callable == Py_None ? NULL : Py_NewRef(callable);
}

static bool read_inputs(tb_rule* rule, PyObject* names)
{
  Py_ssize_t count = PyTuple_GET_SIZE(names);
  rule->inputs = calloc((size_t)count + 1, sizeof *rule->inputs);
  if (rule->inputs == NULL) return PyErr_NoMemory() != NULL;
  for (Py_ssize_t i = 0; i < count; i++) {
    const char* name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i));
    if (name == NULL) return false;
    if ((rule->inputs[i] = strdup(name)) == NULL) return PyErr_NoMemory() != NULL;
    rule->input_count++;
  }
  return true;
}

// batcher_new(handle of the model, model, (initialize, include, finalize), on_error, batching, (elements, bytes, padded),
// inputs): gives the address to free. Hooks and limits may be None.
static PyObject* batcher_new(PyObject* module, PyObject* args)
{
  (void)module;
  unsigned long long handle;
  PyObject *model, *hooks[3], *on_error, *limits[3], *inputs;
  int batching;
  if (!PyArg_ParseTuple(args, "KO(OOO)Op(OOO)O!", &handle, &model, &hooks[0], &hooks[1], &hooks[2], &on_error, &batching, &limits[0], &limits[1],
        &limits[2], &PyTuple_Type, &inputs))
    return NULL;
  tb_batcher* batcher = calloc(1, sizeof *batcher);
  if (batcher == NULL) return PyErr_NoMemory();
  pthread_mutex_init(&batcher->lock, NULL);
  batcher->model = (TRITONBACKEND_Model*)(uintptr_t)handle;
  batcher->python = Py_NewRef(model);
  batcher->initialize = reference(hooks[0]);
  batcher->include = reference(hooks[1]);
  batcher->finalize = reference(hooks[2]);
  batcher->on_error = Py_NewRef(on_error);
  batcher->batching = batching;
  uint64_t* slots[] = {&batcher->rule.elements, &batcher->rule.bytes, &batcher->rule.padded};
  for (int i = 0; i < 3; i++) *slots[i] = limits[i] == Py_None ? UINT64_MAX : PyLong_AsUnsignedLongLong(limits[i]);
  if (PyErr_Occurred() || !read_inputs(&batcher->rule, inputs)) {
    batcher_free(batcher);
    return NULL;
  }
  tb_batcher_register(batcher);
  return PyLong_FromVoidPtr(batcher);
}

// At the end of the model: its scheduler thread is gone.
static PyObject* batcher_delete(PyObject* module, PyObject* address)
{
  (void)module;
  tb_batcher* batcher = PyLong_AsVoidPtr(address);
  if (batcher == NULL) return NULL;
  tb_batcher_unregister(batcher);
  tb_batch_end(batcher);
  batcher_free(batcher);
  Py_RETURN_NONE;
}

// Has Triton found the batcher?
static PyObject* batcher_attached(PyObject* module, PyObject* address)
{
  (void)module;
  tb_batcher* batcher = PyLong_AsVoidPtr(address);
  return batcher == NULL ? NULL : PyBool_FromLong(atomic_load(&batcher->attached));
}

// batcher_formed(address, handles): were these requests, a list of addresses, put together as one batch?
static PyObject* batcher_formed(PyObject* module, PyObject* args)
{
  (void)module;
  PyObject *address, *handles;
  if (!PyArg_ParseTuple(args, "OO!", &address, &PyList_Type, &handles)) return NULL;
  tb_batcher* batcher = PyLong_AsVoidPtr(address);
  if (batcher == NULL) return NULL;
  uint64_t batch = 0;
  bool one = true;
  pthread_mutex_lock(&batcher->lock);
  for (Py_ssize_t i = 0; one && i < PyList_GET_SIZE(handles); i++) {
    const void* request = PyLong_AsVoidPtr(PyList_GET_ITEM(handles, i));
    size_t cell = ((uintptr_t)request >> 6) % TB_FORMED;
    one = batcher->formed[cell].request == request && (i == 0 || batcher->formed[cell].batch == batch);
    batch = batcher->formed[cell].batch;
  }
  pthread_mutex_unlock(&batcher->lock);
  return PyErr_Occurred() ? NULL : PyBool_FromLong(one);
}

// install_queued(base, QueuedInput): gives the C type of a request that is still queued.
static PyObject* install_queued(PyObject* module, PyObject* args)
{
  PyObject* base;
  if (!PyArg_ParseTuple(args, "OO", &base, &tb_queued_input)) return NULL;
  Py_INCREF(tb_queued_input);
  return Py_XNewRef((PyObject*)tb_queued_type_new(module, base));  // ours for good
}

PyMethodDef tb_batcher_methods[] = {
  {"batcher_new", batcher_new, METH_VARARGS, NULL},
  {"batcher_delete", batcher_delete, METH_O, NULL},
  {"batcher_attached", batcher_attached, METH_O, NULL},
  {"batcher_formed", batcher_formed, METH_VARARGS, NULL},
  {"install_queued", install_queued, METH_VARARGS, NULL},
  {0},
};
