#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "floor.h"

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t floor_copy_from_user(uint8_t* staging, const uint8_t* user, size_t bytes, size_t chunk) {
  const int64_t start = now_ns();
  for (size_t done = 0; done < bytes; done += chunk) {
    memcpy(staging, user + done, bytes - done < chunk ? bytes - done : chunk);
  }
  return now_ns() - start;
}

int64_t floor_copy_to_user(uint8_t* user, const uint8_t* staging, size_t bytes, size_t chunk) {
  const int64_t start = now_ns();
  for (size_t done = 0; done < bytes; done += chunk) {
    memcpy(user + done, staging, bytes - done < chunk ? bytes - done : chunk);
  }
  return now_ns() - start;
}
