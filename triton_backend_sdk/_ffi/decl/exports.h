// Every way in which C enters Python through cffi, and what Python asks of the shim. A batch enters by src/execute.c.

extern "Python+C" TRITONSERVER_Error* tb_py_initialize(TRITONBACKEND_Backend* backend);
extern "Python+C" TRITONSERVER_Error* tb_py_finalize(TRITONBACKEND_Backend* backend);
extern "Python+C" TRITONSERVER_Error* tb_py_backend_attribute(TRITONBACKEND_Backend* backend, TRITONBACKEND_BackendAttribute* attributes);
extern "Python+C" TRITONSERVER_Error* tb_py_model_initialize(TRITONBACKEND_Model* model);
extern "Python+C" TRITONSERVER_Error* tb_py_model_finalize(TRITONBACKEND_Model* model);
extern "Python+C" TRITONSERVER_Error* tb_py_instance_initialize(TRITONBACKEND_ModelInstance* instance);
extern "Python+C" TRITONSERVER_Error* tb_py_instance_finalize(TRITONBACKEND_ModelInstance* instance);

// Address of the entries that the loader forwards to, whether this shim started the interpreter, and whether Triton has a
// function that decl/*.h calls optional.
uintptr_t tb_entries_address(void);
bool tb_owns_interpreter(void);
bool tb_has(const char* function);

// What an instance's is_ready said, for how long it holds; a message: not ready, and why (src/ready.c).
void tb_set_ready(uintptr_t instance, const char* message, double valid_seconds);
