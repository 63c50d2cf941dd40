// Compares our declarations of the NVML ABI with the real nvml.h (where one is
// installed) and with the symbols of a real libnvidia-ml (where one is installed).
// Prints what ran and what was skipped.
#include <doctest/doctest.h>

#include <cstdio>
#include <set>
#include <string>

#include "abi_compat.h"
#include "core/dynamic_library.h"
#include "gpu/nvml/table.h"

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
  CHECK(names.size() == 14);
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

// Until 12.2 the header knows only the older name of this function; the signature is the same.
#ifndef nvmlClocksEventReasonGpuIdle
#define nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons
constexpr int kSkipped = 1;
#else
constexpr int kSkipped = 0;
#endif

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
  WARPGAUGE_NVML_FUNCTIONS(COMPARE)
#undef COMPARE
  std::printf(
      "nvml abi: %d checks run against nvml.h of API %d, %d skipped (newer than that header)\n",
      checked - kSkipped,
      NVML_API_VERSION,
      kSkipped);
  CHECK(checked == 28 + 14);
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
  std::printf("nvml symbols: %zu of 14 found in %s\n",
              14 - table.missing.size(),
              library.value.path().c_str());
}

}  // namespace
}  // namespace warpgauge
