/*
 * The records of the simulated libcupti as six toolkits lay them out. The fields that a generation
 * does not have keep 0xAA, so that a reader who takes them for real shows. Sizes and offsets are
 * compared with the real headers in fake_cupti_layout_test.cc.
 */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_LAYOUT_H
#define WARPGAUGE_TEST_FAKE_CUPTI_LAYOUT_H

#include "activity_feed.h"

#include <string.h>

enum fake_kind {
  kFakeMemcpy = 1,
  kFakeMemset = 2,
  kFakeDriverApi = 4,
  kFakeRuntimeApi = 5,
  kFakeKernel = 10,
  kFakeMarker = 12,
  kFakeOverhead = 17,
  kFakePeerMemcpy = 22,
  kFakeManaged = 25,
  kFakeSynchronization = 38,
  kFakeExternal = 39,
  kFakeKinds = 64
};

typedef struct {
  int number; /* 1108: CUDA 11.8 */
  const char* name;
  uint32_t version;          /* cuptiGetVersion */
  uint8_t thread_buffers;    /* default of attribute 9 */
  uint16_t unknown_kind;     /* what GetNextRecord answers */
  uint8_t bytes[kFakeKinds]; /* of a record, by kind */
} FakeGeneration;

/* Device (8), context (9) and graph trace (51) are stepped over and never made. */
static const FakeGeneration fake_generations[] = {
    {1104,
     "11.4",
     15,
     0,
     999,
     {[1] = 80,
      [2] = 80,
      [4] = 40,
      [5] = 40,
      [10] = 168,
      [12] = 56,
      [17] = 40,
      [22] = 88,
      [25] = 64,
      [38] = 40,
      [39] = 24}},
    {1106,
     "11.6",
     17,
     0,
     999,
     {[1] = 88,
      [2] = 88,
      [4] = 40,
      [5] = 40,
      [10] = 176,
      [12] = 56,
      [17] = 40,
      [22] = 96,
      [25] = 64,
      [38] = 40,
      [39] = 24}},
    {1108,
     "11.8",
     18,
     0,
     999,
     {[1] = 88,
      [2] = 88,
      [4] = 40,
      [5] = 40,
      [8] = 176,
      [9] = 16,
      [10] = 200,
      [12] = 56,
      [17] = 40,
      [22] = 96,
      [25] = 64,
      [38] = 40,
      [39] = 24,
      [51] = 48}},
    {1200,
     "12.0",
     19,
     0,
     999,
     {[1] = 88,
      [2] = 88,
      [4] = 40,
      [5] = 40,
      [10] = 208,
      [12] = 56,
      [17] = 40,
      [22] = 96,
      [25] = 64,
      [38] = 40,
      [39] = 24}},
    {1208,
     "12.8",
     26,
     0,
     21,
     {[1] = 96,
      [2] = 88,
      [4] = 40,
      [5] = 40,
      [10] = 208,
      [12] = 56,
      [17] = 56,
      [22] = 96,
      [25] = 104,
      [38] = 56,
      [39] = 24}},
    {1300,
     "13.0",
     130001,
     1,
     21,
     {[1] = 96,
      [2] = 88,
      [4] = 40,
      [5] = 40,
      [8] = 184,
      [9] = 32,
      [10] = 216,
      [12] = 56,
      [17] = 56,
      [22] = 96,
      [25] = 104,
      [38] = 56,
      [39] = 24,
      [51] = 56}},
};

enum { kFakeGenerations = sizeof(fake_generations) / sizeof(fake_generations[0]) };

static inline void FakePut8(uint8_t* to, uint32_t value) { *to = (uint8_t)value; }
static inline void FakePut16(uint8_t* to, uint32_t value) {
  const uint16_t narrow = (uint16_t)value;
  memcpy(to, &narrow, sizeof(narrow));
}
static inline void FakePut32(uint8_t* to, uint32_t value) { memcpy(to, &value, sizeof(value)); }
static inline void FakePut64(uint8_t* to, uint64_t value) { memcpy(to, &value, sizeof(value)); }
static inline void FakePutPointer(uint8_t* to, const void* value) {
  memcpy(to, &value, sizeof(value));
}

/* Device, context, stream as memcpy, memset and kernel have them in a row. */
static inline void FakePutPlace(uint8_t* to, const struct fake_activity* activity) {
  FakePut32(to, activity->device);
  FakePut32(to + 4, activity->context);
  FakePut32(to + 8, activity->stream);
}

/* Where the two times of a record lie; they follow each other. */
static inline uint32_t FakeTimes(uint32_t kind) {
  return kind == kFakeOverhead                                                               ? 24
         : kind == kFakeDriverApi || kind == kFakeRuntimeApi || kind == kFakeSynchronization ? 8
                                                                                             : 16;
}

/* Into a record of `kind` that is laid out already. */
static inline void FakePutTimes(uint8_t* to, uint32_t kind, uint64_t start, uint64_t end) {
  if (kind == kFakeExternal) return;
  if (kind == kFakeMarker) {
    FakePut64(to + 8, start);
    return;
  }
  FakePut64(to + FakeTimes(kind), start);
  FakePut64(to + FakeTimes(kind) + 8, end);
  if (kind == kFakeKernel) FakePut64(to + 32, end); /* completed */
}

static inline void FakePutCopy(uint8_t* to, int generation, const struct fake_activity* activity) {
  const int peer = activity->kind == kFakePeerMemcpy;
  FakePut8(to + 4, activity->of.copy.copy_kind);
  FakePut8(to + 5, activity->of.copy.source);
  FakePut8(to + 6, activity->of.copy.destination);
  FakePut8(to + 7, activity->of.copy.async != 0 ? 1 : 0);
  FakePut64(to + 8, activity->of.copy.bytes);
  FakePutPlace(to + 32, activity);
  if (peer) {
    FakePut32(to + 44, activity->of.copy.source_device);
    FakePut32(to + 48, activity->of.copy.source_context);
    FakePut32(to + 52, activity->of.copy.destination_device);
    FakePut32(to + 56, activity->of.copy.destination_context);
    FakePut32(to + 60, activity->correlation);
    FakePut64(to + 64, 0); /* reserved */
    FakePut64(to + 72, 0); /* graph node */
    FakePut32(to + 80, 0); /* graph */
    if (generation >= 1106) {
      FakePut32(to + 84, 3); /* channel */
      FakePut32(to + 88, 2); /* of asynchronous copies */
    }
    return;
  }
  FakePut32(to + 44, activity->correlation);
  FakePut32(to + 48, 0); /* of the runtime: never made up */
  FakePut64(to + 56, 0);
  FakePut64(to + 64, 0);
  FakePut32(to + 72, 0);
  if (generation >= 1106) {
    FakePut32(to + 76, 3);
    FakePut32(to + 80, 2);
  }
  if (generation >= 1208) FakePut64(to + 88, 1); /* copies in this record */
  if (generation >= 1300) FakePut8(to + 84, 0);  /* launched by the device */
}

static inline void FakePutSet(uint8_t* to, int generation, const struct fake_activity* activity) {
  FakePut32(to + 4, activity->of.set.value);
  FakePut64(to + 8, activity->of.set.bytes);
  FakePutPlace(to + 32, activity);
  FakePut32(to + 44, activity->correlation);
  FakePut16(to + 48, activity->of.set.async != 0 ? 1 : 0);
  FakePut16(to + 50, activity->of.set.memory);
  FakePut64(to + 56, 0);
  FakePut64(to + 64, 0);
  FakePut32(to + 72, 0);
  if (generation >= 1106) {
    FakePut32(to + 76, 1);
    FakePut32(to + 80, 1); /* of compute */
  }
  if (generation >= 1300) FakePut8(to + 84, 0);
}

static inline void FakePutKernel(uint8_t* to,
                                 int generation,
                                 const struct fake_activity* activity) {
  int i;
  FakePut8(to + 4, 0);
  FakePut8(to + 5, 0);
  FakePut16(to + 6, activity->of.kernel.registers_per_thread);
  FakePut64(to + 8, 0); /* two parts of cache configuration */
  FakePutPlace(to + 40, activity);
  for (i = 0; i < 3; ++i) FakePut32(to + 52 + 4 * i, activity->of.kernel.grid[i]);
  for (i = 0; i < 3; ++i) FakePut32(to + 64 + 4 * i, activity->of.kernel.block[i]);
  FakePut32(to + 76, activity->of.kernel.static_shared_bytes);
  FakePut32(to + 80, activity->of.kernel.dynamic_shared_bytes);
  FakePut32(to + 84, activity->of.kernel.local_bytes_per_thread);
  FakePut32(to + 88, 0);
  FakePut32(to + 92, activity->correlation);
  FakePut64(to + 96, activity->correlation); /* grid id */
  FakePutPointer(to + 104, activity->name);
  FakePut64(to + 112, 0);
  FakePut64(to + 120, 0); /* queued, submitted: only with latency timestamps */
  FakePut64(to + 128, 0);
  FakePut8(to + 136, 0);
  FakePut32(to + 140, activity->of.kernel.dynamic_shared_bytes);
  FakePut64(to + 144, 0);
  FakePut32(to + 152, 0);
  FakePut32(to + 156, 0);
  FakePutPointer(to + 160, NULL);
  if (generation >= 1106) {
    FakePut32(to + 168, 1);
    FakePut32(to + 172, 1);
  }
  if (generation >= 1108) {
    for (i = 0; i < 3; ++i) FakePut32(to + 176 + 4 * i, 0); /* clusters: 0 where none is used */
    FakePut32(to + 188, 0);
    FakePut64(to + 192, 0);
  }
  if (generation >= 1200) {
    FakePut32(to + 200, 0);
    FakePut32(to + 204, 0);
  }
  if (generation >= 1300) FakePut8(to + 208, 0);
}

static inline void FakePutManaged(uint8_t* to,
                                  int generation,
                                  uint32_t pid,
                                  const struct fake_activity* activity) {
  FakePut32(to + 4, activity->of.managed.counter);
  FakePut64(to + 8, activity->of.managed.value);
  FakePut64(to + 32, activity->of.managed.address);
  FakePut32(to + 40, activity->of.managed.source);
  FakePut32(to + 44, activity->of.managed.destination);
  FakePut32(to + 48, 0);
  FakePut32(to + 52, pid);
  FakePut32(to + 56, activity->of.managed.flags);
  if (generation >= 1208) memset(to + 64, 0, 40);
}

/* Lays out everything but the times; `names` keeps what a record points at. The record is
 * `generation->bytes[activity->kind]` long. */
static inline void FakeLayOut(uint8_t* to,
                              const FakeGeneration* generation,
                              uint32_t pid,
                              uint32_t tid,
                              const struct fake_activity* activity) {
  const int number = generation->number;
  memset(to, 0xAA, generation->bytes[activity->kind]);
  FakePut32(to, activity->kind);
  FakePutTimes(to, activity->kind, 0, 0);
  switch (activity->kind) {
    case kFakeMemcpy:
    case kFakePeerMemcpy:
      FakePutCopy(to, number, activity);
      break;
    case kFakeMemset:
      FakePutSet(to, number, activity);
      break;
    case kFakeKernel:
      FakePutKernel(to, number, activity);
      break;
    case kFakeManaged:
      FakePutManaged(to, number, pid, activity);
      break;
    case kFakeDriverApi:
    case kFakeRuntimeApi:
      FakePut32(to + 4, activity->of.api.cbid);
      FakePut32(to + 24, pid);
      FakePut32(to + 28, tid);
      FakePut32(to + 32, activity->correlation);
      FakePut32(to + 36, activity->of.api.result);
      break;
    case kFakeOverhead: /* of this thread: the place is an unaligned union */
      FakePut32(to + 4, activity->of.overhead.overhead);
      FakePut32(to + 8, 2);
      FakePut32(to + 12, pid);
      FakePut32(to + 16, tid);
      if (number >= 1208) {
        FakePut32(to + 40, activity->correlation);
        FakePutPointer(to + 48, NULL);
      }
      break;
    case kFakeSynchronization:
      FakePut32(to + 4, activity->of.synchronization.type);
      FakePut32(to + 24, activity->correlation);
      FakePut32(to + 28, activity->context);
      FakePut32(to + 32, activity->stream);
      FakePut32(to + 36, activity->of.synchronization.event);
      if (number >= 1208) {
        FakePut64(to + 40, 0);
        FakePut32(to + 48, 0);
      }
      break;
    case kFakeMarker:
      FakePut32(to + 4, activity->of.marker.flags);
      FakePut32(to + 16, activity->of.marker.id);
      FakePut32(to + 20, 2); /* of a thread */
      FakePut32(to + 24, pid);
      FakePut32(to + 28, tid);
      FakePutPointer(to + 40, activity->name);
      FakePutPointer(to + 48, activity->of.marker.domain);
      break;
    default:
      break;
  }
}

/* Kind 39 has two ids of its own and no other field. */
static inline void FakeLayOutExternal(uint8_t* to,
                                      uint32_t external_kind,
                                      uint64_t id,
                                      uint32_t correlation) {
  FakePut32(to, kFakeExternal);
  FakePut32(to + 4, external_kind);
  FakePut64(to + 8, id);
  FakePut32(to + 16, correlation);
  FakePut32(to + 20, 0xAAAAAAAAU);
}

#endif
