// Triton's custom batching, as its scheduler thread drives it. For each request that could join a batch:
//
//   ModelBatchInitialize   a batch begins; also when the queue is looked through once more, from its head
//   ModelBatchIncludeRequest   may it join? "no" sends the batch, and the request begins the next
//   ModelBatchFinalize     the batch is sent, or given up for another look
//
// Triton calls these with the queue locked, so whatever they cost delays every client of the model. It sets no limit
// on what it adds to a batch that was sent but still waits for an instance: it begins another batch here, and puts both
// into one execute. So the batches are remembered, and what was not formed as one is taken apart before execute
// (batching.py).
#include "batcher.h"
#include <unistd.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static tb_batcher* registry;

// From the model's load to its end; Triton asks for the batcher of a model by the model's handle.
void tb_batcher_register(tb_batcher* batcher)
{
  pthread_mutex_lock(&registry_lock);
  batcher->next = registry;
  registry = batcher;
  pthread_mutex_unlock(&registry_lock);
}

void tb_batcher_unregister(tb_batcher* batcher)
{
  pthread_mutex_lock(&registry_lock);
  for (tb_batcher** link = &registry; *link != NULL; link = &(*link)->next)
    if (*link == batcher) {
      *link = batcher->next;
      break;
    }
  pthread_mutex_unlock(&registry_lock);
}

// NULL, and nothing to pay for later, for a model that has neither rule nor hooks.
TRITONSERVER_Error* tb_batcher_initialize(TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model)
{
  pthread_mutex_lock(&registry_lock);
  tb_batcher* found = registry;
  while (found != NULL && found->model != model) found = found->next;
  pthread_mutex_unlock(&registry_lock);
  if (found != NULL) atomic_store(&found->attached, true);
  *batcher = (TRITONBACKEND_Batcher*)found;
  return NULL;
}

// Triton forgets the functions next, without a lock, while its scheduler thread may be about to begin a batch after the
// last execute: let it do so first. The batcher itself stays until the model's end, when that thread has gone.
TRITONSERVER_Error* tb_batcher_finalize(TRITONBACKEND_Batcher* handle)
{
  tb_batcher* batcher = (tb_batcher*)handle;
  if (batcher == NULL) return NULL;
  for (int i = 0; i < 100 && atomic_load(&batcher->between); i++) usleep(200);
  atomic_store(&batcher->closed, true);
  return NULL;
}

static uint64_t add(uint64_t a, uint64_t b)
{
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static bool counts(const tb_rule* rule, const char* input)
{
  for (uint32_t i = 0; i < rule->input_count; i++)
    if (strcmp(rule->inputs[i], input) == 0) return true;
  return rule->input_count == 0;
}

static TRITONSERVER_Error* measure(const tb_batcher* batcher, TRITONBACKEND_Request* request, tb_size* size)
{
  uint32_t count = 0;
  *size = (tb_size){0, 0, 1, 0};
  TRITONSERVER_Error* error = TRITONBACKEND_RequestInputCount(request, &count);
  for (uint32_t i = 0; i < count && error == NULL; i++) {
    TRITONBACKEND_Input* input;
    const char* name;
    TRITONSERVER_DataType dtype;
    const int64_t* shape;
    uint32_t ndim, buffers;
    uint64_t nbytes;
    error = TRITONBACKEND_RequestInputByIndex(request, i, &input);
    if (error == NULL) error = TRITONBACKEND_InputProperties(input, &name, &dtype, &shape, &ndim, &nbytes, &buffers);
    if (error != NULL) break;
    if (batcher->batching && ndim > 0 && shape[0] > 0) size->rows = (uint64_t)shape[0];
    if (!counts(&batcher->rule, name)) continue;
    int64_t elements = tb_elements(shape, ndim);
    size->elements = add(size->elements, elements < 0 ? UINT64_MAX : (uint64_t)elements);
    size->bytes = add(size->bytes, nbytes);
  }
  size->longest = size->elements / size->rows;
  return error;
}

static tb_size join(tb_size a, tb_size b)
{
  return (tb_size){add(a.elements, b.elements), add(a.bytes, b.bytes), add(a.rows, b.rows), a.longest > b.longest ? a.longest : b.longest};
}

static bool within(const tb_rule* rule, tb_size size)
{
  return size.elements <= rule->elements && size.bytes <= rule->bytes && multiply(size.rows, size.longest) <= rule->padded;
}

static void remember(tb_batcher* batcher, const void* request)
{
  size_t cell = ((uintptr_t)request >> 6) % TB_FORMED;
  pthread_mutex_lock(&batcher->lock);
  batcher->formed[cell].request = request;
  batcher->formed[cell].batch = batcher->serial;
  pthread_mutex_unlock(&batcher->lock);
}

TRITONSERVER_Error* tb_batch_initialize(const TRITONBACKEND_Batcher* handle, void** userp)
{
  tb_batcher* batcher = (tb_batcher*)(uintptr_t)handle;
  *userp = NULL;
  if (batcher == NULL || atomic_load(&batcher->closed)) return NULL;
  tb_batch_end(batcher);  // Triton drops a batch without a word when nothing joined what waits for an instance
  batcher->batch.size = (tb_size){0};
  batcher->batch.holds_any = batcher->batch.failed = false;
  pthread_mutex_lock(&batcher->lock);
  batcher->serial++;
  pthread_mutex_unlock(&batcher->lock);
  atomic_store(&batcher->between, false);
  *userp = batcher;
  return NULL;
}

// The first request always joins: Triton would ask for it again and again, for ever.
TRITONSERVER_Error* tb_batch_include(TRITONBACKEND_Request* request, void* userp, bool* should_include)
{
  tb_batcher* batcher = userp;
  *should_include = true;
  if (batcher == NULL) return NULL;
  tb_size size;
  TRITONSERVER_Error* error = measure(batcher, request, &size);
  tb_size together = join(batcher->batch.size, size);
  bool first = !batcher->batch.holds_any;
  bool fits = error == NULL && !batcher->batch.failed && (first || within(&batcher->rule, together));
  if (fits && batcher->include != NULL) fits = tb_batch_ask(batcher, request);
  *should_include = first || fits;
  if (*should_include) {
    batcher->batch.size = together;
    batcher->batch.holds_any = true;
    remember(batcher, request);
  }
  return error;  // Triton logs it
}

TRITONSERVER_Error* tb_batch_finalize(void* userp)
{
  tb_batcher* batcher = userp;
  tb_batch_end(batcher);
  atomic_store(&batcher->between, true);
  return NULL;
}
