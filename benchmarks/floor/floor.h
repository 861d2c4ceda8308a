// SPDX-License-Identifier: Apache-2.0
// A floor is what a backend costs that does nothing but the work asked for, written against Triton's C API. It answers
// request by request and reports statistics, as every honest backend does, so that what another backend takes longer than
// this is that backend's own doing. The declarations are the SDK's, the only thing that both share.
// Linked to libtritonserver by its soname: the loader takes the one already in the process, whatever its scope.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "tritonserver.h"

#include "tritonbackend.h"

// The SDK asks for buffers with their attributes instead.
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input* input, uint32_t index, const void** buffer, uint64_t* size,
                                              TRITONSERVER_MemoryType* memory, int64_t* memory_id);

static inline uint64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static inline void drop(TRITONSERVER_Error* error) {
  if (error) TRITONSERVER_ErrorDelete(error);
}

static inline void report(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request, bool success, uint64_t start,
                          uint64_t compute_start) {
  const uint64_t end = now_ns();
  drop(TRITONBACKEND_ModelInstanceReportStatistics(instance, request, success, start, compute_start, end, end));
}

static inline void report_batch(TRITONBACKEND_ModelInstance* instance, uint32_t count, uint64_t start) {
  const uint64_t end = now_ns();
  // Every request of the benchmark holds one row, so their count is the batch size.
  drop(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, count, start, start, end, end));
}
