// From what a plugin returned for an output (source.c) to Triton's response buffer, with one copy or none.
#include "state.h"

#define LARGE 65536  // bytes from which a copy is worth giving up the GIL for

static const tb_spec* find_spec(const tb_instance* instance, const char* name)
{
  for (uint32_t i = 0; i < instance->output_count; i++)
    if (strcmp(instance->outputs[i].name, name) == 0) return &instance->outputs[i];
  return NULL;
}

const tb_spec* tb_output_spec(tb_record* record, const char* name)
{
  tb_instance* instance = record->instance;
  const tb_spec* found = find_spec(instance, name);
  if (found != NULL) return found;
  char known[1024] = "";
  size_t length = 0;
  for (uint32_t i = 0; i < instance->output_count; i++) {
    if (length < sizeof known) length += (size_t)snprintf(known + length, sizeof known - length, "%s'%s'", i ? ", " : "", instance->outputs[i].name);
  }
  tb_raise(tb_py.internal_error, "the model's config has no output '%s'; it has %s", name, known);
  return NULL;
}

static void shape_text(char* text, size_t size, bool batch, const int64_t* shape, uint32_t ndim)
{
  size_t length = (size_t)snprintf(text, size, "[%s", batch ? "batch" : "");
  for (uint32_t i = 0; i < ndim && length < size; i++)
    length += (size_t)snprintf(text + length, size - length, "%s%lld", i || batch ? ", " : "", (long long)shape[i]);
  if (length < size) snprintf(text + length, size - length, "]");
}

bool tb_output_check_shape(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim)
{
  uint32_t skip = record->instance->batching;
  bool fits = ndim <= PyBUF_MAX_NDIM && ndim == spec->ndim + skip && (!skip || shape[0] == record->batch_size) && tb_elements(shape, ndim) >= 0;
  for (uint32_t i = 0; fits && i < spec->ndim; i++) fits = spec->dims[i] < 0 || spec->dims[i] == shape[i + skip];
  if (fits) return true;
  char given[512], wanted[512];
  shape_text(given, sizeof given, false, shape, ndim < PyBUF_MAX_NDIM ? ndim : PyBUF_MAX_NDIM);
  shape_text(wanted, sizeof wanted, skip, spec->dims, spec->ndim);
  if (skip)
    tb_raise(tb_py.internal_error, "%s '%s' has shape %s, but the config says %s, with batch = %lld in this request", spec->kind, spec->name, given, wanted,
      (long long)record->batch_size);
  else tb_raise(tb_py.internal_error, "%s '%s' has shape %s, but the config says %s", spec->kind, spec->name, given, wanted);
  return false;
}

tb_output* tb_output_find(tb_record* record, const tb_spec* spec)
{
  tb_output* output = record->outputs;
  while (output != NULL && output->spec != spec) output = output->next;
  return output;
}

static const char* describe(tb_output** output, tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim, uint64_t nbytes)
{
  if (record->building) return "another thread is making an output of this request: make them one after another";
  if (tb_output_find(record, spec) != NULL) return "it was already handed out for this response";
  *output = malloc(sizeof **output + ndim * sizeof *shape);
  if (*output == NULL) return "no memory";
  **output = (tb_output){.spec = spec, .dtype = spec->dtype, .nbytes = nbytes, .ndim = ndim};
  memcpy((*output)->shape, shape, ndim * sizeof *shape);
  return NULL;
}

const char* tb_output_scratch(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim, uint64_t nbytes, void* data, tb_owner* memory)
{
  tb_output* output;
  const char* wrong = record->answered ? "the request was already answered" : describe(&output, record, spec, shape, ndim, nbytes);
  if (wrong != NULL) return wrong;
  output->data = data;
  output->scratch = memory;
  tb_keep(memory);
  output->next = record->outputs;
  record->outputs = output;
  return NULL;
}

tb_output* tb_output_new(tb_record* record, const tb_spec* spec, TRITONSERVER_DataType dtype, const int64_t* shape, uint32_t ndim, uint64_t nbytes,
  TRITONSERVER_MemoryType memory_type, int64_t memory_type_id)
{
  tb_output* output;
  const char* wrong = describe(&output, record, spec, shape, ndim, nbytes);
  if (wrong != NULL) return (void*)tb_raise(tb_py.internal_error, "output '%s': %s", spec->name, wrong);
  output->dtype = dtype;
  output->memory_type = memory_type;
  output->memory_type_id = memory_type_id;
  TRITONSERVER_Error* error;
  record->building = true;  // also with the GIL held: an allocator written in Python gives it up
  if (nbytes < LARGE) error = tb_reply_output(record, output);
  else {
    Py_BEGIN_ALLOW_THREADS  // the frontend may clear the whole buffer
    error = tb_reply_output(record, output);
    Py_END_ALLOW_THREADS
  }
  record->building = false;
  if (error == NULL) {
    output->next = record->outputs;
    return record->outputs = output;
  }
  PyObject* type = TRITONSERVER_ErrorCode(error) == TRITONSERVER_ERROR_UNSUPPORTED ? tb_py.unsupported_error : tb_py.internal_error;
  tb_raise(type, "output '%s': %s", spec->name, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  free(output);
  return NULL;
}

static void copy_strided(char* target, const char* data, const tb_source* source, uint32_t dim, int64_t below)
{
  if (dim == source->ndim) {
    memcpy(target, data, source->itemsize);
    return;
  }
  int64_t count = source->shape[dim], stride = source->strides[dim];
  bool last = dim + 1 == source->ndim;
  if (last && stride == source->itemsize) {
    memcpy(target, data, (size_t)(count * stride));
    return;
  }
  if (count > 0) below /= count;
  for (int64_t i = 0; i < count; i++, target += below, data += stride) {
    if (!last) copy_strided(target, data, source, dim + 1, below);
    else switch (source->itemsize) {
      case 1: *target = *data; break;
      case 2: memcpy(target, data, 2); break;
      case 4: memcpy(target, data, 4); break;
      default: memcpy(target, data, 8);
    }
  }
}

void tb_source_pack(const tb_source* source, char* target, uint64_t nbytes) { copy_strided(target, source->data, source, 0, (int64_t)nbytes); }

static bool overlaps(const tb_output* output, const tb_source* source)
{
  const char *low = source->data, *high = source->data + source->itemsize, *target = output->data;
  for (uint32_t i = 0; i < source->ndim; i++) *(source->strides[i] < 0 ? &low : &high) += source->strides[i] * (source->shape[i] - 1);
  return low < target + output->nbytes && target < high;
}

// Needs no GIL. False: no memory to turn an output around in its own place.
static bool copy(tb_output* output, const tb_source* source)
{
  if (output->nbytes == 0) return true;
  if (tb_source_is_compact(source)) return memmove(output->data, source->data, output->nbytes) != NULL;
  char* aside = overlaps(output, source) ? malloc(output->nbytes) : output->data;
  if (aside == NULL) return false;
  copy_strided(aside, source->data, source, 0, (int64_t)output->nbytes);
  if (aside == output->data) return true;
  memcpy(output->data, aside, output->nbytes);
  free(aside);
  return true;
}

// --- one output ------------------------------------------------------------------------------------------------------

static bool check_datatype(const tb_spec* spec, const tb_source* source)
{
  if (source->dtype == spec->dtype) return true;
  tb_raise(tb_py.internal_error, "%s '%s' is %S, but the config says %S: convert it, for example with .astype", spec->kind, spec->name,
    tb_py.datatypes[source->dtype], tb_py.datatypes[spec->dtype]);
  return false;
}

static bool source_size(const tb_spec* spec, PyObject* value, const tb_source* source, uint64_t* nbytes)
{
  if (source->objects) return tb_bytes_size(source, spec->name, nbytes);
  if (source->dtype == TRITONSERVER_TYPE_BYTES) *nbytes = ((tb_tensor*)value)->view.nbytes;  // an input handed through
  else *nbytes = (uint64_t)tb_elements(source->shape, source->ndim) * source->itemsize;
  return true;
}

static bool fill(tb_output* output, const tb_source* source);

// One side is a device's memory; what cannot be copied as it lies goes through plain memory.
static bool fill_by_device(tb_output* output, const tb_source* source)
{
  int64_t device = source->memory_type == TRITONSERVER_MEMORY_GPU ? source->memory_type_id : output->memory_type_id;
  if (source->memory_type == TRITONSERVER_MEMORY_GPU && !tb_source_is_compact(source))
    return tb_raise(tb_py.internal_error, "%s '%s' is a strided array on a device: make it contiguous", output->spec->kind, output->spec->name) != NULL;
  if (!source->objects && tb_source_is_compact(source)) return tb_device_copy(output->data, source->data, output->nbytes, device);
  tb_output plain = *output;
  plain.memory_type = TRITONSERVER_MEMORY_CPU;
  plain.data = malloc(output->nbytes + 1);
  bool filled = plain.data == NULL ? PyErr_NoMemory() != NULL : fill(&plain, source) && tb_device_copy(output->data, plain.data, output->nbytes, device);
  free(plain.data);
  return filled;
}

static bool fill(tb_output* output, const tb_source* source)
{
  bool copied = true;
  if (output->memory_type == TRITONSERVER_MEMORY_GPU || source->memory_type == TRITONSERVER_MEMORY_GPU) return fill_by_device(output, source);
  if (source->objects) return tb_bytes_write(source, output->data, output->nbytes);
  if (output->dtype == TRITONSERVER_TYPE_BYTES) memmove(output->data, source->data, output->nbytes);
  else if (output->nbytes < LARGE || output->hold_gil) copied = copy(output, source);
  else {
    Py_BEGIN_ALLOW_THREADS
    copied = copy(output, source);
    Py_END_ALLOW_THREADS
  }
  return copied || PyErr_NoMemory() != NULL;
}

static tb_output* place_output(tb_record* record, const tb_spec* spec, const tb_source* source, uint64_t nbytes)
{
  tb_output* output = tb_output_find(record, spec);
  if (output != NULL) return output;
  bool device = source->memory_type == TRITONSERVER_MEMORY_GPU;  // there it should stay
  return tb_output_new(record, spec, source->dtype, source->shape, source->ndim, nbytes, device ? source->memory_type : spec->memory_type,
    device ? source->memory_type_id : spec->memory_type_id);
}

// ModelInstance.outputs_as_given; a state is always as the config says.
static bool as_given(const tb_record* record, const tb_spec* spec)
{
  const tb_instance* instance = record->instance;
  return instance->as_given && spec >= instance->outputs && spec < instance->outputs + instance->output_count;
}

static bool write_source(tb_record* record, const tb_spec* spec, PyObject* value, const tb_source* source, tb_placer place)
{
  bool checked = as_given(record, spec) || (check_datatype(spec, source) && tb_output_check_shape(record, spec, source->shape, source->ndim));
  if (!checked) return false;
  uint64_t nbytes;
  if (!source_size(spec, value, source, &nbytes)) return false;
  tb_output* output = place(record, spec, source, nbytes);
  if (output == NULL) return false;
  if (nbytes != output->nbytes || source->dtype != output->dtype || source->ndim != output->ndim || memcmp(output->shape, source->shape, source->ndim * sizeof *source->shape) != 0)
    return tb_raise(tb_py.internal_error, "%s '%s' was asked for with one shape by Request.%s and returned with another", spec->kind, spec->name, spec->kind) != NULL;
  if (output->data == source->data && tb_source_is_compact(source)) return true;  // written in place
  return fill(output, source);
}

// The reason comes from where the value was looked at; here it gets the output's name.
static void name_output(const tb_spec* spec)
{
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyObject* text = PyUnicode_FromFormat("%s '%s': %S", spec->kind, spec->name, value);
  PyObject* class = PyErr_GivenExceptionMatches(type, tb_py.unsupported_error) ? tb_py.unsupported_error : tb_py.internal_error;
  if (text != NULL) PyErr_SetObject(class, text);
  Py_XDECREF(text);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
}

bool tb_value_write(tb_record* record, const tb_spec* spec, PyObject* value, tb_placer place)
{
  tb_source source;
  bool open = tb_source_open(&source, value) && (!source.objects || !as_given(record, spec) || tb_bytes_texts(&source));
  if (!open) name_output(spec);
  bool written = open && write_source(record, spec, value, &source, place);
  PyObject *type, *error, *traceback;
  PyErr_Fetch(&type, &error, &traceback);  // closing may run Python code
  tb_source_close(&source);
  PyErr_Restore(type, error, traceback);
  return written;
}

bool tb_output_write(tb_record* record, const char* name, PyObject* value)
{
  const tb_spec* spec = find_spec(record->instance, name);
  if (spec == NULL) return record->instance->as_given || tb_output_spec(record, name) != NULL;  // nobody can ask for it, or an error
  return !tb_record_wants(record, spec) || tb_value_write(record, spec, value, place_output);
}
