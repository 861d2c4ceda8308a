// Where memory lies: blocks from Triton's pools, the buffers of an input as they came, and which memory an instance wishes
// its inputs and outputs to lie in.
#include "shim.h"

// --- pools -----------------------------------------------------------------------------------------------------------
typedef struct {
  tb_owner owner;
  TRITONBACKEND_MemoryManager* manager;  // NULL: plain memory, ours
  void* data;
  TRITONSERVER_MemoryType memory_type;
  int64_t memory_type_id;
  int64_t shape[];  // then the name
} block;

static void block_free(tb_owner* owner)
{
  block* self = (block*)owner;
  if (self->manager == NULL) free(self->data);
  else tb_check(TRITONBACKEND_MemoryManagerFree(self->manager, self->data, self->memory_type, self->memory_type_id), "freeing memory of a pool");
  free(self);
}

static TRITONSERVER_Error* block_fill(block* self, uint64_t nbytes)
{
  if (nbytes == 0) nbytes = 1;  // some pools refuse none
  if (self->manager != NULL)
    return TRITONBACKEND_MemoryManagerAllocate(self->manager, &self->data, self->memory_type, self->memory_type_id, nbytes);
  return posix_memalign(&self->data, 64, nbytes) == 0 ? NULL : TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "CPU memory allocation failed");
}

// allocate(manager, name, datatype, shape, nbytes, memory_type, memory_type_id): a writable Tensor, freed with its last view.
PyObject* tb_allocate(PyObject* module, PyObject* args)
{
  (void)module;
  unsigned long long manager, nbytes;
  const char* name;
  PyObject* dims;
  int dtype, memory_type;
  long long id;
  if (!PyArg_ParseTuple(args, "KsiO!KiL", &manager, &name, &dtype, &PyTuple_Type, &dims, &nbytes, &memory_type, &id)) return NULL;
  uint32_t ndim = (uint32_t)PyTuple_GET_SIZE(dims);
  block* self = calloc(1, sizeof *self + ndim * sizeof *self->shape + strlen(name) + 1);
  if (self == NULL) return PyErr_NoMemory();
  *self = (block){.owner = {1, block_free}, .manager = (void*)(uintptr_t)manager, .memory_type = memory_type, .memory_type_id = id};
  for (uint32_t i = 0; i < ndim; i++) self->shape[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(dims, i));
  char* kept = strcpy((char*)(self->shape + ndim), name);
  TRITONSERVER_Error* error;
  Py_BEGIN_ALLOW_THREADS  // a pool may wait for the device
  error = block_fill(self, nbytes);
  Py_END_ALLOW_THREADS
  if (error != NULL) {
    free(self);
    tb_raise(tb_py.unsupported_error, "%s", TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_ErrorDelete(error);
    return NULL;
  }
  tb_view view = {&self->owner, kept, dtype, self->shape, ndim, self->data, nbytes, memory_type, id, false};
  PyObject* tensor = tb_tensor_new(&view);
  tb_drop_with_gil(&self->owner);
  return tensor;
}

// --- the buffers of an input -----------------------------------------------------------------------------------------
TRITONSERVER_Error* tb_input_part(const tb_input* input, uint32_t index, const void** data, uint64_t* nbytes, TRITONSERVER_MemoryType* type, int64_t* id)
{
  // A client may have sent other buffers for one host policy; without any for ours these are the usual ones.
  return TRITONBACKEND_InputBufferForHostPolicy(input->handle, input->host_policy, index, data, nbytes, type, id);
}

typedef struct {
  tb_owner owner;
  tb_owner* input;
  int64_t shape[1];
} part;

static void part_free(tb_owner* owner)
{
  tb_drop(((part*)owner)->input);
  free(owner);
}

static PyObject* part_tensor(tb_owner* owner, const tb_input* input, uint32_t index)
{
  const void* data = NULL;
  uint64_t nbytes = 0;
  TRITONSERVER_MemoryType type = input->memory_type;
  int64_t id = input->memory_type_id;
  TRITONSERVER_Error* error = tb_input_part(input, index, &data, &nbytes, &type, &id);
  if (error != NULL) {
    tb_raise(tb_py.internal_error, "input '%s': %s", input->name, TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_ErrorDelete(error);
    return NULL;
  }
  part* self = malloc(sizeof *self);
  if (self == NULL) return PyErr_NoMemory();
  tb_keep(owner);
  *self = (part){{1, part_free}, owner, {(int64_t)nbytes}};
  tb_view view = {&self->owner, input->name, TRITONSERVER_TYPE_UINT8, self->shape, 1, (void*)data, nbytes, type, id, true};
  PyObject* tensor = tb_tensor_new(&view);
  tb_drop_with_gil(&self->owner);
  return tensor;
}

PyObject* tb_input_parts(tb_owner* owner, const tb_input* input)
{
  PyObject* parts = PyTuple_New(input->buffer_count);
  for (uint32_t i = 0; parts != NULL && i < input->buffer_count; i++) {
    PyObject* tensor = part_tensor(owner, input, i);
    if (tensor == NULL) Py_CLEAR(parts);
    else PyTuple_SET_ITEM(parts, i, tensor);
  }
  return parts;
}

// --- outputs so far --------------------------------------------------------------------------------------------------
// Name to Tensor, of what Triton's response holds; a stream's outputs are in its own Responses until they are sent.
PyObject* tb_request_outputs(PyObject* self, void* unused)
{
  (void)unused;
  tb_record* record = tb_request_record(self);
  PyObject* outputs = record ? PyDict_New() : NULL;
  bool open = record != NULL && !record->instance->decoupled && !record->answered;
  if (open) tb_keep(&record->reply);  // another thread may answer meanwhile
  for (tb_output* output = open ? record->outputs : NULL; outputs != NULL && output != NULL; output = output->next) {
    tb_view view = {&record->reply, output->spec->name, output->dtype, output->shape, output->ndim, output->data, output->nbytes,
      output->memory_type, output->memory_type_id, false};
    PyObject* tensor = tb_tensor_new(&view);
    if (tensor == NULL || PyDict_SetItemString(outputs, output->spec->name, tensor) != 0) Py_CLEAR(outputs);
    Py_XDECREF(tensor);
  }
  if (open) tb_drop_with_gil(&record->reply);
  return outputs;
}

// --- wishes ----------------------------------------------------------------------------------------------------------
const tb_wish* tb_wish_find(const tb_instance* instance, const char* tensor)
{
  for (uint32_t i = 0; i < instance->wish_count; i++)
    if (strcmp(instance->wishes[i].tensor, tensor) == 0) return &instance->wishes[i];
  return NULL;
}

// What the CPU can read is where a wish for the CPU wants it: pinned memory too.
static bool lies_there(const tb_wish* wish, const tb_view* view)
{
  if (wish->memory_type == TRITONSERVER_MEMORY_CPU) return view->memory_type != TRITONSERVER_MEMORY_GPU;
  return wish->memory_type == view->memory_type && (wish->memory_type != TRITONSERVER_MEMORY_GPU || wish->memory_type_id == view->memory_type_id);
}

// Takes the tensor. One that lies elsewhere than wished is copied; the wish costs nothing where there is none.
PyObject* tb_wish_granted(const tb_instance* instance, PyObject* tensor)
{
  const tb_wish* wish = tensor && instance->wish_count ? tb_wish_find(instance, ((tb_tensor*)tensor)->view.name) : NULL;
  if (wish == NULL || lies_there(wish, &((tb_tensor*)tensor)->view)) return tensor;
  PyObject* moved = PyObject_CallFunction(tb_py.move, "OOiL", tensor, instance->python ? instance->python : Py_None, wish->memory_type, (long long)wish->memory_type_id);
  Py_DECREF(tensor);
  return moved;
}

void tb_place_free(tb_instance* instance)
{
  for (uint32_t i = 0; i < instance->wish_count; i++) free(instance->wishes[i].tensor);
  free(instance->wishes);
  free(instance->host_policy);
}

// place(instance, host_policy, ((tensor, memory_type, memory_type_id), ...)): said once, before the first batch.
PyObject* tb_place(PyObject* module, PyObject* args)
{
  (void)module;
  unsigned long long address;
  const char* policy;
  PyObject* wishes;
  if (!PyArg_ParseTuple(args, "KsO!", &address, &policy, &PyTuple_Type, &wishes)) return NULL;
  tb_instance* instance = (tb_instance*)(uintptr_t)address;
  uint32_t count = (uint32_t)PyTuple_GET_SIZE(wishes);
  instance->host_policy = strdup(policy);
  instance->wishes = calloc(count + 1, sizeof *instance->wishes);
  if (instance->host_policy == NULL || instance->wishes == NULL) return PyErr_NoMemory();
  for (uint32_t i = 0; i < count; i++) {
    const char* tensor;
    int memory_type;
    long long memory_type_id;
    if (!PyArg_ParseTuple(PyTuple_GET_ITEM(wishes, i), "siL", &tensor, &memory_type, &memory_type_id)) return NULL;
    instance->wishes[i] = (tb_wish){strdup(tensor), memory_type, memory_type_id};
    if (instance->wishes[i].tensor == NULL) return PyErr_NoMemory();
    instance->wish_count++;
    for (uint32_t k = 0; k < instance->output_count; k++)
      if (strcmp(instance->outputs[k].name, tensor) == 0) instance->outputs[k].memory_type = memory_type, instance->outputs[k].memory_type_id = memory_type_id;
  }
  Py_RETURN_NONE;
}

// With the GIL, which Python lets go of while it copies: between memories of which one is a device's.
bool tb_device_copy(void* target, const void* source, uint64_t nbytes, int64_t device)
{
  PyObject* done = PyObject_CallFunction(tb_py.device_copy, "KKKL", (unsigned long long)(uintptr_t)target, (unsigned long long)(uintptr_t)source,
    (unsigned long long)nbytes, (long long)device);
  Py_XDECREF(done);
  return done != NULL;
}
