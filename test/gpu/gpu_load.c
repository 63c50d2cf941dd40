/*
 * Work for a GPU in known amounts, for the tests that read its counters: nothing of this project is in it.
 *
 *   gpu_load LIBCUDA DEVICE
 *
 * prints "ready", then answers each line of standard input with one line of JSON:
 *   htod PIECE TOTAL    copies TOTAL bytes of pinned memory to the device in pieces of PIECE bytes
 *   dtoh PIECE TOTAL    the other way
 *   spin SECONDS        keeps every multiprocessor busy
 * Times are CLOCK_MONOTONIC in ns: {"bytes":N,"begin_ns":N,"end_ns":N}. Ends with its input.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Counts clock ticks, so that no compiler can drop the loop; read by the driver's own compiler. */
static const char kSpin[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .entry spin(.param .u64 ticks)\n{\n"
    "  .reg .u64 %begin, %now, %ticks;\n  .reg .pred %more;\n"
    "  ld.param.u64 %ticks, [ticks];\n  mov.u64 %begin, %clock64;\n"
    "again:\n  mov.u64 %now, %clock64;\n  sub.u64 %now, %now, %begin;\n"
    "  setp.lt.u64 %more, %now, %ticks;\n  @%more bra again;\n  ret;\n}\n";

static void* library;

static void* Find(const char* name) {
  void* address = dlsym(library, name);
  if (address == NULL) {
    fprintf(stderr, "gpu_load: libcuda lacks %s\n", name);
    exit(1);
  }
  return address;
}

static void Check(int result, const char* what) {
  if (result != 0) {
    fprintf(stderr, "gpu_load: %s failed with CUresult %d\n", what, result);
    exit(1);
  }
}

static long long Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  enum { kMost = 1 << 30 };
  int (*init)(unsigned);
  int (*device_get)(int*, int);
  int (*retain)(void**, int);
  int (*set_current)(void*);
  int (*mem_alloc)(uint64_t*, size_t);
  int (*host_alloc)(void**, size_t, unsigned);
  int (*to_device)(uint64_t, const void*, size_t, void*);
  int (*to_host)(void*, uint64_t, size_t, void*);
  int (*synchronize)(void*);
  int (*module_load)(void**, const void*);
  int (*module_function)(void**, void*, const char*);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                void**, void**);
  void *context, *host, *module, *function;
  uint64_t memory;
  int device;
  char line[128];
  if (argc != 3) {
    fprintf(stderr, "usage: gpu_load LIBCUDA DEVICE\n");
    return 2;
  }
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "gpu_load: %s\n", dlerror());
    return 1;
  }
  *(void**)&init = Find("cuInit");
  *(void**)&device_get = Find("cuDeviceGet");
  *(void**)&retain = Find("cuDevicePrimaryCtxRetain");
  *(void**)&set_current = Find("cuCtxSetCurrent");
  *(void**)&mem_alloc = Find("cuMemAlloc_v2");
  *(void**)&host_alloc = Find("cuMemHostAlloc");
  *(void**)&to_device = Find("cuMemcpyHtoDAsync_v2");
  *(void**)&to_host = Find("cuMemcpyDtoHAsync_v2");
  *(void**)&synchronize = Find("cuStreamSynchronize");
  *(void**)&module_load = Find("cuModuleLoadData");
  *(void**)&module_function = Find("cuModuleGetFunction");
  *(void**)&launch = Find("cuLaunchKernel");
  Check(init(0), "cuInit");
  Check(device_get(&device, atoi(argv[2])), "cuDeviceGet");
  Check(retain(&context, device), "cuDevicePrimaryCtxRetain");
  Check(set_current(context), "cuCtxSetCurrent");
  Check(mem_alloc(&memory, kMost), "cuMemAlloc");
  Check(host_alloc(&host, kMost, 0), "cuMemHostAlloc");
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
        Check(to_gpu ? to_device(memory, host, piece, NULL) : to_host(host, memory, piece, NULL),
              "copy");
      }
      Check(synchronize(NULL), "cuStreamSynchronize");
      end = Now();
    } else if (sscanf(line, "spin %lf", &seconds) == 1) {
      uint64_t ticks = 20000000; /* about 10 ms */
      void* arguments[1];
      arguments[0] = &ticks;
      begin = Now();
      do {
        Check(launch(function, 1056, 1, 1, 256, 1, 1, 0, NULL, arguments, NULL), "cuLaunchKernel");
        Check(synchronize(NULL), "cuStreamSynchronize");
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
