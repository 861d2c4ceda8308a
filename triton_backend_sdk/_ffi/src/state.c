// Implicit state: what Triton keeps for a sequence from one request to the next. The old state is an input like any other.
// The new one is written into Triton's buffer and becomes the next request's input with StateUpdate, once, when the plugin's
// answer has been found good: a request that fails leaves its sequence's state as it was.
//
// Whose memory a view looks at. A state of fixed size: Triton's buffer. Triton swaps it with the old one and never frees it
// before the sequence's last request, which the view keeps. A state of variable size: memory of ours, copied by the update,
// as Triton may free its own with the sequence's next request.
#include "state.h"

static const tb_spec* find_spec(tb_record* record, const char* name)
{
  const tb_sequences* sequences = record->instance->sequences;
  char known[1024] = "";
  size_t length = 0;
  for (uint32_t i = 0; sequences != NULL && i < sequences->count; i++) {
    const tb_spec* spec = &sequences->states[i].spec;
    if (strcmp(spec->name, name) == 0) return spec;
    if (length < sizeof known) length += (size_t)snprintf(known + length, sizeof known - length, "%s'%s'", i ? ", " : "", spec->name);
  }
  if (length == 0) tb_raise(tb_py.internal_error, "state '%s': the model's config has no states; declare it in sequence_batching { state { ... } }", name);
  else tb_raise(tb_py.internal_error, "the model's config has no state '%s'; it has the output_name %s", name, known);
  return NULL;
}

static bool usable(tb_record* record, const tb_spec* spec)
{
  const char* wrong = record->given_back ? "Request.release has given the request back"
    : record->instance->sequences->direct && record->returned
    ? "execute has returned, and with the direct strategy Triton may be at the sequence's next request: give it earlier, or set sequence_batching { oldest { } }"
    : record->answered ? "the request was already answered"
                       : NULL;
  return wrong == NULL || tb_raise(tb_py.internal_error, "state '%s': %s", spec->name, wrong) != NULL;
}

// With one buffer for both, Triton does not note a new shape: the next request's input would contradict itself.
static bool same_shape(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim)
{
  const tb_state_spec* state = (const tb_state_spec*)spec;
  for (uint32_t i = 0; state->shared && i < record->input_count; i++) {
    const tb_input* input = &record->inputs[i];
    if (strcmp(input->name, state->input) != 0) continue;
    if (input->ndim == ndim && memcmp(input->shape, shape, ndim * sizeof *shape) == 0) return true;
    return tb_raise(tb_py.internal_error, "state '%s': it cannot change its shape with use_same_buffer_for_input_output", spec->name) != NULL;
  }
  return true;
}

static TRITONSERVER_Error* buffer(tb_output* state)
{
  static char nothing;
  TRITONSERVER_BufferAttributes* attributes = NULL;
  TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
  int64_t id = 0;
  state->data = &nothing;
  if (state->nbytes == 0) {  // sets the size; the pointer means nothing
    void* unused;
    return TRITONBACKEND_StateBuffer(state->state, &unused, 0, &type, &id);
  }
  // Triton keeps a buffer only for who asks for the kind of memory that it has: pinned, where it has some.
  TRITONSERVER_Error* error = TRITONBACKEND_StateBufferAttributes(state->state, &attributes);
  if (error == NULL && attributes != NULL) error = TRITONSERVER_BufferAttributesMemoryType(attributes, &type);
  if (type == TRITONSERVER_MEMORY_GPU) type = TRITONSERVER_MEMORY_CPU;
  if (error == NULL) error = TRITONBACKEND_StateBuffer(state->state, &state->data, state->nbytes, &type, &id);
  if (error != NULL) return error;
  if (state->data == NULL) return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "Triton has no memory for it");
  return type != TRITONSERVER_MEMORY_GPU ? NULL : TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNSUPPORTED, "Triton keeps it in GPU memory, which this SDK does not write");
}

static bool raise(TRITONSERVER_Error* error, const tb_spec* spec)
{
  if (error == NULL) return true;
  PyObject* type = TRITONSERVER_ErrorCode(error) == TRITONSERVER_ERROR_UNSUPPORTED ? tb_py.unsupported_error : tb_py.internal_error;
  tb_raise(type, "state '%s': %s", spec->name, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return false;
}

static tb_output* find(tb_record* record, const tb_spec* spec)
{
  tb_output* state = record->states;
  while (state != NULL && state->spec != spec) state = state->next;
  return state;
}

// With Triton's buffer, or with memory of ours.
static tb_output* new_state(tb_record* record, const tb_spec* spec, const int64_t* shape, uint32_t ndim, uint64_t nbytes, bool aside)
{
  if (!usable(record, spec) || !same_shape(record, spec, shape, ndim)) return NULL;
  tb_output* state = malloc(sizeof *state + ndim * sizeof *shape);
  if (state == NULL) return (void*)PyErr_NoMemory();
  *state = (tb_output){.spec = spec, .dtype = spec->dtype, .nbytes = nbytes, .ndim = ndim, .hold_gil = record->instance->sequences->direct && record->deferred};
  memcpy(state->shape, shape, ndim * sizeof *shape);
  TRITONSERVER_Error* error = TRITONBACKEND_StateNew(&state->state, record->request, spec->name, spec->dtype, shape, ndim);
  if (error == NULL && !aside) error = buffer(state);
  if (!raise(error, spec)) {
    free(state);
    return NULL;
  }
  state->next = record->states;
  return record->states = state;
}

static tb_output* place(tb_record* record, const tb_spec* spec, const tb_source* source, uint64_t nbytes)
{
  tb_output* state = find(record, spec);
  if (state == NULL) return new_state(record, spec, source->shape, source->ndim, nbytes, false);
  if (state->state != NULL) return usable(record, spec) ? state : NULL;
  return (void*)tb_raise(tb_py.internal_error, "state '%s' was already given for this request", spec->name);
}

static bool update(tb_record* record, tb_output* state)
{
  if (!usable(record, state->spec)) return false;
  TRITONSERVER_Error* error = NULL;
  if (state->scratch != NULL) {
    const void* from = state->data;
    error = buffer(state);
    if (error == NULL) memcpy(state->data, from, state->nbytes);
  }
  if (error == NULL) error = TRITONBACKEND_StateUpdate(state->state);
  state->state = NULL;
  return raise(error, state->spec);
}

static bool write_states(tb_record* record, PyObject* states)
{
  PyObject* copied = PyDict_New();  // writing may run Python code, which may change the plugin's
  if (copied == NULL || PyDict_Update(copied, states) != 0) {
    Py_XDECREF(copied);
    return tb_raise(tb_py.internal_error, "Response takes a mapping from state name to array, not %s", Py_TYPE(states)->tp_name) != NULL;
  }
  bool written = true;
  Py_ssize_t at = 0;
  PyObject *name, *value;
  while (written && PyDict_Next(copied, &at, &name, &value)) {
    const char* text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text == NULL) written = tb_raise(tb_py.internal_error, "%R is no name of a state", name) != NULL;
    const tb_spec* spec = text ? find_spec(record, text) : NULL;
    written = spec != NULL && tb_value_write(record, spec, value, place);
  }
  Py_DECREF(copied);
  return written;
}

bool tb_states_answer(tb_record* record, PyObject* states)
{
  if (states != Py_None && !write_states(record, states)) return false;
  bool updated = true;
  for (tb_output* state = record->states; state != NULL && updated; state = state->next)
    if (state->state != NULL) updated = update(record, state);
  return updated;
}

void tb_states_free(tb_record* record)
{
  for (tb_output *state = record->states, *next; state != NULL; state = next) {
    next = state->next;
    if (state->scratch != NULL) tb_drop(state->scratch);
    free(state);
  }
}

static PyObject* make_state(tb_record* record, const char* name, PyObject* given, PyObject* dtype)
{
  const tb_spec* spec = find_spec(record, name);
  int64_t shape[PyBUF_MAX_NDIM];
  uint32_t ndim = 0;
  if (spec == NULL || !tb_parse_shape(given, shape, &ndim) || !tb_output_check_shape(record, spec, shape, ndim) || !tb_same_dtype(spec, dtype)) return NULL;
  if (spec->dtype == TRITONSERVER_TYPE_BYTES)
    return tb_raise(tb_py.internal_error, "state '%s' is BYTES, whose size is not known ahead: give it with Response(states=...)", name);
  if (find(record, spec) != NULL) return tb_raise(tb_py.internal_error, "state '%s' was already given for this request", name);
  uint64_t nbytes = (uint64_t)tb_elements(shape, ndim) * tb_itemsize(spec->dtype);
  tb_scratch* memory = NULL;
  bool aside = !((const tb_state_spec*)spec)->fixed;
  if (aside && (memory = tb_scratch_new(shape, ndim, nbytes)) == NULL) return PyErr_NoMemory();
  tb_output* state = new_state(record, spec, shape, ndim, nbytes, aside);
  if (state == NULL) {
    if (memory != NULL) tb_drop(&memory->owner);
    return NULL;
  }
  if (aside) {
    state->scratch = &memory->owner;
    state->data = memory + 1;
  }
  tb_view view = {aside ? &memory->owner : &record->owner, spec->name, spec->dtype, aside ? memory->shape : state->shape, ndim, state->data, nbytes,
    TRITONSERVER_MEMORY_CPU, 0, false};
  return tb_tensor_new(&view);
}

// request.state(name, shape, dtype=None)
PyObject* tb_request_state(PyObject* self, PyObject* args, PyObject* kwargs)
{
  static char* keywords[] = {"name", "shape", "dtype", NULL};
  const char* name;
  PyObject *given, *dtype = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO|O:state", keywords, &name, &given, &dtype)) return NULL;
  tb_record* record = tb_request_record(self);
  if (record == NULL) return NULL;
  tb_keep(&record->owner);  // as in request_output
  PyObject* tensor = make_state(record, name, given, dtype);
  tb_drop_with_gil(&record->owner);
  return tensor;
}
