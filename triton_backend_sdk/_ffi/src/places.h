// Where memory lies (memory.c), and the way to an instance's own thread (handoff.c); part of shim.h.
#pragma once

TRITONSERVER_Error* tb_input_part(const tb_input* input, uint32_t index, const void** data, uint64_t* nbytes, TRITONSERVER_MemoryType* type, int64_t* id);
PyObject* tb_request_outputs(PyObject* request, void* unused);
PyObject* tb_input_parts(tb_owner* owner, const tb_input* input);
const tb_wish* tb_wish_find(const tb_instance* instance, const char* tensor);  // NULL: any memory will do
PyObject* tb_wish_granted(const tb_instance* instance, PyObject* tensor);
void tb_place_free(tb_instance* instance);
PyObject* tb_allocate(PyObject* module, PyObject* args);
PyObject* tb_place(PyObject* module, PyObject* args);
bool tb_device_copy(void* target, const void* source, uint64_t nbytes, int64_t device);  // false and a Python error

PyObject* tb_handoff_new(PyObject* module, PyObject* unused);
PyObject* tb_handoff_call(PyObject* module, PyObject* args);
PyObject* tb_handoff_serve(PyObject* module, PyObject* capsule);
PyObject* tb_handoff_close(PyObject* module, PyObject* capsule);
