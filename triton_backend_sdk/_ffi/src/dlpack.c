// DLPack capsules out and in, both flavours. Knows nothing of Triton but its datatypes.
// Layouts: the DLPack specification (dlpack.h), versions before 1.0 and 1.x.
#include "shim.h"

enum { CPU = 1, CUDA = 2, CUDA_HOST = 3 };
enum { READ_ONLY = 1, IS_COPIED = 2 };

typedef struct {
  void* data;
  struct { int32_t type, id; } device;
  int32_t ndim;
  struct { uint8_t code, bits; uint16_t lanes; } dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; NULL: compact
  uint64_t byte_offset;
} dl_tensor;

typedef struct dl_legacy {
  dl_tensor tensor;
  void* context;
  void (*deleter)(struct dl_legacy*);
} dl_legacy;

typedef struct dl_versioned {
  struct { uint32_t major, minor; } version;
  void* context;
  void (*deleter)(struct dl_versioned*);
  uint64_t flags;
  dl_tensor tensor;
} dl_versioned;

static const struct { uint8_t code, bits; } types[TB_DTYPES] = {
  {0, 0}, {6, 8}, {1, 8}, {1, 16}, {1, 32}, {1, 64}, {0, 8}, {0, 16}, {0, 32}, {0, 64}, {2, 16}, {2, 32}, {2, 64}, {0, 0}, {4, 16}};

typedef struct {
  union { dl_legacy legacy; dl_versioned versioned; } managed;
  tb_owner* owner;  // NULL: the data is a copy, ours
  void* copied;
  int64_t dims[];  // shape, then strides
} export;

// Runs on whatever thread the consumer ends on, with or without the GIL.
static void export_delete(export* self)
{
  if (self->owner != NULL) tb_drop_anywhere(self->owner);
  free(self->copied);
  free(self);
}
static void delete_legacy(dl_legacy* managed) { export_delete((export*)managed); }
static void delete_versioned(dl_versioned* managed) { export_delete((export*)managed); }

// Nobody consumed the capsule.
static void capsule_unused(PyObject* capsule)
{
  export* self;
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) self = PyCapsule_GetPointer(capsule, "dltensor_versioned");
  else if (PyCapsule_IsValid(capsule, "dltensor")) self = PyCapsule_GetPointer(capsule, "dltensor");
  else return;
  export_delete(self);
}

PyObject* tb_dlpack_export(tb_tensor* source, bool versioned, bool copy)
{
  const tb_view* view = &source->view;
  export* self = calloc(1, sizeof *self + 2 * view->ndim * sizeof(int64_t));
  if (self != NULL && copy && posix_memalign(&self->copied, 64, view->nbytes + 1) != 0) {
    free(self);
    self = NULL;
  }
  if (self == NULL) return PyErr_NoMemory();
  if (copy) memcpy(self->copied, view->data, view->nbytes);
  else tb_keep(self->owner = view->owner);
  int64_t *shape = self->dims, *strides = self->dims + view->ndim;
  for (uint32_t i = 0; i < view->ndim; i++) {
    shape[i] = view->shape[i];
    strides[i] = source->strides[i] / (int64_t)tb_itemsize(view->dtype);
  }
  static const int32_t devices[] = {CPU, CUDA_HOST, CUDA};
  dl_tensor tensor = {
    .data = copy ? self->copied : view->data,
    .device = {copy ? CPU : devices[view->memory_type], view->memory_type == TRITONSERVER_MEMORY_GPU ? (int32_t)view->memory_type_id : 0},
    .ndim = (int32_t)view->ndim,
    .dtype = {types[view->dtype].code, types[view->dtype].bits, 1},
    .shape = shape,
    .strides = strides,
  };
  if (versioned) self->managed.versioned = (dl_versioned){{1, 0}, self, delete_versioned, copy ? IS_COPIED : view->readonly ? READ_ONLY : 0, tensor};
  else self->managed.legacy = (dl_legacy){tensor, self, delete_legacy};
  PyObject* capsule = PyCapsule_New(self, versioned ? "dltensor_versioned" : "dltensor", capsule_unused);
  if (capsule == NULL) export_delete(self);
  return capsule;
}

static PyObject* capsule_of(PyObject* value)
{
  PyObject* method = PyObject_GetAttr(value, tb_py.str_dlpack);
  if (method == NULL) {
    PyErr_Clear();
    return tb_raise(tb_py.internal_error, "it is a %s; give an array, or anything with DLPack or the buffer protocol", Py_TYPE(value)->tp_name);
  }
  PyObject* capsule = PyObject_Vectorcall(method, &tb_py.max_version, 0, tb_py.kw_max_version);
  if (capsule == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {  // a producer from before DLPack 1.0
    PyErr_Clear();
    capsule = PyObject_CallNoArgs(method);
  }
  Py_DECREF(method);
  return capsule;
}

static TRITONSERVER_DataType datatype(const dl_tensor* tensor)
{
  for (int i = 1; i < TB_DTYPES; i++)
    if (types[i].bits == tensor->dtype.bits && types[i].code == tensor->dtype.code && tensor->dtype.lanes == 1) return i;
  return TRITONSERVER_TYPE_INVALID;
}

// Asked again for CUDA's default stream, by its number, the producer makes that wait for its own work: not all do so
// unasked, and others than CUDA's take no stream at all. device_copy copies on that stream.
static bool wait_for_producer(PyObject* value)
{
  PyObject* method = PyObject_GetAttr(value, tb_py.str_dlpack);
  PyObject* none = PyTuple_New(0);
  PyObject* stream = Py_BuildValue("{s:i}", "stream", 1);
  PyObject* capsule = method && none && stream ? PyObject_Call(method, none, stream) : NULL;
  bool waited = capsule != NULL;
  Py_XDECREF(capsule);
  Py_XDECREF(stream);
  Py_XDECREF(none);
  Py_XDECREF(method);
  return waited;
}

// The capsule is kept, unconsumed, while the data is copied from it: its own destructor frees it then.
bool tb_dlpack_import(tb_source* source, PyObject* value)
{
  PyObject* capsule = source->holder = capsule_of(value);
  if (capsule == NULL) return false;
  const dl_tensor* tensor = NULL;
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    dl_versioned* managed = PyCapsule_GetPointer(capsule, "dltensor_versioned");
    if (managed->version.major == 1) tensor = &managed->tensor;
  } else if (PyCapsule_IsValid(capsule, "dltensor")) tensor = &((dl_legacy*)PyCapsule_GetPointer(capsule, "dltensor"))->tensor;
  if (tensor == NULL) return tb_raise(tb_py.internal_error, "its __dlpack__ gave no capsule of DLPack 1.x or older") != NULL;
  if (tensor->device.type == CUDA) {
    if (!wait_for_producer(value)) return false;
    source->memory_type = TRITONSERVER_MEMORY_GPU;
    source->memory_type_id = tensor->device.id;
  } else if (tensor->device.type != CPU && tensor->device.type != CUDA_HOST)
    return tb_raise(tb_py.unsupported_error, "it lies on DLPack device (%d, %d); copy it to the CPU first", tensor->device.type, tensor->device.id) != NULL;
  source->dtype = datatype(tensor);
  if (source->dtype == TRITONSERVER_TYPE_INVALID)
    return tb_raise(tb_py.internal_error, "Triton has no datatype for DLPack's (code %d, %d bits, %d lanes)", tensor->dtype.code, tensor->dtype.bits, tensor->dtype.lanes) != NULL;
  if (tensor->ndim < 0 || tensor->ndim > PyBUF_MAX_NDIM) return tb_raise(tb_py.internal_error, "it has %d dimensions", tensor->ndim) != NULL;
  source->ndim = (uint32_t)tensor->ndim;
  source->itemsize = tb_itemsize(source->dtype);
  int64_t stride = 1;
  for (int32_t i = tensor->ndim; i-- > 0;) {
    source->shape[i] = tensor->shape[i];
    source->strides[i] = (tensor->strides ? tensor->strides[i] : stride) * source->itemsize;
    stride *= tensor->shape[i];
  }
  source->data = tensor->data ? (const char*)tensor->data + tensor->byte_offset : NULL;
  if (source->data == NULL && tb_elements(source->shape, source->ndim) != 0)
    return tb_raise(tb_py.internal_error, "it owns no memory: its data pointer is null") != NULL;
  return true;
}
