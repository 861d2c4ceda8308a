// What the loader (libtriton_<name>.so) and the native module agree on.
#pragma once
#include "tritonserver.h"
#include "tritonbackend.h"

typedef struct {
  TRITONSERVER_Error* (*initialize)(TRITONBACKEND_Backend*);
  TRITONSERVER_Error* (*finalize)(TRITONBACKEND_Backend*);
  TRITONSERVER_Error* (*attribute)(TRITONBACKEND_Backend*, TRITONBACKEND_BackendAttribute*);
  TRITONSERVER_Error* (*model_initialize)(TRITONBACKEND_Model*);
  TRITONSERVER_Error* (*model_finalize)(TRITONBACKEND_Model*);
  TRITONSERVER_Error* (*instance_initialize)(TRITONBACKEND_ModelInstance*);
  TRITONSERVER_Error* (*instance_finalize)(TRITONBACKEND_ModelInstance*);
  TRITONSERVER_Error* (*execute)(TRITONBACKEND_ModelInstance*, TRITONBACKEND_Request**, uint32_t);
  TRITONSERVER_Error* (*instance_ready)(TRITONBACKEND_ModelInstance*);
  // of custom batching; see batcher.c
  TRITONSERVER_Error* (*batcher_initialize)(TRITONBACKEND_Batcher**, TRITONBACKEND_Model*);
  TRITONSERVER_Error* (*batcher_finalize)(TRITONBACKEND_Batcher*);
  TRITONSERVER_Error* (*batch_initialize)(const TRITONBACKEND_Batcher*, void**);
  TRITONSERVER_Error* (*batch_include)(TRITONBACKEND_Request*, void*, bool*);
  TRITONSERVER_Error* (*batch_finalize)(void*);
} tb_entries;

typedef struct {
  const char* directory;    // the backend directory
  const char* executable;   // the Python that built it; "" or gone: libpython's own defaults
  const char* sdk;          // directory that holds the vendored triton_backend_sdk
  const char* native;       // this native module's file
  const char* fingerprint;  // SDK version and hash of the shim's sources
} tb_boot;

// Starts or joins the interpreter; NULL and a message in error when it cannot.
typedef const tb_entries* (*tb_attach_fn)(const tb_boot* boot, char* error, size_t error_size);
