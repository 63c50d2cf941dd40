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

#ifdef __cplusplus
}
#endif
