// Triton's functions, resolved when the first backend is loaded. The table itself is generated from decl/*.h.
#include "shim.h"
#include "resolve.h"

tb_table tb_api;

const char* tb_table_load(void)
{
  static const char* const names[] = {TB_FUNCTION_NAMES};
  void** slots = (void**)&tb_api;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if ((slots[i] = tb_resolve(names[i])) == NULL) return names[i];
  return NULL;
}
