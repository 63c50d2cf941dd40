#pragma once

#include "gpu/nvml/abi.h"

// The part of the NVML ABI that divides a GPU: profiles, placements, instances and the calls that
// make and destroy them. Apart from abi.h, because nothing that only reads counters may reach it.
namespace warpgauge {

using NvmlGpuInstance = struct NvmlGpuInstanceHandle*;
using NvmlComputeInstance = struct NvmlComputeInstanceHandle*;

inline constexpr NvmlReturn kNvmlInUse = 19;
inline constexpr NvmlReturn kNvmlInsufficientResources = 23;

// Asked for by number, not by id, from 0 until the library refuses the number: there were 5 once
// and 18 in header 13.2.
inline constexpr unsigned kNvmlMigProfileNumbers = 64;
inline constexpr unsigned kNvmlMigComputeNumbers = 16;
inline constexpr unsigned kNvmlMigEngineShared = 0;
// Most instances that one answer is given room for: the library checks no capacity.
inline constexpr unsigned kNvmlMigRoom = 64;
inline constexpr unsigned kFieldMigWithoutReset = 184;

struct NvmlMigProfileV1 {
  unsigned id, p2p, slices, count, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
  uint64_t memory_mib;
};
struct NvmlMigProfile {
  unsigned version, id, p2p, slices, count, multiprocessors, copy_engines, decoders, encoders,
      jpegs, ofas;
  uint64_t memory_mib;
  char name[96];
};
struct NvmlMigPlacement {
  unsigned start, size;
};
struct NvmlGpuInstanceInfo {
  NvmlDevice device;
  unsigned id, profile;
  NvmlMigPlacement placement;
};
struct NvmlMigComputeProfile {
  unsigned id, slices, count, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
};
struct NvmlComputeInstanceInfo {
  NvmlDevice device;
  NvmlGpuInstance gpu_instance;
  unsigned id, profile;
  NvmlMigPlacement placement;
};

static_assert(sizeof(NvmlMigProfileV1) == 48 && offsetof(NvmlMigProfileV1, memory_mib) == 40);
static_assert(sizeof(NvmlMigProfile) == 152 && offsetof(NvmlMigProfile, memory_mib) == 48 &&
              offsetof(NvmlMigProfile, name) == 56);
static_assert(sizeof(NvmlMigPlacement) == 8 && sizeof(NvmlGpuInstanceInfo) == 24);
static_assert(offsetof(NvmlGpuInstanceInfo, placement) == 16);
static_assert(sizeof(NvmlMigComputeProfile) == 36 && sizeof(NvmlComputeInstanceInfo) == 32);
static_assert(offsetof(NvmlComputeInstanceInfo, placement) == 24);

// v3 has the same size and other offsets: never taken for this one.
inline constexpr unsigned kNvmlMigProfileVersion2 = 0x02000098;

// All optional, by the first header that has them.
#define WARPGAUGE_MIG_FUNCTIONS_11(X)                                                           \
  X(nvmlDeviceGetHandleByUUID, NvmlReturn(const char* uuid, NvmlDevice* device))                \
  X(nvmlDeviceSetMigMode, NvmlReturn(NvmlDevice device, unsigned mode, NvmlReturn* activation)) \
  X(nvmlDeviceGetGpuInstanceProfileInfo,                                                        \
    NvmlReturn(NvmlDevice device, unsigned number, NvmlMigProfileV1* profile))                  \
  X(nvmlDeviceGetGpuInstanceProfileInfoV,                                                       \
    NvmlReturn(NvmlDevice device, unsigned number, NvmlMigProfile* profile))                    \
  X(nvmlDeviceGetGpuInstancePossiblePlacements_v2,                                              \
    NvmlReturn(NvmlDevice device, unsigned id, NvmlMigPlacement* placements, unsigned* count))  \
  X(nvmlDeviceGetGpuInstanceRemainingCapacity,                                                  \
    NvmlReturn(NvmlDevice device, unsigned id, unsigned* count))                                \
  X(nvmlDeviceCreateGpuInstanceWithPlacement,                                                   \
    NvmlReturn(NvmlDevice device,                                                               \
               unsigned id,                                                                     \
               const NvmlMigPlacement* placement,                                               \
               NvmlGpuInstance* instance))                                                      \
  X(nvmlDeviceGetGpuInstances,                                                                  \
    NvmlReturn(NvmlDevice device, unsigned id, NvmlGpuInstance* instances, unsigned* count))    \
  X(nvmlDeviceGetGpuInstanceById,                                                               \
    NvmlReturn(NvmlDevice device, unsigned id, NvmlGpuInstance* instance))                      \
  X(nvmlGpuInstanceGetInfo, NvmlReturn(NvmlGpuInstance instance, NvmlGpuInstanceInfo* info))    \
  X(nvmlGpuInstanceDestroy, NvmlReturn(NvmlGpuInstance instance))                               \
  X(nvmlGpuInstanceGetComputeInstanceProfileInfo,                                               \
    NvmlReturn(NvmlGpuInstance instance,                                                        \
               unsigned number,                                                                 \
               unsigned engine,                                                                 \
               NvmlMigComputeProfile* profile))                                                 \
  X(nvmlGpuInstanceGetComputeInstances,                                                         \
    NvmlReturn(NvmlGpuInstance instance,                                                        \
               unsigned profile,                                                                \
               NvmlComputeInstance* instances,                                                  \
               unsigned* count))                                                                \
  X(nvmlGpuInstanceGetComputeInstanceById,                                                      \
    NvmlReturn(NvmlGpuInstance instance, unsigned id, NvmlComputeInstance* compute))            \
  X(nvmlGpuInstanceCreateComputeInstance,                                                       \
    NvmlReturn(NvmlGpuInstance instance, unsigned profile, NvmlComputeInstance* compute))       \
  X(nvmlComputeInstanceGetInfo_v2,                                                              \
    NvmlReturn(NvmlComputeInstance instance, NvmlComputeInstanceInfo* info))                    \
  X(nvmlComputeInstanceDestroy, NvmlReturn(NvmlComputeInstance instance))

#define WARPGAUGE_MIG_FUNCTIONS_12(X)                    \
  X(nvmlGpuInstanceCreateComputeInstanceWithPlacement,   \
    NvmlReturn(NvmlGpuInstance instance,                 \
               unsigned profile,                         \
               const NvmlMigPlacement* placement,        \
               NvmlComputeInstance* compute))            \
  X(nvmlGpuInstanceGetComputeInstancePossiblePlacements, \
    NvmlReturn(NvmlGpuInstance instance,                 \
               unsigned profile,                         \
               NvmlMigPlacement* placements,             \
               unsigned* count))

#define WARPGAUGE_MIG_FUNCTIONS(X) \
  WARPGAUGE_MIG_FUNCTIONS_11(X)    \
  WARPGAUGE_MIG_FUNCTIONS_12(X)

}  // namespace warpgauge
