#pragma once

#include "gpu/nvml/abi.h"

// The part of the NVML ABI that limits power, locks clocks and keeps the driver loaded. Apart from
// abi.h, because nothing that only reads counters may reach it.
namespace warpgauge {

// Most clocks that one answer is given room for; the library says so when there are more.
inline constexpr unsigned kNvmlClockRoom = 512;

// All optional. Limits in mW, clocks in MHz. Memory locks came with driver 465.
#define WARPGAUGE_POWER_FUNCTIONS(X)                                                             \
  X(nvmlDeviceGetHandleByUUID, NvmlReturn(const char* uuid, NvmlDevice* device))                 \
  X(nvmlDeviceGetSupportedMemoryClocks,                                                          \
    NvmlReturn(NvmlDevice device, unsigned* count, unsigned* mhz))                               \
  X(nvmlDeviceGetSupportedGraphicsClocks,                                                        \
    NvmlReturn(NvmlDevice device, unsigned memory_mhz, unsigned* count, unsigned* mhz))          \
  X(nvmlDeviceSetPowerManagementLimit, NvmlReturn(NvmlDevice device, unsigned milliwatts))       \
  X(nvmlDeviceSetGpuLockedClocks, NvmlReturn(NvmlDevice device, unsigned low, unsigned high))    \
  X(nvmlDeviceResetGpuLockedClocks, NvmlReturn(NvmlDevice device))                               \
  X(nvmlDeviceSetMemoryLockedClocks, NvmlReturn(NvmlDevice device, unsigned low, unsigned high)) \
  X(nvmlDeviceResetMemoryLockedClocks, NvmlReturn(NvmlDevice device))                            \
  X(nvmlDeviceSetPersistenceMode, NvmlReturn(NvmlDevice device, unsigned mode))

}  // namespace warpgauge
