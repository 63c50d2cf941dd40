/*
 * What the fake driver libraries share: the script that says how they behave, and the call log.
 *
 * WARPGAUGE_FAKE_SCRIPT names a file of `key = value` lines ('#' starts a comment). It is read by
 * cuInit and nvmlInit_v2; when its text differs from the last time, the simulated machine restarts:
 * memory freed, counters zero. Without the variable everything has its default. WARPGAUGE_FAKE_LOG
 * names the call log: one line per call, appended, `<CLOCK_MONOTONIC ns> <function>(<arguments>) =
 * <result>`.
 *
 * A key written `key@MS` holds from MS milliseconds after the start of the machine on; the line
 * with the latest start that has passed counts. So errors between two times are `error.f@1000 = 15`
 * and `error.f@2000 = 0`.
 *
 * Both libraries
 *   devices = 1                      how many; 0 makes cuInit fail with 100 (NO_DEVICE)
 *   name = Simulated NVIDIA H200     comma list, one per device; "Simulated " is put before others
 *   pci = 0000:83:00.0               comma list; further devices follow on the next buses
 *   error.<function> = CODE@N        this function fails from its Nth call on (N = 1: always); a
 *                                    fault of the device: pending copies are dropped, as a dead GPU
 *                                    drops them
 *   error_once.<function> = CODE@N   only the Nth call fails; pending copies go on
 *   error_from_call = CODE@N         every function fails from the Nth call of any function on
 *   error_at_call = CODE@N           only the Nth call fails
 *   latency_us.<function> = T        every call takes T microseconds longer
 *   start_ns = T                     CLOCK_MONOTONIC at which the machine's time is 0; default:
 * when the script is first read live = 1                         the file may change while it runs
 * (replace it by rename); the machine goes on and does not restart
 *
 * libcuda
 *   delay_us = 100                   an asynchronous operation completes this long after its turn
 *                                    has come
 *   ignore_sync = 0                  1: cuStreamSynchronize returns at once, so that a test can
 * show that unfinished copies are found check_order = 1                  wrong call orders fail
 * with 999 and a VIOLATION line in the log memory_bytes = 150754820096      device memory (143771
 * MiB, as on an H200) driver_version = 13010, cc_major = 9, cc_minor = 0, multiprocessors = 132,
 *   pageable_access = 0, host_page_tables = 0
 *
 * libnvidia-ml: see nvml_values.h. libcupti: see cupti.c.
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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FAKE_EXPORT __attribute__((visibility("default")))
#define FAKE_UNUSED __attribute__((unused))
#define FAKE_TEXT 262144
#define FAKE_ENTRIES 4096
#define FAKE_SLOTS 8192 /* power of two */
#define FAKE_NAMES 256

typedef struct FakeEntry {
  char* key;
  char* value;
  double from_ms;         /* of `key@MS`: holds from then on; -1: from the beginning */
  long reads;             /* of a list of successive answers */
  struct FakeEntry* next; /* same key, earlier line */
} FakeEntry;

typedef struct {
  const char* name;
  long calls;
} FakeCounter;

/* Kinds of keys that most scripts lack: what is not there costs a call nothing. */
typedef enum { kFakeError, kFakeLatency, kFakeHang, kFakeCrash, kFakeOneDevice } FakeFamily;

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything below */
static char fake_text[FAKE_TEXT];                             /* as read, to see changes */
static char fake_parsed[FAKE_TEXT];
static FakeEntry fake_entries[FAKE_ENTRIES];
static int fake_entry_count;
static FakeEntry* fake_slots[FAKE_SLOTS]; /* by key, the last line of each */
static unsigned fake_families;            /* bit per FakeFamily that the script has keys of */
static int64_t fake_start_ns;             /* zero of the simulated machine's time */
static struct timespec fake_changed;      /* of the script file, for `live` */
static int64_t fake_checked_ns;
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

static FakeEntry** FakeSlot(const char* key) {
  uint32_t hash = 2166136261u;
  const char* at;
  for (at = key; *at != '\0'; ++at) hash = (hash ^ (uint8_t)*at) * 16777619u;
  for (;; ++hash) {
    FakeEntry** slot = &fake_slots[hash & (FAKE_SLOTS - 1)];
    if (*slot == NULL || strcmp((*slot)->key, key) == 0) return slot;
  }
}

/* Milliseconds since the simulated machine started. fake_lock held, here and in what follows. */
static double FakeMachineMs(void) { return (double)(FakeNow() - fake_start_ns) / 1e6; }

/* The entry of `key` that holds now; NULL if none does. */
static FakeEntry* FakeFind(const char* key) {
  FakeEntry *entry = *FakeSlot(key), *best = NULL;
  const double now =
      entry != NULL && (entry->next != NULL || entry->from_ms >= 0) ? FakeMachineMs() : 0;
  for (; entry != NULL; entry = entry->next) {
    if (entry->from_ms <= now && (best == NULL || entry->from_ms > best->from_ms)) best = entry;
  }
  return best;
}

static unsigned FakeFamilies(const char* key) {
  return (strstr(key, "error") != NULL ? 1u << kFakeError : 0) |
         (strstr(key, "latency_us") != NULL ? 1u << kFakeLatency : 0) |
         (strstr(key, "hang_ms") != NULL ? 1u << kFakeHang : 0) |
         (strstr(key, "crash") != NULL ? 1u << kFakeCrash : 0) |
         (strncmp(key, "nvml.", 5) == 0 && key[5] >= '0' && key[5] <= '9' ? 1u << kFakeOneDevice
                                                                          : 0);
}

/* fake_lock held. */
static int FakeHas(FakeFamily family) { return (fake_families >> family & 1) != 0; }

static void FakeParse(void) {
  char *line, *rest;
  fake_entry_count = 0;
  fake_families = 0;
  memset(fake_slots, 0, sizeof(fake_slots));
  for (line = strtok_r(fake_parsed, "\n", &rest); line != NULL;
       line = strtok_r(NULL, "\n", &rest)) {
    char* comment = strchr(line, '#');
    char *equals, *at;
    FakeEntry *entry, **slot;
    if (comment != NULL) *comment = '\0';
    line = FakeTrim(line);
    if (line[0] == '\0') continue;
    equals = strchr(line, '=');
    if (equals == NULL || fake_entry_count == FAKE_ENTRIES) {
      fprintf(stderr, "fake driver: bad script line: %s\n", line);
      abort();
    }
    *equals = '\0';
    entry = &fake_entries[fake_entry_count++];
    entry->key = FakeTrim(line);
    entry->value = FakeTrim(equals + 1);
    entry->reads = 0;
    at = strchr(entry->key, '@');
    entry->from_ms = at == NULL ? -1 : strtod(at + 1, NULL);
    if (at != NULL) *at = '\0';
    slot = FakeSlot(entry->key);
    entry->next = *slot;
    *slot = entry;
    fake_families |= FakeFamilies(entry->key);
  }
}

/* The script's text, zero-terminated, into `out`. */
static void FakeReadScript(const char* path, char* out) {
  FILE* file = path != NULL && path[0] != '\0' ? fopen(path, "r") : NULL;
  struct stat status;
  size_t length = 0;
  if (file != NULL) {
    length = fread(out, 1, FAKE_TEXT - 1, file);
    if (length == FAKE_TEXT - 1) abort();
    if (fstat(fileno(file), &status) == 0) fake_changed = status.st_mtim;
    fclose(file);
  } else if (path != NULL && path[0] != '\0') {
    fprintf(stderr, "fake driver: cannot read WARPGAUGE_FAKE_SCRIPT %s\n", path);
    abort();
  }
  out[length] = '\0';
}

/* 1 when the script is another one than before: the caller restarts its machine. */
static int FakeReload(void) {
  static int loaded;
  static char fresh[FAKE_TEXT], loaded_path[4096];
  const char* path = getenv("WARPGAUGE_FAKE_SCRIPT");
  const char* log_path = getenv("WARPGAUGE_FAKE_LOG");
  const FakeEntry* start;
  int same_file;
  if (path == NULL) path = "";
  if (log_path == NULL) log_path = "";
  if (strcmp(log_path, fake_log_path) != 0) {
    if (fake_log_fd >= 0) close(fake_log_fd);
    snprintf(fake_log_path, sizeof(fake_log_path), "%s", log_path);
    fake_log_fd =
        log_path[0] == '\0' ? -1 : open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  FakeReadScript(path, fresh);
  same_file = loaded && strcmp(path, loaded_path) == 0;
  if (loaded && strcmp(fresh, fake_text) == 0) return 0;
  snprintf(loaded_path, sizeof(loaded_path), "%s", path);
  strcpy(fake_text, fresh);
  strcpy(fake_parsed, fresh);
  FakeParse();
  if (same_file && FakeFind("live") != NULL) return 0; /* changed while it runs: same machine */
  loaded = 1;
  memset(fake_counters, 0, sizeof(fake_counters));
  fake_total_calls = 0;
  start = FakeFind("start_ns");
  fake_start_ns = start != NULL ? strtoll(start->value, NULL, 0) : FakeNow();
  return 1;
}

/* With `live = 1`: takes over a changed script file, looked at every 2 ms at most. */
static FAKE_UNUSED void FakeFollow(void) {
  const char* path = getenv("WARPGAUGE_FAKE_SCRIPT");
  struct stat status;
  if (path == NULL || FakeFind("live") == NULL || FakeNow() - fake_checked_ns < 2000000) return;
  fake_checked_ns = FakeNow();
  if (stat(path, &status) == 0 && (status.st_mtim.tv_sec != fake_changed.tv_sec ||
                                   status.st_mtim.tv_nsec != fake_changed.tv_nsec)) {
    FakeReload();
  }
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
  int n, wanted;
  pthread_mutex_lock(&fake_lock);
  wanted = fake_log_fd >= 0;
  pthread_mutex_unlock(&fake_lock);
  if (!wanted) return;
  n = snprintf(line, sizeof(line), "%lld %s(", (long long)FakeNow(), function);
  n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, arguments);
  if (n > (int)sizeof(line) - 32) n = (int)sizeof(line) - 32;
  n += snprintf(line + n, sizeof(line) - (size_t)n, ") = %d\n", result);
  /* With the lock, because FakeReload closes the file; one write, so that lines of two libraries do
   * not mix. */
  pthread_mutex_lock(&fake_lock);
  if (fake_log_fd >= 0 && write(fake_log_fd, line, (size_t)n) != n) abort();
  pthread_mutex_unlock(&fake_lock);
}

/* Counts the call and gives the scripted error, 0 if none; `*latency_us` is how long it is to
 * take, `*number` which call of this function it is. */
static int FakeBegin(const char* function, int* device_fault, long* latency_us, long* number) {
  char key[160];
  long call = 0;
  int i, code = 0, fault = 0;
  pthread_mutex_lock(&fake_lock);
  for (i = 0; i < FAKE_NAMES; ++i) {
    if (fake_counters[i].name == NULL) fake_counters[i].name = function;
    if (fake_counters[i].name == function || strcmp(fake_counters[i].name, function) == 0) {
      call = ++fake_counters[i].calls;
      break;
    }
  }
  ++fake_total_calls;
  if (FakeHas(kFakeError)) {
    snprintf(key, sizeof(key), "error.%s", function);
    code = FakeError(key, call, 1);
    if (code == 0) code = FakeError("error_from_call", fake_total_calls, 1);
    fault = code != 0;
    snprintf(key, sizeof(key), "error_once.%s", function);
    if (code == 0) code = FakeError(key, call, 0);
    if (code == 0) code = FakeError("error_at_call", fake_total_calls, 0);
  }
  *latency_us = 0;
  if (FakeHas(kFakeLatency)) {
    snprintf(key, sizeof(key), "latency_us.%s", function);
    *latency_us = (long)FakeNumber(key, 0);
  }
  *number = call;
  pthread_mutex_unlock(&fake_lock);
  if (device_fault != NULL) *device_fault = fault;
  return code;
}

/* Every exported function begins here: counts, sleeps, and gives the scripted error, 0 if none.
 * `*device_fault` says that the error is one after which the device does nothing any more. */
static FAKE_UNUSED int FakeEnter(const char* function, int* device_fault) {
  long latency_us, call;
  const int code = FakeBegin(function, device_fault, &latency_us, &call);
  FakeSleepUs(latency_us);
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
