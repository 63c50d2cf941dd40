/*
 * A CUDA program for tests: work in known amounts, and the ways in which a process can begin and
 * end. On standard output one line of JSON per process says exactly what was done.
 *
 *   cuda_copies [options]
 *     --pageable N (10)         HtoD copies from pageable memory
 *     --pinned N (10)           HtoD copies from pinned memory
 *     --dtoh N (10)             DtoH copies to pinned memory
 *     --dtoh-pageable N (0)     DtoH copies to pageable memory
 *     --dtod N (0), --memset N (5), --kernels N (5)
 *     --managed N (0)           kernels on managed memory that begins on the host
 *     --peer N (0)              copies from device 0 to device 1
 *     --blocking N (0)          HtoD copies by the blocking call, from pageable memory
 *     --bytes B (65536)         of each copy and memset; a kernel adds B / 8 doubles
 *     --fresh                   pageable sources are newly mapped: the copy takes their page faults
 *     --rounds N (1)            all of it N times, a synchronization after each
 *     --loop MS                 rounds until MS have passed, or SIGTERM or SIGINT came
 *     --threads N (1)           each does all of it, in a stream of its own
 *     --delay MS, --sleep MS    before CUDA is loaded; after the work is done
 *     --fork                    a child forked before cuInit does the same
 *     --fork-after              a child forked after the work calls cuInit and reports its result
 *     --children N              N new processes (fork and exec) do the same
 *     --exec                    after the work the process executes itself and does it again
 *     --early-exit              ends by _exit, without atexit and flush
 *     --kill SIGNAL             ends by a signal to itself: 9, 15 ...
 *     --crash                   ends by writing to address 0
 *     --code N                  exit code
 *     --foreign-subscriber      subscribes to CUPTI ($WARPGAUGE_CUPTI) before cuInit
 *     --markers N               N NVTX-like ranges by the fake libcupti's hook
 *     --generate N --rate R     N more records by the fake libcupti's hook, R per second
 *     --no-cuda                 none of it: sleeps and ends
 */
#include "cuda_library.h"

#include "../native/fake/activity_feed.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* n doubles: c = a + b. For every GPU and driver that the project supports. */
static const char kVectorAdd[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .entry warpgauge_vector_add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 "
    "n)\n"
    "{\n"
    "  .reg .pred %done;\n  .reg .f64 %x, %y;\n  .reg .u32 %t, %u, %v;\n"
    "  .reg .u64 %a, %b, %c, %n, %i, %step, %at, %o;\n"
    "  ld.param.u64 %a, [a];\n  ld.param.u64 %b, [b];\n  ld.param.u64 %c, [c];\n"
    "  ld.param.u64 %n, [n];\n"
    "  cvta.to.global.u64 %a, %a;\n  cvta.to.global.u64 %b, %b;\n  cvta.to.global.u64 %c, %c;\n"
    "  mov.u32 %t, %ctaid.x;\n  mov.u32 %u, %ntid.x;\n  mov.u32 %v, %tid.x;\n"
    "  mul.wide.u32 %i, %t, %u;\n  cvt.u64.u32 %o, %v;\n  add.u64 %i, %i, %o;\n"
    "  mov.u32 %v, %nctaid.x;\n  mul.wide.u32 %step, %v, %u;\n"
    "again:\n"
    "  setp.ge.u64 %done, %i, %n;\n  @%done bra end;\n"
    "  shl.b64 %o, %i, 3;\n"
    "  add.u64 %at, %a, %o;\n  ld.global.f64 %x, [%at];\n"
    "  add.u64 %at, %b, %o;\n  ld.global.f64 %y, [%at];\n"
    "  add.rn.f64 %x, %x, %y;\n  add.u64 %at, %c, %o;\n  st.global.f64 [%at], %x;\n"
    "  add.u64 %i, %i, %step;\n  bra again;\n"
    "end:\n  ret;\n}\n";

typedef struct {
  long pageable, pinned, dtoh, dtoh_pageable, dtod, memset, kernels, managed, peer, blocking;
  long bytes, rounds, loop_ms, threads, delay_ms, sleep_ms, children, kill, code, markers;
  long generate, rate;
  int fresh, fork, fork_after, exec, early_exit, crash, foreign_subscriber, no_cuda;
} Options;

static Options options = {.pageable = 10,
                          .pinned = 10,
                          .dtoh = 10,
                          .memset = 5,
                          .kernels = 5,
                          .bytes = 65536,
                          .rounds = 1,
                          .threads = 1};

/* What was done; atomic, because every thread adds to it. */
static struct {
  long pageable, pinned, dtoh, dtoh_pageable, dtod, memset, kernels, managed, peer, blocking;
  long synchronizations, markers, generated;
} done;

static const char* role = "main";
static volatile sig_atomic_t stopped;
static void *contexts[2], *vector_add;

static void Add(long* counter, long n) { __atomic_add_fetch(counter, n, __ATOMIC_RELAXED); }

static void Stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
}

static long long NowMs(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void SleepMs(long ms) {
  const long long end = NowMs() + ms;
  while (NowMs() < end && !stopped) {
    const struct timespec t = {0, 1000000};
    nanosleep(&t, NULL);
  }
}

static char* NewPages(size_t bytes) {
  char* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Check(1, "mmap");
  return memory;
}

typedef struct {
  void* stream;
  uint64_t device, other, managed, peer; /* memory */
  void* pinned;
  char* pageable;
} Bench;

static void Launch(Bench* bench, uint64_t memory) {
  uint64_t n = (uint64_t)options.bytes / 8;
  void* parameters[] = {&memory, &memory, &bench->other, &n};
  CUDA(cuLaunchKernel(
      vector_add, (unsigned)(n + 255) / 256, 1, 1, 256, 1, 1, 0, bench->stream, parameters, NULL));
}

static void CopyPageable(Bench* bench, int blocking) {
  const size_t bytes = (size_t)options.bytes;
  char* from = options.fresh ? NewPages(bytes) : bench->pageable;
  if (blocking) {
    CUDA(cuMemcpyHtoD_v2(bench->device, from, bytes));
  } else {
    CUDA(cuMemcpyHtoDAsync_v2(bench->device, from, bytes, bench->stream));
  }
  if (options.fresh) {
    /* The copy may still read it. */
    CUDA(cuStreamSynchronize(bench->stream));
    Add(&done.synchronizations, 1);
    munmap(from, bytes);
  }
}

static void Round(Bench* bench) {
  const size_t bytes = (size_t)options.bytes;
  long i;
  for (i = 0; i < options.pageable; ++i) CopyPageable(bench, 0);
  for (i = 0; i < options.blocking; ++i) CopyPageable(bench, 1);
  for (i = 0; i < options.pinned; ++i) {
    CUDA(cuMemcpyHtoDAsync_v2(bench->device, bench->pinned, bytes, bench->stream));
  }
  for (i = 0; i < options.memset; ++i) {
    CUDA(cuMemsetD8Async(bench->device, 7, bytes, bench->stream));
  }
  for (i = 0; i < options.dtod; ++i) {
    CUDA(cuMemcpyDtoDAsync_v2(bench->other, bench->device, bytes, bench->stream));
  }
  for (i = 0; i < options.peer; ++i) {
    CUDA(cuMemcpyPeerAsync(
        bench->peer, contexts[1], bench->device, contexts[0], bytes, bench->stream));
  }
  for (i = 0; i < options.kernels; ++i) Launch(bench, bench->device);
  for (i = 0; i < options.managed; ++i) Launch(bench, bench->managed);
  for (i = 0; i < options.dtoh; ++i) {
    CUDA(cuMemcpyDtoHAsync_v2(bench->pinned, bench->device, bytes, bench->stream));
  }
  CUDA(cuStreamSynchronize(bench->stream));
  for (i = 0; i < options.dtoh_pageable; ++i) {
    CUDA(cuMemcpyDtoHAsync_v2(bench->pageable, bench->device, bytes, bench->stream));
  }
  if (options.dtoh_pageable > 0) CUDA(cuStreamSynchronize(bench->stream));
  Add(&done.pageable, options.pageable);
  Add(&done.blocking, options.blocking);
  Add(&done.pinned, options.pinned);
  Add(&done.memset, options.memset);
  Add(&done.dtod, options.dtod);
  Add(&done.peer, options.peer);
  Add(&done.kernels, options.kernels);
  Add(&done.managed, options.managed);
  Add(&done.dtoh, options.dtoh);
  Add(&done.dtoh_pageable, options.dtoh_pageable);
  Add(&done.synchronizations, 1 + (options.dtoh_pageable > 0));
}

static void* Work(void* unused) {
  const size_t bytes = (size_t)options.bytes;
  const long long end = NowMs() + options.loop_ms;
  Bench bench = {0};
  long round;
  (void)unused;
  if (options.peer > 0) {
    CUDA(cuCtxSetCurrent(contexts[1]));
    CUDA(cuMemAlloc_v2(&bench.peer, bytes));
  }
  CUDA(cuCtxSetCurrent(contexts[0]));
  CUDA(cuStreamCreate(&bench.stream, 1));
  CUDA(cuMemAlloc_v2(&bench.device, bytes));
  CUDA(cuMemAlloc_v2(&bench.other, bytes));
  CUDA(cuMemHostAlloc(&bench.pinned, bytes, 0));
  if (options.managed > 0) CUDA(cuMemAllocManaged(&bench.managed, bytes, 1));
  bench.pageable = NewPages(bytes);
  memset(bench.pageable, 1, bytes);
  if (options.loop_ms > 0) {
    while (NowMs() < end && !stopped) Round(&bench);
  } else {
    for (round = 0; round < options.rounds && !stopped; ++round) Round(&bench);
  }
  munmap(bench.pageable, bytes);
  CUDA(cuStreamDestroy_v2(bench.stream));
  CUDA(cuMemFree_v2(bench.device));
  CUDA(cuMemFree_v2(bench.other));
  CUDA(cuMemFreeHost(bench.pinned));
  if (options.managed > 0) CUDA(cuMemFree_v2(bench.managed));
  if (options.peer > 0) CUDA(cuMemFree_v2(bench.peer));
  return NULL;
}

/* In the libcupti that this process has, if it is the fake one. */
static void* CuptiHook(const char* name) {
  const char* path = getenv("WARPGAUGE_CUPTI");
  void* library = dlopen(path == NULL || path[0] == '\0' ? "libcupti.so" : path, RTLD_NOW);
  void* hook = library == NULL ? NULL : dlsym(library, name);
  if (hook == NULL) {
    fprintf(stderr, "cuda_copies: no libcupti with %s\n", name);
    exit(3);
  }
  return hook;
}

static void MakeMarkers(void) {
  int (*record)(const struct fake_activity*);
  long i;
  *(void**)&record = CuptiHook("warpgauge_fake_cupti_record");
  for (i = 0; i < options.markers; ++i) {
    struct timespec t;
    struct fake_activity marker = {.kind = 12, .name = "step"};
    marker.of.marker.domain = "cuda_copies";
    marker.of.marker.id = (uint32_t)i + 1;
    for (marker.of.marker.flags = 2; marker.of.marker.flags <= 4; marker.of.marker.flags += 2) {
      clock_gettime(CLOCK_MONOTONIC, &t);
      marker.start_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
      record(&marker);
      marker.name = NULL; /* the end of a range has none */
    }
  }
  done.markers = options.markers;
}

static void RunCuda(void) {
  pthread_t threads[256];
  void* module;
  long i;
  LoadCuda();
  if (options.foreign_subscriber) {
    static void* subscriber;
    int (*subscribe)(void**, void*, void*);
    *(void**)&subscribe = CuptiHook("cuptiSubscribe");
    Check(subscribe(&subscriber, NULL, NULL), "cuptiSubscribe");
  }
  CUDA(cuInit(0));
  for (i = 0; i < (options.peer > 0 ? 2 : 1); ++i) {
    CUDA(cuDevicePrimaryCtxRetain(&contexts[i], (int)i));
  }
  CUDA(cuCtxSetCurrent(contexts[0]));
  CUDA(cuModuleLoadDataEx(&module, kVectorAdd, 0, NULL, NULL));
  CUDA(cuModuleGetFunction(&vector_add, module, "warpgauge_vector_add"));
  for (i = 1; i < options.threads; ++i) {
    if (pthread_create(&threads[i], NULL, Work, NULL) != 0) Check(1, "pthread_create");
  }
  Work(NULL);
  for (i = 1; i < options.threads; ++i) pthread_join(threads[i], NULL);
  if (options.markers > 0) MakeMarkers();
  if (options.generate > 0) {
    uint64_t (*generate)(uint64_t, uint64_t);
    *(void**)&generate = CuptiHook("warpgauge_fake_cupti_generate");
    done.generated = (long)generate((uint64_t)options.generate, (uint64_t)options.rate);
  }
}

/* One write, so that lines of several processes do not mix. */
static void Report(void) {
  char line[4096];
  const struct {
    const char *direction, *memory;
    long count;
  } copies[] = {{"HtoD", "pageable", done.pageable + done.blocking},
                {"HtoD", "pinned", done.pinned},
                {"DtoH", "pinned", done.dtoh},
                {"DtoH", "pageable", done.dtoh_pageable},
                {"DtoD", "device", done.dtod},
                {"PtoP", "device", done.peer}};
  size_t i, n;
  n = (size_t)snprintf(line,
                       sizeof(line),
                       "{\"pid\":%d,\"parent\":%d,\"role\":\"%s\",\"copies\":[",
                       (int)getpid(),
                       (int)getppid(),
                       role);
  for (i = 0; i < sizeof(copies) / sizeof(copies[0]); ++i) {
    n += (size_t)snprintf(line + n,
                          sizeof(line) - n,
                          "%s{\"direction\":\"%s\",\"memory\":\"%s\",\"count\":%ld,\"bytes\":%ld}",
                          i == 0 ? "" : ",",
                          copies[i].direction,
                          copies[i].memory,
                          copies[i].count,
                          copies[i].count * options.bytes);
  }
  n += (size_t)snprintf(line + n,
                        sizeof(line) - n,
                        "],\"memsets\":{\"count\":%ld,\"bytes\":%ld},\"kernels\":%ld,"
                        "\"synchronizations\":%ld,\"markers\":%ld,\"generated\":%ld}\n",
                        done.memset,
                        done.memset * options.bytes,
                        done.kernels + done.managed,
                        done.synchronizations,
                        done.markers,
                        done.generated);
  if (write(STDOUT_FILENO, line, n) != (ssize_t)n) exit(4);
}

/* --name VALUE; 1 if it was that one. */
static int Take(char** argv, int* i, const char* name, long* value) {
  char* end;
  if (strcmp(argv[*i], name) != 0) return 0;
  if (argv[*i + 1] == NULL) exit(64);
  *value = strtol(argv[++*i], &end, 10);
  if (*end != '\0') exit(64);
  return 1;
}

static void Parse(int argc, char** argv) {
  const struct {
    const char* name;
    long* value;
  } numbers[] = {{"--pageable", &options.pageable}, {"--pinned", &options.pinned},
                 {"--dtoh", &options.dtoh},         {"--dtoh-pageable", &options.dtoh_pageable},
                 {"--dtod", &options.dtod},         {"--memset", &options.memset},
                 {"--kernels", &options.kernels},   {"--managed", &options.managed},
                 {"--peer", &options.peer},         {"--blocking", &options.blocking},
                 {"--bytes", &options.bytes},       {"--rounds", &options.rounds},
                 {"--loop", &options.loop_ms},      {"--threads", &options.threads},
                 {"--delay", &options.delay_ms},    {"--sleep", &options.sleep_ms},
                 {"--children", &options.children}, {"--kill", &options.kill},
                 {"--code", &options.code},         {"--markers", &options.markers},
                 {"--generate", &options.generate}, {"--rate", &options.rate}};
  const struct {
    const char* name;
    int* value;
  } words[] = {{"--fresh", &options.fresh},
               {"--fork", &options.fork},
               {"--fork-after", &options.fork_after},
               {"--exec", &options.exec},
               {"--early-exit", &options.early_exit},
               {"--crash", &options.crash},
               {"--foreign-subscriber", &options.foreign_subscriber},
               {"--no-cuda", &options.no_cuda}};
  int i;
  size_t k;
  for (i = 1; i < argc; ++i) {
    int taken = 0;
    for (k = 0; !taken && k < sizeof(numbers) / sizeof(numbers[0]); ++k) {
      taken = Take(argv, &i, numbers[k].name, numbers[k].value);
    }
    for (k = 0; !taken && k < sizeof(words) / sizeof(words[0]); ++k) {
      taken = strcmp(argv[i], words[k].name) == 0;
      if (taken) *words[k].value = 1;
    }
    if (!taken && strcmp(argv[i], "--role") == 0 && argv[i + 1] != NULL) {
      role = argv[++i];
      taken = 1;
    }
    if (!taken) {
      fprintf(stderr, "cuda_copies: unknown option %s, see the head of its source\n", argv[i]);
      exit(64);
    }
  }
  if (options.threads < 1 || options.threads > 256 || options.bytes < 8) exit(64);
}

/* Executes itself as `as`, without the options that would do so again. */
static void Again(char** argv, const char* as) {
  static char path[4096];
  char* arguments[128];
  int from, n = 0;
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (length < 0) exit(4);
  for (from = 0; argv[from] != NULL && n < 120; ++from) {
    if (strcmp(argv[from], "--exec") == 0 || strcmp(argv[from], "--fork") == 0) continue;
    if (strcmp(argv[from], "--children") == 0) {
      ++from;
      continue;
    }
    arguments[n++] = argv[from];
  }
  arguments[n++] = "--role";
  arguments[n++] = (char*)as;
  arguments[n] = NULL;
  execv(path, arguments);
  exit(4);
}

int main(int argc, char** argv) {
  long waiting = 0;
  Parse(argc, argv);
  signal(SIGTERM, Stop);
  signal(SIGINT, Stop);
  SleepMs(options.delay_ms);
  for (; options.children > 0; --options.children, ++waiting) {
    if (fork() == 0) Again(argv, "child");
  }
  if (options.fork) {
    const pid_t child = fork();
    ++waiting;
    if (child == 0) {
      role = "fork";
      waiting = 0;
      options.exec = 0;
    }
  }
  if (!options.no_cuda) {
    RunCuda();
    Report();
  }
  if (options.fork_after) {
    const pid_t child = fork();
    if (child == 0) {
      char line[128];
      const int n = snprintf(line,
                             sizeof(line),
                             "{\"pid\":%d,\"parent\":%d,\"role\":\"fork-after\",\"cuInit\":%d}\n",
                             (int)getpid(),
                             (int)getppid(),
                             cuInit(0));
      _exit(write(STDOUT_FILENO, line, (size_t)n) == n ? 0 : 4);
    }
    ++waiting;
  }
  SleepMs(options.sleep_ms);
  for (; waiting > 0; --waiting) {
    int status;
    if (wait(&status) < 0) exit(4);
    if (options.code == 0 && status != 0 && options.kill == 0 && !options.crash) {
      options.code = WIFEXITED(status) ? WEXITSTATUS(status) : 5;
    }
  }
  if (options.exec) Again(argv, "exec");
  if (options.kill != 0) {
    signal((int)options.kill, SIG_DFL);
    raise((int)options.kill);
  }
  if (options.crash) *(volatile int*)NULL = 0;
  if (options.early_exit) _exit((int)options.code);
  return (int)options.code;
}
