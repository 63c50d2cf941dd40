/*
 * Work for a GPU in known amounts, for the tests that read its counters: nothing of this project is
 * in it.
 *
 *   gpu_load LIBCUDA DEVICE
 *
 * prints "ready", then answers each line of standard input with one line of JSON:
 *   htod PIECE TOTAL    copies TOTAL bytes of pinned memory to the device in pieces of PIECE bytes
 *   dtoh PIECE TOTAL    the other way
 *   spin SECONDS        keeps every multiprocessor busy
 * Times are CLOCK_MONOTONIC in ns: {"bytes":N,"begin_ns":N,"end_ns":N}. Ends with its input.
 */
#include <string.h>
#include <time.h>

#define PROGRAM "gpu_load"
#include "cuda_driver.h"

/* Counts clock ticks, so that no compiler can drop the loop; read by the driver's own compiler. */
static const char kSpin[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .entry spin(.param .u64 ticks)\n{\n"
    "  .reg .u64 %begin, %now, %ticks;\n  .reg .pred %more;\n"
    "  ld.param.u64 %ticks, [ticks];\n  mov.u64 %begin, %clock64;\n"
    "again:\n  mov.u64 %now, %clock64;\n  sub.u64 %now, %now, %begin;\n"
    "  setp.lt.u64 %more, %now, %ticks;\n  @%more bra again;\n  ret;\n}\n";

static long long Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  enum { kMost = 1 << 30 };
  int (*module_load)(void**, const void*);
  int (*module_function)(void**, void*, const char*);
  int (*launch)(void*,
                unsigned,
                unsigned,
                unsigned,
                unsigned,
                unsigned,
                unsigned,
                unsigned,
                void*,
                void**,
                void**);
  Cuda cuda;
  void *host, *module, *function;
  uint64_t memory;
  char line[128];
  if (argc != 3) {
    fprintf(stderr, "usage: gpu_load LIBCUDA DEVICE\n");
    return 2;
  }
  cuda = OpenCuda(argv[1], atoi(argv[2]));
  *(void**)&module_load = Find(&cuda, "cuModuleLoadData");
  *(void**)&module_function = Find(&cuda, "cuModuleGetFunction");
  *(void**)&launch = Find(&cuda, "cuLaunchKernel");
  Check(cuda.mem_alloc(&memory, kMost), "cuMemAlloc");
  Check(cuda.host_alloc(&host, kMost, 0), "cuMemHostAlloc");
  Check(module_load(&module, kSpin), "cuModuleLoadData");
  Check(module_function(&function, module, "spin"), "cuModuleGetFunction");
  memset(host, 1, kMost);
  printf("ready\n");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned long long piece = 0, total = 0, done = 0;
    double seconds = 0;
    long long begin, end;
    if (sscanf(line, "htod %llu %llu", &piece, &total) == 2 ||
        sscanf(line, "dtoh %llu %llu", &piece, &total) == 2) {
      const int to_gpu = line[0] == 'h';
      if (piece == 0 || piece > kMost) return 2;
      begin = Now();
      for (; done + piece <= total; done += piece) {
        Check(to_gpu ? cuda.to_device(memory, host, piece, NULL)
                     : cuda.to_host(host, memory, piece, NULL),
              "copy");
      }
      Check(cuda.synchronize(NULL), "cuStreamSynchronize");
      end = Now();
    } else if (sscanf(line, "spin %lf", &seconds) == 1) {
      uint64_t ticks = 20000000; /* about 10 ms */
      void* arguments[1];
      arguments[0] = &ticks;
      begin = Now();
      do {
        Check(launch(function, 1056, 1, 1, 256, 1, 1, 0, NULL, arguments, NULL), "cuLaunchKernel");
        Check(cuda.synchronize(NULL), "cuStreamSynchronize");
        end = Now();
      } while ((double)(end - begin) / 1e9 < seconds);
    } else {
      fprintf(stderr, "gpu_load: not understood: %s", line);
      return 2;
    }
    printf("{\"bytes\":%llu,\"begin_ns\":%lld,\"end_ns\":%lld}\n", done, begin, end);
    fflush(stdout);
  }
  return 0; /* the process ends here: the driver frees all */
}
