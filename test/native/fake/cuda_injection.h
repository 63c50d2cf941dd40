/*
 * CUDA_INJECTION64_PATH as libcuda 535.309.01 was seen to treat it
 * (test/monitor/cuda-injection.test.ts compares the two): inside cuInit, in its thread, before
 * devices are looked for; RTLD_NOW | RTLD_LOCAL. A library whose InitializeInjection returns
 * non-zero stays and is called once per process; one that returns 0 or lacks it is closed, and
 * tried again by every further cuInit. A forked child calls it again in the mapping it inherited.
 * What cannot be opened is ignored.
 */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_INJECTION_H
#define WARPGAUGE_TEST_FAKE_CUDA_INJECTION_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t injection_lock = PTHREAD_MUTEX_INITIALIZER;

static void RunInjection(void) {
  static void* library; /* guarded by the lock, as `process` is */
  static pid_t process;
  static __thread int inside;
  const char* path = getenv("CUDA_INJECTION64_PATH");
  void* opened;
  if (inside) return;
  pthread_mutex_lock(&injection_lock);
  opened = library;
  if (opened == NULL && path != NULL && path[0] != '\0') {
    opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  if (opened != NULL && (opened != library || process != getpid())) {
    int (*initialize)(void);
    *(void**)&initialize = dlsym(opened, "InitializeInjection"); /* POSIX' way */
    inside = 1;
    if (initialize != NULL && initialize() != 0) {
      library = opened;
      process = getpid();
    } else {
      library = NULL;
      dlclose(opened);
    }
    inside = 0;
  }
  pthread_mutex_unlock(&injection_lock);
}

#endif
