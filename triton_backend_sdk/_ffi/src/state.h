// Sequences (state.c, sequence.c), and what their states share with outputs.
#pragma once
#include "shim.h"

// A state of the config; the spec's name is its output_name.
typedef struct {
  tb_spec spec;
  char* input;  // its input_name
  bool fixed;   // no dimension is -1
  bool shared;  // one buffer for the old and the new
  bool zeroed;  // without initial_state
} tb_state_spec;

// The config's sequence_batching.
typedef struct tb_sequences {
  bool direct;     // the next request may start when execute returns, not when the last is released
  bool iterative;  // a request may be rescheduled
  char* text_id;   // the control input that brings the id as a string; NULL: none
  uint32_t count;
  tb_state_spec states[];
} tb_sequences;

void tb_sequences_free(tb_sequences* sequences);
PyObject* tb_bind_sequences(PyObject* module, PyObject* args);
void tb_sequence_start(tb_record* record);                        // without the GIL
TRITONSERVER_Error* tb_sequence_id_trim(tb_record* record, tb_input* input);
bool tb_sequence_goes_on(tb_record* record, const char** wrong);  // may be rescheduled

// A sequence's state (state.c).
bool tb_states_answer(tb_record* record, PyObject* states);  // writes and updates; false and a Python error
void tb_states_free(tb_record* record);
PyObject* tb_request_state(PyObject* request, PyObject* args, PyObject* kwargs);

// What an output and a state have in common.
bool tb_spec_read(tb_spec* spec, const char* kind, PyObject* given);  // false and a Python error
void tb_spec_free(tb_spec* spec);
bool tb_parse_shape(PyObject* given, int64_t* shape, uint32_t* ndim);
bool tb_same_dtype(const tb_spec* spec, PyObject* dtype);  // as asked for; false and a Python error
typedef tb_output* (*tb_placer)(tb_record* record, const tb_spec* spec, const tb_source* source, uint64_t nbytes);  // NULL and a Python error
bool tb_value_write(tb_record* record, const tb_spec* spec, PyObject* value, tb_placer place);
// Memory of ours that views look at; the bytes follow.
typedef struct {
  tb_owner owner;
  int64_t shape[PyBUF_MAX_NDIM];
} tb_scratch;
tb_scratch* tb_scratch_new(const int64_t* shape, uint32_t ndim, uint64_t nbytes);  // NULL: no memory
