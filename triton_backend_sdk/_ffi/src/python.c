// The interpreter: started once per process on a thread of its own, entered by Triton's threads.
#include "shim.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { ABSENT, STARTED, FAILED, STOPPING, STOPPED } interpreter;  // ABSENT also where the host has a Python of its own
static char failure[1024];
static __thread bool thread_known;

uint64_t tb_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void tb_log(TRITONSERVER_LogLevel level, const char* format, ...)
{
  char message[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  TRITONSERVER_Error* error = TRITONSERVER_LogMessage(level, __FILE__, __LINE__, message);
  if (error != NULL) TRITONSERVER_ErrorDelete(error);
}

// What C++ calls for a thread_local: unlike a pthread key's destructor it runs while the thread's keys still hold, by
// which the objects that end here may look their thread state up.
extern int __cxa_thread_atexit_impl(void (*)(void*), void*, void*);
extern void* __dso_handle __attribute__((visibility("hidden")));

static void thread_exits(void* state)
{
  if (!Py_IsInitialized() || getpid() == gettid()) return;  // the main thread ends with the process
  PyEval_RestoreThread(state);
  PyThreadState_Clear(state);
  PyThreadState_DeleteCurrent();
}

// Each Triton thread keeps its thread state between calls: making one anew costs more than a small request.
PyGILState_STATE tb_enter(void)
{
  if (!thread_known) {
    thread_known = true;
    if (PyGILState_GetThisThreadState() == NULL) {
      PyGILState_Ensure();
      __cxa_thread_atexit_impl(thread_exits, PyEval_SaveThread(), &__dso_handle);
    }
  }
  return PyGILState_Ensure();
}

void tb_leave(PyGILState_STATE state) { PyGILState_Release(state); }

// What Py_Finalize would run. Python itself is left standing: extension modules do not survive its end, and Triton's
// threads may still pass through.
static void run_exit_functions(void)
{
  PyRun_SimpleString(
    "import atexit, threading\n"
    "try:\n"
    "    threading._shutdown()\n"
    "finally:\n"
    "    atexit._run_exitfuncs()\n");
}

static PyStatus start(const char* executable)
{
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.parse_argv = 0;
  config.install_signal_handlers = 0;  // they are the server's
  config.buffered_stdio = 0;           // print() shows in the output at once; see also triton_log.py
  config.write_bytecode = 0;           // a __pycache__ in a model repository makes Triton reload the model
  char* argv[] = {""};
  PyStatus status = PyConfig_SetBytesArgv(&config, 1, argv);
  if (!PyStatus_Exception(status) && access(executable, X_OK) == 0)
    // From the interpreter's path Python finds its prefix and, through pyvenv.cfg, the virtual environment.
    status = PyConfig_SetBytesString(&config, &config.executable, executable);
  if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  return status;
}

// Python's main thread must outlive Triton's short-lived loader threads, so it is one of ours.
static void* interpreter_main(void* executable)
{
  PyStatus status = start(executable);
  bool failed = PyStatus_Exception(status);
  if (failed) snprintf(failure, sizeof failure, "%s: %s", status.func ? status.func : "Py_InitializeFromConfig", status.err_msg ? status.err_msg : "?");
  // threading takes the thread that first imports it for the main one, and waits for it to end.
  if (!failed) PyRun_SimpleString("import threading");
  // Without `site` Python fails, but runs and has the GIL: another backend's copy of this code must not wait for it.
  PyThreadState* state = failed && !Py_IsInitialized() ? NULL : PyEval_SaveThread();
  pthread_mutex_lock(&lock);
  interpreter = failed ? FAILED : STARTED;
  pthread_cond_broadcast(&changed);
  while (interpreter == STARTED) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  if (failed) return NULL;
  PyEval_RestoreThread(state);
  run_exit_functions();
  PyEval_SaveThread();
  pthread_mutex_lock(&lock);
  interpreter = STOPPED;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static bool start_interpreter(const char* executable)
{
  pthread_t thread;
  if (pthread_create(&thread, NULL, interpreter_main, (void*)executable) != 0) {
    snprintf(failure, sizeof failure, "cannot create Python's thread");
    return false;
  }
  pthread_detach(thread);
  pthread_mutex_lock(&lock);
  while (interpreter == ABSENT) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  return interpreter == STARTED;
}

bool tb_owns_interpreter(void) { return interpreter != ABSENT; }

// The last backend is going: run what the author registered with atexit, for a bounded time.
void tb_stop_interpreter(void)
{
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 10;
  pthread_mutex_lock(&lock);
  if (interpreter == STARTED) {
    interpreter = STOPPING;
    pthread_cond_broadcast(&changed);
    while (interpreter == STOPPING && pthread_cond_timedwait(&changed, &lock, &deadline) == 0) continue;
    if (interpreter == STOPPING) tb_log(TRITONSERVER_LOG_WARN, "Python's exit functions did not end within 10 s; leaving them");
  }
  pthread_mutex_unlock(&lock);
}

static void python_error_text(char* error, size_t size)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyObject* text = value ? PyObject_Str(value) : NULL;
  const char* utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
  snprintf(error, size, "%s: %s", type ? ((PyTypeObject*)type)->tp_name : "error", utf8 ? utf8 : "?");
  Py_XDECREF(text);
  PyErr_Restore(type, value, traceback);
  PyErr_Clear();
}

static const tb_entries* attach_package(const tb_boot* boot, char* error, size_t size)
{
  // The SDK's Python half: one per process, whichever backend came first. attach.attach() gives the address of the
  // entries of the native module in use, which is another backend's copy of this one if that was here before.
  static const char code[] =
    "import sys\n"
    "if 'triton_backend_sdk' not in sys.modules:\n"
    "    sys.path.insert(0, sdk)\n"
    "try:\n"
    "    from triton_backend_sdk.attach import attach\n"
    "except ImportError as error:\n"
    "    where = f'Python {sys.version.split()[0]} of {sys.prefix}'\n"
    "    hint = f'the backend was built with {executable}, see tbsdk.conf; there, or here: pip install cffi pluggy numpy'\n"
    "    raise RuntimeError(f'{error} in {where}: {hint}') from None\n"
    "address = attach(native, fingerprint, directory)\n";
  PyObject* globals = Py_BuildValue(
    "{s:s,s:s,s:s,s:s,s:s,s:O}", "sdk", boot->sdk, "executable", boot->executable, "native", boot->native, "fingerprint", boot->fingerprint, "directory", boot->directory,
    "__builtins__", PyEval_GetBuiltins());
  PyObject* result = globals ? PyRun_String(code, Py_file_input, globals, globals) : NULL;
  const tb_entries* entries = NULL;
  if (result != NULL) entries = PyLong_AsVoidPtr(PyDict_GetItemString(globals, "address"));
  if (PyErr_Occurred()) python_error_text(error, size);
  Py_XDECREF(result);
  Py_XDECREF(globals);
  return entries;
}

__attribute__((visibility("default"))) const tb_entries* tb_attach(const tb_boot* boot, char* error, size_t size)
{
  const char* missing = tb_table_load();
  if (missing != NULL) {
    snprintf(error, size, "this Triton has no %s: the backend needs the TRITONBACKEND API 1.19 (server 24.03) or newer", missing);
    return NULL;
  }
  uint32_t major = 0, minor = 0;
  TRITONSERVER_Error* unknown = TRITONBACKEND_ApiVersion(&major, &minor);
  if (unknown != NULL) TRITONSERVER_ErrorDelete(unknown);
  if (major != 1 || minor < 19) {
    snprintf(error, size, "this Triton has the TRITONBACKEND API %u.%u, but the backend needs 1.19 (server 24.03) or newer, and below 2", major, minor);
    return NULL;
  }
  // A failed start is not repeated: Python is left half made.
  if (interpreter == FAILED || (!Py_IsInitialized() && !start_interpreter(boot->executable))) {
    snprintf(error, size, "Python does not start: %s", failure);
    return NULL;
  }
  PyGILState_STATE state = tb_enter();
  const tb_entries* entries = attach_package(boot, error, size);
  tb_leave(state);
  return entries;
}
