/*
 * Calls cuInit and what may come before it, step by step, for the test of CUDA_INJECTION64_PATH:
 *
 *   cuda_init LIBCUDA STEP...
 *     init     cuInit(0)            init1    cuInit(1), which is no valid flag
 *     version  cuDriverGetVersion   count    cuDeviceGetCount
 *     thread   the next step in another thread
 *     race     cuInit(0) in four threads at once
 *     records  1,000 records of the simulated libcupti, $WARPGAUGE_CUPTI, if it is loaded already
 *     fork     a child does the remaining steps, and this process waits for it and ends
 *     exec     this process begins anew with the remaining steps
 *
 * Each step appends `<pid> <tid> <step> <result>` to $WARPGAUGE_INJECTION_LOG when it has ended, so
 * that the file tells in which order and where things happened.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*init)(unsigned);
static int (*version)(int*);
static int (*count)(int*);

static void Tell(const char* step, int result) {
  const char* path = getenv("WARPGAUGE_INJECTION_LOG");
  char line[128];
  const int n = snprintf(
      line, sizeof(line), "%d %ld %s %d\n", (int)getpid(), (long)syscall(SYS_gettid), step, result);
  const int file = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0 || write(file, line, (size_t)n) != n) exit(4);
  close(file);
}

static int MakeRecords(void) {
  const char* path = getenv("WARPGAUGE_CUPTI");
  void* cupti = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  uint64_t (*generate)(uint64_t, uint64_t);
  if (cupti == NULL) return -1;
  *(void**)&generate = dlsym(cupti, "warpgauge_fake_cupti_generate");
  return generate == NULL ? -2 : (int)generate(1000, 0);
}

static void* Call(void* step) {
  const char* name = step;
  int ignored;
  if (strcmp(name, "init") == 0) {
    Tell(name, init(0));
  } else if (strcmp(name, "init1") == 0) {
    Tell(name, init(1));
  } else if (strcmp(name, "version") == 0) {
    Tell(name, version(&ignored));
  } else if (strcmp(name, "count") == 0) {
    Tell(name, count(&ignored));
  } else if (strcmp(name, "records") == 0) {
    Tell(name, MakeRecords());
  } else {
    exit(64);
  }
  return NULL;
}

int main(int argc, char** argv) {
  void* library = argc < 3 ? NULL : dlopen(argv[1], RTLD_NOW);
  int i;
  if (library == NULL) {
    fprintf(stderr, "cuda_init: %s\n", argc < 3 ? "LIBCUDA STEP..." : dlerror());
    return 64;
  }
  *(void**)&init = dlsym(library, "cuInit");
  *(void**)&version = dlsym(library, "cuDriverGetVersion");
  *(void**)&count = dlsym(library, "cuDeviceGetCount");
  if (init == NULL || version == NULL || count == NULL) return 65;
  Tell("opened", 0);
  for (i = 2; i < argc; ++i) {
    if (strcmp(argv[i], "fork") == 0) {
      const pid_t child = fork();
      int status = 0;
      if (child < 0) return 4;
      if (child > 0) {
        if (waitpid(child, &status, 0) != child) return 4;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
      }
    } else if (strcmp(argv[i], "exec") == 0) {
      argv[i] = argv[1];
      argv[i - 1] = argv[0];
      execv("/proc/self/exe", argv + i - 1);
      return 4;
    } else if (strcmp(argv[i], "race") == 0) {
      pthread_t threads[4];
      int t;
      for (t = 0; t < 4; ++t) {
        if (pthread_create(&threads[t], NULL, Call, "init") != 0) return 4;
      }
      for (t = 0; t < 4; ++t) pthread_join(threads[t], NULL);
    } else if (strcmp(argv[i], "thread") == 0 && i + 1 < argc) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, Call, argv[++i]) != 0) return 4;
      pthread_join(thread, NULL);
    } else {
      Call(argv[i]);
    }
  }
  return 0;
}
