#pragma once

// The part of the NVML ABI that this project calls, declared by ourselves so that building needs no
// NVIDIA header. test/native/nvml_abi_test.cc compares every value and signature with the real
// nvml.h where one is installed.
namespace warpgauge {

using NvmlReturn = int;
using NvmlDevice = struct NvmlDeviceHandle*;

inline constexpr NvmlReturn kNvmlSuccess = 0;
inline constexpr NvmlReturn kNvmlUninitialized = 1;
inline constexpr NvmlReturn kNvmlNotSupported = 3;
inline constexpr NvmlReturn kNvmlNoPermission = 4;
inline constexpr NvmlReturn kNvmlNotFound = 6;
inline constexpr NvmlReturn kNvmlDriverNotLoaded = 9;
inline constexpr NvmlReturn kNvmlFunctionNotFound = 13;
inline constexpr NvmlReturn kNvmlGpuIsLost = 15;
inline constexpr NvmlReturn kNvmlResetRequired = 16;
inline constexpr NvmlReturn kNvmlOperatingSystem = 17;
inline constexpr NvmlReturn kNvmlVersionMismatch = 18;
inline constexpr NvmlReturn kNvmlDeprecated = 26;
inline constexpr NvmlReturn kNvmlUnknown = 999;

// Clock types.
inline constexpr int kNvmlClockSm = 1;
inline constexpr int kNvmlClockMemory = 2;

// Why the clocks are what they are; the bits did not change with the function's new name.
inline constexpr unsigned kNvmlReasonIdle = 0x1;
inline constexpr unsigned kNvmlReasonAppClocks = 0x2;
inline constexpr unsigned kNvmlReasonPowerCap = 0x4;
inline constexpr unsigned kNvmlReasonHwSlowdown = 0x8;
inline constexpr unsigned kNvmlReasonSyncBoost = 0x10;
inline constexpr unsigned kNvmlReasonSwThermal = 0x20;
inline constexpr unsigned kNvmlReasonHwThermal = 0x40;
inline constexpr unsigned kNvmlReasonPowerBrake = 0x80;
inline constexpr unsigned kNvmlReasonDisplay = 0x100;

// Text buffers, terminating zero included.
inline constexpr unsigned kNvmlNameBytes = 96;
inline constexpr unsigned kNvmlUuidBytes = 96;
inline constexpr unsigned kNvmlVersionBytes = 80;

// Every function of libnvidia-ml this project calls: X(exported name, type). All are optional:
// NVIDIA adds and withdraws functions between releases, so a missing one is a missing value with a
// reason.
// NOLINTBEGIN(google-runtime-int)
#define WARPGAUGE_NVML_FUNCTIONS(X)                                                           \
  X(nvmlInit_v2, NvmlReturn())                                                                \
  X(nvmlShutdown, NvmlReturn())                                                               \
  X(nvmlSystemGetDriverVersion, NvmlReturn(char* text, unsigned size))                        \
  X(nvmlDeviceGetHandleByPciBusId_v2, NvmlReturn(const char* address, NvmlDevice* device))    \
  X(nvmlDeviceGetName, NvmlReturn(NvmlDevice device, char* text, unsigned size))              \
  X(nvmlDeviceGetUUID, NvmlReturn(NvmlDevice device, char* text, unsigned size))              \
  X(nvmlDeviceGetClockInfo, NvmlReturn(NvmlDevice device, int type, unsigned* mhz))           \
  X(nvmlDeviceGetCurrPcieLinkGeneration, NvmlReturn(NvmlDevice device, unsigned* generation)) \
  X(nvmlDeviceGetMaxPcieLinkGeneration, NvmlReturn(NvmlDevice device, unsigned* generation))  \
  X(nvmlDeviceGetCurrPcieLinkWidth, NvmlReturn(NvmlDevice device, unsigned* lanes))           \
  X(nvmlDeviceGetMaxPcieLinkWidth, NvmlReturn(NvmlDevice device, unsigned* lanes))            \
  X(nvmlDeviceGetPcieReplayCounter, NvmlReturn(NvmlDevice device, unsigned* count))           \
  X(nvmlDeviceGetCurrentClocksEventReasons,                                                   \
    NvmlReturn(NvmlDevice device, unsigned long long* bits))                                  \
  X(nvmlDeviceGetCurrentClocksThrottleReasons,                                                \
    NvmlReturn(NvmlDevice device, unsigned long long* bits))
// NOLINTEND(google-runtime-int)

}  // namespace warpgauge
