// What Triton's sequence batching needs watching for.
#include "state.h"

// Triton gives the first request of a sequence whatever the memory held, where the config says nothing: zeros are safer.
void tb_sequence_start(tb_record* record)
{
  const tb_sequences* sequences = record->instance->sequences;
  uint32_t flags = 0;
  if (sequences == NULL || sequences->count == 0) return;
  tb_check(TRITONBACKEND_RequestFlags(record->request, &flags), "reading a request's flags");
  if (!(flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)) return;
  for (uint32_t i = 0; i < sequences->count; i++)
    for (uint32_t k = 0; k < record->input_count; k++) {
      tb_input* input = &record->inputs[k];
      bool ours = sequences->states[i].zeroed && strcmp(input->name, sequences->states[i].input) == 0;
      if (ours && input->data != NULL && input->memory_type != TRITONSERVER_MEMORY_GPU) memset((void*)input->data, 0, input->nbytes);
    }
}

// Triton up to 24.10 leaves unset memory behind the id, and takes an integer id for a string's length.
TRITONSERVER_Error* tb_sequence_id_trim(tb_record* record, tb_input* input)
{
  const tb_sequences* sequences = record->instance->sequences;
  if (sequences == NULL || sequences->text_id == NULL || input->buffer_count != 1 || strcmp(input->name, sequences->text_id) != 0) return NULL;
  uint64_t number = 0;
  uint32_t length = 0;
  TRITONSERVER_Error* is_text = TRITONBACKEND_RequestCorrelationId(record->request, &number);
  if (is_text != NULL) TRITONSERVER_ErrorDelete(is_text);
  else if (number != 0)
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INVALID_ARG, "the model takes its correlation id as a string, but the request has an integer");
  if (input->nbytes >= sizeof length) memcpy(&length, input->data, sizeof length);
  if (sizeof length + length < input->nbytes) input->nbytes = sizeof length + length;
  return NULL;
}

// Triton would take such a request for done, and its client would wait for ever.
bool tb_sequence_goes_on(tb_record* record, const char** wrong)
{
  uint32_t flags = 0;
  bool iterative = record->instance->sequences != NULL && record->instance->sequences->iterative;
  if (iterative) tb_check(TRITONBACKEND_RequestFlags(record->request, &flags), "reading a request's flags");
  bool ends = flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_END;
  *wrong = ends ? "it carries SEQUENCE_END, and Triton executes such a request once; a client starts an iterative sequence with SEQUENCE_START alone, or without"
                  " an id"
                : "the model's config lacks sequence_batching { iterative_sequence: true }";
  return iterative && !ends;
}

void tb_sequences_free(tb_sequences* sequences)
{
  if (sequences == NULL) return;
  for (uint32_t i = 0; i < sequences->count; i++) {
    tb_spec_free(&sequences->states[i].spec);
    free(sequences->states[i].input);
  }
  free(sequences->text_id);
  free(sequences);
}

static bool read_state(tb_state_spec* state, PyObject* given)
{
  PyObject* spec;
  const char* input;
  int fixed, shared, zeroed;
  if (!PyArg_ParseTuple(given, "Osppp", &spec, &input, &fixed, &shared, &zeroed)) return false;
  state->fixed = fixed;
  state->shared = shared;
  state->zeroed = zeroed;
  state->input = strdup(input);
  return state->input != NULL ? tb_spec_read(&state->spec, "state", spec) : PyErr_NoMemory() != NULL;
}

// bind_sequences(address, direct, iterative, text_id, ((name, dtype, dims), input, fixed, shared, zeroed) of each state)
PyObject* tb_bind_sequences(PyObject* module, PyObject* args)
{
  (void)module;
  unsigned long long address;
  int direct, iterative;
  const char* text_id;
  PyObject* states;
  if (!PyArg_ParseTuple(args, "KppzO!", &address, &direct, &iterative, &text_id, &PyTuple_Type, &states)) return NULL;
  Py_ssize_t count = PyTuple_GET_SIZE(states);
  tb_sequences* sequences = calloc(1, sizeof *sequences + (size_t)count * sizeof *sequences->states);
  if (sequences == NULL) return PyErr_NoMemory();
  ((tb_instance*)(uintptr_t)address)->sequences = sequences;  // freed with it
  sequences->direct = direct;
  sequences->iterative = iterative;
  if (text_id != NULL && (sequences->text_id = strdup(text_id)) == NULL) return PyErr_NoMemory();
  for (Py_ssize_t i = 0; i < count; i++)
    if (!read_state(&sequences->states[sequences->count++], PyTuple_GET_ITEM(states, i))) return NULL;
  Py_RETURN_NONE;
}
