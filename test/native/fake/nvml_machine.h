/* The simulated NVML process: devices, init generations, and how every call begins and ends. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MACHINE_H
#define WARPGAUGE_TEST_FAKE_NVML_MACHINE_H

#include <sched.h>

#include "nvml_latencies.h"
#include "nvml_values.h"

/* Which driver this library is: a header version as 1204 for 12.4. Decides which functions are
 * exported, what field ids mean, and which GPM metrics there are. */
#ifndef FAKE_HEADER
#define FAKE_HEADER 1301
#endif
#ifndef FAKE_DRIVER
#define FAKE_DRIVER "590.48.01"
#endif
#ifndef FAKE_RENUMBERED /* 580.82 and later: field ids of the 13.1 header in a 13.0 driver */
#define FAKE_RENUMBERED 0
#endif
#ifndef FAKE_EARLY_535 /* 535.43 to 535.86: process lists of 32-byte entries */
#define FAKE_EARLY_535 0
#endif

enum { kMaxMig = 64 };
static Device devices[kMaxDevices];
static Device mig_devices[kMaxDevices][kMaxMig];
static int mig_count[kMaxDevices];
static int initialized;
static double initialized_ms;
static long device_calls;
static pthread_mutex_t driver_lock = PTHREAD_MUTEX_INITIALIZER; /* nvml.lock */

static int DeviceCount(void) {
  const long long count = FakeNumber("devices", 1);
  return count < 0 ? 0 : count > kMaxDevices ? kMaxDevices : (int)count;
}

static int IsMig(const Device* device) { return device->gpu_instance >= 0; }

/* Whether the handle is one that this library gave out. fake_lock held. */
static int IsDevice(const Device* device) {
  int i;
  if (device >= devices && device < devices + kMaxDevices) return 1;
  for (i = 0; i < kMaxDevices; ++i) {
    if (device >= mig_devices[i] && device < mig_devices[i] + mig_count[i]) return 1;
  }
  return 0;
}

static int MigIsCurrent(const Device* mig); /* nvml_mig.h */
static void MigDieIfArmed(void);            /* nvml_mig_state.h */
static int MigMode(const Device* device);

/* 1 while the driver is away, and for a process that has not initialized since. fake_lock held. */
static int DriverGone(void) {
  const double now = FakeMachineMs();
  const FakeEntry* entry = FakeFind("nvml.gone");
  if (entry != NULL && strtol(entry->value, NULL, 0) != 0) return 1;
  for (entry = *FakeSlot("nvml.gone"); entry != NULL; entry = entry->next) {
    if (strtol(entry->value, NULL, 0) != 0 && entry->from_ms > initialized_ms &&
        entry->from_ms <= now) {
      return 1;
    }
  }
  return 0;
}

static void WaitUntil(int64_t deadline_ns, int spin) {
  const int64_t slack = 60000; /* default timer slack: the rest is spun away */
  if (!spin && deadline_ns - FakeNow() > 2 * slack) {
    const int64_t at = deadline_ns - slack;
    struct timespec t = {(time_t)(at / 1000000000), (long)(at % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
    }
  }
  while (FakeNow() < deadline_ns) sched_yield();
}

/* The scripted number of `nvml.<i>.<what>.<name>`, `<what>.<name>`, or of `*`; fake_lock held. */
static Number Behaviour(
    const Device* device, FakeFamily family, const char* what, const char* name, Number otherwise) {
  const char* names[2] = {name, "*"};
  char key[192];
  Number value = otherwise;
  int i;
  if (!FakeHas(family)) return otherwise;
  for (i = 0; i < 2; ++i) {
    FakeEntry* entry = NULL;
    if (device != NULL && FakeHas(kFakeOneDevice)) {
      snprintf(key, sizeof(key), "nvml.%d.%s.%s", device->index, what, names[i]);
      entry = FakeFind(key);
    }
    snprintf(key, sizeof(key), "%s.%s", what, names[i]);
    if (entry == NULL) entry = FakeFind(key);
    if (entry != NULL && Evaluate(entry, FakeMachineMs(), &value) == 0) return value;
  }
  return otherwise;
}

/* `nvml.<i>.error.<function>`; what is for all devices FakeBegin knows. fake_lock held. */
static int DeviceError(const Device* device, const char* function) {
  char key[192];
  const FakeEntry* entry;
  if (!FakeHas(kFakeOneDevice) || !FakeHas(kFakeError)) return 0;
  snprintf(key, sizeof(key), "nvml.%d.error.%s", device->index, function);
  entry = FakeFind(key);
  return entry == NULL ? 0 : atoi(entry->value);
}

/* Lets `us` pass since `begin_ns`, under the driver's lock where the script says so. */
static void TakeTime(double us, int64_t begin_ns) {
  int locked, spin;
  if (us <= 0) return;
  pthread_mutex_lock(&fake_lock);
  spin = SettingIs("nvml.wait", "spin");
  locked = SettingIs("nvml.lock", "slow") && us >= (double)FakeNumber("nvml.lock_from_us", 2);
  pthread_mutex_unlock(&fake_lock);
  if (locked) {
    pthread_mutex_lock(&driver_lock);
    begin_ns = FakeNow();
  }
  WaitUntil(begin_ns + (int64_t)(us * 1000), spin);
  if (locked) pthread_mutex_unlock(&driver_lock);
}

/* Begins any call: counts it, lets it take its time or crash, and gives the scripted error, 0 if
 * none. `device` may be NULL. */
static int Begin(const char* function, const Device* device) {
  const int64_t begin = FakeNow();
  const FakeEntry* preset;
  long scripted_us, call;
  double us, hang_ms;
  Number crash_from;
  int code, crash;
  pthread_mutex_lock(&fake_lock);
  MigDieIfArmed();
  FakeFollow();
  pthread_mutex_unlock(&fake_lock);
  code = FakeBegin(function, NULL, &scripted_us, &call);
  pthread_mutex_lock(&fake_lock);
  preset = FakeFind("nvml.latencies");
  us = (double)Behaviour(device,
                         kFakeLatency,
                         "latency_us",
                         function,
                         preset == NULL ? 0 : PresetLatency(preset->value, function));
  hang_ms = (double)Behaviour(device, kFakeHang, "hang_ms", function, 0);
  crash_from = Behaviour(NULL, kFakeCrash, "crash", function, 0);
  crash = crash_from > 0 && call >= crash_from;
  pthread_mutex_unlock(&fake_lock);
  if (crash) {
    /* A real fault: a signal sent to itself would wait in a thread that blocks signals. */
    int* volatile nowhere = (int*)(uintptr_t)8;
    *nowhere = 0;
  }
  TakeTime(us, begin);
  FakeSleepUs((long)(hang_ms * 1000));
  return code;
}

/* A call about no device: 0 when it may answer. */
static int EnterSystem(const char* function) {
  int code = Begin(function, NULL);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && initialized == 0) code = kNvUninitialized;
  if (code == 0 && DriverGone()) code = (int)FakeNumber("nvml.gone_code", kNvUnknown);
  pthread_mutex_unlock(&fake_lock);
  return code;
}

/* A call about a device or instance: 0 when it may answer. */
static int Enter(const char* function, const Device* device) {
  int code, known;
  long lost;
  pthread_mutex_lock(&fake_lock);
  known = IsDevice(device);
  pthread_mutex_unlock(&fake_lock);
  code = Begin(function, known ? device : NULL);
  pthread_mutex_lock(&fake_lock);
  lost = (long)FakeNumber("nvml.lost_from_call", 0);
  ++device_calls;
  if (code == 0 && initialized == 0) code = kNvUninitialized;
  if (code == 0 && DriverGone()) code = (int)FakeNumber("nvml.gone_code", kNvUnknown);
  if (code == 0 && lost > 0 && device_calls >= lost) code = 15;
  if (code == 0 && !known) code = kNvInvalidArgument;
  if (code == 0) code = (int)FieldOr(&devices[device->index], "fault", 0);
  if (code == 0) code = DeviceError(device, function);
  if (code == 0 && IsMig(device) && !MigIsCurrent(device)) {
    code = (int)FakeNumber("nvml.stale_mig_code", kNvNotFound);
  }
  pthread_mutex_unlock(&fake_lock);
  return code;
}

static int Leave(const char* function, int code) { return FakeLeave(function, code, "%s", ""); }

/* A call that gives one number of a device. */
static int Answer(
    const char* function, const Device* device, const char* field, Number otherwise, Number* out) {
  int code = Enter(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = IsMig(device) && FieldEntry(device, field) == NULL
               ? kNvNotSupported /* what an instance lacks is not the whole GPU's */
               : Field(device, field, otherwise, out);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%.0Lf", code == 0 ? *out : 0);
}

static int AnswerU32(const char* function,
                     const Device* device,
                     const char* field,
                     Number otherwise,
                     unsigned* out) {
  Number value = 0;
  const int code = Answer(function, device, field, otherwise, &value);
  if (code == 0) *out = ToU32(value);
  return code;
}

#define READ_U32(function, field, otherwise)                    \
  FAKE_EXPORT int function(Device* device, unsigned* out) {     \
    return AnswerU32(#function, device, field, otherwise, out); \
  }

static int AnswerText(const char* function, int code, const char* text, char* out, unsigned size) {
  if (code == 0 && strlen(text) + 1 > size) code = kNvInsufficientSize;
  if (code == 0) memcpy(out, text, strlen(text) + 1);
  return FakeLeave(function, code, "%s", text);
}

#endif
