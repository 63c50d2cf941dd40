// The bare C loops that the benchmarks of this folder hold warpgauge against: what someone would
// write by hand for the same work, without checks, proofs or error messages. Compiled apart from
// the library and without link-time optimization, so that neither side sees the other's code.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum floor_pages { FLOOR_4K, FLOOR_2M };

// `bytes` is a multiple of 2 MiB everywhere. 0 or an errno.
int floor_map(uint8_t** data, size_t bytes, enum floor_pages pages);
void floor_unmap(uint8_t* data, size_t bytes);

// MADV_POPULATE_WRITE over equal slices of whole 2 MiB; the calling thread takes the first
// of them. 0 or an errno.
int floor_populate(uint8_t* data, size_t bytes, unsigned threads);

// One byte per `stride` is written by the calling thread: what touching by hand costs.
void floor_touch(uint8_t* data, size_t bytes, size_t stride);

// 2m only: mmap with MAP_POPULATE, which maps and faults in one call, on one thread.
int floor_map_populated(uint8_t** data, size_t bytes);

// A staging copy in chunks; returns the nanoseconds of CLOCK_MONOTONIC_RAW that it took.
int64_t floor_copy_from_user(uint8_t* staging, const uint8_t* user, size_t bytes, size_t chunk);
int64_t floor_copy_to_user(uint8_t* user, const uint8_t* staging, size_t bytes, size_t chunk);

// A file that is kept open and read anew each time.
struct floor_file {
  int fd;
  size_t bytes;  // of one pread
  int to_end;    // 1: preads until one gives nothing; 0: one pread; -1: one read(2), for counters
};

// All of them once, into `buffer`. The bytes of the last call, below 0 when a call fails.
int64_t floor_read_files(const struct floor_file* files, size_t count, char* buffer);

// A group of software counters of a task, 0 for the caller: its leader, counting; below 0 an errno.
int floor_open_group(const uint64_t* configs, size_t count, int task);

// What a ticker sees: CLOCK_MONOTONIC ns of each wake-up, and how many deadlines it slept through.
struct floor_ticks {
  int64_t* wake_ns;  // room for duration / interval
  size_t ticks;
  size_t missed;
};

// Sleeps until start + k * interval with a timer slack of 1 ns and reads `file` (fd below 0:
// nothing) once, for duration / interval deadlines from `start_ns` on. On the calling thread, whose
// slack stays changed.
void floor_tick(int64_t start_ns,
                int64_t interval_ns,
                int64_t duration_ns,
                const struct floor_file* file,
                struct floor_ticks* ticks);

#ifdef __cplusplus
}
#endif
