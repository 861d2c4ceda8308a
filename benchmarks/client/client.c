// SPDX-License-Identifier: Apache-2.0
// A load generator with nothing between it and the core: it loads the server into its own process, keeps a number
// of requests in flight, and counts answers. perf_analyzer does not take decoupled models in-process; this does.
//
//   client REPOSITORY BACKENDS DATATYPE ELEMENTS RESPONSES CONCURRENCY WARM_MS MEASURE_MS MODEL...
//
// Every model is sent ELEMENTS values of 4 bytes. With RESPONSES = 0 it must send them back; else it is a stream: the
// values are all RESPONSES, and the answers must be so many ints, 0, 1, 2, ... Several models are measured in turn, in one
// process, so that their latencies may be subtracted; one written +MODEL is loaded and not measured. Prints a line of JSON for
// each that is measured.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tritonserver.h"
#include "tritonserver_host.h"

enum { TURNS = 4, MAX_LATENCIES = 1 << 22 };

// A request that is sent again as soon as it has come home and its last response is there.
typedef struct Slot {
  TRITONSERVER_InferenceRequest* request;
  struct Slot* next;
  void* buffer;  // of the output; a second response at the same time gets one from malloc
  size_t size;
  atomic_flag taken;
  atomic_int missing;  // of two: the final response, the release
  uint64_t sent, done, first, last, cycles, cycles_ns;
  int64_t responses;
} Slot;

typedef struct {
  const char* name;
  uint64_t *latencies, count, cycles, responses, measured_ns;
  Slot* slots;  // none: it is only loaded
} Load;

static TRITONSERVER_Server* server;
static TRITONSERVER_ResponseAllocator* allocator;
static TRITONSERVER_DataType datatype;
static int32_t* values;
static int64_t elements, expected;
static int concurrency;
static atomic_bool checking;
static atomic_uint_fast64_t responses;
static Slot* home;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;

static uint64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void fail(const char* what) {
  fprintf(stderr, "error: %s\n", what);
  fflush(stderr);
  _exit(1);  // from any thread, with requests in flight
}

static void check(TRITONSERVER_Error* error) {
  if (error) fail(TRITONSERVER_ErrorMessage(error));
}

static void arrived(Slot* slot) {
  if (atomic_fetch_sub(&slot->missing, 1) > 1) return;
  pthread_mutex_lock(&lock);
  slot->next = home;
  home = slot;
  pthread_mutex_unlock(&lock);
  pthread_cond_signal(&came);  // not under the lock: who wakes would run into it, two switches of threads for nothing
}

static void on_release(TRITONSERVER_InferenceRequest* request, uint32_t flags, void* slot) {
  (void)request, (void)flags;
  arrived(slot);
}

static void check_answer(Slot* slot, TRITONSERVER_InferenceResponse* response) {
  const char* name;
  TRITONSERVER_DataType type;
  const int64_t* shape;
  uint64_t dims;
  const void* base;
  size_t size, wanted = expected ? 4 : 4 * (size_t)elements;
  TRITONSERVER_MemoryType memory;
  int64_t memory_id;
  void* userp;
  check(TRITONSERVER_InferenceResponseOutput(response, 0, &name, &type, &shape, &dims, &base, &size, &memory, &memory_id, &userp));
  const int32_t index = (int32_t)slot->responses;
  if (type != datatype || size != wanted || memcmp(base, expected ? &index : values, size)) fail("a wrong answer");
}

static void on_response(TRITONSERVER_InferenceResponse* response, uint32_t flags, void* userp) {
  Slot* slot = userp;
  if (response) {
    uint32_t outputs = 0;
    check(TRITONSERVER_InferenceResponseError(response));
    check(TRITONSERVER_InferenceResponseOutputCount(response, &outputs));
    if (outputs) {
      if (atomic_load_explicit(&checking, memory_order_relaxed)) check_answer(slot, response);
      slot->responses += 1;
      atomic_fetch_add_explicit(&responses, 1, memory_order_relaxed);
    }
    check(TRITONSERVER_InferenceResponseDelete(response));
  }
  if (!(flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL)) return;
  if (slot->responses != (expected ? expected : 1)) fail("a request ended with too few responses, or too many");
  slot->done = now_ns();
  arrived(slot);
}

static TRITONSERVER_Error* on_alloc(TRITONSERVER_ResponseAllocator* self, const char* name, size_t size, TRITONSERVER_MemoryType memory,
                                    int64_t memory_id, void* userp, void** buffer, void** buffer_userp,
                                    TRITONSERVER_MemoryType* actual, int64_t* actual_id) {
  (void)self, (void)name, (void)memory, (void)memory_id;
  Slot* slot = userp;
  const bool own = size <= slot->size && !atomic_flag_test_and_set(&slot->taken);
  *buffer = own ? slot->buffer : malloc(size);
  *buffer_userp = own ? slot : NULL;
  *actual = TRITONSERVER_MEMORY_CPU;
  *actual_id = 0;
  return NULL;
}

static TRITONSERVER_Error* on_free(TRITONSERVER_ResponseAllocator* self, void* buffer, void* userp, size_t size,
                                   TRITONSERVER_MemoryType memory, int64_t memory_id) {
  (void)self, (void)size, (void)memory, (void)memory_id;
  if (userp)
    atomic_flag_clear(&((Slot*)userp)->taken);
  else
    free(buffer);
  return NULL;
}

static void make_slot(Slot* slot, const char* model) {
  const size_t size = 4 * (size_t)elements;
  slot->size = size;
  if (!(slot->buffer = malloc(size))) fail("no memory");
  check(TRITONSERVER_InferenceRequestNew(&slot->request, server, model, -1));
  check(TRITONSERVER_InferenceRequestAddInput(slot->request, "IN", datatype, &elements, 1));
  check(TRITONSERVER_InferenceRequestAppendInputData(slot->request, "IN", values, size, TRITONSERVER_MEMORY_CPU, 0));
  check(TRITONSERVER_InferenceRequestSetReleaseCallback(slot->request, on_release, slot));
  check(TRITONSERVER_InferenceRequestSetResponseCallback(slot->request, allocator, slot, on_response, slot));
}

static void send(Slot* slot) {
  slot->responses = 0;
  atomic_store(&slot->missing, 2);
  slot->sent = now_ns();
  check(TRITONSERVER_ServerInferAsync(server, slot->request, NULL));
}

// Rates per slot are taken from its first to its last answer: requests that all last 100 ms come in waves, and a window
// would hold now one wave more, now one less.
static void count(Load* load, Slot* slot, uint64_t started) {
  if (slot->done < started) return;
  if (slot->first) slot->cycles += 1, load->cycles += 1;
  if (!slot->first) slot->first = slot->done;
  slot->last = slot->done;
  if (slot->sent >= started && load->count < MAX_LATENCIES) load->latencies[load->count++] = slot->done - slot->sent;
}

static Slot* wait_home(void) {
  pthread_mutex_lock(&lock);
  while (!home) pthread_cond_wait(&came, &lock);
  Slot* slots = home;
  home = NULL;
  pthread_mutex_unlock(&lock);
  return slots;
}

// Keep all slots in flight: warm up, measure, then let all come home.
static void run(Load* load, uint64_t warm_ns, uint64_t measure_ns) {
  if (!load->slots) return;
  const uint64_t start = now_ns() + warm_ns, end = start + measure_ns;
  uint64_t at_start = 0, at_end = 0, started = 0, ended = 0;
  int flying = concurrency;
  atomic_store(&checking, true);
  for (int i = 0; i < concurrency; ++i) load->slots[i].first = 0, send(&load->slots[i]);
  while (flying) {
    for (Slot *slot = wait_home(), *next; slot; slot = next) {
      next = slot->next;
      const uint64_t now = now_ns();
      if (started && !ended) count(load, slot, started);
      if (!started && now >= start) started = now, at_start = atomic_load(&responses), atomic_store(&checking, false);
      // Longer than wanted where the wanted time was too short for a single request.
      if (!ended && now >= end && load->cycles) ended = now, at_end = atomic_load(&responses);
      if (!ended)
        send(slot);
      else
        flying -= 1;
    }
  }
  load->responses += at_end - at_start;
  load->measured_ns += ended - started;
  for (Slot* slot = load->slots; slot < load->slots + concurrency; ++slot)
    if (slot->first) slot->cycles_ns += slot->last - slot->first;
}

static int by_value(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

static void report(Load* load) {
  if (!load->slots) return;
  double requests = 0;
  for (Slot* slot = load->slots; slot < load->slots + concurrency; ++slot)
    if (slot->cycles) requests += (double)slot->cycles / (double)slot->cycles_ns * 1e9;
  qsort(load->latencies, load->count, sizeof *load->latencies, by_value);
  printf("{\"model\": \"%s\", \"requests_per_s\": %.1f, \"responses_per_s\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f}\n", load->name,
         requests, (double)load->responses / (double)load->measured_ns * 1e9, (double)load->latencies[load->count / 2] / 1e3,
         (double)load->latencies[load->count - 1 - load->count / 100] / 1e3);
}

static void start_server(const char* repository, const char* backends) {
  TRITONSERVER_ServerOptions* options;
  check(TRITONSERVER_ServerOptionsNew(&options));
  check(TRITONSERVER_ServerOptionsSetModelRepositoryPath(options, repository));
  check(TRITONSERVER_ServerOptionsSetBackendDirectory(options, backends));
  check(TRITONSERVER_ServerOptionsSetModelControlMode(options, TRITONSERVER_MODEL_CONTROL_EXPLICIT));
  check(TRITONSERVER_ServerOptionsSetStrictModelConfig(options, false));
  check(TRITONSERVER_ServerOptionsSetMetrics(options, false));
  check(TRITONSERVER_ServerOptionsSetPinnedMemoryPoolByteSize(options, 0));
  check(TRITONSERVER_ServerOptionsSetLogFile(options, "/dev/stderr"));
  // Triton leaves these two to chance.
  check(TRITONSERVER_ServerOptionsSetModelLoadRetryCount(options, 0));
  check(TRITONSERVER_ServerOptionsSetEnablePeerAccess(options, true));
  check(TRITONSERVER_ServerNew(&server, options));
  check(TRITONSERVER_ServerOptionsDelete(options));
  check(TRITONSERVER_ResponseAllocatorNew(&allocator, on_alloc, on_free, NULL));
}

static void prepare(Load* load, const char* name) {
  load->name = name + (*name == '+');
  check(TRITONSERVER_ServerLoadModel(server, load->name));
  if (*name == '+') return;
  load->latencies = malloc(sizeof(uint64_t) * MAX_LATENCIES);
  load->slots = calloc((size_t)concurrency, sizeof(Slot));
  if (!load->latencies || !load->slots) fail("no memory");
  for (int i = 0; i < concurrency; ++i) make_slot(&load->slots[i], load->name);
}

// Waited for: the stock backend leaves its shared memory behind otherwise.
static void unload(Load* load) {
  for (int i = 0; load->slots && i < concurrency; ++i)  // a request keeps its model loaded
    check(TRITONSERVER_InferenceRequestDelete(load->slots[i].request));
  char state[256];
  snprintf(state, sizeof state, "\"name\":\"%s\",\"version\":\"1\",\"state\":\"UN", load->name);
  bool moving = true;
  check(TRITONSERVER_ServerUnloadModel(server, load->name));
  for (int i = 0; moving && i < 5000; ++i, usleep(1000)) {
    TRITONSERVER_Message* index;
    const char* text;
    size_t size;
    check(TRITONSERVER_ServerModelIndex(server, 0, &index));
    check(TRITONSERVER_MessageSerializeToJson(index, &text, &size));
    char* copy = strndup(text, size);
    const char* found = strstr(copy, state);
    moving = !found || !strncmp(found + strlen(state), "LOADING", 7);
    free(copy);
    check(TRITONSERVER_MessageDelete(index));
  }
}

int main(int argc, char** argv) {
  if (argc < 10) return fprintf(stderr, "see the head of client.c for the arguments\n"), 2;
  datatype = strcmp(argv[3], "INT32") ? TRITONSERVER_TYPE_FP32 : TRITONSERVER_TYPE_INT32;
  elements = atoll(argv[4]), expected = atoll(argv[5]), concurrency = atoi(argv[6]);
  const uint64_t warm_ns = strtoull(argv[7], NULL, 10) * 1000000u, measure_ns = strtoull(argv[8], NULL, 10) * 1000000u;
  const int models = argc - 9;
  Load* loads = calloc((size_t)models, sizeof *loads);
  if (!loads || !(values = malloc(4 * (size_t)elements))) fail("no memory");
  for (int64_t i = 0; i < elements; ++i) values[i] = (int32_t)(expected ? expected : i);
  start_server(argv[1], argv[2]);
  for (int m = 0; m < models; ++m) prepare(&loads[m], argv[9 + m]);
  const int turns = models > 1 ? TURNS : 1;
  for (int turn = 0; turn < turns; ++turn)
    for (int m = 0; m < models; ++m) run(&loads[m], warm_ns / (uint64_t)turns, measure_ns / (uint64_t)turns);
  for (int m = 0; m < models; ++m) report(&loads[m]);
  fflush(stdout);
  for (int m = models - 1; m >= 0; --m) unload(&loads[m]);
  check(TRITONSERVER_ServerStop(server));
  _exit(0);
}
