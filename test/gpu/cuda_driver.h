/*
 * The CUDA driver for the small programs of the GPU test: what both need of it, opened at run time.
 * Whoever includes this defines PROGRAM, its name in messages. Failures end the process.
 */
#ifndef WARPGAUGE_TEST_GPU_CUDA_DRIVER_H
#define WARPGAUGE_TEST_GPU_CUDA_DRIVER_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  void* library;
  int (*mem_alloc)(uint64_t*, size_t);
  int (*host_alloc)(void**, size_t, unsigned);
  int (*to_device)(uint64_t, const void*, size_t, void*);
  int (*to_host)(void*, uint64_t, size_t, void*);
  int (*synchronize)(void*); /* a stream */
} Cuda;

static void* Find(const Cuda* cuda, const char* name) {
  void* address = dlsym(cuda->library, name);
  if (address == NULL) {
    fprintf(stderr, PROGRAM ": libcuda lacks %s\n", name);
    exit(1);
  }
  return address;
}

static void Check(int result, const char* what) {
  if (result != 0) {
    fprintf(stderr, PROGRAM ": %s failed with CUresult %d\n", what, result);
    exit(1);
  }
}

/* The library at `path`, with the primary context of device `ordinal` current on this thread. */
static Cuda OpenCuda(const char* path, int ordinal) {
  Cuda cuda;
  int (*init)(unsigned);
  int (*device_get)(int*, int);
  int (*retain)(void**, int);
  int (*set_current)(void*);
  void* context;
  int device;
  cuda.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (cuda.library == NULL) {
    fprintf(stderr, PROGRAM ": %s\n", dlerror());
    exit(1);
  }
  *(void**)&init = Find(&cuda, "cuInit");
  *(void**)&device_get = Find(&cuda, "cuDeviceGet");
  *(void**)&retain = Find(&cuda, "cuDevicePrimaryCtxRetain");
  *(void**)&set_current = Find(&cuda, "cuCtxSetCurrent");
  *(void**)&cuda.mem_alloc = Find(&cuda, "cuMemAlloc_v2");
  *(void**)&cuda.host_alloc = Find(&cuda, "cuMemHostAlloc");
  *(void**)&cuda.to_device = Find(&cuda, "cuMemcpyHtoDAsync_v2");
  *(void**)&cuda.to_host = Find(&cuda, "cuMemcpyDtoHAsync_v2");
  *(void**)&cuda.synchronize = Find(&cuda, "cuStreamSynchronize");
  Check(init(0), "cuInit");
  Check(device_get(&device, ordinal), "cuDeviceGet");
  Check(retain(&context, device), "cuDevicePrimaryCtxRetain");
  Check(set_current(context), "cuCtxSetCurrent");
  return cuda;
}

#endif
