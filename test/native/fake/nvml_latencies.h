/* Measured costs of NVML calls, us. rtx5090: published for one RTX 5090 with driver 610.57.04. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_LATENCIES_H
#define WARPGAUGE_TEST_FAKE_NVML_LATENCIES_H

#include <stddef.h>
#include <string.h>

typedef struct {
  const char* name; /* of a function, or `field.<id>` */
  double us;
} Latency;

static const Latency kRtx5090[] = {
    {"nvmlInit_v2", 4000},
    {"nvmlDeviceGetUtilizationRates", 1.5},
    {"nvmlDeviceGetTemperature", 1.5},
    {"nvmlDeviceGetTemperatureV", 1.5},
    {"nvmlDeviceGetPowerUsage", 1.5},
    {"nvmlDeviceGetClockInfo", 1.5},
    {"nvmlDeviceGetEnforcedPowerLimit", 0.5},
    {"nvmlDeviceGetPerformanceState", 1.5},
    {"nvmlDeviceGetEncoderUtilization", 1.5},
    {"nvmlDeviceGetDecoderUtilization", 1.5},
    {"nvmlDeviceGetCurrentClocksEventReasons", 1.5},
    {"nvmlDeviceGetCurrPcieLinkGeneration", 1.5},
    {"nvmlDeviceGetCurrPcieLinkWidth", 1.5},
    {"nvmlDeviceGetMemoryInfo_v2", 3},
    {"nvmlDeviceGetBAR1MemoryInfo", 84},
    {"nvmlDeviceGetPowerManagementLimit", 122},
    {"nvmlDeviceGetNumGpuCores", 180},
    {"nvmlDeviceGetMemoryBusWidth", 190},
    {"nvmlDeviceGetComputeRunningProcesses_v3", 200},
    {"nvmlDeviceGetGraphicsRunningProcesses_v3", 130},
    {"nvmlDeviceGetFanSpeed_v2", 400},
    {"nvmlDeviceGetFanSpeedRPM", 400},
    {"nvmlDeviceGetSamples", 1500},
    {"nvmlDeviceGetProcessUtilization", 1700},
    {"nvmlDeviceGetTotalEnergyConsumption", 2600},
    {"field.82", 1200},
    {"field.83", 2600},
    {"field.185", 3300},
    {"field.186", 3},
    {"field.191", 2600},
    {"field.197", 300},
    {"field.198", 300},
};

static double LatencyOf(const Latency* table, size_t count, const char* name) {
  size_t i;
  for (i = 0; i < count; ++i) {
    if (strcmp(table[i].name, name) == 0) return table[i].us;
  }
  return 0;
}

static double PresetLatency(const char* preset, const char* name) {
  if (preset != NULL && strcmp(preset, "rtx5090") == 0) {
    return LatencyOf(kRtx5090, sizeof(kRtx5090) / sizeof(kRtx5090[0]), name);
  }
  return 0;
}

#endif
