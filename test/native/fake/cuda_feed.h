/*
 * What the simulated device does, told to the fake libcupti if one is loaded in this process.
 * Whoever loads it, and when, is free: before every call it is looked for again until it is there.
 */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_FEED_H
#define WARPGAUGE_TEST_FAKE_CUDA_FEED_H

#include "script.h"

#include "activity_feed.h"
#include "driver_cbids.h"

#include <dlfcn.h>
#include <link.h>

/* CUPTI's numbers. */
enum {
  kHostToDevice = 1,
  kDeviceToHost = 2,
  kDeviceToDevice = 8,
  kPeerToPeer = 10,
  kPageableMemory = 1,
  kPinnedMemory = 2,
  kDeviceMemory = 3,
  kManagedMemory = 5,
};

static struct {
  int (*record)(const struct fake_activity*);
  struct fake_ticket (*queue)(const struct fake_activity*);
  void (*finish)(const struct fake_ticket*, uint64_t, uint64_t);
  void (*event)(enum fake_event, void*);
} cupti;
static int cupti_found; /* atomic; released after `cupti` is written */
static pthread_mutex_t cupti_search = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long libraries_seen; /* atomic; dlpi_adds of the last search */

/* The call that this thread is in. */
static __thread struct {
  uint32_t correlation;
  int64_t start_ns;
} call;
static uint32_t last_correlation; /* atomic */

typedef struct {
  unsigned long long adds;
  int only_adds;
  char path[4096];
} Search;

static int VisitLibrary(struct dl_phdr_info* info, size_t size, void* data) {
  Search* search = data;
  const char* name = info->dlpi_name == NULL ? "" : info->dlpi_name;
  const char* base = strrchr(name, '/') == NULL ? name : strrchr(name, '/') + 1;
  (void)size;
  search->adds = info->dlpi_adds;
  if (search->only_adds) return 1;
  if (strncmp(base, "libcupti", 8) == 0) snprintf(search->path, sizeof(search->path), "%s", name);
  return 0;
}

/* 1 when there is a fake libcupti. */
static int FindCupti(void) {
  Search search = {0, 1, ""};
  void* library;
  if (__atomic_load_n(&cupti_found, __ATOMIC_ACQUIRE)) return 1;
  dl_iterate_phdr(VisitLibrary, &search);
  if (search.adds == __atomic_load_n(&libraries_seen, __ATOMIC_RELAXED)) return 0;
  pthread_mutex_lock(&cupti_search);
  search.only_adds = 0;
  dl_iterate_phdr(VisitLibrary, &search);
  library = search.path[0] == '\0' ? NULL : dlopen(search.path, RTLD_NOW | RTLD_NOLOAD);
  if (library != NULL && !cupti_found) {
    /* POSIX' way to a function pointer. */
    *(void**)&cupti.record = dlsym(library, "warpgauge_fake_cupti_record");
    *(void**)&cupti.queue = dlsym(library, "warpgauge_fake_cupti_queue");
    *(void**)&cupti.finish = dlsym(library, "warpgauge_fake_cupti_finish");
    *(void**)&cupti.event = dlsym(library, "warpgauge_fake_cupti_event");
    /* The real one lacks them, and no simulated activity gets into it. */
    if (cupti.event != NULL) __atomic_store_n(&cupti_found, 1, __ATOMIC_RELEASE);
  }
  __atomic_store_n(&libraries_seen, search.adds, __ATOMIC_RELAXED);
  pthread_mutex_unlock(&cupti_search);
  return __atomic_load_n(&cupti_found, __ATOMIC_ACQUIRE);
}

static void BeginCall(void) {
  call.correlation = FindCupti() ? __atomic_add_fetch(&last_correlation, 1, __ATOMIC_RELAXED) : 0;
  call.start_ns = FakeNow();
}

static uint32_t DriverCbid(const char* function) {
  static const struct {
    const char* name;
    uint32_t id;
  } known[] = {
#define FAKE_ID(name, id) {#name, id},
      FAKE_DRIVER_CBIDS(FAKE_ID)
#undef FAKE_ID
  };
  size_t i;
  for (i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
    if (strcmp(known[i].name, function) == 0) return known[i].id;
  }
  return 0;
}

static void EndCall(const char* function, int result) {
  struct fake_activity activity = {.kind = 4};
  const uint32_t cbid = call.correlation == 0 ? 0 : DriverCbid(function);
  if (cbid == 0) return;
  activity.correlation = call.correlation;
  activity.start_ns = (uint64_t)call.start_ns;
  activity.end_ns = (uint64_t)FakeNow();
  activity.of.api.cbid = cbid;
  activity.of.api.result = (uint32_t)result;
  cupti.record(&activity);
  call.correlation = 0;
}

/* A place for the record of what is about to be queued in this call. */
static struct fake_ticket FeedQueue(struct fake_activity activity) {
  const struct fake_ticket none = {NULL, 0, 0, 0};
  if (call.correlation == 0) return none;
  activity.correlation = call.correlation;
  return cupti.queue(&activity);
}

static void FeedFinish(const struct fake_ticket* ticket, int64_t start_ns, int64_t end_ns) {
  if (ticket->serial != 0) cupti.finish(ticket, (uint64_t)start_ns, (uint64_t)end_ns);
}

static void FeedRecord(struct fake_activity activity) {
  if (call.correlation == 0) return;
  activity.correlation = call.correlation;
  cupti.record(&activity);
}

static void FeedSynchronization(uint32_t type, uint32_t context, uint32_t stream, uint32_t event) {
  struct fake_activity activity = {.kind = 38, .context = context, .stream = stream};
  activity.start_ns = (uint64_t)call.start_ns;
  activity.end_ns = (uint64_t)FakeNow();
  activity.of.synchronization.type = type;
  activity.of.synchronization.event = event;
  FeedRecord(activity);
}

/* This call until now was not the application's work. */
static void FeedOverhead(uint32_t overhead) {
  struct fake_activity activity = {.kind = 17};
  activity.start_ns = (uint64_t)call.start_ns;
  activity.end_ns = (uint64_t)FakeNow();
  activity.of.overhead.overhead = overhead;
  FeedRecord(activity);
}

static void FeedEvent(enum fake_event event, void* context) {
  if (FindCupti()) cupti.event(event, context);
}

#endif
