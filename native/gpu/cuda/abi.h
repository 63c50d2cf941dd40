#pragma once

#include <cstddef>

// The part of the CUDA driver ABI that this project calls, declared by ourselves so that building
// needs no CUDA toolkit. Our own names; test/native/cuda_abi_test.cc compares every size, value and
// signature with the real cuda.h where one is installed.
namespace warpgauge {

using CuResult = int;
using CuDevice = int;
using CuDevicePtr = unsigned long long;  // NOLINT(google-runtime-int): the ABI says so
using CuContext = struct CuContextHandle*;
using CuStream = struct CuStreamHandle*;
using CuEvent = struct CuEventHandle*;
using CuModule = struct CuModuleHandle*;
using CuFunction = struct CuFunctionHandle*;

struct CuUuid {
  unsigned char bytes[16];
};

inline constexpr CuResult kCuSuccess = 0;
inline constexpr CuResult kCuInvalidValue = 1;
inline constexpr CuResult kCuOutOfMemory = 2;
inline constexpr CuResult kCuNotInitialized = 3;
inline constexpr CuResult kCuStubLibrary = 34;
inline constexpr CuResult kCuDeviceUnavailable = 46;
inline constexpr CuResult kCuNoDevice = 100;
inline constexpr CuResult kCuInvalidDevice = 101;
inline constexpr CuResult kCuInvalidContext = 201;
inline constexpr CuResult kCuInvalidPtx = 218;
inline constexpr CuResult kCuJitCompilerNotFound = 221;
inline constexpr CuResult kCuUnsupportedPtx = 222;
inline constexpr CuResult kCuOperatingSystem = 304;
inline constexpr CuResult kCuNotFound = 500;
inline constexpr CuResult kCuNotReady = 600;
inline constexpr CuResult kCuAlreadyRegistered = 712;
inline constexpr CuResult kCuNotPermitted = 800;
inline constexpr CuResult kCuNotSupported = 801;
inline constexpr CuResult kCuSystemNotReady = 802;
inline constexpr CuResult kCuDriverMismatch = 803;
inline constexpr CuResult kCuCompatNotSupported = 804;
inline constexpr CuResult kCuUnknown = 999;

inline constexpr unsigned kCuStreamNonBlocking = 1;
inline constexpr unsigned kCuEventDefault = 0;

// Device attributes.
inline constexpr int kCuClockRateKhz = 13;
inline constexpr int kCuMultiprocessors = 16;
inline constexpr int kCuComputeMajor = 75;
inline constexpr int kCuComputeMinor = 76;
inline constexpr int kCuPageableAccess = 88;
inline constexpr int kCuHostPageTables = 100;

// Options of cuModuleLoadDataEx.
inline constexpr int kCuJitErrorLog = 5;
inline constexpr int kCuJitErrorLogSize = 6;

// Every function of libcuda this project calls: X(exported name, required, what is lost without it,
// type). The exact exported names: an unsuffixed name whose current version has a suffix
// (cuMemAlloc, cuStreamDestroy, ...) also resolves, to the 32-bit ABI of CUDA 2.0. The two
// unsuffixed names at the end have the same signature as their successors.
// NOLINTBEGIN(google-runtime-int)
#define WARPGAUGE_CUDA_FUNCTIONS(X)                                                               \
  X(cuInit, true, "everything", CuResult(unsigned flags))                                         \
  X(cuDriverGetVersion, false, "the CUDA version", CuResult(int* version))                        \
  X(cuDeviceGetCount, true, "everything", CuResult(int* count))                                   \
  X(cuDeviceGet, true, "everything", CuResult(CuDevice* device, int ordinal))                     \
  X(cuDeviceGetName,                                                                              \
    true,                                                                                         \
    "telling devices apart",                                                                      \
    CuResult(char* name, int size, CuDevice device))                                              \
  X(cuDeviceGetAttribute,                                                                         \
    true,                                                                                         \
    "everything",                                                                                 \
    CuResult(int* value, int attribute, CuDevice device))                                         \
  X(cuDeviceTotalMem_v2, true, "memory checks", CuResult(size_t* bytes, CuDevice device))         \
  X(cuDeviceGetPCIBusId, false, "NVML and NUMA", CuResult(char* text, int size, CuDevice device)) \
  X(cuDevicePrimaryCtxRetain, true, "everything", CuResult(CuContext* context, CuDevice device))  \
  X(cuDevicePrimaryCtxRelease_v2, true, "everything", CuResult(CuDevice device))                  \
  X(cuCtxSetCurrent, true, "everything", CuResult(CuContext context))                             \
  X(cuMemAlloc_v2, true, "everything", CuResult(CuDevicePtr* address, size_t bytes))              \
  X(cuMemFree_v2, true, "everything", CuResult(CuDevicePtr address))                              \
  X(cuMemHostAlloc, true, "everything", CuResult(void** address, size_t bytes, unsigned flags))   \
  X(cuMemFreeHost, true, "everything", CuResult(void* address))                                   \
  X(cuMemHostRegister_v2,                                                                         \
    true,                                                                                         \
    "pin=register",                                                                               \
    CuResult(void* address, size_t bytes, unsigned flags))                                        \
  X(cuMemHostUnregister, true, "pin=register", CuResult(void* address))                           \
  X(cuMemcpyHtoDAsync_v2,                                                                         \
    true,                                                                                         \
    "everything",                                                                                 \
    CuResult(CuDevicePtr to, const void* from, size_t bytes, CuStream stream))                    \
  X(cuMemcpyDtoHAsync_v2,                                                                         \
    true,                                                                                         \
    "everything",                                                                                 \
    CuResult(void* to, CuDevicePtr from, size_t bytes, CuStream stream))                          \
  X(cuMemcpyDtoDAsync_v2,                                                                         \
    true,                                                                                         \
    "everything",                                                                                 \
    CuResult(CuDevicePtr to, CuDevicePtr from, size_t bytes, CuStream stream))                    \
  X(cuMemsetD8Async,                                                                              \
    true,                                                                                         \
    "everything",                                                                                 \
    CuResult(CuDevicePtr to, unsigned char value, size_t bytes, CuStream stream))                 \
  X(cuStreamCreate, true, "everything", CuResult(CuStream* stream, unsigned flags))               \
  X(cuStreamDestroy_v2, true, "everything", CuResult(CuStream stream))                            \
  X(cuStreamSynchronize, true, "everything", CuResult(CuStream stream))                           \
  X(cuEventCreate, true, "event times", CuResult(CuEvent* event, unsigned flags))                 \
  X(cuEventDestroy_v2, true, "event times", CuResult(CuEvent event))                              \
  X(cuEventRecord, true, "event times", CuResult(CuEvent event, CuStream stream))                 \
  X(cuModuleLoadDataEx,                                                                           \
    false,                                                                                        \
    "vectorAdd",                                                                                  \
    CuResult(CuModule* module, const void* image, unsigned count, int* options, void** values))   \
  X(cuModuleGetFunction,                                                                          \
    false,                                                                                        \
    "vectorAdd",                                                                                  \
    CuResult(CuFunction* function, CuModule module, const char* name))                            \
  X(cuModuleUnload, false, "vectorAdd", CuResult(CuModule module))                                \
  X(cuLaunchKernel,                                                                               \
    false,                                                                                        \
    "vectorAdd",                                                                                  \
    CuResult(CuFunction function,                                                                 \
             unsigned grid_x,                                                                     \
             unsigned grid_y,                                                                     \
             unsigned grid_z,                                                                     \
             unsigned block_x,                                                                    \
             unsigned block_y,                                                                    \
             unsigned block_z,                                                                    \
             unsigned shared_bytes,                                                               \
             CuStream stream,                                                                     \
             void** parameters,                                                                   \
             void** extra))                                                                       \
  X(cuGetErrorName, false, "error names", CuResult(CuResult error, const char** text))            \
  X(cuGetErrorString, false, "error texts", CuResult(CuResult error, const char** text))          \
  X(cuEventElapsedTime_v2,                                                                        \
    false,                                                                                        \
    "nothing where cuEventElapsedTime exists (before 12.8), else event times",                    \
    CuResult(float* milliseconds, CuEvent start, CuEvent stop))                                   \
  X(cuEventElapsedTime,                                                                           \
    false,                                                                                        \
    "nothing where cuEventElapsedTime_v2 exists, else event times",                               \
    CuResult(float* milliseconds, CuEvent start, CuEvent stop))                                   \
  X(cuDeviceGetUuid_v2,                                                                           \
    false,                                                                                        \
    "the UUID of a MIG instance (before 11.4)",                                                   \
    CuResult(CuUuid* uuid, CuDevice device))                                                      \
  X(cuDeviceGetUuid,                                                                              \
    false,                                                                                        \
    "nothing where cuDeviceGetUuid_v2 exists, else the UUID",                                     \
    CuResult(CuUuid* uuid, CuDevice device))
// NOLINTEND(google-runtime-int)

}  // namespace warpgauge
