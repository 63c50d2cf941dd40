/* The hooks of activity_feed.h: from an activity to a record in a buffer of the client. */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_FEED_H
#define WARPGAUGE_TEST_FAKE_CUPTI_FEED_H

#include "cupti_buffers.h"

enum { kExternalKinds = 6, kExternalDepth = 64, kNameSlots = 4096 };

typedef uint64_t (*FakeClock)(void);
static FakeClock client_clock; /* atomic; cuptiActivityRegisterTimestampCallback */
static int clock_id = CLOCK_REALTIME;
static int64_t clock_offset_ns;
static int system_thread_ids;  /* atomic; cuptiSetThreadIdType */
static int managed_configured; /* atomic */

static struct { /* names that records point at; never freed, guarded by buffers_lock */
  const char* text[kNameSlots];
} names;

static __thread struct {
  uint64_t ids[kExternalDepth];
  int depth;
} external[kExternalKinds];

static uint64_t CuptiNow(void) {
  const FakeClock clock = __atomic_load_n(&client_clock, __ATOMIC_ACQUIRE);
  struct timespec t;
  if (clock != NULL) return clock();
  clock_gettime(clock_id, &t);
  return (uint64_t)((int64_t)t.tv_sec * 1000000000 + t.tv_nsec + clock_offset_ns);
}

/* What is to be added to CLOCK_MONOTONIC now. */
static uint64_t CuptiOffset(void) { return CuptiNow() - (uint64_t)FakeNow(); }

/* CUPTI's own copy of a name. buffers_lock held. */
static const char* KeepName(const char* text) {
  uint32_t hash = 2166136261U;
  const char* at;
  int tries;
  if (text == NULL) return NULL;
  for (at = text; *at != '\0'; ++at) hash = (hash ^ (uint8_t)*at) * 16777619U;
  for (tries = 0; tries < kNameSlots; ++tries, ++hash) {
    const char** slot = &names.text[hash % kNameSlots];
    if (*slot == NULL) *slot = strdup(text);
    if (*slot == NULL) abort();
    if (strcmp(*slot, text) == 0) return *slot;
  }
  abort();
}

static uint8_t filtered[2][4096]; /* atomic; driver, runtime: 1 = this call is wanted */
static int filtering[2];          /* atomic; EnableDriverApi or EnableRuntimeApi was used */

/* Ids are made while calls are recorded: a whole kind, or single ones by EnableDriverApi. */
static int CallsAreCorrelated(void) {
  const uint64_t api = 1ULL << kFakeDriverApi | 1ULL << kFakeRuntimeApi;
  return (__atomic_load_n(&enabled_kinds, __ATOMIC_RELAXED) & api) != 0 ||
         __atomic_load_n(&filtering[0], __ATOMIC_RELAXED) != 0 ||
         __atomic_load_n(&filtering[1], __ATOMIC_RELAXED) != 0;
}

/* With buffers_lock. The times are CUPTI's already. */
static int WriteRecord(const struct fake_activity* given, int finished, FakeBuffer** buffer) {
  struct fake_activity activity = *given;
  const uint32_t pid = (uint32_t)getpid();
  const uint32_t tid = __atomic_load_n(&system_thread_ids, __ATOMIC_RELAXED)
                           ? (uint32_t)OwnTid()
                           : (uint32_t)(uintptr_t)pthread_self();
  uint8_t* place = TakePlace(generation->bytes[activity.kind], buffer);
  if (place == NULL) return -1;
  if (!CallsAreCorrelated()) activity.correlation = 0;
  activity.name = KeepName(activity.name);
  if (activity.kind == kFakeMarker) activity.of.marker.domain = KeepName(given->of.marker.domain);
  FakeLayOut(place, generation, pid, tid, &activity);
  if (finished) FakePutTimes(place, activity.kind, activity.start_ns, activity.end_ns);
  return (int)(place - (*buffer)->data);
}

/* The pushed ids of this thread stand before the record of the call. buffers_lock held. */
static void WriteExternal(uint32_t correlation) {
  uint32_t kind;
  if (!IsEnabled(kFakeExternal)) return;
  for (kind = 1; kind < kExternalKinds; ++kind) {
    FakeBuffer* buffer;
    uint8_t* place;
    if (external[kind].depth == 0) continue;
    place = TakePlace(generation->bytes[kFakeExternal], &buffer);
    if (place != NULL) {
      FakeLayOutExternal(place, kind, external[kind].ids[external[kind].depth - 1], correlation);
    }
  }
}

static int IsWanted(const struct fake_activity* activity) {
  const uint32_t kind = activity->kind;
  const int runtime = kind == kFakeRuntimeApi;
  if (kind == kFakeManaged && !__atomic_load_n(&managed_configured, __ATOMIC_RELAXED)) return 0;
  if (kind == kFakeDriverApi || runtime) {
    const uint32_t cbid = activity->of.api.cbid;
    if (__atomic_load_n(&filtering[runtime], __ATOMIC_RELAXED)) {
      return cbid < sizeof(filtered[0]) &&
             __atomic_load_n(&filtered[runtime][cbid], __ATOMIC_RELAXED) != 0;
    }
  }
  return IsEnabled(kind);
}

/* What CUPTI tells when its device buffer was exhausted: no time. */
static void ForgetTimes(uint32_t kind, uint64_t* start, uint64_t* end) {
  if (kind == kFakeDriverApi || kind == kFakeRuntimeApi || kind == kFakeMarker) return;
  if (zero_time_every == 0 ||
      __atomic_add_fetch(&timed_records, 1, __ATOMIC_RELAXED) % zero_time_every != 0) {
    return;
  }
  *start = *end = 0;
}

FAKE_EXPORT int warpgauge_fake_cupti_record(const struct fake_activity* activity) {
  struct fake_activity copy = *activity;
  FakeBuffer* buffer;
  const uint64_t offset = CuptiOffset();
  int place;
  if (!IsWanted(activity)) return 0;
  if (copy.start_ns != 0) copy.start_ns += offset;
  if (copy.end_ns != 0) copy.end_ns += offset;
  ForgetTimes(copy.kind, &copy.start_ns, &copy.end_ns);
  pthread_mutex_lock(&buffers_lock);
  if (copy.kind == kFakeDriverApi || copy.kind == kFakeRuntimeApi) WriteExternal(copy.correlation);
  place = WriteRecord(&copy, 1, &buffer);
  pthread_mutex_unlock(&buffers_lock);
  return place < 0 ? -1 : 1;
}

FAKE_EXPORT struct fake_ticket warpgauge_fake_cupti_queue(const struct fake_activity* activity) {
  struct fake_ticket ticket = {NULL, 0, 0, activity->kind};
  FakeBuffer* buffer;
  int place;
  if (!IsWanted(activity)) return ticket;
  pthread_mutex_lock(&buffers_lock);
  place = WriteRecord(activity, 0, &buffer);
  if (place >= 0) {
    ++buffer->pending;
    ticket.buffer = buffer;
    ticket.serial = buffer->serial;
    ticket.offset = (uint32_t)place;
  }
  pthread_mutex_unlock(&buffers_lock);
  return ticket;
}

FAKE_EXPORT void warpgauge_fake_cupti_finish(const struct fake_ticket* ticket,
                                             uint64_t start,
                                             uint64_t end) {
  const uint64_t offset = CuptiOffset();
  FakeBuffer* buffer = ticket->buffer;
  if (ticket->serial == 0) return;
  start += offset;
  end += offset;
  ForgetTimes(ticket->kind, &start, &end);
  pthread_mutex_lock(&buffers_lock);
  if (buffer->serial == ticket->serial) {
    FakePutTimes(buffer->data + ticket->offset, ticket->kind, start, end);
    if (--buffer->pending == 0 && buffer->retired) Deliver(buffer);
  }
  pthread_mutex_unlock(&buffers_lock);
}

FAKE_EXPORT const char* warpgauge_fake_cupti_violation(void) { return first_violation; }

#endif
