/*
 * An injection library that only tells what happens to it: lines `<pid> <tid> <event>` appended to
 * $WARPGAUGE_INJECTION_LOG, for `loaded` (constructor), `initialize` and `unloaded` (destructor).
 * InitializeInjection returns $WARPGAUGE_INJECTION_RETURN, 1 without it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void Tell(const char* event) {
  const char* path = getenv("WARPGAUGE_INJECTION_LOG");
  char line[128];
  const int n =
      snprintf(line, sizeof(line), "%d %ld %s\n", (int)getpid(), (long)syscall(SYS_gettid), event);
  const int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0 || write(file, line, (size_t)n) != n) _exit(9);
  close(file);
}

__attribute__((constructor)) static void Loaded(void) { Tell("loaded"); }
__attribute__((destructor)) static void Unloaded(void) { Tell("unloaded"); }

__attribute__((visibility("default"))) int InitializeInjection(void) {
  const char* wanted = getenv("WARPGAUGE_INJECTION_RETURN");
  Tell("initialize");
  return wanted == NULL ? 1 : atoi(wanted);
}
