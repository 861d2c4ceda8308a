// Triton's functions, resolved when the first backend is loaded. The table itself is generated from decl/*.h.
#include "shim.h"
#include "resolve.h"

tb_table tb_api;
static const struct { const char* name; bool optional; } functions[] = {TB_FUNCTIONS};

const char* tb_table_load(void)
{
  void** slots = (void**)&tb_api;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if ((slots[i] = tb_resolve(functions[i].name)) == NULL && !functions[i].optional) return functions[i].name;
  return NULL;
}

bool tb_has(const char* function)
{
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, function) == 0) return ((void**)&tb_api)[i] != NULL;
  return false;
}
