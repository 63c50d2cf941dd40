// Compares our declarations of the NVML ABI with the real nvml.h (where one is
// installed) and with the symbols of a real libnvidia-ml (where one is installed).
// Prints what ran and what was skipped.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdio>
#include <set>
#include <string>

#include "abi_compat.h"
#include "core/dynamic_library.h"
#include "gpu/nvml/table.h"

// Declares the older functions behind the unsuffixed names too.
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#if __has_include(<nvml.h>)
#include <nvml.h>
#define HAVE_NVML_H 1
#else
#define HAVE_NVML_H 0
#endif

namespace warpgauge {
namespace {

TEST_CASE("no unsuffixed name whose current version has a suffix is in the table") {
  std::set<std::string> names;
#define ADD(name, ...) names.insert(#name);
  WARPGAUGE_NVML_FUNCTIONS(ADD)
#undef ADD
  for (const char* trap : {"nvmlInit",
                           "nvmlDeviceGetCount",
                           "nvmlDeviceGetHandleByIndex",
                           "nvmlDeviceGetHandleByPciBusId",
                           "nvmlDeviceGetPciInfo"}) {
    CAPTURE(trap);
    CHECK_FALSE(names.contains(trap));
  }
}

TEST_CASE("every code has a text of its own, also those the driver's table lacks") {
  std::set<std::string> texts;
  for (int code = 0; code <= 30; ++code) texts.insert(NvmlErrorText(code));
  texts.insert(NvmlErrorText(kNvmlUnknown));
  CHECK(texts.size() == 32);
  CHECK(std::string(NvmlErrorText(-7)) == NvmlErrorText(kNvmlUnknown));
}

#if HAVE_NVML_H

#define SAME(a, b)                                                       \
  static_assert(static_cast<long long>(a) == static_cast<long long>(b)); \
  ++checked
#define LAYOUT(ours, member, theirs, other)                          \
  static_assert(offsetof(ours, member) == offsetof(theirs, other) && \
                sizeof(ours::member) == sizeof(theirs::other));      \
  ++checked

TEST_CASE("types, values and signatures are those of the real nvml.h") {
  int checked = 0;
  SAME(sizeof(NvmlReturn), sizeof(nvmlReturn_t));
  SAME(sizeof(NvmlDevice), sizeof(nvmlDevice_t));
  SAME(kNvmlSuccess, NVML_SUCCESS);
  SAME(kNvmlUninitialized, NVML_ERROR_UNINITIALIZED);
  SAME(kNvmlNotSupported, NVML_ERROR_NOT_SUPPORTED);
  SAME(kNvmlNoPermission, NVML_ERROR_NO_PERMISSION);
  SAME(kNvmlNotFound, NVML_ERROR_NOT_FOUND);
  SAME(kNvmlDriverNotLoaded, NVML_ERROR_DRIVER_NOT_LOADED);
  SAME(kNvmlFunctionNotFound, NVML_ERROR_FUNCTION_NOT_FOUND);
  SAME(kNvmlGpuIsLost, NVML_ERROR_GPU_IS_LOST);
  SAME(kNvmlResetRequired, NVML_ERROR_RESET_REQUIRED);
  SAME(kNvmlOperatingSystem, NVML_ERROR_OPERATING_SYSTEM);
  SAME(kNvmlVersionMismatch, NVML_ERROR_LIB_RM_VERSION_MISMATCH);
  SAME(kNvmlUnknown, NVML_ERROR_UNKNOWN);
  SAME(kNvmlInvalidArgument, NVML_ERROR_INVALID_ARGUMENT);
  SAME(kNvmlInsufficientSize, NVML_ERROR_INSUFFICIENT_SIZE);
  SAME(kNvmlTimeout, NVML_ERROR_TIMEOUT);
  SAME(kNvmlMemory, NVML_ERROR_MEMORY);
  SAME(kNvmlNoData, NVML_ERROR_NO_DATA);
  SAME(kNvmlClockGraphics, NVML_CLOCK_GRAPHICS);
  SAME(kNvmlClockVideo, NVML_CLOCK_VIDEO);
  SAME(kNvmlPcieTx, NVML_PCIE_UTIL_TX_BYTES);
  SAME(kNvmlPcieRx, NVML_PCIE_UTIL_RX_BYTES);
  SAME(kNvmlTemperatureGpu, NVML_TEMPERATURE_GPU);
  SAME(kNvmlPstateUnknown, NVML_PSTATE_UNKNOWN);
  SAME(kNvmlEventSingleBitEcc, nvmlEventTypeSingleBitEccError);
  SAME(kNvmlEventDoubleBitEcc, nvmlEventTypeDoubleBitEccError);
  SAME(kNvmlEventPState, nvmlEventTypePState);
  SAME(kNvmlEventXid, nvmlEventTypeXidCriticalError);
  SAME(kNvmlEventClock, nvmlEventTypeClock);
  SAME(kNvmlEventPowerSource, nvmlEventTypePowerSourceChange);
  SAME(kNvmlEventMigConfig, nvmlEventMigConfigChange);
  SAME(kNvmlSamplesPower, NVML_TOTAL_POWER_SAMPLES);
  SAME(kNvmlSamplesGpuUtilization, NVML_GPU_UTILIZATION_SAMPLES);
  SAME(kNvmlSamplesMemoryUtilization, NVML_MEMORY_UTILIZATION_SAMPLES);
  SAME(kNvmlValueDouble, NVML_VALUE_TYPE_DOUBLE);
  SAME(kNvmlValueUint, NVML_VALUE_TYPE_UNSIGNED_INT);
  SAME(kNvmlValueUlong, NVML_VALUE_TYPE_UNSIGNED_LONG);
  SAME(kNvmlValueUlongLong, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG);
  SAME(kNvmlValueLongLong, NVML_VALUE_TYPE_SIGNED_LONG_LONG);
  SAME(static_cast<long long>(kNvmlNotAvailable64), NVML_VALUE_NOT_AVAILABLE);
  SAME(kNvmlVbiosBytes, NVML_DEVICE_VBIOS_VERSION_BUFFER_SIZE);
  SAME(kNvmlSerialBytes, NVML_DEVICE_SERIAL_BUFFER_SIZE);
  SAME(kFieldEccSingleVolatile, NVML_FI_DEV_ECC_SBE_VOL_TOTAL);
  SAME(kFieldEccDoubleVolatile, NVML_FI_DEV_ECC_DBE_VOL_TOTAL);
  SAME(kFieldEccSingleAggregate, NVML_FI_DEV_ECC_SBE_AGG_TOTAL);
  SAME(kFieldEccDoubleAggregate, NVML_FI_DEV_ECC_DBE_AGG_TOTAL);
  SAME(kFieldThrottlePower, NVML_FI_DEV_PERF_POLICY_POWER);
  SAME(kFieldThrottleThermal, NVML_FI_DEV_PERF_POLICY_THERMAL);
  SAME(kFieldThrottleSyncBoost, NVML_FI_DEV_PERF_POLICY_SYNC_BOOST);
  SAME(kFieldThrottleBoardLimit, NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT);
  SAME(kFieldThrottleLowUtilization, NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION);
  SAME(kFieldThrottleReliability, NVML_FI_DEV_PERF_POLICY_RELIABILITY);
  SAME(kFieldMemoryTemperature, NVML_FI_DEV_MEMORY_TEMP);
  SAME(kFieldEnergy, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION);
  SAME(kFieldPcieReplays, NVML_FI_DEV_PCIE_REPLAY_COUNTER);
  SAME(kFieldPcieReplayRollovers, NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER);
  SAME(kFieldNvlinkDataTx, NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX);
  SAME(kFieldNvlinkDataRx, NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX);
  SAME(kFieldNvlinkRawTx, NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_TX);
  SAME(kFieldNvlinkRawRx, NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX);
  SAME(kFieldRemappedCorrectable, NVML_FI_DEV_REMAPPED_COR);
  SAME(kFieldRemappedUncorrectable, NVML_FI_DEV_REMAPPED_UNC);
  SAME(kFieldRemappedPending, NVML_FI_DEV_REMAPPED_PENDING);
  SAME(kFieldRemappedFailure, NVML_FI_DEV_REMAPPED_FAILURE);

  // Layouts: size of the struct, then offset and size of the members that tell it from another.
  SAME(sizeof(NvmlUtilization), sizeof(nvmlUtilization_t));
  LAYOUT(NvmlUtilization, memory, nvmlUtilization_t, memory);
  SAME(sizeof(NvmlMemoryV1), sizeof(nvmlMemory_t));
  LAYOUT(NvmlMemoryV1, total, nvmlMemory_t, total);
  LAYOUT(NvmlMemoryV1, free, nvmlMemory_t, free);
  LAYOUT(NvmlMemoryV1, used, nvmlMemory_t, used);
  SAME(sizeof(NvmlMemoryV2), sizeof(nvmlMemory_v2_t));
  SAME(kNvmlMemoryVersion, nvmlMemory_v2);
  LAYOUT(NvmlMemoryV2, total, nvmlMemory_v2_t, total);
  LAYOUT(NvmlMemoryV2, reserved, nvmlMemory_v2_t, reserved);
  LAYOUT(NvmlMemoryV2, free, nvmlMemory_v2_t, free);
  LAYOUT(NvmlMemoryV2, used, nvmlMemory_v2_t, used);
  SAME(sizeof(NvmlBar1), sizeof(nvmlBAR1Memory_t));
  LAYOUT(NvmlBar1, total, nvmlBAR1Memory_t, bar1Total);
  LAYOUT(NvmlBar1, used, nvmlBAR1Memory_t, bar1Used);
  SAME(sizeof(NvmlPciInfo), sizeof(nvmlPciInfo_t));
  LAYOUT(NvmlPciInfo, domain, nvmlPciInfo_t, domain);
  LAYOUT(NvmlPciInfo, device_id, nvmlPciInfo_t, pciDeviceId);
  LAYOUT(NvmlPciInfo, address, nvmlPciInfo_t, busId);
  SAME(sizeof(NvmlFieldValue), sizeof(nvmlFieldValue_t));
  LAYOUT(NvmlFieldValue, field, nvmlFieldValue_t, fieldId);
  LAYOUT(NvmlFieldValue, scope, nvmlFieldValue_t, scopeId);
  LAYOUT(NvmlFieldValue, timestamp_us, nvmlFieldValue_t, timestamp);
  LAYOUT(NvmlFieldValue, latency_us, nvmlFieldValue_t, latencyUsec);
  LAYOUT(NvmlFieldValue, type, nvmlFieldValue_t, valueType);
  LAYOUT(NvmlFieldValue, code, nvmlFieldValue_t, nvmlReturn);
  LAYOUT(NvmlFieldValue, value, nvmlFieldValue_t, value);
  SAME(sizeof(NvmlSample), sizeof(nvmlSample_t));
  LAYOUT(NvmlSample, value, nvmlSample_t, sampleValue);
  SAME(sizeof(NvmlProcess), sizeof(nvmlProcessInfo_t));
  LAYOUT(NvmlProcess, memory, nvmlProcessInfo_t, usedGpuMemory);
  LAYOUT(NvmlProcess, gpu_instance, nvmlProcessInfo_t, gpuInstanceId);
  LAYOUT(NvmlProcess, compute_instance, nvmlProcessInfo_t, computeInstanceId);
  SAME(sizeof(NvmlProcessUtilization), sizeof(nvmlProcessUtilizationSample_t));
  LAYOUT(NvmlProcessUtilization, timestamp_us, nvmlProcessUtilizationSample_t, timeStamp);
  LAYOUT(NvmlProcessUtilization, sm, nvmlProcessUtilizationSample_t, smUtil);
  LAYOUT(NvmlProcessUtilization, decoder, nvmlProcessUtilizationSample_t, decUtil);
  SAME(sizeof(NvmlEventData), sizeof(nvmlEventData_t));
  LAYOUT(NvmlEventData, type, nvmlEventData_t, eventType);
  LAYOUT(NvmlEventData, data, nvmlEventData_t, eventData);
  LAYOUT(NvmlEventData, gpu_instance, nvmlEventData_t, gpuInstanceId);
  LAYOUT(NvmlEventData, compute_instance, nvmlEventData_t, computeInstanceId);
  SAME(sizeof(NvmlGpmSupport), sizeof(nvmlGpmSupport_t));
  LAYOUT(NvmlGpmSupport, supported, nvmlGpmSupport_t, isSupportedDevice);
  SAME(kNvmlGpmVersion, NVML_GPM_METRICS_GET_VERSION);
  SAME(kNvmlGpmVersion, NVML_GPM_SUPPORT_VERSION);
  SAME(sizeof(NvmlGpmMetric), sizeof(nvmlGpmMetric_t));
  LAYOUT(NvmlGpmMetric, id, nvmlGpmMetric_t, metricId);
  LAYOUT(NvmlGpmMetric, code, nvmlGpmMetric_t, nvmlReturn);
  LAYOUT(NvmlGpmMetric, value, nvmlGpmMetric_t, value);
  static_assert(sizeof(NvmlGpmMetrics) >= sizeof(nvmlGpmMetricsGet_t));
  LAYOUT(NvmlGpmMetrics, count, nvmlGpmMetricsGet_t, numMetrics);
  LAYOUT(NvmlGpmMetrics, first, nvmlGpmMetricsGet_t, sample1);
  LAYOUT(NvmlGpmMetrics, second, nvmlGpmMetricsGet_t, sample2);
  static_assert(offsetof(NvmlGpmMetrics, metrics) == offsetof(nvmlGpmMetricsGet_t, metrics));
  SAME(sizeof(NvmlAttributes), sizeof(nvmlDeviceAttributes_t));
  LAYOUT(NvmlAttributes, compute_slices, nvmlDeviceAttributes_t, computeInstanceSliceCount);
  LAYOUT(NvmlAttributes, memory_mib, nvmlDeviceAttributes_t, memorySizeMB);
  int skipped = 0;
#ifdef nvmlClocksEventReasonGpuIdle
  SAME(kNvmlValueInt, NVML_VALUE_TYPE_SIGNED_INT);
  SAME(kFieldPcieCorrectable, NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS);
  SAME(kFieldPcieLaneErrors, NVML_FI_DEV_PCIE_COUNT_LANE_ERROR);
  SAME(kFieldPcieRecoveries, NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER);
  SAME(kFieldPowerAverage, NVML_FI_DEV_POWER_AVERAGE);
  SAME(kFieldPowerInstant, NVML_FI_DEV_POWER_INSTANT);
  SAME(kFieldPowerMinLimit, NVML_FI_DEV_POWER_MIN_LIMIT);
  SAME(kFieldPowerMaxLimit, NVML_FI_DEV_POWER_MAX_LIMIT);
  SAME(kFieldPowerDefaultLimit, NVML_FI_DEV_POWER_DEFAULT_LIMIT);
  SAME(kFieldPowerEnforcedLimit, NVML_FI_DEV_POWER_CURRENT_LIMIT);
  SAME(kFieldPowerRequestedLimit, NVML_FI_DEV_POWER_REQUESTED_LIMIT);
  SAME(kFieldMarginShutdown, NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT);
  SAME(kFieldMarginGpuMax, NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT);
#else
  skipped += 13;
#endif
#ifdef NVML_FI_DEV_PCIE_COUNT_TX_BYTES
  SAME(kFieldPcieTxBytes, NVML_FI_DEV_PCIE_COUNT_TX_BYTES);
  SAME(kFieldPcieRxBytes, NVML_FI_DEV_PCIE_COUNT_RX_BYTES);
#else
  skipped += 2;
#endif
#ifdef NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
  SAME(kFieldRecoveryAction, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
#else
  ++skipped;
#endif
#ifdef nvmlProcessesUtilizationInfo_v1
  SAME(kNvmlProcessesUtilizationVersion, nvmlProcessesUtilizationInfo_v1);
  SAME(sizeof(NvmlProcessesUtilization), sizeof(nvmlProcessesUtilizationInfo_v1_t));
  SAME(sizeof(NvmlProcessUtilizationInfo), sizeof(nvmlProcessUtilizationInfo_v1_t));
  LAYOUT(NvmlProcessUtilizationInfo, ofa, nvmlProcessUtilizationInfo_v1_t, ofaUtil);
#else
  skipped += 4;
#endif
#ifdef nvmlTemperature_v1
  SAME(kNvmlTemperatureVersion, nvmlTemperature_v1);
  SAME(kNvmlMarginTemperatureVersion, nvmlMarginTemperature_v1);
  LAYOUT(NvmlTemperature, celsius, nvmlTemperature_v1_t, temperature);
  LAYOUT(NvmlMarginTemperature, celsius, nvmlMarginTemperature_v1_t, marginTemperature);
#else
  skipped += 4;
#endif
  SAME(kNvmlClockSm, NVML_CLOCK_SM);
  SAME(kNvmlClockMemory, NVML_CLOCK_MEM);
  SAME(kNvmlReasonIdle, nvmlClocksThrottleReasonGpuIdle);
  SAME(kNvmlReasonAppClocks, nvmlClocksThrottleReasonApplicationsClocksSetting);
  SAME(kNvmlReasonPowerCap, nvmlClocksThrottleReasonSwPowerCap);
  SAME(kNvmlReasonHwSlowdown, nvmlClocksThrottleReasonHwSlowdown);
  SAME(kNvmlReasonSyncBoost, nvmlClocksThrottleReasonSyncBoost);
  SAME(kNvmlReasonSwThermal, nvmlClocksThrottleReasonSwThermalSlowdown);
  SAME(kNvmlReasonHwThermal, nvmlClocksThrottleReasonHwThermalSlowdown);
  SAME(kNvmlReasonPowerBrake, nvmlClocksThrottleReasonHwPowerBrakeSlowdown);
  SAME(kNvmlReasonDisplay, nvmlClocksThrottleReasonDisplayClockSetting);
  SAME(kNvmlNameBytes, NVML_DEVICE_NAME_V2_BUFFER_SIZE);
  SAME(kNvmlUuidBytes, NVML_DEVICE_UUID_V2_BUFFER_SIZE);
  SAME(kNvmlVersionBytes, NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE);

#define COMPARE(name, ...)                                                                         \
  static_assert(CompatibleFunctions<__VA_ARGS__, std::remove_pointer_t<decltype(&::name)>>::value, \
                #name);                                                                            \
  ++checked;
  WARPGAUGE_NVML_FUNCTIONS_11(COMPARE)
#define COUNT(name, ...) ++skipped;
  // The headers that declare what an older one lacks also have these macros.
#ifdef nvmlClocksEventReasonGpuIdle
  WARPGAUGE_NVML_FUNCTIONS_12(COMPARE)
#else
  WARPGAUGE_NVML_FUNCTIONS_12(COUNT)
#endif
#ifdef nvmlTemperature_v1
  WARPGAUGE_NVML_FUNCTIONS_12_8(COMPARE)
#else
  WARPGAUGE_NVML_FUNCTIONS_12_8(COUNT)
#endif
#undef COUNT
#undef COMPARE
  std::printf(
      "nvml abi: %d checks run against nvml.h of API %d, %d skipped (newer than that header)\n",
      checked,
      NVML_API_VERSION,
      skipped);
  CHECK(checked >= 200);
}

#else

TEST_CASE("types, values and signatures are those of the real nvml.h") {
  std::printf("nvml abi: 0 checks run, all skipped: no nvml.h on the include path\n");
}

#endif

TEST_CASE("a real libnvidia-ml has the symbols") {
  // Only the dynamic loader's work: no function of the library is called, so
  // no device node appears.
  const Result<DynamicLibrary> library = DynamicLibrary::Open({"libnvidia-ml.so.1"});
  if (!library.ok()) {
    std::printf("nvml symbols: skipped: %s\n", library.status.message().c_str());
    return;
  }
  const NvmlTable table =
      ResolveNvml([&](const char* name) { return library.value.Find(name); }, library.value.path());
  // Withdrawing functions happens; losing the way in or both names of a metric would be a new ABI.
  CHECK(bool(table.nvmlInit_v2));
  CHECK(bool(table.nvmlShutdown));
  CHECK(bool(table.nvmlDeviceGetHandleByPciBusId_v2));
  CHECK(bool(table.ClocksEventReasons()));
  std::printf(
      "nvml symbols: %zu missing in %s\n", table.missing.size(), library.value.path().c_str());
}

}  // namespace
}  // namespace warpgauge
