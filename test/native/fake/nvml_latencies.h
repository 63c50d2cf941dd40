/*
 * Measured costs of NVML calls, us. rtx5090: published for one RTX 5090 with driver 610.57.04.
 * h200: medians back to back on an idle H200 with driver 580.159.04; at 10 ms spacing what takes
 * microseconds takes up to ten times as long, and energy has a p99 of 14 ms. A field call costs the
 * sum of its members.
 */
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
    {"field.197", 150}, /* 300 the pair */
    {"field.198", 150},
};

static const Latency kH200[] = {
    {"nvmlDeviceGetCpuAffinity", 0.51},
    {"nvmlDeviceGetMemoryBusWidth", 96},
    {"nvmlDeviceGetNumGpuCores", 132},
    {"nvmlDeviceGetPersistenceMode", 2.99},
    {"nvmlDeviceGetComputeMode", 2.52},
    {"nvmlDeviceGetConfComputeMemSizeInfo", 13},
    {"nvmlDeviceGetUtilizationRates", 0.28},
    {"nvmlDeviceGetEncoderUtilization", 0.28},
    {"nvmlDeviceGetDecoderUtilization", 0.28},
    {"nvmlDeviceGetJpgUtilization", 0.29},
    {"nvmlDeviceGetOfaUtilization", 0.29},
    {"nvmlDeviceGetMemoryInfo", 4.53},
    {"nvmlDeviceGetMemoryInfo_v2", 4.36},
    {"nvmlDeviceGetBAR1MemoryInfo", 80},
    {"nvmlDeviceGetPowerUsage", 0.28},
    {"nvmlDeviceGetTotalEnergyConsumption", 2472},
    {"nvmlDeviceGetPowerManagementLimit", 84},
    {"nvmlDeviceGetPowerManagementLimitConstraints", 0.24},
    {"nvmlDeviceGetPowerManagementDefaultLimit", 0.24},
    {"nvmlDeviceGetEnforcedPowerLimit", 0.33},
    {"nvmlDeviceGetClockInfo", 0.34},
    {"nvmlDeviceGetMaxClockInfo", 1346},
    {"nvmlDeviceGetTemperature", 0.32},
    {"nvmlDeviceGetTemperatureV", 0.32},
    {"nvmlDeviceGetMarginTemperature", 799},
    {"nvmlDeviceGetTemperatureThreshold", 141},
    {"nvmlDeviceGetFanSpeed", 137},
    {"nvmlDeviceGetCurrentClocksEventReasons", 0.36},
    {"nvmlDeviceGetCurrentClocksThrottleReasons", 0.37},
    {"nvmlDeviceGetPerformanceState", 0.32},
    {"nvmlDeviceGetViolationStatus", 645},
    {"nvmlDeviceGetPcieReplayCounter", 146},
    {"nvmlDeviceGetCurrPcieLinkGeneration", 0.29},
    {"nvmlDeviceGetMaxPcieLinkGeneration", 0.22},
    {"nvmlDeviceGetCurrPcieLinkWidth", 23},
    {"nvmlDeviceGetMaxPcieLinkWidth", 0.22},
    {"nvmlDeviceGetPcieSpeed", 23},
    {"nvmlDeviceGetNvLinkState", 5.07},
    {"nvmlDeviceGetNvLinkVersion", 4.87},
    {"nvmlDeviceGetNvLinkErrorCounter", 5.97},
    {"nvmlDeviceGetEccMode", 134},
    {"nvmlDeviceGetTotalEccErrors", 0.55},
    {"nvmlDeviceGetMemoryErrorCounter", 0.29},
    {"nvmlDeviceGetRemappedRows", 0.27},
    {"nvmlDeviceGetRemappedRows_v2", 0.26},
    {"nvmlDeviceGetRowRemapperHistogram", 0.27},
    {"nvmlDeviceGetSramEccErrorStatus", 0.28},
    {"nvmlDeviceGetComputeRunningProcesses_v3", 5.57},
    {"nvmlDeviceGetGraphicsRunningProcesses_v3", 5.46},
    {"nvmlDeviceGetMPSComputeRunningProcesses_v3", 5.46},
    {"nvmlDeviceGetRunningProcessDetailList", 5.48},
    {"nvmlDeviceGetProcessUtilization", 2451},
    {"nvmlDeviceGetProcessesUtilizationInfo", 2165},
    {"nvmlDeviceGetSamples", 282},
    {"nvmlDeviceGetAccountingMode", 6.00},
    {"nvmlDeviceGetMigMode", 130},
    {"nvmlDeviceGetMaxMigDeviceCount", 132},
    {"nvmlDeviceGetMigDeviceHandleByIndex", 5.54},
    {"nvmlGpmQueryIfStreamingEnabled", 20},
    {"nvmlDeviceGetName", 0.27},
    {"nvmlDeviceGetUUID", 0.27},
    {"nvmlDeviceGetCount_v2", 0.26},
    {"nvmlDeviceGetHandleByIndex_v2", 0.29},
    {"nvmlInit_v2", 11000},
    {"nvmlShutdown", 3000},
    {"nvmlGpmSampleGet", 200}, /* at 10 Hz */
    {"nvmlGpmMigSampleGet", 200},
    {"nvmlGpmMetricsGet", 6},
    {"nvmlEventSetCreate", 13},
    {"nvmlDeviceRegisterEvents", 5400},
    {"nvmlEventSetFree", 2500},
    {"samples.util", 2118}, /* nvmlDeviceGetSamples of all types but power */
    {"field.74", 0.5},
    {"field.75", 565},
    {"field.82", 0.37},
    {"field.83", 2864},
    {"field.94", 146},
    {"field.95", 146},
    {"field.169", 147},
    {"field.173", 149},
    {"field.174", 149},
    {"field.175", 149},
    {"field.176", 149},
    {"field.177", 149},
    {"field.178", 149},
    {"field.179", 149},
    {"field.180", 149},
    {"field.181", 149},
    {"field.182", 149},
    {"field.183", 149},
    {"field.185", 0.33},
    {"field.186", 0.33},
    {"field.191", 2790},
    {"field.193", 138},
    {"field.197", 133},
    {"field.198", 133},
    {"field.230", 4.6},
};

static double LatencyOf(const Latency* table, size_t count, const char* name) {
  size_t i;
  for (i = 0; i < count; ++i) {
    if (strcmp(table[i].name, name) == 0) return table[i].us;
  }
  return 0;
}

static double PresetLatency(const char* preset, const char* name) {
  if (strcmp(preset, "rtx5090") == 0) {
    return LatencyOf(kRtx5090, sizeof(kRtx5090) / sizeof(kRtx5090[0]), name);
  }
  return strcmp(preset, "h200") == 0 ? LatencyOf(kH200, sizeof(kH200) / sizeof(kH200[0]), name) : 0;
}

#endif
