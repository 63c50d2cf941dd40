#pragma once

#include <cstddef>
#include <cstdint>

// The part of CUPTI that samples hardware counters (PM sampling, CUDA 12.6 and later), declared by
// ourselves so that building needs no CUDA toolkit. Our own names; test/native/pm_abi_test.cc
// compares sizes, offsets, values and signatures with the real headers where they are installed.
//
// Every function takes one struct whose first field says how long it is: up to the end of its last
// field, without the padding behind it. That is what PmSize gives.
namespace warpgauge {

using CuptiResult = int;
using PmHost = struct PmHostHandle*;        // plans metrics and evaluates samples; needs no GPU
using PmSampler = struct PmSamplerHandle*;  // PM sampling of one GPU

inline constexpr CuptiResult kCuptiSuccess = 0;
inline constexpr CuptiResult kCuptiInvalidParameter = 1;
inline constexpr CuptiResult kCuptiInvalidDevice = 2;
inline constexpr CuptiResult kCuptiInvalidOperation = 7;
inline constexpr CuptiResult kCuptiOutOfMemory =
    8;  // of DecodeData: the hardware buffer overflowed
inline constexpr CuptiResult kCuptiHardware = 9;
inline constexpr CuptiResult kCuptiNotInitialized = 15;
inline constexpr CuptiResult kCuptiHardwareBusy = 26;
inline constexpr CuptiResult kCuptiNotSupported = 27;
inline constexpr CuptiResult kCuptiVirtualNotSupported = 33;
inline constexpr CuptiResult kCuptiInsufficientPrivileges = 35;
inline constexpr CuptiResult kCuptiVirtualPrivileges = 40;
inline constexpr CuptiResult kCuptiConfidentialNotSupported = 41;
inline constexpr CuptiResult kCuptiCmpNotSupported = 42;
inline constexpr CuptiResult kCuptiMigNotSupported = 43;
inline constexpr CuptiResult kCuptiSliNotSupported = 44;
inline constexpr CuptiResult kCuptiWslNotSupported = 45;
inline constexpr CuptiResult kCuptiInvalidChipName = 46;
inline constexpr CuptiResult kCuptiUnknown = 999;

// What cuptiGetVersion gives.
inline constexpr uint32_t kCuptiApi126 = 24;
inline constexpr uint32_t kCuptiApi128 = 26;

enum class PmProfilerType : int { kRange = 0, kSampling = 1 };
enum class PmTrigger : int {
  kSysClock = 0,  // interval in cycles of the system clock
  kTime = 1,      // interval in ns; not on Turing and GA100
};
enum class PmAppend : int {
  kKeepOldest = 0,  // a full hardware buffer is an overflow
  kKeepLatest = 1,  // a full one loses its oldest samples silently; not on Turing
};
enum class PmStop : int {
  kOther = 0,
  kImageFull = 1,  // the counter data image has no room: more is in the hardware buffer
  kEnd = 2,
};

struct PmProfilerInitialize {
  size_t struct_size;
  void* reserved;
};
struct PmProfilerDeinitialize {
  size_t struct_size;
  void* reserved;
};
struct PmGetChipName {
  size_t struct_size;
  void* reserved;
  size_t device;
  const char* chip;  // out
};
struct PmGetAvailability {
  size_t struct_size;
  void* reserved;
  size_t device;
  size_t size;     // in and out: out when image is null
  uint8_t* image;  // out
};
struct PmHostInitialize {
  size_t struct_size;
  void* reserved;
  PmProfilerType type;
  const char* chip;
  const uint8_t* availability;
  PmHost host;  // out
};
struct PmHostDeinitialize {
  size_t struct_size;
  void* reserved;
  PmHost host;
};
struct PmGetSupportedChips {
  size_t struct_size;
  void* reserved;
  size_t count;              // out
  const char* const* chips;  // out
};
struct PmConfigAddMetrics {
  size_t struct_size;
  void* reserved;
  PmHost host;
  const char** metrics;
  size_t count;
};
struct PmGetConfigSize {
  size_t struct_size;
  void* reserved;
  PmHost host;
  size_t size;  // out
};
struct PmGetConfig {
  size_t struct_size;
  void* reserved;
  PmHost host;
  size_t size;
  uint8_t* image;  // out
};
struct PmGetPasses {
  size_t struct_size;
  void* reserved;
  size_t size;
  uint8_t* image;
  size_t passes;  // out
};
struct PmEvaluate {
  size_t struct_size;
  void* reserved;
  PmHost host;
  const uint8_t* image;
  size_t image_size;
  size_t sample;
  const char** metrics;
  size_t count;
  double* values;  // out
};
struct PmEnable {
  size_t struct_size;
  void* reserved;
  size_t device;
  PmSampler sampler;  // out
};
struct PmSetConfig {
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
  size_t config_size;
  const uint8_t* config;
  size_t hardware_buffer_bytes;
  uint64_t interval;  // ns or cycles: trigger says which
  PmTrigger trigger;
  PmAppend append;  // 12.8 and later
};
struct PmGetImageSize {
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
  const char** metrics;
  size_t count;
  uint32_t most_samples;
  size_t size;  // out
};
struct PmImageInitialize {
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
  size_t size;
  uint8_t* image;
};
struct PmOfSampler {  // Start, Stop and Disable
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
};
struct PmDecode {
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
  uint8_t* image;
  size_t image_size;
  PmStop stop;       // out
  uint8_t overflow;  // out
};
struct PmGetImageInfo {
  size_t struct_size;
  void* reserved;
  const uint8_t* image;
  size_t image_size;
  size_t total;      // out: room of the image
  size_t populated;  // out
  size_t completed;  // out: samples that can be evaluated
};
struct PmGetSampleInfo {
  size_t struct_size;
  void* reserved;
  PmSampler sampler;
  const uint8_t* image;
  size_t image_size;
  size_t sample;
  uint64_t start;  // out: ns on the clock of cuptiGetTimestamp
  uint64_t end;    // out
};

// The end of the last field of each struct, which is what CUPTI wants to be told.
template <typename T>
inline constexpr size_t kPmSize = sizeof(T);
template <>
inline constexpr size_t kPmSize<PmDecode> = offsetof(PmDecode, overflow) + 1;
// SetConfig ended with the trigger before 12.8.
inline constexpr size_t kPmSetConfigSize126 = offsetof(PmSetConfig, append);

// A struct that says its size and is zero otherwise.
template <typename T>
T PmParameters() {
  T parameters{};
  parameters.struct_size = kPmSize<T>;
  return parameters;
}

// Every function of libcupti this part calls: X(exported name, required, argument).
#define WARPGAUGE_PM_FUNCTIONS(X)                                       \
  X(cuptiGetVersion, true, uint32_t)                                    \
  X(cuptiGetTimestamp, true, uint64_t)                                  \
  X(cuptiProfilerInitialize, true, PmProfilerInitialize)                \
  X(cuptiProfilerDeInitialize, true, PmProfilerDeinitialize)            \
  X(cuptiDeviceGetChipName, true, PmGetChipName)                        \
  X(cuptiPmSamplingGetCounterAvailability, true, PmGetAvailability)     \
  X(cuptiProfilerHostInitialize, true, PmHostInitialize)                \
  X(cuptiProfilerHostDeinitialize, true, PmHostDeinitialize)            \
  X(cuptiProfilerHostGetSupportedChips, false, PmGetSupportedChips)     \
  X(cuptiProfilerHostConfigAddMetrics, true, PmConfigAddMetrics)        \
  X(cuptiProfilerHostGetConfigImageSize, true, PmGetConfigSize)         \
  X(cuptiProfilerHostGetConfigImage, true, PmGetConfig)                 \
  X(cuptiProfilerHostGetNumOfPasses, true, PmGetPasses)                 \
  X(cuptiProfilerHostEvaluateToGpuValues, true, PmEvaluate)             \
  X(cuptiPmSamplingEnable, true, PmEnable)                              \
  X(cuptiPmSamplingSetConfig, true, PmSetConfig)                        \
  X(cuptiPmSamplingGetCounterDataSize, true, PmGetImageSize)            \
  X(cuptiPmSamplingCounterDataImageInitialize, true, PmImageInitialize) \
  X(cuptiPmSamplingStart, true, PmOfSampler)                            \
  X(cuptiPmSamplingStop, true, PmOfSampler)                             \
  X(cuptiPmSamplingDisable, true, PmOfSampler)                          \
  X(cuptiPmSamplingDecodeData, true, PmDecode)                          \
  X(cuptiPmSamplingGetCounterDataInfo, true, PmGetImageInfo)            \
  X(cuptiPmSamplingCounterDataGetSampleInfo, true, PmGetSampleInfo)

}  // namespace warpgauge
