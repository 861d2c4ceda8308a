// Where Triton's functions are: in the default scope, or in the libtritonserver that is already mapped.
// Some hosts (perf_analyzer's C-API mode, the tritonserver Python package) open it RTLD_LOCAL, and the PyPI wheel
// gives it another file name, so a backend must not leave TRITON* symbols to the linker.
#pragma once
#include <dlfcn.h>
#include <link.h>
#include <string.h>

static int tb_find_library(struct dl_phdr_info* info, size_t size, void* handle)
{
  (void)size;
  const char* slash = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;
  if (slash == NULL || strncmp(slash + 1, "libtritonserver", 15) != 0) return 0;
  *(void**)handle = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
  return *(void**)handle != NULL;
}

static inline void* tb_resolve(const char* symbol)
{
  void* found = dlsym(RTLD_DEFAULT, symbol);
  if (found != NULL) return found;
  static void* library;
  if (library == NULL) dl_iterate_phdr(tb_find_library, &library);
  return library == NULL ? NULL : dlsym(library, symbol);
}
