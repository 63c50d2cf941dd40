/*
 * Power, clocks and persistence: what is read, and the calls that change it. What was set is part
 * of the state of nvml_mig_state.h, with its die_before, ignore, fail and so on.
 *
 *   nvml.<i>.power_limit, power_limit_enforced, power_limit_default, power_limit_min, _max   in mW
 *   nvml.<i>.power_oob = mW          an out-of-band limit that stays in force beside what is asked
 *                                    for; where only power_limit_enforced is below power_limit the
 *                                    next request takes the place of the out-of-band one
 *   nvml.<i>.power_stuck = 1         a request is installed and what is enforced stays
 *   nvml.<i>.power_late_reads = N    so many readings still show what was enforced before
 *   nvml.<i>.lock_ignored = 1        a clock lock is taken and the clocks go on as they were
 *   nvml.<i>.clients = 0             nobody but this process has the GPU open: without persistence
 *                                    the driver forgets all settings with its last nvmlShutdown
 *   nvml.<i>.memory_clocks = 3201, 1593, ...     supported clocks; those of the SM are
 *                                    sm_mhz_min to sm_mhz_max in steps of sm_mhz_step
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_POWER_H
#define WARPGAUGE_TEST_FAKE_NVML_POWER_H

#include "nvml_mig_state.h"

static Number late_limit;
static int late_reads;

/* fake_lock held. */
static PowerGpu* PowerLook(int gpu) {
  if (FakeFind("nvml.state") != NULL) MigLook(gpu);
  return &mig_state.power[gpu];
}

/* Power and energy. */
#define POWER_AVERAGE 627400
#define POWER_INSTANT 626260
#define POWER_LIMIT 700000
READ_U32(nvmlDeviceGetPowerUsage, "power_average", POWER_AVERAGE)
READ_U32(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default", 700000)

/* What was asked for (or what the script says) and what holds; fake_lock held. */
static int RequestedLimit(const Device* device, double ms, Number* out) {
  const PowerGpu* power = PowerLook(device->index);
  const int code = FieldAt(device, "power_limit", ms, POWER_LIMIT, out);
  if (code == 0 && power->limit != 0) *out = power->limit;
  return code;
}
static int EnforcedLimit(const Device* device, double ms, Number* out) {
  const PowerGpu* power = PowerLook(device->index);
  const int code = FieldAt(device, "power_limit_enforced", ms, POWER_LIMIT, out);
  const Number ceiling = FieldOr(device, "power_oob", 0);
  if (code != 0 || power->limit == 0 || FieldOr(device, "power_stuck", 0) != 0) return code;
  if (late_reads > 0) {
    --late_reads;
    *out = late_limit;
    return 0;
  }
  *out = ceiling != 0 && ceiling < power->limit ? ceiling : power->limit;
  return 0;
}

static int ReadLimit(const char* function, const Device* device, int enforced, unsigned* out) {
  Number value = 0;
  int code = Enter(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    if (IsMig(device)) code = kNvNotSupported;
    if (code == 0) {
      code = (enforced ? EnforcedLimit : RequestedLimit)(device, FakeMachineMs(), &value);
    }
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) *out = ToU32(value);
  return FakeLeave(function, code, "%.0Lf", value);
}
FAKE_EXPORT int nvmlDeviceGetPowerManagementLimit(Device* device, unsigned* out) {
  return ReadLimit("nvmlDeviceGetPowerManagementLimit", device, 0, out);
}
FAKE_EXPORT int nvmlDeviceGetEnforcedPowerLimit(Device* device, unsigned* out) {
  return ReadLimit("nvmlDeviceGetEnforcedPowerLimit", device, 1, out);
}

FAKE_EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(Device* device,
                                                             unsigned* low,
                                                             unsigned* high) {
  Number min = 0, max = 0;
  int code = Enter("nvmlDeviceGetPowerManagementLimitConstraints", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, "power_limit_min", 200000, &min);
    if (code == 0) code = Field(device, "power_limit_max", 700000, &max);
    pthread_mutex_unlock(&fake_lock);
    *low = ToU32(min);
    *high = ToU32(max);
  }
  return Leave("nvmlDeviceGetPowerManagementLimitConstraints", code);
}

/* mJ at `ms`: what the script says, else the average power since the start. */
static int EnergyAt(const Device* device, double ms, Number* out) {
  const Number power = FieldOr(device, "power_average", POWER_AVERAGE);
  return FieldAt(
      device, "energy", ms, 5000000000.0L + (Number)(long long)(power * (Number)ms / 1000), out);
}

FAKE_EXPORT int nvmlDeviceGetTotalEnergyConsumption(Device* device, unsigned long long* out) {
  Number value = 0;
  int code = Enter("nvmlDeviceGetTotalEnergyConsumption", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = IsMig(device) ? kNvNotSupported : EnergyAt(device, FakeMachineMs(), &value);
    pthread_mutex_unlock(&fake_lock);
    *out = ToU64(value);
  }
  return FakeLeave("nvmlDeviceGetTotalEnergyConsumption", code, "%.0Lf", value);
}

/* Clocks. */

/* A clock under its lock. An idle GPU goes below any; fake_lock held. */
static unsigned Locked(const Device* device, int type, unsigned mhz) {
  const PowerGpu* power = PowerLook(device->index);
  const unsigned low = type == 2 ? power->memory_min : power->sm_min;
  const unsigned high = type == 2 ? power->memory_max : power->sm_max;
  if (type == 3 || high == 0 || FieldOr(device, "lock_ignored", 0) != 0) return mhz;
  if (mhz > high) return high;
  return mhz < low && FieldOr(device, "utilization_gpu", 100) != 0 ? low : mhz;
}
static int Clock(const char* function, const Device* device, int type, int max, unsigned* mhz) {
  static const struct {
    const char *now, *max;
    int now_mhz, max_mhz;
  } kClocks[4] = {{"graphics_mhz", "graphics_mhz_max", 1980, 1980},
                  {"sm_mhz", "sm_mhz_max", 1980, 1980},
                  {"memory_mhz", "memory_mhz_max", 3201, 3201},
                  {"video_mhz", "video_mhz_max", 1545, 1545}};
  if (type < 0 || type > 3) {
    const int code = Enter(function, device);
    return Leave(function, code != 0 ? code : kNvInvalidArgument);
  }
  if (!max) {
    Number value = 0;
    int code = Answer(function, device, kClocks[type].now, kClocks[type].now_mhz, &value);
    pthread_mutex_lock(&fake_lock);
    if (code == 0) *mhz = Locked(device, type, ToU32(value));
    pthread_mutex_unlock(&fake_lock);
    return code;
  }
  return AnswerU32(function, device, kClocks[type].max, kClocks[type].max_mhz, mhz);
}
FAKE_EXPORT int nvmlDeviceGetClockInfo(Device* device, int type, unsigned* mhz) {
  return Clock("nvmlDeviceGetClockInfo", device, type, 0, mhz);
}
FAKE_EXPORT int nvmlDeviceGetMaxClockInfo(Device* device, int type, unsigned* mhz) {
  return Clock("nvmlDeviceGetMaxClockInfo", device, type, 1, mhz);
}
FAKE_EXPORT int nvmlDeviceGetClock(Device* device, int type, int id, unsigned* mhz) {
  return Clock("nvmlDeviceGetClock", device, type, id != 0, mhz);
}

static int Reasons(const char* function, const Device* device, unsigned long long* bits) {
  Number value = 0;
  const int code = Answer(function, device, "reasons", 0, &value);
  if (code == 0) *bits = ToU64(value);
  return code;
}
#if FAKE_HEADER >= 1202
FAKE_EXPORT int nvmlDeviceGetCurrentClocksEventReasons(Device* device, unsigned long long* bits) {
  return Reasons("nvmlDeviceGetCurrentClocksEventReasons", device, bits);
}
#endif
FAKE_EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(Device* device,
                                                          unsigned long long* bits) {
  return Reasons("nvmlDeviceGetCurrentClocksThrottleReasons", device, bits);
}

FAKE_EXPORT int nvmlDeviceGetSupportedMemoryClocks(Device* device, unsigned* count, unsigned* mhz) {
  const char* function = "nvmlDeviceGetSupportedMemoryClocks";
  int code = Enter(function, device);
  if (code == 0) {
    const FakeEntry* entry;
    char text[32];
    unsigned n = 0;
    pthread_mutex_lock(&fake_lock);
    entry = FieldEntry(device, "memory_clocks");
    while (FakeElement(entry == NULL ? "3201, 1593" : entry->value, n, text, sizeof(text))) {
      if (n < *count) mhz[n] = (unsigned)strtoul(text, NULL, 0);
      ++n;
    }
    if (n > *count) code = kNvInsufficientSize;
    *count = n;
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave(function, code);
}

FAKE_EXPORT int nvmlDeviceGetSupportedGraphicsClocks(Device* device,
                                                     unsigned memory_mhz,
                                                     unsigned* count,
                                                     unsigned* mhz) {
  const char* function = "nvmlDeviceGetSupportedGraphicsClocks";
  int code = Enter(function, device);
  if (code == 0) {
    unsigned low, high, step, at, n = 0;
    pthread_mutex_lock(&fake_lock);
    low = ToU32(FieldOr(device, "sm_mhz_min", 345));
    high = ToU32(FieldOr(device, "sm_mhz_max", 1980));
    step = ToU32(FieldOr(device, "sm_mhz_step", 15));
    for (at = high; at >= low; at -= step) {
      if (n < *count) mhz[n] = at;
      ++n;
    }
    if (n > *count) code = kNvInsufficientSize;
    *count = n;
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", memory_mhz);
}

FAKE_EXPORT int nvmlDeviceGetPersistenceMode(Device* device, unsigned* out) {
  const int code = AnswerU32("nvmlDeviceGetPersistenceMode", device, "persistence", 1, out);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && PowerLook(device->index)->persistence != 0) {
    *out = mig_state.power[device->index].persistence - 1;
  }
  pthread_mutex_unlock(&fake_lock);
  return code;
}

/* ---- what changes them ---- */

FAKE_EXPORT int nvmlDeviceSetPowerManagementLimit(Device* device, unsigned limit) {
  const char* function = "nvmlDeviceSetPowerManagementLimit";
  MigChange change;
  int changed = 0, code = Enter(function, device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  code = BeginChange(&change, code);
  if (code == 0) {
    Number before = 0;
    if (limit < ToU32(FieldOr(device, "power_limit_min", 200000)) ||
        limit > ToU32(FieldOr(device, "power_limit_max", POWER_LIMIT))) {
      code = kNvInvalidArgument;
    } else if (!change.skip) {
      PowerGpu* power = &mig_state.power[device->index];
      const Number ceiling = FieldOr(device, "power_oob", 0);
      if (power->limit == 0) {
        before = FieldOr(device, "power_limit_enforced", POWER_LIMIT);
      } else {
        before = ceiling != 0 && ceiling < power->limit ? ceiling : power->limit;
      }
      late_limit = before;
      late_reads = (int)FieldOr(device, "power_late_reads", 0);
      power->limit = limit;
      changed = 1;
    }
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u", limit);
}

static int SetLock(const char* function, Device* device, int memory, unsigned low, unsigned high) {
  MigChange change;
  int changed = 0, code = Enter(function, device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0 && low > high) code = kNvInvalidArgument;
  code = BeginChange(&change, code);
  if (code == 0 && !change.skip) {
    PowerGpu* power = &mig_state.power[device->index];
    *(memory ? &power->memory_min : &power->sm_min) = low;
    *(memory ? &power->memory_max : &power->sm_max) = high;
    changed = 1;
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u, %u", low, high);
}
FAKE_EXPORT int nvmlDeviceSetGpuLockedClocks(Device* device, unsigned low, unsigned high) {
  return SetLock("nvmlDeviceSetGpuLockedClocks", device, 0, low, high);
}
FAKE_EXPORT int nvmlDeviceResetGpuLockedClocks(Device* device) {
  return SetLock("nvmlDeviceResetGpuLockedClocks", device, 0, 0, 0);
}
FAKE_EXPORT int nvmlDeviceSetMemoryLockedClocks(Device* device, unsigned low, unsigned high) {
  return SetLock("nvmlDeviceSetMemoryLockedClocks", device, 1, low, high);
}
FAKE_EXPORT int nvmlDeviceResetMemoryLockedClocks(Device* device) {
  return SetLock("nvmlDeviceResetMemoryLockedClocks", device, 1, 0, 0);
}

FAKE_EXPORT int nvmlDeviceSetPersistenceMode(Device* device, unsigned mode) {
  const char* function = "nvmlDeviceSetPersistenceMode";
  MigChange change;
  int changed = 0, code = Enter(function, device);
  if (code == 0 && mode > 1) code = kNvInvalidArgument;
  code = BeginChange(&change, code);
  if (code == 0 && !change.skip) {
    mig_state.power[device->index].persistence = mode + 1;
    changed = 1;
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u", mode);
}

/* The last client of a GPU without persistence is gone: its settings are too. fake_lock held. */
static void ForgetSettings(void) {
  int i, fd, changed = 0;
  if (FakeFind("nvml.state") == NULL) return;
  fd = MigOpen();
  for (i = 0; i < DeviceCount(); ++i) {
    PowerGpu* power = &mig_state.power[i];
    const int on = power->persistence != 0 ? power->persistence == 2
                                           : FieldOr(&devices[i], "persistence", 1) != 0;
    if (on || FieldOr(&devices[i], "clients", 1) != 0) continue;
    power->limit = power->sm_min = power->sm_max = power->memory_min = power->memory_max = 0;
    changed = 1;
  }
  MigClose(fd, changed);
}

#endif
