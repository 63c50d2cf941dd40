#pragma once

#include <cstddef>
#include <cstdint>

// The part of the NVML ABI that this project calls, declared by ourselves so that building needs no
// NVIDIA header. test/native/nvml_abi_test.cc compares every value, layout and signature with the
// real nvml.h where one is installed.
namespace warpgauge {

using NvmlReturn = int;
using NvmlDevice = struct NvmlDeviceHandle*;
using NvmlEventSet = struct NvmlEventSetHandle*;
using NvmlGpmSample = struct NvmlGpmSampleHandle*;

inline constexpr NvmlReturn kNvmlSuccess = 0;
inline constexpr NvmlReturn kNvmlUninitialized = 1;
inline constexpr NvmlReturn kNvmlInvalidArgument = 2;
inline constexpr NvmlReturn kNvmlNotSupported = 3;
inline constexpr NvmlReturn kNvmlNoPermission = 4;
inline constexpr NvmlReturn kNvmlNotFound = 6;
inline constexpr NvmlReturn kNvmlInsufficientSize = 7;
inline constexpr NvmlReturn kNvmlDriverNotLoaded = 9;
inline constexpr NvmlReturn kNvmlTimeout = 10;
inline constexpr NvmlReturn kNvmlFunctionNotFound = 13;
inline constexpr NvmlReturn kNvmlGpuIsLost = 15;
inline constexpr NvmlReturn kNvmlResetRequired = 16;
inline constexpr NvmlReturn kNvmlOperatingSystem = 17;
inline constexpr NvmlReturn kNvmlVersionMismatch = 18;
inline constexpr NvmlReturn kNvmlMemory = 20;
inline constexpr NvmlReturn kNvmlNoData = 21;
inline constexpr NvmlReturn kNvmlArgumentVersionMismatch = 25;
inline constexpr NvmlReturn kNvmlDeprecated = 26;
inline constexpr NvmlReturn kNvmlNotReady = 27;
inline constexpr NvmlReturn kNvmlUnknown = 999;

// Clock types.
inline constexpr int kNvmlClockGraphics = 0;
inline constexpr int kNvmlClockSm = 1;
inline constexpr int kNvmlClockMemory = 2;
inline constexpr int kNvmlClockVideo = 3;

// PCIe directions as the GPU sees them: TX leaves the GPU (device to host), RX arrives.
inline constexpr int kNvmlPcieTx = 0;
inline constexpr int kNvmlPcieRx = 1;

inline constexpr int kNvmlTemperatureGpu = 0;
inline constexpr int kNvmlPstateUnknown = 32;

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

// Events.
inline constexpr uint64_t kNvmlEventSingleBitEcc = 0x1;
inline constexpr uint64_t kNvmlEventDoubleBitEcc = 0x2;
inline constexpr uint64_t kNvmlEventPState = 0x4;
inline constexpr uint64_t kNvmlEventXid = 0x8;
inline constexpr uint64_t kNvmlEventClock = 0x10;
inline constexpr uint64_t kNvmlEventPowerSource = 0x80;
// Of affinities: the NUMA node of the device, not its socket.
inline constexpr unsigned kNvmlAffinityNode = 0;
inline constexpr uint64_t kNvmlEventMigConfig = 0x100;

// Types of the driver's own sample buffers.
inline constexpr int kNvmlSamplesPower = 0;
inline constexpr int kNvmlSamplesGpuUtilization = 1;
inline constexpr int kNvmlSamplesMemoryUtilization = 2;

// How the 8 bytes of a value are to be read.
inline constexpr int kNvmlValueDouble = 0;
inline constexpr int kNvmlValueUint = 1;
inline constexpr int kNvmlValueUlong = 2;
inline constexpr int kNvmlValueUlongLong = 3;
inline constexpr int kNvmlValueLongLong = 4;
inline constexpr int kNvmlValueInt = 5;     // from header 12.2
inline constexpr int kNvmlValueUshort = 6;  // from header 12.6

// "Not available" of u64 and u32 answers inside structs.
inline constexpr uint64_t kNvmlNotAvailable64 = ~uint64_t{0};
inline constexpr uint32_t kNvmlNotAvailable32 = ~uint32_t{0};

// Text buffers, terminating zero included.
inline constexpr unsigned kNvmlNameBytes = 96;
inline constexpr unsigned kNvmlUuidBytes = 96;
inline constexpr unsigned kNvmlVersionBytes = 80;
inline constexpr unsigned kNvmlVbiosBytes = 32;
inline constexpr unsigned kNvmlSerialBytes = 30;

// Field ids. Only of the list that kept its meaning in every header from 10.x to 13.3: 199, 200 and
// 251-273 changed it between releases and are never asked.
enum NvmlField : unsigned {
  kFieldEccSingleVolatile = 3,
  kFieldEccDoubleVolatile = 4,
  kFieldEccSingleAggregate = 5,
  kFieldEccDoubleAggregate = 6,
  kFieldThrottlePower = 74,
  kFieldThrottleThermal = 75,
  kFieldThrottleSyncBoost = 76,
  kFieldThrottleBoardLimit = 77,
  kFieldThrottleLowUtilization = 78,
  kFieldThrottleReliability = 79,
  kFieldMemoryTemperature = 82,
  kFieldEnergy = 83,
  kFieldPcieReplays = 94,
  kFieldPcieReplayRollovers = 95,
  kFieldNvlinkDataTx = 138,
  kFieldNvlinkDataRx = 139,
  kFieldNvlinkRawTx = 140,
  kFieldNvlinkRawRx = 141,
  kFieldRemappedCorrectable = 142,
  kFieldRemappedUncorrectable = 143,
  kFieldRemappedPending = 144,
  kFieldRemappedFailure = 145,
  kFieldPcieRecoveries = 169,
  kFieldPcieCorrectable = 173,
  kFieldPcieNaksReceived = 174,
  kFieldPcieReceiverErrors = 175,
  kFieldPcieBadTlp = 176,
  kFieldPcieNaksSent = 177,
  kFieldPcieBadDllp = 178,
  kFieldPcieNonFatal = 179,
  kFieldPcieFatal = 180,
  kFieldPcieUnsupportedRequests = 181,
  kFieldPcieLcrc = 182,
  kFieldPcieLaneErrors = 183,
  kFieldPowerAverage = 185,
  kFieldPowerInstant = 186,
  kFieldPowerMinLimit = 187,
  kFieldPowerMaxLimit = 188,
  kFieldPowerDefaultLimit = 189,
  kFieldPowerEnforcedLimit = 190,
  kFieldPowerRequestedLimit = 192,
  kFieldMarginShutdown = 193,
  kFieldMarginSlowdown = 194,
  kFieldMarginMemory = 195,
  kFieldMarginGpuMax = 196,
  kFieldPcieTxBytes = 197,
  kFieldPcieRxBytes = 198,
  kFieldRecoveryAction = 230,
};
// scopeId of NVLink fields: all links in sum.
inline constexpr unsigned kNvmlAllLinks = 0xffffffff;

struct NvmlUtilization {
  unsigned gpu, memory;  // percent
};
struct NvmlMemoryV1 {
  uint64_t total, free, used;  // bytes; `used` holds what v2 calls reserved
};
struct NvmlMemoryV2 {
  unsigned version;
  uint64_t total, reserved, free, used;
};
struct NvmlBar1 {
  uint64_t total, free, used;
};
struct NvmlPciInfo {
  char legacy_address[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char address[32];
};
union NvmlValueBits {
  double f64;
  uint32_t u32;
  uint64_t u64;
  int64_t i64;
  int32_t i32;
  uint16_t u16;
};
struct NvmlFieldValue {
  unsigned field, scope;
  int64_t timestamp_us, latency_us;
  int type;
  NvmlReturn code;
  NvmlValueBits value;
};
struct NvmlSample {
  uint64_t timestamp_us;
  NvmlValueBits value;
};
// An entry of a process list. v1 ends before gpu_instance; v2 and v3 are this; drivers 535.43 to
// 535.86 put 8 more bytes behind it.
struct NvmlProcess {
  unsigned pid;
  uint64_t memory;
  unsigned gpu_instance, compute_instance;
};
struct NvmlProcessUtilization {
  unsigned pid;
  uint64_t timestamp_us;
  unsigned sm, memory, encoder, decoder;  // percent
};
struct NvmlProcessUtilizationInfo {
  uint64_t timestamp_us;
  unsigned pid, sm, memory, encoder, decoder, jpeg, ofa;
};
struct NvmlProcessesUtilization {
  unsigned version, count;
  uint64_t last_seen_us;
  NvmlProcessUtilizationInfo* entries;
};
struct NvmlEventData {
  NvmlDevice device;
  uint64_t type, data;
  unsigned gpu_instance, compute_instance;
};
struct NvmlGpmSupport {
  unsigned version, supported;
};
struct NvmlGpmMetric {
  unsigned id;
  NvmlReturn code;
  double value;
  const char *short_name, *long_name, *unit;
};
// The array grew from 98 to 333 entries under one version number: room for all of them, whatever
// the driver believes.
inline constexpr unsigned kNvmlGpmMetricsRoom = 333;
struct NvmlGpmMetrics {
  unsigned version, count;
  NvmlGpmSample first, second;
  NvmlGpmMetric metrics[kNvmlGpmMetricsRoom];
};
struct NvmlAttributes {
  unsigned multiprocessors, copy_engines, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices;
  uint64_t memory_mib;
};
struct NvmlTemperature {
  unsigned version;
  int sensor, celsius;
};
struct NvmlMarginTemperature {
  unsigned version;
  int celsius;
};

static_assert(sizeof(NvmlMemoryV1) == 24 && sizeof(NvmlMemoryV2) == 40 && sizeof(NvmlBar1) == 24);
static_assert(sizeof(NvmlPciInfo) == 68 && offsetof(NvmlPciInfo, address) == 36);
static_assert(sizeof(NvmlValueBits) == 8 && sizeof(NvmlSample) == 16);
static_assert(sizeof(NvmlFieldValue) == 40 && offsetof(NvmlFieldValue, type) == 24 &&
              offsetof(NvmlFieldValue, value) == 32);
static_assert(sizeof(NvmlProcess) == 24 && offsetof(NvmlProcess, gpu_instance) == 16);
static_assert(sizeof(NvmlProcessUtilization) == 32 && offsetof(NvmlProcessUtilization, sm) == 16);
static_assert(sizeof(NvmlProcessUtilizationInfo) == 40 &&
              offsetof(NvmlProcessUtilizationInfo, ofa) == 32);
static_assert(sizeof(NvmlProcessesUtilization) == 24 &&
              offsetof(NvmlProcessesUtilization, entries) == 16);
static_assert(sizeof(NvmlEventData) == 32 && offsetof(NvmlEventData, gpu_instance) == 24);
static_assert(sizeof(NvmlGpmMetric) == 40 && sizeof(NvmlGpmMetrics) == 13344);
static_assert(sizeof(NvmlAttributes) == 40 && offsetof(NvmlAttributes, memory_mib) == 32);
static_assert(sizeof(NvmlTemperature) == 12 && sizeof(NvmlMarginTemperature) == 8);

// Struct versions: size | number << 24, except GPM, which counts plainly.
inline constexpr unsigned kNvmlMemoryVersion = 0x02000028;
inline constexpr unsigned kNvmlProcessesUtilizationVersion = 0x01000018;
inline constexpr unsigned kNvmlTemperatureVersion = 0x0100000c;
inline constexpr unsigned kNvmlMarginTemperatureVersion = 0x01000008;
inline constexpr unsigned kNvmlGpmVersion = 1;

// Every function of libnvidia-ml this project calls: X(exported name, type). All are optional:
// NVIDIA adds and withdraws functions between releases, so a missing one is a missing value with a
// reason. The lists are by the first header that has them.
// NOLINTBEGIN(google-runtime-int)
#define WARPGAUGE_NVML_FUNCTIONS_11(X)                                                             \
  X(nvmlInit_v2, NvmlReturn())                                                                     \
  X(nvmlShutdown, NvmlReturn())                                                                    \
  X(nvmlSystemGetDriverVersion, NvmlReturn(char* text, unsigned size))                             \
  X(nvmlSystemGetNVMLVersion, NvmlReturn(char* text, unsigned size))                               \
  X(nvmlSystemGetCudaDriverVersion_v2, NvmlReturn(int* version))                                   \
  X(nvmlDeviceGetCount_v2, NvmlReturn(unsigned* count))                                            \
  X(nvmlDeviceGetHandleByIndex_v2, NvmlReturn(unsigned index, NvmlDevice* device))                 \
  X(nvmlDeviceGetHandleByPciBusId_v2, NvmlReturn(const char* address, NvmlDevice* device))         \
  X(nvmlDeviceGetPciInfo_v3, NvmlReturn(NvmlDevice device, NvmlPciInfo* info))                     \
  X(nvmlDeviceGetName, NvmlReturn(NvmlDevice device, char* text, unsigned size))                   \
  X(nvmlDeviceGetUUID, NvmlReturn(NvmlDevice device, char* text, unsigned size))                   \
  X(nvmlDeviceGetSerial, NvmlReturn(NvmlDevice device, char* text, unsigned size))                 \
  X(nvmlDeviceGetVbiosVersion, NvmlReturn(NvmlDevice device, char* text, unsigned size))           \
  X(nvmlDeviceGetArchitecture, NvmlReturn(NvmlDevice device, unsigned* architecture))              \
  X(nvmlDeviceGetCudaComputeCapability, NvmlReturn(NvmlDevice device, int* major, int* minor))     \
  X(nvmlDeviceGetComputeMode, NvmlReturn(NvmlDevice device, int* mode))                            \
  X(nvmlDeviceGetPersistenceMode, NvmlReturn(NvmlDevice device, int* enabled))                     \
  X(nvmlDeviceGetEccMode, NvmlReturn(NvmlDevice device, int* current, int* pending))               \
  X(nvmlDeviceGetMigMode, NvmlReturn(NvmlDevice device, unsigned* current, unsigned* pending))     \
  X(nvmlDeviceGetMaxMigDeviceCount, NvmlReturn(NvmlDevice device, unsigned* count))                \
  X(nvmlDeviceGetMigDeviceHandleByIndex,                                                           \
    NvmlReturn(NvmlDevice device, unsigned index, NvmlDevice* instance))                           \
  X(nvmlDeviceGetGpuInstanceId, NvmlReturn(NvmlDevice instance, unsigned* id))                     \
  X(nvmlDeviceGetComputeInstanceId, NvmlReturn(NvmlDevice instance, unsigned* id))                 \
  X(nvmlDeviceGetAttributes_v2, NvmlReturn(NvmlDevice instance, NvmlAttributes* attributes))       \
  X(nvmlDeviceGetUtilizationRates, NvmlReturn(NvmlDevice device, NvmlUtilization* percent))        \
  X(nvmlDeviceGetEncoderUtilization,                                                               \
    NvmlReturn(NvmlDevice device, unsigned* percent, unsigned* period_us))                         \
  X(nvmlDeviceGetDecoderUtilization,                                                               \
    NvmlReturn(NvmlDevice device, unsigned* percent, unsigned* period_us))                         \
  X(nvmlDeviceGetMemoryInfo, NvmlReturn(NvmlDevice device, NvmlMemoryV1* memory))                  \
  X(nvmlDeviceGetMemoryInfo_v2, NvmlReturn(NvmlDevice device, NvmlMemoryV2* memory))               \
  X(nvmlDeviceGetBAR1MemoryInfo, NvmlReturn(NvmlDevice device, NvmlBar1* memory))                  \
  X(nvmlDeviceGetPowerUsage, NvmlReturn(NvmlDevice device, unsigned* milliwatts))                  \
  X(nvmlDeviceGetPowerManagementLimit, NvmlReturn(NvmlDevice device, unsigned* milliwatts))        \
  X(nvmlDeviceGetEnforcedPowerLimit, NvmlReturn(NvmlDevice device, unsigned* milliwatts))          \
  X(nvmlDeviceGetPowerManagementDefaultLimit, NvmlReturn(NvmlDevice device, unsigned* milliwatts)) \
  X(nvmlDeviceGetPowerManagementLimitConstraints,                                                  \
    NvmlReturn(NvmlDevice device, unsigned* least, unsigned* most))                                \
  X(nvmlDeviceGetTotalEnergyConsumption, NvmlReturn(NvmlDevice device, uint64_t* millijoules))     \
  X(nvmlDeviceGetClockInfo, NvmlReturn(NvmlDevice device, int type, unsigned* mhz))                \
  X(nvmlDeviceGetMaxClockInfo, NvmlReturn(NvmlDevice device, int type, unsigned* mhz))             \
  X(nvmlDeviceGetTemperature, NvmlReturn(NvmlDevice device, int sensor, unsigned* celsius))        \
  X(nvmlDeviceGetNumFans, NvmlReturn(NvmlDevice device, unsigned* fans))                           \
  X(nvmlDeviceGetFanSpeed_v2, NvmlReturn(NvmlDevice device, unsigned fan, unsigned* percent))      \
  X(nvmlDeviceGetPerformanceState, NvmlReturn(NvmlDevice device, int* state))                      \
  X(nvmlDeviceGetCurrentClocksThrottleReasons,                                                     \
    NvmlReturn(NvmlDevice device, unsigned long long* bits))                                       \
  X(nvmlDeviceGetPcieThroughput,                                                                   \
    NvmlReturn(NvmlDevice device, int direction, unsigned* kilobytes_per_second))                  \
  X(nvmlDeviceGetCurrPcieLinkGeneration, NvmlReturn(NvmlDevice device, unsigned* generation))      \
  X(nvmlDeviceGetMaxPcieLinkGeneration, NvmlReturn(NvmlDevice device, unsigned* generation))       \
  X(nvmlDeviceGetCurrPcieLinkWidth, NvmlReturn(NvmlDevice device, unsigned* lanes))                \
  X(nvmlDeviceGetMaxPcieLinkWidth, NvmlReturn(NvmlDevice device, unsigned* lanes))                 \
  X(nvmlDeviceGetMemoryAffinity,                                                                   \
    NvmlReturn(NvmlDevice device, unsigned words, unsigned long* nodes, unsigned scope))           \
  X(nvmlDeviceGetCpuAffinityWithinScope,                                                           \
    NvmlReturn(NvmlDevice device, unsigned words, unsigned long* cpus, unsigned scope))            \
  X(nvmlDeviceGetPcieReplayCounter, NvmlReturn(NvmlDevice device, unsigned* count))                \
  X(nvmlDeviceGetFieldValues, NvmlReturn(NvmlDevice device, int count, NvmlFieldValue* values))    \
  X(nvmlDeviceGetSamples,                                                                          \
    NvmlReturn(NvmlDevice device,                                                                  \
               int type,                                                                           \
               unsigned long long last_seen_us,                                                    \
               int* value_type,                                                                    \
               unsigned* count,                                                                    \
               NvmlSample* samples))                                                               \
  X(nvmlDeviceGetComputeRunningProcesses,                                                          \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetComputeRunningProcesses_v2,                                                       \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetComputeRunningProcesses_v3,                                                       \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetGraphicsRunningProcesses,                                                         \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetGraphicsRunningProcesses_v2,                                                      \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetGraphicsRunningProcesses_v3,                                                      \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetMPSComputeRunningProcesses,                                                       \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetMPSComputeRunningProcesses_v2,                                                    \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetMPSComputeRunningProcesses_v3,                                                    \
    NvmlReturn(NvmlDevice device, unsigned* count, NvmlProcess* entries))                          \
  X(nvmlDeviceGetProcessUtilization,                                                               \
    NvmlReturn(NvmlDevice device,                                                                  \
               NvmlProcessUtilization* entries,                                                    \
               unsigned* count,                                                                    \
               unsigned long long last_seen_us))                                                   \
  X(nvmlEventSetCreate, NvmlReturn(NvmlEventSet* set))                                             \
  X(nvmlEventSetFree, NvmlReturn(NvmlEventSet set))                                                \
  X(nvmlEventSetWait_v2, NvmlReturn(NvmlEventSet set, NvmlEventData* data, unsigned timeout_ms))   \
  X(nvmlDeviceRegisterEvents,                                                                      \
    NvmlReturn(NvmlDevice device, unsigned long long types, NvmlEventSet set))                     \
  X(nvmlDeviceGetSupportedEventTypes, NvmlReturn(NvmlDevice device, unsigned long long* types))    \
  X(nvmlGpmQueryDeviceSupport, NvmlReturn(NvmlDevice device, NvmlGpmSupport* support))             \
  X(nvmlGpmSampleAlloc, NvmlReturn(NvmlGpmSample* sample))                                         \
  X(nvmlGpmSampleFree, NvmlReturn(NvmlGpmSample sample))                                           \
  X(nvmlGpmSampleGet, NvmlReturn(NvmlDevice device, NvmlGpmSample sample))                         \
  X(nvmlGpmMetricsGet, NvmlReturn(NvmlGpmMetrics* metrics))

#define WARPGAUGE_NVML_FUNCTIONS_12(X)                                          \
  X(nvmlGpmMigSampleGet,                                                        \
    NvmlReturn(NvmlDevice device, unsigned gpu_instance, NvmlGpmSample sample)) \
  X(nvmlDeviceGetCurrentClocksEventReasons,                                     \
    NvmlReturn(NvmlDevice device, unsigned long long* bits))                    \
  X(nvmlDeviceGetJpgUtilization,                                                \
    NvmlReturn(NvmlDevice device, unsigned* percent, unsigned* period_us))      \
  X(nvmlDeviceGetOfaUtilization,                                                \
    NvmlReturn(NvmlDevice device, unsigned* percent, unsigned* period_us))

#define WARPGAUGE_NVML_FUNCTIONS_12_8(X)                                                    \
  X(nvmlDeviceGetNumaNodeId, NvmlReturn(NvmlDevice device, unsigned* node))                 \
  X(nvmlDeviceGetProcessesUtilizationInfo,                                                  \
    NvmlReturn(NvmlDevice device, NvmlProcessesUtilization* list))                          \
  X(nvmlDeviceGetTemperatureV, NvmlReturn(NvmlDevice device, NvmlTemperature* temperature)) \
  X(nvmlDeviceGetMarginTemperature, NvmlReturn(NvmlDevice device, NvmlMarginTemperature* margin))
// NOLINTEND(google-runtime-int)

#define WARPGAUGE_NVML_FUNCTIONS(X) \
  WARPGAUGE_NVML_FUNCTIONS_11(X)    \
  WARPGAUGE_NVML_FUNCTIONS_12(X)    \
  WARPGAUGE_NVML_FUNCTIONS_12_8(X)

}  // namespace warpgauge
