#define _GNU_SOURCE
#include <sys/prctl.h>
#include <time.h>

#include "floor.h"

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void floor_tick(int64_t start_ns,
                int64_t interval_ns,
                int64_t duration_ns,
                const struct floor_file* file,
                struct floor_ticks* ticks) {
  char buffer[4096];
  const int64_t last = duration_ns / interval_ns;
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  ticks->ticks = ticks->missed = 0;
  int64_t now = now_ns();
  for (int64_t next = 0; next < last; ++next) {
    const int64_t deadline = start_ns + next * interval_ns;
    if (now < deadline) {
      struct timespec until = {deadline / 1000000000, deadline % 1000000000};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
      now = now_ns();
    }
    const int64_t passed = (now - start_ns) / interval_ns;
    if (passed > next) {
      const int64_t reached = passed < last ? passed : last;
      ticks->missed += (size_t)(reached - next);
      next = reached;
      if (next == last) return;
    }
    if (file->fd >= 0) floor_read_files(file, 1, buffer);
    ticks->wake_ns[ticks->ticks++] = now;
    now = now_ns();
  }
}
