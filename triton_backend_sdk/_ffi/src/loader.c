// libtriton_<name>.so: what Triton opens. Knows no Python: it finds libpython, makes it global, opens the native module
// beside it and forwards Triton's calls, so that whatever is missing becomes an error message instead of a linker's.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "entries.h"
#include "resolve.h"

#define EXPORT __attribute__((visibility("default")))

static const tb_entries* entries;
static char directory[4096];
static char conf[16384];
static char message[16384];

static const char* setting(const char* key)
{
  size_t length = strlen(key);
  for (const char* line = conf; *line != 0; line += strlen(line) + 1)
    if (strncmp(line, key, length) == 0 && line[length] == '=') return line + length + 1;
  return "";
}

static bool read_conf(void)
{
  Dl_info self;
  if (dladdr((void*)read_conf, &self) == 0 || realpath(self.dli_fname, directory) == NULL) {
    snprintf(message, sizeof message, "cannot tell where this backend's library lies");
    return false;
  }
  *strrchr(directory, '/') = 0;
  char path[4200];
  snprintf(path, sizeof path, "%s/tbsdk.conf", directory);
  FILE* file = fopen(path, "r");
  if (file == NULL) {
    snprintf(message, sizeof message, "%s is missing: the backend directory is incomplete; run `tbsdk build` and copy all of it", path);
    return false;
  }
  size_t length = fread(conf, 1, sizeof conf - 2, file);
  fclose(file);
  conf[length] = conf[length + 1] = 0;
  for (size_t i = 0; i < length; i++)
    if (conf[i] == '\n') conf[i] = 0;
  return true;
}

// One process can hold one Python. Where one runs already (another backend's, or the host's own), it must be ours.
static bool running_python_fits(const char* (*version)(void))
{
  const char* wanted = setting("python");
  const char* running = version();
  size_t length = strlen(wanted);
  if (strncmp(running, wanted, length) == 0 && running[length] == '.') return true;
  snprintf(message, sizeof message,
    "%s was built for Python %s, but this process already runs Python %.*s: one server holds one Python; rebuild it with that one"
    " (python%.*s -m triton_backend_sdk build)",
    directory, wanted, (int)strcspn(running, " "), running, (int)strcspn(strchr(running, '.') + 1, ".") + 2, running);
  return false;
}

static bool open_libpython(void)
{
  const char* (*version)(void) = dlsym(RTLD_DEFAULT, "Py_GetVersion");
  if (version != NULL) return running_python_fits(version);
  const char* soname = setting("libpython");
  char path[4200];
  snprintf(path, sizeof path, "%s/%s", setting("libdir"), soname);
  const char* tried[] = {path, soname};
  for (int i = 0; i < 2; i++) {
    // Global, before Python starts: extension modules such as NumPy's do not link libpython, they find it here.
    if (dlopen(tried[i], RTLD_NOW | RTLD_GLOBAL) == NULL) continue;
    version = dlsym(RTLD_DEFAULT, "Py_GetVersion");
    return version != NULL && running_python_fits(version);
  }
  snprintf(message, sizeof message,
    "%s needs %s, which is neither at %s nor where the loader looks: install it (Debian and Ubuntu: apt-get install libpython%s), or"
    " rebuild the backend with the Python that this machine has (tbsdk build)",
    directory, soname, path, setting("python"));
  return false;
}

static bool load(void)
{
  if (!read_conf() || !open_libpython()) return false;
  char native[8300], sdk[8300];
  snprintf(native, sizeof native, "%s/%s", directory, setting("native"));
  snprintf(sdk, sizeof sdk, "%s/_sdk", directory);
  void* library = dlopen(native, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    snprintf(message, sizeof message, "cannot open the native module: %s; run `tbsdk build` again", dlerror());
    return false;
  }
  tb_boot boot = {directory, setting("executable"), sdk, native, setting("fingerprint")};
  tb_attach_fn attach = (tb_attach_fn)dlsym(library, "tb_attach");
  entries = attach(&boot, message, sizeof message);
  return entries != NULL;
}

static TRITONSERVER_Error* unavailable(void)
{
  TRITONSERVER_Error* (*error_new)(TRITONSERVER_Error_Code, const char*) = tb_resolve("TRITONSERVER_ErrorNew");
  return error_new(TRITONSERVER_ERROR_UNAVAILABLE, message);
}

EXPORT TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend)
{
  if (entries == NULL && !load()) return unavailable();
  return entries->initialize(backend);
}

// Triton also calls it when Initialize has failed.
EXPORT TRITONSERVER_Error* TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend)
{
  return entries == NULL ? NULL : entries->finalize(backend);
}

// Asked for after Initialize, and only when that succeeded.
EXPORT TRITONSERVER_Error* TRITONBACKEND_GetBackendAttribute(TRITONBACKEND_Backend* backend, TRITONBACKEND_BackendAttribute* attributes)
{
  return entries->attribute(backend, attributes);
}

EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) { return entries->model_initialize(model); }
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) { return entries->model_finalize(model); }
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) { return entries->instance_initialize(instance); }
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance) { return entries->instance_finalize(instance); }
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, const uint32_t count)
{
  return entries->execute(instance, requests, count);
}
// Cores from 2025-12 on ask it for each health check; older ones do not know it.
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReady(TRITONBACKEND_ModelInstance* instance) { return entries->instance_ready(instance); }

// Custom batching. Triton looks for these in batchstrategy.so, a link to this very library (tools/build.py): the same file
// is the same library, loaded once. A copy of it would come here unloaded.
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelBatcherInitialize(TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model)
{
  if (entries == NULL && !load()) return unavailable();
  return entries->batcher_initialize(batcher, model);
}

EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelBatcherFinalize(TRITONBACKEND_Batcher* batcher) { return entries->batcher_finalize(batcher); }
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelBatchInitialize(const TRITONBACKEND_Batcher* batcher, void** batch)
{
  return entries->batch_initialize(batcher, batch);
}
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelBatchIncludeRequest(TRITONBACKEND_Request* request, void* batch, bool* should_include)
{
  return entries->batch_include(request, batch, should_include);
}
EXPORT TRITONSERVER_Error* TRITONBACKEND_ModelBatchFinalize(void* batch) { return entries->batch_finalize(batch); }
