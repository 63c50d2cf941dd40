/*
 * The floor of the GPU test: what a plain loop of asynchronous copies of pinned memory reaches,
 * with nothing of this project around it. Each sample queues 16 copies, waits once, and divides:
 * the cost of a call hides behind the copy before it, as in nvbandwidth.
 *
 *   plain_copy LIBCUDA DEVICE BYTES SAMPLES
 *
 * prints one line of JSON: {"htod_gbps":[...],"dtoh_gbps":[...]}, GB = 1e9 bytes, one number per
 * sample.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kCopies = 16, kWarmups = 4 };

static void* library;

static void* Find(const char* name) {
  void* address = dlsym(library, name);
  if (address == NULL) {
    fprintf(stderr, "plain_copy: libcuda lacks %s\n", name);
    exit(1);
  }
  return address;
}

static void Check(int result, const char* what) {
  if (result != 0) {
    fprintf(stderr, "plain_copy: %s failed with CUresult %d\n", what, result);
    exit(1);
  }
}

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  int (*init)(unsigned);
  int (*device_get)(int*, int);
  int (*retain)(void**, int);
  int (*set_current)(void*);
  int (*mem_alloc)(uint64_t*, size_t);
  int (*host_alloc)(void**, size_t, unsigned);
  int (*stream_create)(void**, unsigned);
  int (*to_device)(uint64_t, const void*, size_t, void*);
  int (*to_host)(void*, uint64_t, size_t, void*);
  int (*synchronize)(void*);
  void *context, *host, *stream;
  uint64_t memory;
  size_t bytes;
  int device, direction, samples, sample, i;
  if (argc != 5) {
    fprintf(stderr, "usage: plain_copy LIBCUDA DEVICE BYTES SAMPLES\n");
    return 2;
  }
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "plain_copy: %s\n", dlerror());
    return 1;
  }
  *(void**)&init = Find("cuInit");
  *(void**)&device_get = Find("cuDeviceGet");
  *(void**)&retain = Find("cuDevicePrimaryCtxRetain");
  *(void**)&set_current = Find("cuCtxSetCurrent");
  *(void**)&mem_alloc = Find("cuMemAlloc_v2");
  *(void**)&host_alloc = Find("cuMemHostAlloc");
  *(void**)&stream_create = Find("cuStreamCreate");
  *(void**)&to_device = Find("cuMemcpyHtoDAsync_v2");
  *(void**)&to_host = Find("cuMemcpyDtoHAsync_v2");
  *(void**)&synchronize = Find("cuStreamSynchronize");
  bytes = strtoull(argv[3], NULL, 10);
  samples = atoi(argv[4]);
  Check(init(0), "cuInit");
  Check(device_get(&device, atoi(argv[2])), "cuDeviceGet");
  Check(retain(&context, device), "cuDevicePrimaryCtxRetain");
  Check(set_current(context), "cuCtxSetCurrent");
  Check(mem_alloc(&memory, bytes), "cuMemAlloc");
  Check(host_alloc(&host, bytes, 0), "cuMemHostAlloc");
  Check(stream_create(&stream, 1), "cuStreamCreate");
  memset(host, 1, bytes);
  for (direction = 0; direction < 2; ++direction) {
    printf("%s[", direction == 0 ? "{\"htod_gbps\":" : ",\"dtoh_gbps\":");
    for (sample = -kWarmups; sample < samples; ++sample) {
      const double begin = Now();
      for (i = 0; i < kCopies; ++i) {
        Check(direction == 0 ? to_device(memory, host, bytes, stream)
                             : to_host(host, memory, bytes, stream),
              "copy");
      }
      Check(synchronize(stream), "cuStreamSynchronize");
      if (sample >= 0) {
        printf("%s%.4f", sample == 0 ? "" : ",", (double)bytes * kCopies / 1e9 / (Now() - begin));
      }
    }
    printf("]");
  }
  printf("}\n");
  return 0; /* the process ends here: the driver frees all */
}
