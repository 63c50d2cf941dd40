/*
 * A simulated libcupti: the activity API (cupti_feed.h, cupti_buffers.h) and what belongs to it,
 * scripted as script.h says. The script is read when the library is loaded and again by
 * cuptiGetVersion, cuptiSubscribe and cuptiActivityRegisterCallbacks.
 *
 * Keys of its own
 *   cupti_generation = 13.0          11.4, 11.6, 11.8, 12.0, 12.8 or 13.0: layouts, version,
 *                                    defaults. Functions are those of the file that was loaded:
 *                                    fake/cupti-<generation>/libcupti.so has those of its time
 *   cupti_foreign_subscriber = 1     another profiler is there already
 *   cupti_dropped = 7,0              what GetNumDroppedRecords adds, call by call
 *   cupti_zero_time = N              every Nth record of the device has no times
 *   cupti_clock = realtime           or monotonic, boottime; cupti_clock_offset_ns = N is added
 *   cupti_worker_delay_us = N        before each buffer that is handed over
 *   cupti_shuffle = 1                0: records of a buffer keep their order
 *   cupti_fork_keeps_subscriber = 0  1: a forked child finds its parent's subscriber
 *   error.cuptiSubscribe = 15@1      too new for the driver; 35: no privilege; any function, any
 * code
 */
#ifndef FAKE_CUPTI_GENERATION
#define FAKE_CUPTI_GENERATION 1300
#endif

#include "script.h"

#include "cupti_generate.h"
#include "driver_cbids.h"

typedef int CuptiResult;
typedef void (*Callback)(void* user, int domain, uint32_t cbid, const void* data);

enum {
  kInvalidParameter = 1,
  kSizeNotSufficient = 10,
  kMaxLimitReached = 12,
  kNotInitialized = 15,
  kQueueEmpty = 18,
  kInvalidKind = 21,
  kNotSupported = 27,
  kMultipleSubscribers = 39,
  kResource = 3, /* callback domain */
  kAttributes = 11,
};

static pthread_mutex_t cupti_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the following */
static struct {
  int used, all_enabled, enabled[32];
  Callback callback;
  void* user;
} subscriber;
static int cuda_initialized;
static uint64_t attributes[kAttributes];
static int step_scripted; /* atomic; cuptiActivityGetNextRecord has an error or a latency */

/* Counts the call and gives the scripted error; logs it. */
static CuptiResult Enter(const char* function) { return FakeEnter(function, NULL); }

static long long CuptiNumber(const char* key, long long otherwise) {
  long long value;
  pthread_mutex_lock(&fake_lock);
  value = FakeNumber(key, otherwise);
  pthread_mutex_unlock(&fake_lock);
  return value;
}

static void CuptiWord(const char* key, char* out, size_t size, const char* otherwise) {
  const FakeEntry* entry;
  pthread_mutex_lock(&fake_lock);
  entry = FakeFind(key);
  snprintf(out, size, "%s", entry != NULL ? entry->value : otherwise);
  pthread_mutex_unlock(&fake_lock);
}

static const FakeGeneration* ScriptedGeneration(void) {
  char wanted[32];
  int i;
  CuptiWord("cupti_generation", wanted, sizeof(wanted), "");
  for (i = 0; i < kFakeGenerations; ++i) {
    const FakeGeneration* one = &fake_generations[i];
    if (wanted[0] == '\0' ? one->number == FAKE_CUPTI_GENERATION : strcmp(one->name, wanted) == 0) {
      return one;
    }
  }
  fprintf(stderr, "fake driver: cupti_generation = %s is not known\n", wanted);
  abort();
}

static int ScriptedClock(void) {
  char wanted[32];
  CuptiWord("cupti_clock", wanted, sizeof(wanted), "realtime");
  if (strcmp(wanted, "realtime") == 0) return CLOCK_REALTIME;
  if (strcmp(wanted, "monotonic") == 0) return CLOCK_MONOTONIC;
  if (strcmp(wanted, "boottime") == 0) return CLOCK_BOOTTIME;
  fprintf(stderr, "fake driver: cupti_clock = %s is not known\n", wanted);
  abort();
}

/* Everything as after loading. */
static void ResetClient(void) {
  static const uint64_t defaults[kAttributes] = {
      3200000, 8 << 20, 250, 0, 0, 0, 3, 0, 0, 0, 16 << 20};
  memset(&subscriber, 0, sizeof(subscriber));
  memcpy(attributes, defaults, sizeof(attributes));
  attributes[9] = generation->thread_buffers;
  cuda_initialized = 0;
  __atomic_store_n(&thread_buffers, (int)attributes[9], __ATOMIC_RELAXED);
  __atomic_store_n(&client_zeroes, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&enabled_kinds, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&dropped_records, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&client_clock, NULL, __ATOMIC_RELEASE);
  __atomic_store_n(&system_thread_ids, 0, __ATOMIC_RELAXED);
  memset(filtered, 0, sizeof(filtered));
  memset(filtering, 0, sizeof(filtering));
  managed_configured = 0;
}

/* Reads the script; another one than before restarts the library. */
static void FollowScript(void) {
  int changed;
  pthread_mutex_lock(&fake_lock);
  changed = FakeReload();
  pthread_mutex_unlock(&fake_lock);
  if (!changed) return;
  pthread_mutex_lock(&cupti_lock);
  pthread_mutex_lock(&buffers_lock);
  WaitForWorker();
  open_buffers = NULL; /* they are the client's, and the client is another one */
  client_request = NULL;
  generation = ScriptedGeneration();
  shuffle = (int)CuptiNumber("cupti_shuffle", 1);
  worker_delay_us = (long)CuptiNumber("cupti_worker_delay_us", 0);
  zero_time_every = (uint64_t)CuptiNumber("cupti_zero_time", 0);
  clock_id = ScriptedClock();
  clock_offset_ns = CuptiNumber("cupti_clock_offset_ns", 0);
  timed_records = 0;
  first_violation[0] = '\0';
  pthread_mutex_lock(&fake_lock);
  __atomic_store_n(&step_scripted, FakeHas(kFakeError) || FakeHas(kFakeLatency), __ATOMIC_RELAXED);
  pthread_mutex_unlock(&fake_lock);
  ResetClient();
  pthread_mutex_unlock(&buffers_lock);
  pthread_mutex_unlock(&cupti_lock);
}

static void AfterFork(void) {
  const int keeps = (int)FakeNumber("cupti_fork_keeps_subscriber", 0);
  pthread_mutex_init(&fake_lock, NULL);
  pthread_mutex_init(&cupti_lock, NULL);
  ForgetBuffers();
  if (!keeps) ResetClient();
}

__attribute__((constructor)) static void Loaded(void) {
  FollowScript();
  pthread_atfork(NULL, NULL, AfterFork);
}

FAKE_EXPORT CuptiResult cuptiGetVersion(uint32_t* version) {
  CuptiResult code;
  FollowScript();
  code = Enter("cuptiGetVersion");
  if (code == 0 && version == NULL) code = kInvalidParameter;
  if (code == 0) *version = generation->version;
  return FakeLeave("cuptiGetVersion", code, "%s", "");
}

FAKE_EXPORT CuptiResult cuptiGetTimestamp(uint64_t* time) {
  CuptiResult code = Enter("cuptiGetTimestamp");
  if (code == 0 && time == NULL) code = kInvalidParameter;
  if (code == 0) *time = CuptiNow();
  return FakeLeave("cuptiGetTimestamp", code, "%s", "");
}

FAKE_EXPORT CuptiResult cuptiGetResultString(CuptiResult result, const char** text) {
  static const struct {
    int code;
    const char* text;
  } known[] = {{0, "CUPTI_SUCCESS"},
               {1, "CUPTI_ERROR_INVALID_PARAMETER"},
               {7, "CUPTI_ERROR_INVALID_OPERATION"},
               {8, "CUPTI_ERROR_OUT_OF_MEMORY"},
               {9, "CUPTI_ERROR_HARDWARE"},
               {10, "CUPTI_ERROR_PARAMETER_SIZE_NOT_SUFFICIENT"},
               {12, "CUPTI_ERROR_MAX_LIMIT_REACHED"},
               {14, "CUPTI_ERROR_NOT_COMPATIBLE"},
               {15, "CUPTI_ERROR_NOT_INITIALIZED"},
               {18, "CUPTI_ERROR_QUEUE_EMPTY"},
               {21, "CUPTI_ERROR_INVALID_KIND"},
               {26, "CUPTI_ERROR_HARDWARE_BUSY"},
               {27, "CUPTI_ERROR_NOT_SUPPORTED"},
               {28, "CUPTI_ERROR_UM_PROFILING_NOT_SUPPORTED"},
               {35, "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"},
               {38, "CUPTI_ERROR_LEGACY_PROFILER_NOT_SUPPORTED"},
               {39, "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"},
               {40, "CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES"},
               {999, "CUPTI_ERROR_UNKNOWN"}};
  size_t i;
  if (text == NULL) return kInvalidParameter;
  for (i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
    if (known[i].code != result) continue;
    *text = known[i].text;
    return 0;
  }
  *text = "<unknown>";
  return kInvalidParameter;
}

FAKE_EXPORT CuptiResult cuptiGetCallbackName(int domain, uint32_t cbid, const char** name) {
  static const struct {
    uint32_t domain, cbid;
    const char* name;
  } known[] = {
#define FAKE_NAME(name, id) {1, id, #name},
      FAKE_DRIVER_CBIDS(FAKE_NAME)
#undef FAKE_NAME
          {2, 31, "cudaMemcpy_v3020"},
      {2, 41, "cudaMemcpyAsync_v3020"},
      {2, 131, "cudaStreamSynchronize_v3020"},
      {2, 165, "cudaDeviceSynchronize_v3020"},
      {2, 211, "cudaLaunchKernel_v7000"}};
  CuptiResult code = Enter("cuptiGetCallbackName");
  size_t i;
  if (code == 0 && name == NULL) code = kInvalidParameter;
  if (code == 0) {
    *name = NULL;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
      if ((int)known[i].domain == domain && known[i].cbid == cbid) *name = known[i].name;
    }
    if (*name == NULL) code = kInvalidParameter;
  }
  return FakeLeave("cuptiGetCallbackName", code, "%d, %u", domain, cbid);
}

FAKE_EXPORT CuptiResult cuptiSubscribe(void** out, Callback callback, void* user) {
  CuptiResult code;
  FollowScript();
  code = Enter("cuptiSubscribe");
  if (code == 0 && out == NULL) code = kInvalidParameter;
  pthread_mutex_lock(&cupti_lock);
  if (code == 0 && (subscriber.used || CuptiNumber("cupti_foreign_subscriber", 0) != 0)) {
    code = kMultipleSubscribers;
  }
  if (code == 0) {
    memset(&subscriber, 0, sizeof(subscriber));
    subscriber.used = 1;
    subscriber.callback = callback;
    subscriber.user = user;
    *out = &subscriber;
  }
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiSubscribe", code, "%s", "");
}

FAKE_EXPORT CuptiResult cuptiUnsubscribe(const void* handle) {
  CuptiResult code = Enter("cuptiUnsubscribe");
  pthread_mutex_lock(&cupti_lock);
  if (code == 0 && (handle != &subscriber || !subscriber.used)) code = kInvalidParameter;
  if (code == 0) memset(&subscriber, 0, sizeof(subscriber));
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiUnsubscribe", code, "%s", "");
}

/* Only RESOURCE calls back here: for other domains it says so and not "success". */
static CuptiResult CheckDomain(CuptiResult code, const void* handle, int domain) {
  if (code != 0) return code;
  if (handle != &subscriber || !subscriber.used || domain < 1 || domain > 6) {
    return kInvalidParameter;
  }
  return domain == kResource ? 0 : kNotSupported;
}

FAKE_EXPORT CuptiResult cuptiEnableCallback(uint32_t on,
                                            const void* handle,
                                            int domain,
                                            uint32_t cbid) {
  CuptiResult code = Enter("cuptiEnableCallback");
  pthread_mutex_lock(&cupti_lock);
  code = CheckDomain(code, handle, domain);
  if (code == 0 && cbid >= 32) code = kInvalidParameter;
  if (code == 0) subscriber.enabled[cbid] = on != 0;
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiEnableCallback", code, "%u, %d, %u", on, domain, cbid);
}

FAKE_EXPORT CuptiResult cuptiEnableDomain(uint32_t on, const void* handle, int domain) {
  CuptiResult code = Enter("cuptiEnableDomain");
  pthread_mutex_lock(&cupti_lock);
  code = CheckDomain(code, handle, domain);
  if (code == 0) subscriber.all_enabled = on != 0;
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiEnableDomain", code, "%u, %d", on, domain);
}

FAKE_EXPORT void warpgauge_fake_cupti_event(enum fake_event event, void* context) {
  const void* data[3] = {context, NULL, NULL}; /* context, handle, descriptor */
  Callback callback;
  void* user;
  int wanted;
  pthread_mutex_lock(&cupti_lock);
  if (event == FAKE_INITIALIZED) cuda_initialized = 1;
  wanted = subscriber.used && (subscriber.all_enabled || subscriber.enabled[event]);
  callback = subscriber.callback;
  user = subscriber.user;
  pthread_mutex_unlock(&cupti_lock);
  if (wanted && callback != NULL) callback(user, kResource, event, data);
}

#include "cupti_activity.h"

/* PM sampling came with 12.6. */
#if FAKE_CUPTI_GENERATION >= 1206
#include "cupti_pm.h"
#endif
