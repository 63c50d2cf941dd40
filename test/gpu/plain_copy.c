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
#include <string.h>
#include <time.h>

#define PROGRAM "plain_copy"
#include "cuda_driver.h"

enum { kCopies = 16, kWarmups = 4 };

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  int (*stream_create)(void**, unsigned);
  Cuda cuda;
  void *host, *stream;
  uint64_t memory;
  size_t bytes;
  int direction, samples, sample, i;
  if (argc != 5) {
    fprintf(stderr, "usage: plain_copy LIBCUDA DEVICE BYTES SAMPLES\n");
    return 2;
  }
  bytes = strtoull(argv[3], NULL, 10);
  samples = atoi(argv[4]);
  cuda = OpenCuda(argv[1], atoi(argv[2]));
  *(void**)&stream_create = Find(&cuda, "cuStreamCreate");
  Check(cuda.mem_alloc(&memory, bytes), "cuMemAlloc");
  Check(cuda.host_alloc(&host, bytes, 0), "cuMemHostAlloc");
  Check(stream_create(&stream, 1), "cuStreamCreate");
  memset(host, 1, bytes);
  for (direction = 0; direction < 2; ++direction) {
    printf("%s[", direction == 0 ? "{\"htod_gbps\":" : ",\"dtoh_gbps\":");
    for (sample = -kWarmups; sample < samples; ++sample) {
      const double begin = Now();
      for (i = 0; i < kCopies; ++i) {
        Check(direction == 0 ? cuda.to_device(memory, host, bytes, stream)
                             : cuda.to_host(host, memory, bytes, stream),
              "copy");
      }
      Check(cuda.synchronize(stream), "cuStreamSynchronize");
      if (sample >= 0) {
        printf("%s%.4f", sample == 0 ? "" : ",", (double)bytes * kCopies / 1e9 / (Now() - begin));
      }
    }
    printf("]");
  }
  printf("}\n");
  return 0; /* the process ends here: the driver frees all */
}
