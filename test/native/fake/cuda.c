/*
 * A simulated libcuda: the functions this project calls, scripted as script.h says. Asynchronous
 * copies complete late (engine.h), as NVIDIA documents them: from and to pinned memory everything
 * is late; HtoD from pageable memory returns when the source has been read, the last part reaching
 * the device later; DtoH to pageable memory returns when all is there. Pageable copies first wait
 * for their stream.
 */
#include "script.h"

#include "cuda_errors.h"
#include "cuda_injection.h"
#include "engine.h"

typedef int Result;
typedef struct {
  char text[65536];
} Module;

enum {
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidContext = 201,
  kInvalidPtx = 218,
  kNotFound = 500,
  kNotReady = 600,
  kAlreadyRegistered = 712,
  kNotRegistered = 713,
  kUnknown = 999,
};

enum { kMaxDevices = 64 };

static int initialized;               /* guarded by engine_lock as all of these */
static int initialized_by;            /* the process: a forked child has nothing */
static int context_refs[kMaxDevices]; /* one context per device */
static char context_tokens[kMaxDevices];
static uint32_t next_stream, next_event; /* ids */
static __thread char* current_context;
static char first_violation[256];
static char kernel_token;

/* For tests: what the order checker saw first; empty when nothing. */
FAKE_EXPORT const char* warpgauge_fake_violation(void) { return first_violation; }

static Result Enter(const char* function) {
  int fault;
  Result code;
  BeginCall();
  code = FakeEnter(function, &fault);
  if (code != 0 && fault) {
    pthread_mutex_lock(&engine_lock);
    DropPending();
    pthread_mutex_unlock(&engine_lock);
  }
  return code;
}

/* Ends every function: the log, and the record of the call. */
#define Leave(function, result, ...) \
  (EndCall(function, result), FakeLeave(function, result, __VA_ARGS__))

static int CurrentDevice(void) { return (int)(current_context - context_tokens); }
static uint32_t ContextId(int device) { return (uint32_t)device + 1; }

/* An activity of the current device in `stream`; engine_lock held. */
static struct fake_activity ActivityOf(uint32_t kind, const Stream* stream) {
  struct fake_activity activity = {.kind = kind};
  activity.device = (uint32_t)CurrentDevice();
  activity.context = ContextId(CurrentDevice());
  activity.stream = stream->id;
  return activity;
}

/* Begins every function that needs a context; engine_lock is held afterwards in any case. */
static Result EnterContext(const char* function) {
  Result code = Enter(function);
  pthread_mutex_lock(&engine_lock);
  if (code == 0 && !initialized) code = kNotInitialized;
  if (code == 0 && (current_context == NULL || context_refs[CurrentDevice()] == 0)) {
    code = kInvalidContext;
  }
  return code;
}

static long long Number(const char* key, long long otherwise) {
  long long value;
  pthread_mutex_lock(&fake_lock);
  value = FakeNumber(key, otherwise);
  pthread_mutex_unlock(&fake_lock);
  return value;
}

static Result Violation(const char* what) {
  if (Number("check_order", 1) == 0) return 0;
  if (first_violation[0] == '\0') snprintf(first_violation, sizeof(first_violation), "%s", what);
  FakeLeave("VIOLATION", kUnknown, "%s", what);
  return kUnknown;
}

static Result CheckDevice(Result code, int device) {
  if (code != 0) return code;
  if (!initialized) return kNotInitialized;
  return device >= 0 && device < Number("devices", 1) ? 0 : kInvalidDevice;
}

static void AfterFork(void) {
  pthread_mutex_init(&fake_lock, NULL);
  pthread_mutex_init(&cupti_search, NULL);
  pthread_mutex_init(&injection_lock, NULL);
  ForgetEngine();
}

__attribute__((constructor)) static void Loaded(void) { pthread_atfork(NULL, NULL, AfterFork); }

FAKE_EXPORT Result cuInit(unsigned flags) {
  Result code;
  int i;
  pthread_mutex_lock(&fake_lock);
  i = FakeReload();
  pthread_mutex_unlock(&fake_lock);
  pthread_mutex_lock(&engine_lock);
  if (i) { /* the simulated machine restarts */
    DropPending();
    for (i = 0; i < kMaxRanges; ++i) {
      if (device_ranges[i].bytes != 0) munmap(device_ranges[i].memory, device_ranges[i].bytes);
      if (pinned_ranges[i].bytes != 0 && !pinned_ranges[i].registered) {
        munmap(pinned_ranges[i].memory, pinned_ranges[i].bytes);
      }
    }
    while (objects != NULL) FreeObject(objects + 1);
    memset(device_ranges, 0, sizeof(device_ranges));
    memset(pinned_ranges, 0, sizeof(pinned_ranges));
    device_used = 0;
    next_address = 0x0d00000000000000U; /* not canonical: no process has memory there */
    initialized = 0;
    memset(context_refs, 0, sizeof(context_refs));
    next_stream = 13; /* 7 is the default stream */
    next_event = 1;
    first_violation[0] = '\0';
  }
  delay_us = (long)Number("delay_us", 100);
  memset(staging, 1, sizeof(staging)); /* its page faults are not those of a copy */
  pthread_mutex_unlock(&engine_lock);
  code = Enter("cuInit");
  if (flags == 0) RunInjection();
  if (code == 0 && flags != 0) code = kInvalidValue;
  if (code == 0 && Number("devices", 1) == 0) code = kNoDevice;
  pthread_mutex_lock(&engine_lock);
  /* CUDA does not outlive a fork. */
  if (code == 0 && initialized && initialized_by != getpid()) code = kNotInitialized;
  if (code == 0) {
    initialized = 1;
    initialized_by = getpid();
  }
  pthread_mutex_unlock(&engine_lock);
  if (code == 0) FeedEvent(FAKE_INITIALIZED, NULL);
  return Leave("cuInit", code, "%u", flags);
}

FAKE_EXPORT Result cuDriverGetVersion(int* version) {
  Result code = Enter("cuDriverGetVersion");
  if (code == 0) *version = (int)Number("driver_version", 13010);
  return Leave("cuDriverGetVersion", code, "%s", "");
}

FAKE_EXPORT Result cuDeviceGetCount(int* count) {
  Result code = Enter("cuDeviceGetCount");
  if (code == 0 && !initialized) code = kNotInitialized;
  if (code == 0) *count = (int)Number("devices", 1);
  return Leave("cuDeviceGetCount", code, "%s", "");
}

FAKE_EXPORT Result cuDeviceGet(int* device, int ordinal) {
  Result code = CheckDevice(Enter("cuDeviceGet"), ordinal);
  if (code == 0) *device = ordinal;
  return Leave("cuDeviceGet", code, "%d", ordinal);
}

FAKE_EXPORT Result cuDeviceGetName(char* name, int size, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetName"), device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    FakeDeviceName(device, name, (size_t)size);
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("cuDeviceGetName", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetAttribute(int* value, int attribute, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetAttribute"), device);
  if (code == 0) {
    switch (attribute) {
      case 16:
        *value = (int)Number("multiprocessors", 132);
        break;
      case 75:
        *value = (int)Number("cc_major", 9);
        break;
      case 76:
        *value = (int)Number("cc_minor", 0);
        break;
      case 88:
        *value = (int)Number("pageable_access", 0);
        break;
      case 100:
        *value = (int)Number("host_page_tables", 0);
        break;
      default:
        code = kInvalidValue;
    }
  }
  return Leave("cuDeviceGetAttribute", code, "%d, %d", attribute, device);
}

FAKE_EXPORT Result cuDeviceTotalMem_v2(size_t* bytes, int device) {
  Result code = CheckDevice(Enter("cuDeviceTotalMem_v2"), device);
  if (code == 0) *bytes = (size_t)Number("memory_bytes", 143771LL << 20);
  return Leave("cuDeviceTotalMem_v2", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetPCIBusId(char* text, int size, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetPCIBusId"), device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    FakeDevicePci(device, text, (size_t)size);
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("cuDeviceGetPCIBusId", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetUuid_v2"), device);
  if (code == 0) FakeDeviceUuid(device, uuid);
  return Leave("cuDeviceGetUuid_v2", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetUuid(unsigned char* uuid, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetUuid"), device);
  if (code == 0) FakeDeviceUuid(device, uuid);
  return Leave("cuDeviceGetUuid", code, "%d", device);
}

FAKE_EXPORT Result cuDevicePrimaryCtxRetain(void** context, int device) {
  Result code = CheckDevice(Enter("cuDevicePrimaryCtxRetain"), device);
  int created = 0;
  pthread_mutex_lock(&engine_lock);
  if (code == 0) {
    created = ++context_refs[device] == 1;
    *context = &context_tokens[device];
  }
  pthread_mutex_unlock(&engine_lock);
  if (created) FeedEvent(FAKE_CONTEXT_CREATED, *context);
  return Leave("cuDevicePrimaryCtxRetain", code, "%d", device);
}

FAKE_EXPORT Result cuDevicePrimaryCtxRelease_v2(int device) {
  Result code = CheckDevice(Enter("cuDevicePrimaryCtxRelease_v2"), device);
  int destroyed = 0;
  pthread_mutex_lock(&engine_lock);
  if (code == 0 && context_refs[device] == 0) code = kInvalidContext;
  if (code == 0) destroyed = --context_refs[device] == 0;
  pthread_mutex_unlock(&engine_lock);
  if (destroyed) FeedEvent(FAKE_CONTEXT_DESTROYED, &context_tokens[device]);
  return Leave("cuDevicePrimaryCtxRelease_v2", code, "%d", device);
}

FAKE_EXPORT Result cuCtxSetCurrent(void* context) {
  Result code = Enter("cuCtxSetCurrent");
  if (code == 0 && context != NULL &&
      ((char*)context < context_tokens || (char*)context >= context_tokens + kMaxDevices)) {
    code = kInvalidContext;
  }
  if (code == 0) current_context = context;
  return Leave("cuCtxSetCurrent", code, "%s", context == NULL ? "none" : "primary");
}

#include "cuda_memory.h"

#include "cuda_copies.h"
#include "cuda_streams.h"

#include "cuda_modules.h"

/* These two work at any time, so they are neither counted nor scripted. */
FAKE_EXPORT Result cuGetErrorName(Result code, const char** text) {
  return ErrorText(code, text, 1);
}

FAKE_EXPORT Result cuGetErrorString(Result code, const char** text) {
  return ErrorText(code, text, 0);
}
