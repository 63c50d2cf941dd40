/*
 * The values of the simulated GPUs: what the script says, as functions of the machine's time.
 *
 * `nvml.<field> = VALUE` is every device's, `nvml.<i>.<field>` that of device i alone; what belongs
 * to a MIG instance is `nvml.<i>.gi.<gpu instance>.<field>` or, for one compute instance,
 * `nvml.<i>.ci.<gpu instance>.<compute instance>.<field>`. A VALUE is
 *   N                     constant, decimal or 0x; -1 is all ones
 *   A, B, C               successive answers, the last one stays
 *   ramp(A, R)            A + R * seconds
 *   counter(A, R)         the same, rounded down
 *   square(LOW, HIGH, P)  LOW for P/2 ms, then HIGH for P/2 ms, ...
 *   !CODE                 not a value: the call, or the field of a field call, answers CODE
 * and `VALUE every MS` changes only each MS ms, as a driver with that period would show it.
 *
 * The machine
 *   nvml.driver = Simulated 590.48.01      nvml.library, nvml.cuda: the other versions
 *   nvml.latencies = rtx5090 | h200        measured costs of the calls; none by default
 *   nvml.<i>.latency_us.<function> = T     one device; latency_us.<function> is for all
 *   latency_us.field.<id> = T              of a field id; a field call costs the sum of its members
 *   nvml.wait = sleep | spin               how that time passes; the real driver spins
 *   nvml.refresh = h200                    utilization changes each 200 ms, power, energy, clocks,
 *                                          temperatures and throttle times each 100 ms
 *   nvml.lock = slow                       calls of >= nvml.lock_from_us (2) us hold one lock of
 *                                          the process while they take it, as the real driver does;
 *                                          nvmlDeviceGetPcieThroughput sleeps without it
 *   hang_ms.<function> = T, nvml.<i>.hang_ms.<function> = T      the call takes T ms; function may
 *                                          be `*`
 *   crash.<function> = N                   a segmentation fault from the Nth call of it on
 *   nvml.<i>.fault = CODE                  every call about the device answers CODE (15, 16, ...)
 *   nvml.<i>.error.<function> = CODE       one device; error.<function> is for all
 *   nvml.gone = 1                          the driver is away: init answers 9, all else
 *                                          nvml.gone_code (999), also afterwards until a new init
 *   nvml.lost_from_call = N                from this call about a device on: 15
 *   nvml.field_clock, nvml.sample_clock = epoch | boottime     of time stamps in us
 *   nvml.gone@1000 = 1 and the like: see script.h
 *
 * A device, with defaults of a loaded H200 (memory in bytes, power in mW, energy in mJ, clocks in
 * MHz, times in ns): the fields are named where they are read, in nvml_device.h, nvml_fields.h,
 * nvml_processes.h, nvml_gpm.h, nvml_mig.h and nvml_events.h.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_VALUES_H
#define WARPGAUGE_TEST_FAKE_NVML_VALUES_H

#include "nvml_abi.h"
#include "script.h"

enum { kMaxDevices = 16 };

typedef struct {
  int index;                          /* of the GPU */
  int gpu_instance, compute_instance; /* -1: the GPU itself */
  int generation;                     /* of an instance made again under the same ids */
} Device;

typedef long double Number; /* 64 bits of mantissa: holds every counter exactly */

/* fake_lock held in all that follow. */

/* The entry for a field of a device or instance; NULL: the script does not say. */
static FakeEntry* FieldEntry(const Device* device, const char* field) {
  char key[192];
  FakeEntry* entry;
  if (device->gpu_instance >= 0) {
    snprintf(key,
             sizeof(key),
             "nvml.%d.ci.%d.%d.%s",
             device->index,
             device->gpu_instance,
             device->compute_instance,
             field);
    entry = device->compute_instance < 0 ? NULL : FakeFind(key);
    if (entry != NULL) return entry;
    snprintf(key, sizeof(key), "nvml.%d.gi.%d.%s", device->index, device->gpu_instance, field);
    return FakeFind(key);
  }
  if (FakeHas(kFakeOneDevice)) {
    snprintf(key, sizeof(key), "nvml.%d.%s", device->index, field);
    entry = FakeFind(key);
    if (entry != NULL) return entry;
  }
  stpcpy(stpcpy(key, "nvml."), field);
  return FakeFind(key);
}

static Number ParseNumber(const char* text) { return strtold(text, NULL); }

/* What `entry` is at `ms`: 0 and the value, or the error that it says. */
static int Evaluate(FakeEntry* entry, double ms, Number* value) {
  const char* text = entry->value;
  const char* every = strstr(text, " every ");
  long double a = 0, b = 0, c = 0;
  if (text[0] == '!') return atoi(text + 1);
  if (every != NULL) {
    const double period = strtod(every + 7, NULL);
    ms = period > 0 ? period * (double)(long long)(ms / period) : ms;
  }
  if (sscanf(text, "ramp(%Lf,%Lf)", &a, &b) == 2) {
    *value = a + b * (Number)ms / 1000;
  } else if (sscanf(text, "counter(%Lf,%Lf)", &a, &b) == 2) {
    *value = (Number)(long long)(b * (Number)ms / 1000) + a;
  } else if (sscanf(text, "square(%Lf,%Lf,%Lf)", &a, &b, &c) == 3 && c > 0) {
    *value = (long long)((Number)ms / (c / 2)) % 2 == 0 ? a : b;
  } else if (strchr(text, ',') != NULL) {
    char element[64];
    long at = entry->reads++;
    while (at > 0 && !FakeElement(text, at, element, sizeof(element))) --at;
    FakeElement(text, at, element, sizeof(element));
    *value = ParseNumber(element);
  } else {
    *value = ParseNumber(text);
  }
  return 0;
}

static int SettingIs(const char* key, const char* value) {
  const FakeEntry* entry = FakeFind(key);
  return entry != NULL && strcmp(entry->value, value) == 0;
}

/* When the value that is shown at `ms` was taken. */
static double RefreshedAt(const char* field, double ms) {
  static const char* const kSlow[] = {"power_", "energy", "temperature", "violation_"};
  double period = 0;
  size_t i;
  if (!SettingIs("nvml.refresh", "h200")) return ms;
  if (strncmp(field, "utilization_", 12) == 0) period = 200;
  if (strstr(field, "_mhz") != NULL) period = 100;
  for (i = 0; i < sizeof(kSlow) / sizeof(kSlow[0]); ++i) {
    if (strncmp(field, kSlow[i], strlen(kSlow[i])) == 0) period = 100;
  }
  return period == 0 ? ms : period * (double)(long long)(ms / period);
}

/* The value of a field at `ms` of the machine's time: 0, or the NVML code the script gives. */
static int FieldAt(
    const Device* device, const char* field, double ms, Number otherwise, Number* value) {
  FakeEntry* entry = FieldEntry(device, field);
  *value = otherwise;
  return entry == NULL ? 0 : Evaluate(entry, RefreshedAt(field, ms), value);
}

static int Field(const Device* device, const char* field, Number otherwise, Number* value) {
  return FieldAt(device, field, FakeMachineMs(), otherwise, value);
}

/* The value where an error of the script does not count. */
static Number FieldOr(const Device* device, const char* field, Number otherwise) {
  Number value;
  return Field(device, field, otherwise, &value) == 0 ? value : otherwise;
}

static unsigned long long ToU64(Number value) {
  return value < 0 ? (unsigned long long)(long long)value : (unsigned long long)value;
}

static unsigned ToU32(Number value) { return (unsigned)ToU64(value); } /* wraps, as hardware does */

/* A time stamp in us for the machine's `ms`, on the clock that `key` names. */
static long long Stamp(const char* key, double ms) {
  struct timespec mono, other;
  const clockid_t clock = SettingIs(key, "boottime") ? CLOCK_BOOTTIME : CLOCK_REALTIME;
  clock_gettime(CLOCK_MONOTONIC, &mono);
  clock_gettime(clock, &other);
  return ((long long)other.tv_sec - (long long)mono.tv_sec) * 1000000 +
         (other.tv_nsec - mono.tv_nsec) / 1000 + (fake_start_ns + (long long)(ms * 1e6)) / 1000;
}

#endif
