/*
 * What the fake driver libraries share: the script that says how they behave, and the call log.
 *
 * WARPGAUGE_FAKE_SCRIPT names a file of `key = value` lines ('#' starts a comment). It is read by
 * cuInit and nvmlInit_v2; when its text differs from the last time, the simulated machine restarts:
 * memory freed, counters zero. Without the variable everything has its default. WARPGAUGE_FAKE_LOG
 * names the call log: one line per call, appended, `<CLOCK_MONOTONIC ns> <function>(<arguments>) =
 * <result>`.
 *
 * Both libraries
 *   devices = 1                      how many; 0 makes cuInit fail with 100 (NO_DEVICE)
 *   name = Simulated NVIDIA H200     comma list, one per device; "Simulated " is put before any
 * other name pci = 0000:83:00.0               comma list; further devices follow on the next buses
 *   error.<function> = CODE@N        this function fails from its Nth call on (N = 1: always); a
 * fault of the device: pending copies are dropped, as a dead GPU drops them error_once.<function> =
 * CODE@N   only the Nth call fails; pending copies go on latency_us.<function> = T        every
 * call takes T microseconds longer
 *
 * libcuda
 *   error_from_call = CODE@N         every function fails from the Nth call of any function on
 *   error_at_call = CODE@N           only the Nth call fails
 *   delay_us = 100                   an asynchronous operation completes this long after its turn
 * has come ignore_sync = 0                  1: cuStreamSynchronize returns at once, so that a test
 * can show that unfinished copies are found check_order = 1                  wrong call orders fail
 * with 999 and a VIOLATION line in the log memory_bytes = 150754820096      device memory (143771
 * MiB, as on an H200) driver_version = 13010 cc_major = 9, cc_minor = 0, multiprocessors = 132,
 * pageable_access = 0, host_page_tables = 0
 *
 * libnvidia-ml: a comma list gives the answers of successive calls, the last one stays. Defaults
 * are those of a loaded H200 with driver 590.48.01 (idle: sm_mhz 345, reasons 1). nvml.driver =
 * Simulated 590.48.01 nvml.sm_mhz = 1980, nvml.memory_mhz = 3201, nvml.pcie_gen = 5,
 * nvml.pcie_width = 16 nvml.pcie_gen_max = 5, nvml.pcie_width_max = 16, nvml.reasons = 0
 *   nvml.replays = 0, nvml.replays_step = 0    the counter grows by the step at every read
 *   nvml.lost_from_call = 0                    from this call about a device on: 15 (GPU_IS_LOST)
 */
#ifndef WARPGAUGE_TEST_FAKE_SCRIPT_H
#define WARPGAUGE_TEST_FAKE_SCRIPT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FAKE_EXPORT __attribute__((visibility("default")))
#define FAKE_UNUSED __attribute__((unused))
#define FAKE_TEXT 65536
#define FAKE_ENTRIES 256
#define FAKE_NAMES 128

typedef struct {
  char* key;
  char* value;
  long reads; /* of a list of successive answers */
} FakeEntry;

typedef struct {
  const char* name;
  long calls;
} FakeCounter;

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything below */
static char fake_text[FAKE_TEXT];                             /* as read, to see changes */
static char fake_parsed[FAKE_TEXT];
static FakeEntry fake_entries[FAKE_ENTRIES];
static int fake_entry_count;
static FakeCounter fake_counters[FAKE_NAMES];
static long fake_total_calls;
static char fake_log_path[4096];
static int fake_log_fd = -1;

static int64_t FakeNow(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void FakeSleepUs(long us) {
  struct timespec t = {us / 1000000, (us % 1000000) * 1000};
  while (us > 0 && nanosleep(&t, &t) != 0) {
  }
}

static char* FakeTrim(char* text) {
  char* end = text + strlen(text);
  while (*text == ' ' || *text == '\t') ++text;
  while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) *--end = '\0';
  return text;
}

/* 1 when the script is another one than before: the caller restarts its machine. fake_lock held. */
static int FakeReload(void) {
  static int loaded;
  static char fresh[FAKE_TEXT];
  const char* path = getenv("WARPGAUGE_FAKE_SCRIPT");
  const char* log_path = getenv("WARPGAUGE_FAKE_LOG");
  FILE* file = path != NULL && path[0] != '\0' ? fopen(path, "r") : NULL;
  size_t length = 0;
  char *line, *rest;
  if (log_path == NULL) log_path = "";
  if (strcmp(log_path, fake_log_path) != 0) {
    if (fake_log_fd >= 0) close(fake_log_fd);
    snprintf(fake_log_path, sizeof(fake_log_path), "%s", log_path);
    fake_log_fd =
        log_path[0] == '\0' ? -1 : open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  if (file != NULL) {
    length = fread(fresh, 1, sizeof(fresh) - 1, file);
    fclose(file);
  } else if (path != NULL && path[0] != '\0') {
    fprintf(stderr, "fake driver: cannot read WARPGAUGE_FAKE_SCRIPT %s\n", path);
    abort();
  }
  fresh[length] = '\0';
  if (loaded && strcmp(fresh, fake_text) == 0) return 0;
  loaded = 1;
  memcpy(fake_text, fresh, length + 1);
  memcpy(fake_parsed, fresh, length + 1);
  memset(fake_counters, 0, sizeof(fake_counters));
  fake_total_calls = 0;
  fake_entry_count = 0;
  for (line = strtok_r(fake_parsed, "\n", &rest); line != NULL;
       line = strtok_r(NULL, "\n", &rest)) {
    char* comment = strchr(line, '#');
    char* equals;
    if (comment != NULL) *comment = '\0';
    line = FakeTrim(line);
    if (line[0] == '\0') continue;
    equals = strchr(line, '=');
    if (equals == NULL || fake_entry_count == FAKE_ENTRIES) {
      fprintf(stderr, "fake driver: bad script line: %s\n", line);
      abort();
    }
    *equals = '\0';
    fake_entries[fake_entry_count].key = FakeTrim(line);
    fake_entries[fake_entry_count].value = FakeTrim(equals + 1);
    fake_entries[fake_entry_count].reads = 0;
    ++fake_entry_count;
  }
  return 1;
}

/* fake_lock held, here and in the next four. */
static FakeEntry* FakeFind(const char* key) {
  int i;
  for (i = fake_entry_count - 1; i >= 0; --i) {
    if (strcmp(fake_entries[i].key, key) == 0) return &fake_entries[i];
  }
  return NULL;
}

/* Element `index` of a comma list; 0 when there are fewer. */
static FAKE_UNUSED int FakeElement(const char* list, long index, char* out, size_t size) {
  const char* comma;
  while (index-- > 0) {
    comma = strchr(list, ',');
    if (comma == NULL) return 0;
    list = comma + 1;
  }
  while (*list == ' ') ++list;
  comma = strchr(list, ',');
  snprintf(out, size, "%.*s", comma == NULL ? (int)strlen(list) : (int)(comma - list), list);
  return 1;
}

static FAKE_UNUSED long long FakeNumber(const char* key, long long otherwise) {
  const FakeEntry* entry = FakeFind(key);
  return entry == NULL ? otherwise : strtoll(entry->value, NULL, 0);
}

/* The answer of this call from a list of successive answers. */
static FAKE_UNUSED long long FakeNext(const char* key, long long otherwise) {
  FakeEntry* entry = FakeFind(key);
  char text[64];
  long at;
  if (entry == NULL) return otherwise;
  at = entry->reads++;
  while (at > 0 && !FakeElement(entry->value, at, text, sizeof(text))) --at;
  FakeElement(entry->value, at, text, sizeof(text));
  return strtoll(text, NULL, 0);
}

/* CODE@N of `key`: fires at call N, with `from` at every later one too. */
static int FakeError(const char* key, long call, int from) {
  const FakeEntry* entry = FakeFind(key);
  char* at;
  long code, first;
  if (entry == NULL) return 0;
  code = strtol(entry->value, &at, 0);
  first = *at == '@' ? strtol(at + 1, NULL, 0) : 1;
  return call == first || (from && call > first) ? (int)code : 0;
}

static void FakeLog(const char* function, int result, const char* format, va_list arguments) {
  char line[1024];
  int n, fd;
  pthread_mutex_lock(&fake_lock);
  fd = fake_log_fd;
  pthread_mutex_unlock(&fake_lock);
  if (fd < 0) return;
  n = snprintf(line, sizeof(line), "%lld %s(", (long long)FakeNow(), function);
  n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, arguments);
  if (n > (int)sizeof(line) - 32) n = (int)sizeof(line) - 32;
  n += snprintf(line + n, sizeof(line) - (size_t)n, ") = %d\n", result);
  if (write(fd, line, (size_t)n) != n) abort(); /* one write: lines of two libraries do not mix */
}

/* Every exported function begins here: counts, sleeps, and gives the scripted error, 0 if none.
 * `*device_fault` says that the error is one after which the device does nothing any more. */
static int FakeEnter(const char* function, int* device_fault) {
  char key[160];
  long latency, call = 0;
  int i, code, fault;
  pthread_mutex_lock(&fake_lock);
  for (i = 0; i < FAKE_NAMES; ++i) {
    if (fake_counters[i].name == NULL) fake_counters[i].name = function;
    if (strcmp(fake_counters[i].name, function) == 0) {
      call = ++fake_counters[i].calls;
      break;
    }
  }
  ++fake_total_calls;
  snprintf(key, sizeof(key), "error.%s", function);
  code = FakeError(key, call, 1);
  if (code == 0) code = FakeError("error_from_call", fake_total_calls, 1);
  fault = code != 0;
  snprintf(key, sizeof(key), "error_once.%s", function);
  if (code == 0) code = FakeError(key, call, 0);
  if (code == 0) code = FakeError("error_at_call", fake_total_calls, 0);
  snprintf(key, sizeof(key), "latency_us.%s", function);
  latency = (long)FakeNumber(key, 0);
  pthread_mutex_unlock(&fake_lock);
  FakeSleepUs(latency);
  if (device_fault != NULL) *device_fault = fault;
  return code;
}

/* ... and ends here. */
__attribute__((format(printf, 3, 4))) static int FakeLeave(const char* function,
                                                           int result,
                                                           const char* format,
                                                           ...) {
  va_list arguments;
  va_start(arguments, format);
  FakeLog(function, result, format, arguments);
  va_end(arguments);
  return result;
}

/* What both libraries say about device `index`. fake_lock held. */
static FAKE_UNUSED void FakeDeviceName(int index, char* out, size_t size) {
  const FakeEntry* entry = FakeFind("name");
  char name[96];
  if (entry == NULL || !FakeElement(entry->value, index, name, sizeof(name))) {
    snprintf(name, sizeof(name), "Simulated NVIDIA H200");
  }
  snprintf(out, size, "%s%s", strncmp(name, "Simulated", 9) == 0 ? "" : "Simulated ", name);
}

static FAKE_UNUSED void FakeDevicePci(int index, char* out, size_t size) {
  const FakeEntry* entry = FakeFind("pci");
  if (entry == NULL || !FakeElement(entry->value, index, out, size)) {
    snprintf(out, size, "0000:%02x:00.0", (0x83 + index) & 0xff);
  }
}

/* "SIMULATED" in ASCII, then the index. */
static FAKE_UNUSED void FakeDeviceUuid(int index, unsigned char uuid[16]) {
  memset(uuid, 0, 16);
  memcpy(uuid, "SIMULATED", 9);
  uuid[15] = (unsigned char)index;
}

#endif
