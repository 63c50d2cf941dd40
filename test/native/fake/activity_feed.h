/*
 * How the fake libcuda (and programs that only want records) hand activities to the fake libcupti.
 * The fake libcupti lays them out for the generation it simulates and gives them to its client
 * through CUPTI's own request/complete protocol (cupti_buffers.h). Whoever feeds it resolves these
 * by dlsym in the library that is loaded already; where the real libcupti is, they are not there.
 * C11 and C++.
 */
#ifndef WARPGAUGE_TEST_FAKE_ACTIVITY_FEED_H
#define WARPGAUGE_TEST_FAKE_ACTIVITY_FEED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAKE_NO_ID 0xffffffffU

/* One activity. Kinds and other numbers are CUPTI's own (cupti_layout.h); times are
 * CLOCK_MONOTONIC, and 0 says that CUPTI would not know. */
struct fake_activity {
  uint32_t kind;
  uint32_t correlation; /* reaches the record while an API kind is enabled */
  uint32_t device, context, stream;
  uint64_t start_ns, end_ns;
  const char* name; /* kernel, marker: copied, as CUPTI keeps its own */
  union {
    struct { /* memcpy (1), and between devices (22) */
      uint64_t bytes;
      uint32_t copy_kind, source, destination, async;
      uint32_t source_device, source_context, destination_device, destination_context;
    } copy;
    struct {
      uint64_t bytes;
      uint32_t value, memory, async;
    } set;
    struct {
      uint32_t grid[3], block[3];
      uint32_t registers_per_thread, static_shared_bytes, dynamic_shared_bytes;
      uint32_t local_bytes_per_thread;
    } kernel;
    struct {
      uint64_t value, address;
      uint32_t counter, source, destination, flags;
    } managed;
    struct {
      uint32_t type, event;
    } synchronization;
    struct {
      uint32_t overhead;
    } overhead;
    struct { /* kinds 4 and 5; the calling thread is the one of the record */
      uint32_t cbid, result;
    } api;
    struct { /* start_ns is its time */
      const char* domain;
      uint32_t flags, id;
    } marker;
  } of;
};

/* The place of a record that is not finished yet; serial 0: it has none. */
struct fake_ticket {
  void* buffer;
  uint64_t serial;
  uint32_t offset, kind;
};

/* What is sent to the subscriber of callback domain RESOURCE. */
enum fake_event { FAKE_CONTEXT_CREATED = 1, FAKE_CONTEXT_DESTROYED = 2, FAKE_INITIALIZED = 5 };

/* A whole record, in the thread that does the work. 1: written; 0: not wanted; -1: dropped. */
int warpgauge_fake_cupti_record(const struct fake_activity* activity);

/* Work that the device does later: the place is taken in the calling (application) thread ... */
struct fake_ticket warpgauge_fake_cupti_queue(const struct fake_activity* activity);
/* ... and the times follow from any thread. */
void warpgauge_fake_cupti_finish(const struct fake_ticket* ticket, uint64_t start, uint64_t end);

void warpgauge_fake_cupti_event(enum fake_event event, void* context);

/* For benches: kernels and copies in turn, `records` of them at `per_second` (0: as fast as it
 * goes), in the calling thread. How many reached the client's buffers. */
uint64_t warpgauge_fake_cupti_generate(uint64_t records, uint64_t per_second);

/* For tests: what a client did that the real library would punish; empty when nothing. */
const char* warpgauge_fake_cupti_violation(void);

#ifdef __cplusplus
}
#endif
#endif
