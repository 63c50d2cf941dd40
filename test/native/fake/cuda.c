/*
 * A simulated libcuda: the functions this project calls, scripted as script.h says. Asynchronous
 * copies complete late (engine.h), as NVIDIA documents them: from and to pinned memory everything
 * is late; HtoD from pageable memory returns when the source has been read, the last part reaching
 * the device later; DtoH to pageable memory returns when all is there. Pageable copies first wait
 * for their stream.
 */
#include "cuda_errors.h"
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

static int initialized;
static int context_refs; /* there is one context; guarded by engine_lock as all of these */
static int context_token;
static __thread void* current_context;
static char first_violation[256];
static char kernel_token;

/* For tests: what the order checker saw first; empty when nothing. */
FAKE_EXPORT const char* warpgauge_fake_violation(void) { return first_violation; }

static Result Enter(const char* function) {
  int fault;
  Result code = FakeEnter(function, &fault);
  if (code != 0 && fault) {
    pthread_mutex_lock(&engine_lock);
    DropPending();
    pthread_mutex_unlock(&engine_lock);
  }
  return code;
}

/* Begins every function that needs a context; engine_lock is held afterwards in any case. */
static Result EnterContext(const char* function) {
  Result code = Enter(function);
  pthread_mutex_lock(&engine_lock);
  if (code == 0 && !initialized) code = kNotInitialized;
  if (code == 0 && (current_context == NULL || context_refs == 0)) code = kInvalidContext;
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
    initialized = context_refs = 0;
    first_violation[0] = '\0';
  }
  delay_us = (long)Number("delay_us", 100);
  memset(staging, 1, sizeof(staging)); /* its page faults are not those of a copy */
  pthread_mutex_unlock(&engine_lock);
  code = Enter("cuInit");
  if (code == 0 && flags != 0) code = kInvalidValue;
  if (code == 0 && Number("devices", 1) == 0) code = kNoDevice;
  pthread_mutex_lock(&engine_lock);
  if (code == 0) initialized = 1;
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuInit", code, "%u", flags);
}

FAKE_EXPORT Result cuDriverGetVersion(int* version) {
  Result code = Enter("cuDriverGetVersion");
  if (code == 0) *version = (int)Number("driver_version", 13010);
  return FakeLeave("cuDriverGetVersion", code, "%s", "");
}

FAKE_EXPORT Result cuDeviceGetCount(int* count) {
  Result code = Enter("cuDeviceGetCount");
  if (code == 0 && !initialized) code = kNotInitialized;
  if (code == 0) *count = (int)Number("devices", 1);
  return FakeLeave("cuDeviceGetCount", code, "%s", "");
}

FAKE_EXPORT Result cuDeviceGet(int* device, int ordinal) {
  Result code = CheckDevice(Enter("cuDeviceGet"), ordinal);
  if (code == 0) *device = ordinal;
  return FakeLeave("cuDeviceGet", code, "%d", ordinal);
}

FAKE_EXPORT Result cuDeviceGetName(char* name, int size, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetName"), device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    FakeDeviceName(device, name, (size_t)size);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("cuDeviceGetName", code, "%d", device);
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
  return FakeLeave("cuDeviceGetAttribute", code, "%d, %d", attribute, device);
}

FAKE_EXPORT Result cuDeviceTotalMem_v2(size_t* bytes, int device) {
  Result code = CheckDevice(Enter("cuDeviceTotalMem_v2"), device);
  if (code == 0) *bytes = (size_t)Number("memory_bytes", 143771LL << 20);
  return FakeLeave("cuDeviceTotalMem_v2", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetPCIBusId(char* text, int size, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetPCIBusId"), device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    FakeDevicePci(device, text, (size_t)size);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("cuDeviceGetPCIBusId", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetUuid_v2"), device);
  if (code == 0) FakeDeviceUuid(device, uuid);
  return FakeLeave("cuDeviceGetUuid_v2", code, "%d", device);
}

FAKE_EXPORT Result cuDeviceGetUuid(unsigned char* uuid, int device) {
  Result code = CheckDevice(Enter("cuDeviceGetUuid"), device);
  if (code == 0) FakeDeviceUuid(device, uuid);
  return FakeLeave("cuDeviceGetUuid", code, "%d", device);
}

FAKE_EXPORT Result cuDevicePrimaryCtxRetain(void** context, int device) {
  Result code = CheckDevice(Enter("cuDevicePrimaryCtxRetain"), device);
  pthread_mutex_lock(&engine_lock);
  if (code == 0) {
    ++context_refs;
    *context = &context_token;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuDevicePrimaryCtxRetain", code, "%d", device);
}

FAKE_EXPORT Result cuDevicePrimaryCtxRelease_v2(int device) {
  Result code = CheckDevice(Enter("cuDevicePrimaryCtxRelease_v2"), device);
  pthread_mutex_lock(&engine_lock);
  if (code == 0 && context_refs == 0) code = kInvalidContext;
  if (code == 0) --context_refs;
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuDevicePrimaryCtxRelease_v2", code, "%d", device);
}

FAKE_EXPORT Result cuCtxSetCurrent(void* context) {
  Result code = Enter("cuCtxSetCurrent");
  if (code == 0 && context != NULL && context != &context_token) code = kInvalidContext;
  if (code == 0) current_context = context;
  return FakeLeave("cuCtxSetCurrent", code, "%s", context == NULL ? "none" : "primary");
}

FAKE_EXPORT Result cuMemAlloc_v2(DevicePtr* address, size_t bytes) {
  Result code = EnterContext("cuMemAlloc_v2");
  Range* range = FreeRange(device_ranges);
  if (code == 0 && bytes == 0) code = kInvalidValue;
  if (code == 0 &&
      (range == NULL || bytes > (uint64_t)Number("memory_bytes", 143771LL << 20) - device_used)) {
    code = kOutOfMemory;
  }
  if (code == 0) {
    range->memory = MapPopulated(bytes);
    if (range->memory == NULL) code = kOutOfMemory;
  }
  if (code == 0) {
    range->bytes = bytes;
    range->address = *address = next_address;
    next_address += (bytes + (4U << 20)) & ~((uint64_t)(2U << 20) - 1); /* with a gap */
    device_used += bytes;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave(
      "cuMemAlloc_v2", code, "%#llx, %zu", code == 0 ? (unsigned long long)*address : 0ULL, bytes);
}

FAKE_EXPORT Result cuMemFree_v2(DevicePtr address) {
  Result code = EnterContext("cuMemFree_v2");
  Range* range = FindStart(device_ranges, address);
  if (code == 0 && range == NULL) code = kInvalidValue;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemFree while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    munmap(range->memory, range->bytes);
    device_used -= range->bytes;
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemFree_v2", code, "%#llx", (unsigned long long)address);
}

FAKE_EXPORT Result cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
  Result code = EnterContext("cuMemHostAlloc");
  Range* range = FreeRange(pinned_ranges);
  if (code == 0 && (bytes == 0 || flags > 7)) code = kInvalidValue;
  if (code == 0 && range == NULL) code = kOutOfMemory;
  if (code == 0) {
    range->memory = MapPopulated(bytes);
    if (range->memory == NULL) code = kOutOfMemory;
  }
  if (code == 0) {
    range->address = (uint64_t)(uintptr_t)range->memory;
    range->bytes = bytes;
    range->registered = 0;
    *address = range->memory;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave(
      "cuMemHostAlloc", code, "%p, %zu, %u", code == 0 ? *address : NULL, bytes, flags);
}

FAKE_EXPORT Result cuMemFreeHost(void* address) {
  Result code = EnterContext("cuMemFreeHost");
  Range* range = FindStart(pinned_ranges, (uint64_t)(uintptr_t)address);
  if (code == 0 && (range == NULL || range->registered)) code = kInvalidValue;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemFreeHost while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    munmap(range->memory, range->bytes);
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemFreeHost", code, "%p", address);
}

FAKE_EXPORT Result cuMemHostRegister_v2(void* address, size_t bytes, unsigned flags) {
  Result code = EnterContext("cuMemHostRegister_v2");
  Range* range = FreeRange(pinned_ranges);
  int i;
  if (code == 0 && (address == NULL || bytes == 0 || flags > 15)) code = kInvalidValue;
  for (i = 0; code == 0 && i < kMaxRanges; ++i) {
    if (pinned_ranges[i].bytes != 0 &&
        Overlaps(pinned_ranges[i].memory, address, pinned_ranges[i].bytes, bytes)) {
      code = kAlreadyRegistered;
    }
  }
  if (code == 0 && range == NULL) code = kOutOfMemory;
  /* Faults the pages in without user-mode access, as get_user_pages does. */
  if (code == 0) {
    const uintptr_t page = (uintptr_t)address & ~(uintptr_t)4095;
    const size_t length = (((uintptr_t)address + bytes - page) + 4095) & ~(size_t)4095;
    if (madvise((void*)page, length, 23 /* MADV_POPULATE_WRITE */) != 0) {
      code = errno == EINVAL ? kInvalidValue : kOutOfMemory;
    }
  }
  if (code == 0) {
    range->address = (uint64_t)(uintptr_t)address;
    range->memory = address;
    range->bytes = bytes;
    range->registered = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemHostRegister_v2", code, "%p, %zu, %u", address, bytes, flags);
}

FAKE_EXPORT Result cuMemHostUnregister(void* address) {
  Result code = EnterContext("cuMemHostUnregister");
  Range* range = FindStart(pinned_ranges, (uint64_t)(uintptr_t)address);
  if (code == 0 && (range == NULL || !range->registered)) code = kNotRegistered;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemHostUnregister while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemHostUnregister", code, "%p", address);
}

/* Where a device range lies in host memory. */
static Result Locate(DevicePtr address, size_t bytes, char** memory) {
  const Range* range = FindRange(device_ranges, address, bytes);
  if (range == NULL) return kInvalidValue;
  *memory = range->memory + (address - range->address);
  return 0;
}

static int IsPinned(const void* address, size_t bytes) {
  return FindRange(pinned_ranges, (uint64_t)(uintptr_t)address, bytes) != NULL;
}

static Result BeforePageable(const Stream* stream) {
  Result code = 0;
  if (PendingOnStream(stream, kAdd)) code = Violation("pageable copy behind a pending kernel");
  WaitIdle();
  return code;
}

FAKE_EXPORT Result cuMemcpyHtoDAsync_v2(DevicePtr to,
                                        const void* from,
                                        size_t bytes,
                                        Stream* stream) {
  Result code = EnterContext("cuMemcpyHtoDAsync_v2");
  const int pinned = IsPinned(from, bytes);
  char* memory = NULL;
  if (code == 0 && (stream == NULL || from == NULL)) code = kInvalidValue;
  if (code == 0) code = Locate(to, bytes, &memory);
  if (code == 0 && !pinned) code = BeforePageable(stream);
  if (code == 0) {
    Op op = {kCopy, stream, memory, from, NULL, bytes, 0, NULL};
    if (!pinned) { /* all but the last part has passed through the staging memory by now */
      const size_t late = bytes < kStaging ? bytes : (size_t)kStaging;
      memcpy(memory, from, bytes - late);
      memcpy(staging, (const char*)from + (bytes - late), late);
      op.to += bytes - late;
      op.from = staging;
      op.bytes = late;
    }
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemcpyHtoDAsync_v2",
                   code,
                   "%#llx, %p, %zu, %s",
                   (unsigned long long)to,
                   from,
                   bytes,
                   pinned ? "pinned" : "pageable");
}

FAKE_EXPORT Result cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes, Stream* stream) {
  Result code = EnterContext("cuMemcpyDtoHAsync_v2");
  const int pinned = IsPinned(to, bytes);
  char* memory = NULL;
  if (code == 0 && (stream == NULL || to == NULL)) code = kInvalidValue;
  if (code == 0) code = Locate(from, bytes, &memory);
  if (code == 0 && !pinned) code = BeforePageable(stream);
  if (code == 0 && pinned) {
    Op op = {kCopy, stream, to, memory, NULL, bytes, 0, NULL};
    Enqueue(op);
  }
  if (code == 0 && !pinned) memcpy(to, memory, bytes);
  if (code == 0) stream->unsynced = 1;
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemcpyDtoHAsync_v2",
                   code,
                   "%p, %#llx, %zu, %s",
                   to,
                   (unsigned long long)from,
                   bytes,
                   pinned ? "pinned" : "pageable");
}

FAKE_EXPORT Result cuMemcpyDtoDAsync_v2(DevicePtr to,
                                        DevicePtr from,
                                        size_t bytes,
                                        Stream* stream) {
  Result code = EnterContext("cuMemcpyDtoDAsync_v2");
  char *target = NULL, *source = NULL;
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) code = Locate(to, bytes, &target);
  if (code == 0) code = Locate(from, bytes, &source);
  if (code == 0 && Overlaps(target, source, bytes, bytes)) code = kInvalidValue;
  if (code == 0) {
    Op op = {kCopy, stream, target, source, NULL, bytes, 0, NULL};
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuMemcpyDtoDAsync_v2",
                   code,
                   "%#llx, %#llx, %zu",
                   (unsigned long long)to,
                   (unsigned long long)from,
                   bytes);
}

FAKE_EXPORT Result cuMemsetD8Async(DevicePtr to,
                                   unsigned char value,
                                   size_t bytes,
                                   Stream* stream) {
  Result code = EnterContext("cuMemsetD8Async");
  char* memory = NULL;
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) code = Locate(to, bytes, &memory);
  if (code == 0) {
    Op op = {kSet, stream, memory, NULL, NULL, bytes, value, NULL};
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave(
      "cuMemsetD8Async", code, "%#llx, %u, %zu", (unsigned long long)to, (unsigned)value, bytes);
}

FAKE_EXPORT Result cuStreamCreate(Stream** stream, unsigned flags) {
  Result code = EnterContext("cuStreamCreate");
  if (code == 0 && flags > 1) code = kInvalidValue;
  if (code == 0) *stream = NewObject(sizeof(Stream));
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuStreamCreate", code, "%u", flags);
}

FAKE_EXPORT Result cuStreamDestroy_v2(Stream* stream) {
  Result code = EnterContext("cuStreamDestroy_v2");
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) {
    WaitIdle();
    FreeObject(stream);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuStreamDestroy_v2", code, "%s", "");
}

FAKE_EXPORT Result cuStreamSynchronize(Stream* stream) {
  Result code = EnterContext("cuStreamSynchronize");
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0 && Number("ignore_sync", 0) == 0) WaitIdle();
  if (code == 0) stream->unsynced = 0;
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuStreamSynchronize", code, "%s", "");
}

FAKE_EXPORT Result cuEventCreate(Event** event, unsigned flags) {
  Result code = EnterContext("cuEventCreate");
  if (code == 0) *event = NewObject(sizeof(Event));
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuEventCreate", code, "%u", flags);
}

FAKE_EXPORT Result cuEventDestroy_v2(Event* event) {
  Result code = EnterContext("cuEventDestroy_v2");
  if (code == 0 && event == NULL) code = kInvalidValue;
  if (code == 0) {
    WaitIdle();
    FreeObject(event);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuEventDestroy_v2", code, "%s", "");
}

FAKE_EXPORT Result cuEventRecord(Event* event, Stream* stream) {
  Result code = EnterContext("cuEventRecord");
  if (code == 0 && (event == NULL || stream == NULL)) code = kInvalidValue;
  if (code == 0) {
    Op op = {kStamp, stream, NULL, NULL, NULL, 0, 0, event};
    event->recorded = 1;
    event->complete = 0;
    event->stream = stream;
    Enqueue(op);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuEventRecord", code, "%s", "");
}

static Result Elapsed(const char* function,
                      float* milliseconds,
                      const Event* start,
                      const Event* stop) {
  Result code = EnterContext(function);
  if (code == 0 && (start == NULL || stop == NULL || !start->recorded || !stop->recorded)) {
    code = kInvalidValue;
  }
  if (code == 0 && stop->stream->unsynced) {
    code = Violation("time read without a stream synchronization after a copy");
  }
  if (code == 0 && Number("ignore_sync", 0) != 0) {
    *milliseconds = 0;
  } else if (code == 0 && (!start->complete || !stop->complete)) {
    code = kNotReady;
  } else if (code == 0) {
    *milliseconds = (float)((double)(stop->time_ns - start->time_ns) / 1e6);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave(function, code, "%s", "");
}

FAKE_EXPORT Result cuEventElapsedTime_v2(float* milliseconds, Event* start, Event* stop) {
  return Elapsed("cuEventElapsedTime_v2", milliseconds, start, stop);
}

FAKE_EXPORT Result cuEventElapsedTime(float* milliseconds, Event* start, Event* stop) {
  return Elapsed("cuEventElapsedTime", milliseconds, start, stop);
}

FAKE_EXPORT Result cuModuleLoadDataEx(
    Module** module, const void* image, unsigned count, const int* options, void** values) {
  Result code = EnterContext("cuModuleLoadDataEx");
  const char* text = image;
  char* log = NULL;
  size_t log_size = 0;
  unsigned i;
  for (i = 0; i < count; ++i) {
    if (options[i] == 5) log = values[i];
    if (options[i] == 6) log_size = (size_t)(uintptr_t)values[i];
  }
  if (code == 0 && (text == NULL || strstr(text, ".version") == NULL ||
                    strlen(text) >= sizeof((*module)->text))) {
    code = kInvalidPtx;
  }
  if (code != 0 && log != NULL && log_size > 0) {
    snprintf(log, log_size, "Simulated assembler: refused with %d", code);
  }
  if (code == 0) {
    *module = NewObject(sizeof(Module));
    memcpy((*module)->text, text, strlen(text) + 1);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuModuleLoadDataEx", code, "%u options", count);
}

FAKE_EXPORT Result cuModuleGetFunction(void** function, const Module* module, const char* name) {
  Result code = EnterContext("cuModuleGetFunction");
  char entry[128];
  snprintf(entry, sizeof(entry), ".entry %s(", name);
  /* It carries out what it knows by name; it is no PTX interpreter. */
  if (code == 0 && (module == NULL || strstr(module->text, entry) == NULL ||
                    strcmp(name, "warpgauge_vector_add") != 0)) {
    code = kNotFound;
  }
  if (code == 0) *function = &kernel_token;
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuModuleGetFunction", code, "%s", name);
}

FAKE_EXPORT Result cuModuleUnload(Module* module) {
  Result code = EnterContext("cuModuleUnload");
  if (code == 0 && module == NULL) code = kInvalidValue;
  if (code == 0) FreeObject(module);
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuModuleUnload", code, "%s", "");
}

FAKE_EXPORT Result cuLaunchKernel(const void* function,
                                  unsigned grid_x,
                                  unsigned grid_y,
                                  unsigned grid_z,
                                  unsigned block_x,
                                  unsigned block_y,
                                  unsigned block_z,
                                  unsigned shared_bytes,
                                  Stream* stream,
                                  void** parameters,
                                  void** extra) {
  Result code = EnterContext("cuLaunchKernel");
  char *a = NULL, *b = NULL, *c = NULL;
  uint64_t n = 0;
  if (code == 0 && (function != &kernel_token || stream == NULL || parameters == NULL ||
                    extra != NULL || grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 ||
                    block_x > 1024 || block_y != 1 || block_z != 1 || shared_bytes != 0)) {
    code = kInvalidValue;
  }
  if (code == 0) {
    n = *(const uint64_t*)parameters[3];
    code = Locate(*(const DevicePtr*)parameters[0], n * sizeof(double), &a);
  }
  if (code == 0) code = Locate(*(const DevicePtr*)parameters[1], n * sizeof(double), &b);
  if (code == 0) code = Locate(*(const DevicePtr*)parameters[2], n * sizeof(double), &c);
  if (code == 0) {
    Op op = {kAdd, stream, c, a, b, n * sizeof(double), 0, NULL};
    Enqueue(op);
  }
  pthread_mutex_unlock(&engine_lock);
  return FakeLeave("cuLaunchKernel", code, "%u x %u", grid_x, block_x);
}

/* These two work at any time, so they are neither counted nor scripted. */
FAKE_EXPORT Result cuGetErrorName(Result code, const char** text) {
  return ErrorText(code, text, 1);
}

FAKE_EXPORT Result cuGetErrorString(Result code, const char** text) {
  return ErrorText(code, text, 0);
}
