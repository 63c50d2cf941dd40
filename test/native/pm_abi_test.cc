// Our declarations of PM sampling against the real headers of CUPTI, where they are installed.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdio>
#include <set>
#include <string>

#include "abi_compat.h"
#include "core/dynamic_library.h"
#include "gpu/cupti/pm_table.h"

#if __has_include(<cupti_pmsampling.h>) && __has_include(<cuda.h>)
#include <cupti.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_target.h>
#include <cupti_version.h>
#define HAVE_PM_HEADERS 1
#else
#define HAVE_PM_HEADERS 0
#endif

namespace warpgauge {
namespace {

#if HAVE_PM_HEADERS

int checked = 0;

#define SAME(a, b)                                                       \
  static_assert(static_cast<long long>(a) == static_cast<long long>(b)); \
  ++checked
#define FIELD(ours, theirs, a, b)                          \
  static_assert(offsetof(ours, a) == offsetof(theirs, b)); \
  static_assert(sizeof(ours::a) == sizeof(theirs::b));     \
  ++checked
// What is told to CUPTI, and where the two fields lie that every struct begins with.
#define STRUCT(ours, theirs)                     \
  SAME(kPmSize<ours>, theirs##_STRUCT_SIZE);     \
  static_assert(sizeof(ours) == sizeof(theirs)); \
  FIELD(ours, theirs, struct_size, structSize);  \
  FIELD(ours, theirs, reserved, pPriv)

TEST_CASE("structs of PM sampling are those of the real headers") {
  STRUCT(PmProfilerInitialize, CUpti_Profiler_Initialize_Params);
  STRUCT(PmProfilerDeinitialize, CUpti_Profiler_DeInitialize_Params);
  STRUCT(PmGetChipName, CUpti_Device_GetChipName_Params);
  FIELD(PmGetChipName, CUpti_Device_GetChipName_Params, device, deviceIndex);
  FIELD(PmGetChipName, CUpti_Device_GetChipName_Params, chip, pChipName);
  STRUCT(PmGetAvailability, CUpti_PmSampling_GetCounterAvailability_Params);
  FIELD(PmGetAvailability, CUpti_PmSampling_GetCounterAvailability_Params, device, deviceIndex);
  FIELD(PmGetAvailability,
        CUpti_PmSampling_GetCounterAvailability_Params,
        size,
        counterAvailabilityImageSize);
  FIELD(PmGetAvailability,
        CUpti_PmSampling_GetCounterAvailability_Params,
        image,
        pCounterAvailabilityImage);
  STRUCT(PmHostInitialize, CUpti_Profiler_Host_Initialize_Params);
  FIELD(PmHostInitialize, CUpti_Profiler_Host_Initialize_Params, type, profilerType);
  FIELD(PmHostInitialize, CUpti_Profiler_Host_Initialize_Params, chip, pChipName);
  FIELD(PmHostInitialize,
        CUpti_Profiler_Host_Initialize_Params,
        availability,
        pCounterAvailabilityImage);
  FIELD(PmHostInitialize, CUpti_Profiler_Host_Initialize_Params, host, pHostObject);
  STRUCT(PmHostDeinitialize, CUpti_Profiler_Host_Deinitialize_Params);
  FIELD(PmHostDeinitialize, CUpti_Profiler_Host_Deinitialize_Params, host, pHostObject);
  STRUCT(PmGetSupportedChips, CUpti_Profiler_Host_GetSupportedChips_Params);
  FIELD(PmGetSupportedChips, CUpti_Profiler_Host_GetSupportedChips_Params, count, numChips);
  FIELD(PmGetSupportedChips, CUpti_Profiler_Host_GetSupportedChips_Params, chips, ppChipNames);
  STRUCT(PmConfigAddMetrics, CUpti_Profiler_Host_ConfigAddMetrics_Params);
  FIELD(PmConfigAddMetrics, CUpti_Profiler_Host_ConfigAddMetrics_Params, host, pHostObject);
  FIELD(PmConfigAddMetrics, CUpti_Profiler_Host_ConfigAddMetrics_Params, metrics, ppMetricNames);
  FIELD(PmConfigAddMetrics, CUpti_Profiler_Host_ConfigAddMetrics_Params, count, numMetrics);
  STRUCT(PmGetConfigSize, CUpti_Profiler_Host_GetConfigImageSize_Params);
  FIELD(PmGetConfigSize, CUpti_Profiler_Host_GetConfigImageSize_Params, host, pHostObject);
  FIELD(PmGetConfigSize, CUpti_Profiler_Host_GetConfigImageSize_Params, size, configImageSize);
  STRUCT(PmGetConfig, CUpti_Profiler_Host_GetConfigImage_Params);
  FIELD(PmGetConfig, CUpti_Profiler_Host_GetConfigImage_Params, host, pHostObject);
  FIELD(PmGetConfig, CUpti_Profiler_Host_GetConfigImage_Params, size, configImageSize);
  FIELD(PmGetConfig, CUpti_Profiler_Host_GetConfigImage_Params, image, pConfigImage);
  STRUCT(PmGetPasses, CUpti_Profiler_Host_GetNumOfPasses_Params);
  FIELD(PmGetPasses, CUpti_Profiler_Host_GetNumOfPasses_Params, size, configImageSize);
  FIELD(PmGetPasses, CUpti_Profiler_Host_GetNumOfPasses_Params, image, pConfigImage);
  FIELD(PmGetPasses, CUpti_Profiler_Host_GetNumOfPasses_Params, passes, numOfPasses);
  STRUCT(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, host, pHostObject);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, image, pCounterDataImage);
  FIELD(
      PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, image_size, counterDataImageSize);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, sample, rangeIndex);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, metrics, ppMetricNames);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, count, numMetrics);
  FIELD(PmEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params, values, pMetricValues);
  STRUCT(PmEnable, CUpti_PmSampling_Enable_Params);
  FIELD(PmEnable, CUpti_PmSampling_Enable_Params, device, deviceIndex);
  FIELD(PmEnable, CUpti_PmSampling_Enable_Params, sampler, pPmSamplingObject);
#if CUPTI_API_VERSION >= 26
  STRUCT(PmSetConfig, CUpti_PmSampling_SetConfig_Params);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, append, hwBufferAppendMode);
  SAME(PmAppend::kKeepOldest, CUPTI_PM_SAMPLING_HARDWARE_BUFFER_APPEND_MODE_KEEP_OLDEST);
  SAME(PmAppend::kKeepLatest, CUPTI_PM_SAMPLING_HARDWARE_BUFFER_APPEND_MODE_KEEP_LATEST);
#else
  SAME(kPmSetConfigSize126, CUpti_PmSampling_SetConfig_Params_STRUCT_SIZE);
#endif
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, sampler, pPmSamplingObject);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, config_size, configSize);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, config, pConfig);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, hardware_buffer_bytes, hardwareBufferSize);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, interval, samplingInterval);
  FIELD(PmSetConfig, CUpti_PmSampling_SetConfig_Params, trigger, triggerMode);
  SAME(kPmSetConfigSize126,
       offsetof(CUpti_PmSampling_SetConfig_Params, triggerMode) +
           sizeof(CUpti_PmSampling_SetConfig_Params::triggerMode));
  STRUCT(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params);
  FIELD(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params, sampler, pPmSamplingObject);
  FIELD(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params, metrics, pMetricNames);
  FIELD(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params, count, numMetrics);
  FIELD(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params, most_samples, maxSamples);
  FIELD(PmGetImageSize, CUpti_PmSampling_GetCounterDataSize_Params, size, counterDataSize);
  STRUCT(PmImageInitialize, CUpti_PmSampling_CounterDataImage_Initialize_Params);
  FIELD(PmImageInitialize,
        CUpti_PmSampling_CounterDataImage_Initialize_Params,
        sampler,
        pPmSamplingObject);
  FIELD(PmImageInitialize,
        CUpti_PmSampling_CounterDataImage_Initialize_Params,
        size,
        counterDataSize);
  FIELD(
      PmImageInitialize, CUpti_PmSampling_CounterDataImage_Initialize_Params, image, pCounterData);
  STRUCT(PmOfSampler, CUpti_PmSampling_Start_Params);
  FIELD(PmOfSampler, CUpti_PmSampling_Start_Params, sampler, pPmSamplingObject);
  STRUCT(PmOfSampler, CUpti_PmSampling_Stop_Params);
  FIELD(PmOfSampler, CUpti_PmSampling_Stop_Params, sampler, pPmSamplingObject);
  STRUCT(PmOfSampler, CUpti_PmSampling_Disable_Params);
  FIELD(PmOfSampler, CUpti_PmSampling_Disable_Params, sampler, pPmSamplingObject);
  STRUCT(PmDecode, CUpti_PmSampling_DecodeData_Params);
  FIELD(PmDecode, CUpti_PmSampling_DecodeData_Params, sampler, pPmSamplingObject);
  FIELD(PmDecode, CUpti_PmSampling_DecodeData_Params, image, pCounterDataImage);
  FIELD(PmDecode, CUpti_PmSampling_DecodeData_Params, image_size, counterDataImageSize);
  FIELD(PmDecode, CUpti_PmSampling_DecodeData_Params, stop, decodeStopReason);
  FIELD(PmDecode, CUpti_PmSampling_DecodeData_Params, overflow, overflow);
  STRUCT(PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params);
  FIELD(PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params, image, pCounterDataImage);
  FIELD(
      PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params, image_size, counterDataImageSize);
  FIELD(PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params, total, numTotalSamples);
  FIELD(PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params, populated, numPopulatedSamples);
  FIELD(PmGetImageInfo, CUpti_PmSampling_GetCounterDataInfo_Params, completed, numCompletedSamples);
  STRUCT(PmGetSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params);
  FIELD(PmGetSampleInfo,
        CUpti_PmSampling_CounterData_GetSampleInfo_Params,
        sampler,
        pPmSamplingObject);
  FIELD(
      PmGetSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params, image, pCounterDataImage);
  FIELD(PmGetSampleInfo,
        CUpti_PmSampling_CounterData_GetSampleInfo_Params,
        image_size,
        counterDataImageSize);
  FIELD(PmGetSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params, sample, sampleIndex);
  FIELD(PmGetSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params, start, startTimestamp);
  FIELD(PmGetSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params, end, endTimestamp);
  CHECK(checked > 90);
}

TEST_CASE("values of PM sampling are those of the real headers") {
  SAME(kCuptiSuccess, CUPTI_SUCCESS);
  SAME(kCuptiInvalidParameter, CUPTI_ERROR_INVALID_PARAMETER);
  SAME(kCuptiInvalidDevice, CUPTI_ERROR_INVALID_DEVICE);
  SAME(kCuptiInvalidOperation, CUPTI_ERROR_INVALID_OPERATION);
  SAME(kCuptiOutOfMemory, CUPTI_ERROR_OUT_OF_MEMORY);
  SAME(kCuptiHardware, CUPTI_ERROR_HARDWARE);
  SAME(kCuptiNotInitialized, CUPTI_ERROR_NOT_INITIALIZED);
  SAME(kCuptiHardwareBusy, CUPTI_ERROR_HARDWARE_BUSY);
  SAME(kCuptiNotSupported, CUPTI_ERROR_NOT_SUPPORTED);
  SAME(kCuptiVirtualNotSupported, CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED);
  SAME(kCuptiInsufficientPrivileges, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
  SAME(kCuptiVirtualPrivileges, CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES);
#if CUPTI_API_VERSION >= 130000
  SAME(kCuptiConfidentialNotSupported, CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED);
  SAME(kCuptiCmpNotSupported, CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED);
  SAME(kCuptiMigNotSupported, CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED);
  SAME(kCuptiSliNotSupported, CUPTI_ERROR_SLI_DEVICE_NOT_SUPPORTED);
  SAME(kCuptiWslNotSupported, CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED);
  SAME(kCuptiInvalidChipName, CUPTI_ERROR_INVALID_CHIP_NAME);
#endif
  SAME(kCuptiUnknown, CUPTI_ERROR_UNKNOWN);
  SAME(PmProfilerType::kRange, CUPTI_PROFILER_TYPE_RANGE_PROFILER);
  SAME(PmProfilerType::kSampling, CUPTI_PROFILER_TYPE_PM_SAMPLING);
  SAME(PmTrigger::kSysClock, CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL);
  SAME(PmTrigger::kTime, CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL);
  SAME(PmStop::kOther, CUPTI_PM_SAMPLING_DECODE_STOP_REASON_OTHER);
  SAME(PmStop::kImageFull, CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL);
  SAME(PmStop::kEnd, CUPTI_PM_SAMPLING_DECODE_STOP_REASON_END_OF_RECORDS);
#define COMPARE(name, required, argument)                                             \
  static_assert(CompatibleFunctions<CuptiResult(argument*),                           \
                                    std::remove_pointer_t<decltype(&::name)>>::value, \
                #name);                                                               \
  ++checked;
  WARPGAUGE_PM_FUNCTIONS(COMPARE)
#undef COMPARE
  std::printf("pm abi: %d checks run against CUPTI %d\n", checked, CUPTI_API_VERSION);
}

#else

TEST_CASE("structs of PM sampling are those of the real headers") {
  std::printf("pm abi: skipped: no cupti_pmsampling.h on the include path\n");
}

#endif

}  // namespace
}  // namespace warpgauge
