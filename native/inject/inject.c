/*
 * libwarpgauge_inject.so: loaded by libcuda inside the first cuInit of a process whose environment
 * has CUDA_INJECTION64_PATH. It is a guest there: nothing it does may fail the process, and it
 * always says that it is content (a 0 would have it unloaded and tried again).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cupti/activity.h"

enum { kExitTimeoutMs = 2000 }; /* for a flush of CUPTI's and for a reader that is slow */

static struct wg_lane_writer the_writer;
static uint32_t attached_pid; /* atomic: the process that this was done for */
static int has_handlers;      /* inherited by fork, like the handlers */

static void at_exit(void) {
  if (__atomic_load_n(&attached_pid, __ATOMIC_ACQUIRE) != (uint32_t)getpid()) return;
  wg_activity_stop(WG_STOP_EXIT, kExitTimeoutMs);
}

static void in_child(void) {
  wg_activity_forget();
  wg_lane_forget(&the_writer);
  __atomic_store_n(&attached_pid, 0, __ATOMIC_RELEASE);
}

static int attach(void) {
  const char* const ring = getenv(WG_ENV_RING);
  if (ring != NULL && *ring != 0) {
    const int error = wg_lane_attach_memory(&the_writer, ring);
    if (error == 0) return 0;
    if (error == ENOSPC)
      return error; /* no lane is free: counted there, and a file would not count */
  }
  const char* const folder = getenv(WG_ENV_DIR);
  if (folder == NULL || *folder == 0) return ENOENT;
  return wg_lane_attach_file(&the_writer, folder);
}

__attribute__((visibility("default"))) int InitializeInjection(void);

int InitializeInjection(void) {
  const uint32_t pid = (uint32_t)getpid();
  uint32_t before = __atomic_load_n(&attached_pid, __ATOMIC_ACQUIRE);
  if (before == pid || !__atomic_compare_exchange_n(
                           &attached_pid, &before, pid, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    return 1;
  }
  /* A child made without fork()'s handlers has its parent's state still. */
  if (before != 0) {
    wg_activity_forget();
    wg_lane_forget(&the_writer);
  }
  if (attach() != 0) return 1;
  if (!has_handlers) {
    has_handlers = 1;
    pthread_atfork(NULL, NULL, in_child);
    atexit(at_exit);
  }
  const struct wg_activity_options options = {
      .cupti_override = getenv(WG_ENV_CUPTI),
      .cupti_paths = getenv(WG_ENV_CUPTI_PATHS),
      .driver_code = __builtin_return_address(0),
  };
  wg_activity_start(&the_writer, &options);
  return 1;
}
