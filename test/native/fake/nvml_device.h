/* Everything that is read of a device with a function of its own. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_DEVICE_H
#define WARPGAUGE_TEST_FAKE_NVML_DEVICE_H

#include "nvml_power.h"

#define MIB ((Number)1048576)

#define READ_TEXT(function, field, otherwise)                                    \
  FAKE_EXPORT int function(Device* device, char* out, unsigned size) {           \
    char text[128];                                                              \
    const int code = DeviceText(#function, device, field, otherwise, text, 128); \
    return AnswerText(#function, code, text, out, size);                         \
  }

static int DeviceText(const char* function,
                      const Device* device,
                      const char* field,
                      const char* otherwise,
                      char* text,
                      size_t size) {
  const int code = Enter(function, device);
  const FakeEntry* entry;
  text[0] = '\0';
  pthread_mutex_lock(&fake_lock);
  entry = code == 0 ? FieldEntry(device, field) : NULL;
  snprintf(text, size, "%s", entry != NULL ? entry->value : otherwise);
  pthread_mutex_unlock(&fake_lock);
  if (code == 0 && text[0] == '!') return atoi(text + 1);
  return code;
}

/* Identity. */
READ_TEXT(nvmlDeviceGetSerial, "serial", "Simulated")
READ_TEXT(nvmlDeviceGetVbiosVersion, "vbios", "Simulated 96.00.A5")
READ_TEXT(nvmlDeviceGetBoardPartNumber, "board_part", "Simulated")
READ_TEXT(nvmlDeviceGetInforomImageVersion, "inforom", "Simulated")

FAKE_EXPORT int nvmlDeviceGetMinorNumber(Device* device, unsigned* out) {
  return AnswerU32("nvmlDeviceGetMinorNumber", device, "minor", device->index, out);
}
FAKE_EXPORT int nvmlDeviceGetIndex(Device* device, unsigned* out) {
  return AnswerU32("nvmlDeviceGetIndex", device, "index", device->index, out);
}
READ_U32(nvmlDeviceGetArchitecture, "architecture", 9)
READ_U32(nvmlDeviceGetBrand, "brand", 14)
READ_U32(nvmlDeviceGetMemoryBusWidth, "memory_bus_bits", 6016)
READ_U32(nvmlDeviceGetNumGpuCores, "cores", 16896)
READ_U32(nvmlDeviceGetComputeMode, "compute_mode", 0)
READ_U32(nvmlDeviceGetAccountingMode, "accounting", 0)
READ_U32(nvmlDeviceGetAccountingBufferSize, "accounting_buffer", 4000)
#if FAKE_HEADER >= 1204
/* The GPU's own memory as a NUMA node: coherent systems only. */
FAKE_EXPORT int nvmlDeviceGetNumaNodeId(Device* device, unsigned* out) {
  int known;
  pthread_mutex_lock(&fake_lock);
  known = IsDevice(device) && FieldEntry(device, "numa_node") != NULL;
  pthread_mutex_unlock(&fake_lock);
  if (!known) {
    const int code = Enter("nvmlDeviceGetNumaNodeId", device);
    return Leave("nvmlDeviceGetNumaNodeId", code != 0 ? code : kNvNotSupported);
  }
  return AnswerU32("nvmlDeviceGetNumaNodeId", device, "numa_node", 0, out);
}
#endif

FAKE_EXPORT int nvmlDeviceGetCudaComputeCapability(Device* device, int* major, int* minor) {
  const int code = Enter("nvmlDeviceGetCudaComputeCapability", device);
  if (code == 0) {
    *major = 9;
    *minor = 0;
  }
  return Leave("nvmlDeviceGetCudaComputeCapability", code);
}

FAKE_EXPORT int nvmlDeviceGetPciInfo_v3(Device* device, NvPciInfo* out) {
  const int code = Enter("nvmlDeviceGetPciInfo_v3", device);
  char pci[32];
  if (code == 0) {
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&fake_lock);
    FakeDevicePci(device->index, pci, sizeof(pci));
    out->device_id = ToU32(FieldOr(device, "pci_device_id", 0x233510de));
    out->subsystem_id = ToU32(FieldOr(device, "pci_subsystem_id", 0x18be10de));
    pthread_mutex_unlock(&fake_lock);
    sscanf(pci, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->bus_id,
             sizeof(out->bus_id),
             "%08X:%02X:%02X.0",
             out->domain,
             out->bus & 0xff,
             out->device & 0xff);
    snprintf(out->bus_id_legacy,
             sizeof(out->bus_id_legacy),
             "%04X:%02X:%02X.0",
             out->domain & 0xffff,
             out->bus & 0xff,
             out->device & 0xff);
  }
  return Leave("nvmlDeviceGetPciInfo_v3", code);
}

static int Affinity(const char* function,
                    const Device* device,
                    const char* field,
                    Number otherwise,
                    unsigned words,
                    unsigned long* out) {
  Number value = 0;
  const int code = Answer(function, device, field, otherwise, &value);
  if (code == 0) {
    memset(out, 0, words * sizeof(*out));
    if (words > 0) out[0] = (unsigned long)ToU64(value);
  }
  return code;
}
FAKE_EXPORT int nvmlDeviceGetCpuAffinity(Device* device, unsigned words, unsigned long* out) {
  return Affinity("nvmlDeviceGetCpuAffinity", device, "cpu_affinity", 0xffffff, words, out);
}
FAKE_EXPORT int nvmlDeviceGetCpuAffinityWithinScope(Device* device,
                                                    unsigned words,
                                                    unsigned long* out,
                                                    unsigned scope) {
  (void)scope;
  return Affinity(
      "nvmlDeviceGetCpuAffinityWithinScope", device, "cpu_affinity", 0xffffff, words, out);
}
FAKE_EXPORT int nvmlDeviceGetMemoryAffinity(Device* device,
                                            unsigned words,
                                            unsigned long* out,
                                            unsigned scope) {
  (void)scope;
  return Affinity("nvmlDeviceGetMemoryAffinity", device, "memory_affinity", 1, words, out);
}

/* Utilization. None of it is there for a GPU in MIG mode. */
static int EnterNotMig(const char* function, const Device* device) {
  int code = Enter(function, device);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && (IsMig(device) || MigMode(device))) code = kNvNotSupported;
  pthread_mutex_unlock(&fake_lock);
  return code;
}

FAKE_EXPORT int nvmlDeviceGetUtilizationRates(Device* device, NvUtilization* out) {
  Number gpu = 0, memory = 0;
  int code = EnterNotMig("nvmlDeviceGetUtilizationRates", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, "utilization_gpu", 100, &gpu);
    if (code == 0) code = Field(device, "utilization_memory", 7, &memory);
    pthread_mutex_unlock(&fake_lock);
    out->gpu = ToU32(gpu);
    out->memory = ToU32(memory);
  }
  return FakeLeave("nvmlDeviceGetUtilizationRates", code, "%.0Lf, %.0Lf", gpu, memory);
}

static int EngineUse(const char* function,
                     const Device* device,
                     const char* field,
                     unsigned* percent,
                     unsigned* period_us) {
  Number value = 0;
  int code = EnterNotMig(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, field, 0, &value);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) {
    *percent = ToU32(value);
    *period_us = 100000;
  }
  return Leave(function, code);
}
#define READ_ENGINE(function, field)                                                 \
  FAKE_EXPORT int function(Device* device, unsigned* percent, unsigned* period_us) { \
    return EngineUse(#function, device, field, percent, period_us);                  \
  }
READ_ENGINE(nvmlDeviceGetEncoderUtilization, "utilization_encoder")
READ_ENGINE(nvmlDeviceGetDecoderUtilization, "utilization_decoder")
#if FAKE_HEADER >= 1202
READ_ENGINE(nvmlDeviceGetJpgUtilization, "utilization_jpeg")
READ_ENGINE(nvmlDeviceGetOfaUtilization, "utilization_ofa")
#endif

/* Memory. Where free is not given it is what is left. */
static int ReadMemory(
    const Device* device, Number* total, Number* reserved, Number* used, Number* free_bytes) {
  int code;
  pthread_mutex_lock(&fake_lock);
  code = Field(device, "memory_total", 143771 * MIB, total);
  if (code == 0) code = Field(device, "memory_reserved", IsMig(device) ? 0 : 614 * MIB, reserved);
  if (code == 0) code = Field(device, "memory_used", IsMig(device) ? 0 : 32362 * MIB, used);
  if (code == 0) code = Field(device, "memory_free", *total - *reserved - *used, free_bytes);
  pthread_mutex_unlock(&fake_lock);
  return code;
}

FAKE_EXPORT int nvmlDeviceGetMemoryInfo(Device* device, NvMemory* out) {
  Number total = 0, reserved = 0, used = 0, free_bytes = 0;
  int code = Enter("nvmlDeviceGetMemoryInfo", device);
  if (code == 0) code = ReadMemory(device, &total, &reserved, &used, &free_bytes);
  if (code == 0) {
    out->total = ToU64(total);
    out->free = ToU64(free_bytes);
    out->used = ToU64(used + reserved); /* the older call does not tell them apart */
  }
  return Leave("nvmlDeviceGetMemoryInfo", code);
}

FAKE_EXPORT int nvmlDeviceGetMemoryInfo_v2(Device* device, NvMemoryV2* out) {
  Number total = 0, reserved = 0, used = 0, free_bytes = 0;
  int code = Enter("nvmlDeviceGetMemoryInfo_v2", device);
  if (code == 0 && out->version != NV_VERSION(NvMemoryV2, 2)) code = 13; /* so on an H200 */
  if (code == 0) code = ReadMemory(device, &total, &reserved, &used, &free_bytes);
  if (code == 0) {
    out->total = ToU64(total);
    out->reserved = ToU64(reserved);
    out->free = ToU64(free_bytes);
    out->used = ToU64(used);
  }
  return Leave("nvmlDeviceGetMemoryInfo_v2", code);
}

FAKE_EXPORT int nvmlDeviceGetBAR1MemoryInfo(Device* device, NvMemory* out) {
  Number total = 0, used = 0, free_bytes = 0;
  int code = Enter("nvmlDeviceGetBAR1MemoryInfo", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, "bar1_total", 262144 * MIB, &total);
    if (code == 0) code = Field(device, "bar1_used", MIB, &used);
    if (code == 0) code = Field(device, "bar1_free", total - used, &free_bytes);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) {
    out->total = ToU64(total);
    out->free = ToU64(free_bytes);
    out->used = ToU64(used);
  }
  return Leave("nvmlDeviceGetBAR1MemoryInfo", code);
}

FAKE_EXPORT int nvmlDeviceGetConfComputeMemSizeInfo(Device* device, NvConfMemory* out) {
  const int code = Enter("nvmlDeviceGetConfComputeMemSizeInfo", device);
  if (code == 0) out->protected_kib = out->unprotected_kib = 0;
  return Leave("nvmlDeviceGetConfComputeMemSizeInfo", code);
}

READ_U32(nvmlDeviceGetPerformanceState, "pstate", 0)

FAKE_EXPORT int nvmlDeviceGetViolationStatus(Device* device, int policy, NvViolationTime* out) {
  char field[32];
  Number value = 0;
  int code;
  snprintf(field, sizeof(field), "violation_%d", policy);
  code = Answer("nvmlDeviceGetViolationStatus", device, field, 0, &value);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->reference_time = (unsigned long long)Stamp("nvml.field_clock", FakeMachineMs());
    pthread_mutex_unlock(&fake_lock);
    out->violation_time = ToU64(value);
  }
  return code;
}

/* Temperatures and fans. The H200 has no fan of its own. */
FAKE_EXPORT int nvmlDeviceGetTemperature(Device* device, int sensor, unsigned* celsius) {
  (void)sensor;
  return AnswerU32("nvmlDeviceGetTemperature", device, "temperature", 52, celsius);
}
#if FAKE_HEADER >= 1208
FAKE_EXPORT int nvmlDeviceGetTemperatureV(Device* device, NvTemperature* out) {
  Number value = 0;
  int code = Enter("nvmlDeviceGetTemperatureV", device);
  if (code == 0 && out->version != NV_VERSION(NvTemperature, 1)) code = kNvVersionMismatch;
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, "temperature", 52, &value);
    pthread_mutex_unlock(&fake_lock);
    out->celsius = (int)value;
  }
  return Leave("nvmlDeviceGetTemperatureV", code);
}
FAKE_EXPORT int nvmlDeviceGetMarginTemperature(Device* device, NvMarginTemperature* out) {
  Number value = 0;
  int code = Enter("nvmlDeviceGetMarginTemperature", device);
  if (code == 0 && out->version != NV_VERSION(NvMarginTemperature, 1)) code = kNvVersionMismatch;
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, "temperature_margin", 35, &value);
    pthread_mutex_unlock(&fake_lock);
    out->celsius = (int)value;
  }
  return Leave("nvmlDeviceGetMarginTemperature", code);
}
FAKE_EXPORT int nvmlDeviceGetFanSpeedRPM(Device* device, NvFanSpeed* out) {
  Number value = 0;
  int code = Enter("nvmlDeviceGetFanSpeedRPM", device);
  if (code == 0 && out->version != NV_VERSION(NvFanSpeed, 1)) code = kNvVersionMismatch;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = FieldOr(device, "fans", 0) <= out->fan ? kNvInvalidArgument
                                                  : Field(device, "fan_rpm", 0, &value);
    pthread_mutex_unlock(&fake_lock);
    out->rpm = ToU32(value);
  }
  return Leave("nvmlDeviceGetFanSpeedRPM", code);
}
#endif
FAKE_EXPORT int nvmlDeviceGetTemperatureThreshold(Device* device, int threshold, unsigned* out) {
  static const int kDefaults[4] = {95, 89, 95, 87};
  char field[40];
  if (threshold < 0 || threshold > 3) {
    const int code = Enter("nvmlDeviceGetTemperatureThreshold", device);
    return Leave("nvmlDeviceGetTemperatureThreshold", code != 0 ? code : kNvNotSupported);
  }
  snprintf(field, sizeof(field), "temperature_threshold_%d", threshold);
  return AnswerU32("nvmlDeviceGetTemperatureThreshold", device, field, kDefaults[threshold], out);
}
READ_U32(nvmlDeviceGetNumFans, "fans", 0)
/* `without`: what a GPU without fans answers. */
static int FanPercent(
    const char* function, const Device* device, unsigned fan, int without, unsigned* out) {
  Number value = 0;
  int code = Enter(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = FieldOr(device, "fans", 0) <= fan ? without : Field(device, "fan_percent", 30, &value);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) *out = ToU32(value);
  return Leave(function, code);
}
FAKE_EXPORT int nvmlDeviceGetFanSpeed(Device* device, unsigned* out) {
  return FanPercent("nvmlDeviceGetFanSpeed", device, 0, kNvNotSupported, out);
}
FAKE_EXPORT int nvmlDeviceGetFanSpeed_v2(Device* device, unsigned fan, unsigned* out) {
  return FanPercent("nvmlDeviceGetFanSpeed_v2", device, fan, kNvInvalidArgument, out);
}

/* The PCIe link and its bytes. */
READ_U32(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_gen", 5)
READ_U32(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_gen_max", 5)
READ_U32(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie_gen_max_gpu", 5)
READ_U32(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width", 16)
READ_U32(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max", 16)
READ_U32(nvmlDeviceGetPcieSpeed, "pcie_mbps", 32000)

static long long replays_added[kMaxDevices];
FAKE_EXPORT int nvmlDeviceGetPcieReplayCounter(Device* device, unsigned* count) {
  Number value = 0;
  const int code = Answer("nvmlDeviceGetPcieReplayCounter", device, "replays", 0, &value);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *count = ToU32(value + replays_added[device->index]);
    replays_added[device->index] += FakeNumber("nvml.replays_step", 0);
    pthread_mutex_unlock(&fake_lock);
  }
  return code;
}

/* Bytes since the start at `ms`, not wrapped. */
static int PcieBytesAt(const Device* device, int rx, double ms, Number* out) {
  return rx ? FieldAt(device, "pcie_rx_bytes", ms, (Number)(long long)(337.0 * ms), out)
            : FieldAt(device, "pcie_tx_bytes", ms, (Number)(long long)(371.0 * ms), out);
}

FAKE_EXPORT int nvmlDeviceGetPcieThroughput(Device* device, int counter, unsigned* kb_per_second) {
  Number before = 0, after = 0;
  double ms = 0, window_ms = 20;
  int code = Enter("nvmlDeviceGetPcieThroughput", device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    ms = FakeMachineMs();
    window_ms = (double)FieldOr(device, "pcie_throughput_window_ms", 20);
    code = FieldEntry(device, "pcie_throughput_error") != NULL
               ? (int)FieldOr(device, "pcie_throughput_error", kNvNotSupported)
               : PcieBytesAt(device, counter == 1, ms, &before);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) {
    FakeSleepUs((long)(window_ms * 1000));
    pthread_mutex_lock(&fake_lock);
    code = PcieBytesAt(device, counter == 1, ms + window_ms, &after);
    pthread_mutex_unlock(&fake_lock);
    *kb_per_second = ToU32((after - before) / window_ms);
  }
  return Leave("nvmlDeviceGetPcieThroughput", code);
}

#endif
