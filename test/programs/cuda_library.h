/* The driver API as the small test programs use it: $WARPGAUGE_CUDA, else libcuda.so.1. */
#ifndef WARPGAUGE_TEST_PROGRAMS_CUDA_LIBRARY_H
#define WARPGAUGE_TEST_PROGRAMS_CUDA_LIBRARY_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CUDA_FUNCTIONS(X)                                                    \
  X(cuInit, (unsigned))                                                      \
  X(cuDeviceGetCount, (int*))                                                \
  X(cuDeviceGet, (int*, int))                                                \
  X(cuDevicePrimaryCtxRetain, (void**, int))                                 \
  X(cuDevicePrimaryCtxRelease_v2, (int))                                     \
  X(cuCtxSetCurrent, (void*))                                                \
  X(cuMemAlloc_v2, (uint64_t*, size_t))                                      \
  X(cuMemFree_v2, (uint64_t))                                                \
  X(cuMemAllocManaged, (uint64_t*, size_t, unsigned))                        \
  X(cuMemHostAlloc, (void**, size_t, unsigned))                              \
  X(cuMemFreeHost, (void*))                                                  \
  X(cuMemcpyHtoD_v2, (uint64_t, const void*, size_t))                        \
  X(cuMemcpyHtoDAsync_v2, (uint64_t, const void*, size_t, void*))            \
  X(cuMemcpyDtoHAsync_v2, (void*, uint64_t, size_t, void*))                  \
  X(cuMemcpyDtoDAsync_v2, (uint64_t, uint64_t, size_t, void*))               \
  X(cuMemcpyPeerAsync, (uint64_t, void*, uint64_t, void*, size_t, void*))    \
  X(cuMemsetD8Async, (uint64_t, unsigned char, size_t, void*))               \
  X(cuStreamCreate, (void**, unsigned))                                      \
  X(cuStreamDestroy_v2, (void*))                                             \
  X(cuStreamSynchronize, (void*))                                            \
  X(cuModuleLoadDataEx, (void**, const void*, unsigned, const int*, void**)) \
  X(cuModuleGetFunction, (void**, void*, const char*))                       \
  X(cuLaunchKernel,                                                          \
    (void*,                                                                  \
     unsigned,                                                               \
     unsigned,                                                               \
     unsigned,                                                               \
     unsigned,                                                               \
     unsigned,                                                               \
     unsigned,                                                               \
     unsigned,                                                               \
     void*,                                                                  \
     void**,                                                                 \
     void**))

#define CUDA_DECLARE(name, arguments) static int(*name) arguments;
CUDA_FUNCTIONS(CUDA_DECLARE)
#undef CUDA_DECLARE

static void LoadCuda(void) {
  const char* path = getenv("WARPGAUGE_CUDA");
  void* library = dlopen(path != NULL && path[0] != '\0' ? path : "libcuda.so.1", RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(3);
  }
#define CUDA_LOAD(name, arguments)                         \
  *(void**)&name = dlsym(library, #name); /* POSIX' way */ \
  if (name == NULL) {                                      \
    fprintf(stderr, "libcuda lacks " #name "\n");          \
    exit(3);                                               \
  }
  CUDA_FUNCTIONS(CUDA_LOAD)
#undef CUDA_LOAD
}

static void Check(int result, const char* what) {
  if (result == 0) return;
  fprintf(stderr, "%s failed with CUresult %d\n", what, result);
  exit(2);
}

#define CUDA(call) Check(call, #call)

#endif
