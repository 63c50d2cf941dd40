#include "gpu/nvml/metrics.h"

#include <iterator>

namespace warpgauge {
namespace {

using Type = ColumnType;
using Kind = ColumnKind;

// A value that may be one of the driver's words for "none".
void SetCount(GpuCell* cell, uint64_t value, uint64_t scale = 1) {
  if (IsBlank(value)) {
    cell->SetOutOfRange();
  } else {
    cell->SetU64(value * scale);
  }
}

void SetScaled(GpuCell* cell, uint64_t value, double scale) {
  if (IsBlank(value)) {
    cell->SetOutOfRange();
  } else {
    cell->SetF64(static_cast<double>(value) * scale);
  }
}

void SetPercent(GpuCell* cell, unsigned percent) {
  double ratio = 0;
  if (PercentToRatio(percent, &ratio)) {
    cell->SetF64(ratio);
  } else {
    cell->SetOutOfRange();
  }
}

// Hotter or colder than any chip that still answers.
void SetCelsius(GpuCell* cell, int64_t celsius) {
  if (celsius < -100 || celsius > 250) {
    cell->SetOutOfRange();
  } else {
    cell->SetI64(celsius);
  }
}

NvmlReturn SetNulls(GpuCell* cells, size_t count, NvmlReturn code) {
  for (size_t i = 0; i < count; i++) cells[i].SetNull(code);
  return code;
}

// ---- fields ----

enum class FieldAs : uint8_t { kCount, kKib, kMilliwatts, kMillijoules, kCelsius, kFlag };
struct FieldSpec {
  unsigned field;
  unsigned scope;
  FieldAs as;
};

void SetField(GpuCell* cell, const NvmlFieldValue& value, FieldAs as) {
  if (value.code != kNvmlSuccess) return cell->SetNull(value.code);
  const NvmlNumber number = DecodeNvmlValue(value.type, value.value);
  if (number.type == NvmlNumber::Type::kNone) return cell->SetOutOfRange();
  if (as == FieldAs::kCelsius) {
    // A signed number, also where a driver labels it as unsigned.
    return SetCelsius(cell,
                      number.type == NvmlNumber::Type::kUnsigned
                          ? static_cast<int32_t>(static_cast<uint32_t>(number.u64))
                          : static_cast<int64_t>(number.AsDouble()));
  }
  if (number.type == NvmlNumber::Type::kSigned && number.i64 < 0) return cell->SetOutOfRange();
  const uint64_t count = number.type == NvmlNumber::Type::kFloat
                             ? static_cast<uint64_t>(number.f64 < 0 ? 0 : number.f64)
                             : number.u64;
  switch (as) {
    case FieldAs::kCount:
      return SetCount(cell, count);
    case FieldAs::kKib:
      return SetCount(cell, count, 1024);
    case FieldAs::kMilliwatts:
    case FieldAs::kMillijoules:
      return SetScaled(cell, count, 1e-3);
    case FieldAs::kFlag:
      return IsBlank(count) ? cell->SetOutOfRange() : cell->SetU64(count != 0 ? 1 : 0);
    case FieldAs::kCelsius:
      return;
  }
}

template <size_t N>
NvmlReturn ReadFields(const MetricCall& call, const FieldSpec (&specs)[N], GpuCell* cells) {
  static_assert(N <= kMaxMetricCells);
  if (call.table.nvmlDeviceGetFieldValues == nullptr) {
    return SetNulls(cells, N, kNvmlFunctionNotFound);
  }
  NvmlFieldValue values[N] = {};
  size_t index[N];
  size_t count = 0;
  for (size_t i = 0; i < N; i++) {
    if ((call.dropped >> i & 1) != 0) continue;
    values[count].field = specs[i].field;
    values[count].scope = specs[i].scope;
    // A driver that leaves an entry alone has not answered it.
    values[count].code = kNvmlNotSupported;
    index[count++] = i;
  }
  if (count == 0) return kNvmlNotSupported;
  const NvmlReturn code =
      call.table.nvmlDeviceGetFieldValues(call.device, static_cast<int>(count), values);
  NvmlReturn result = kNvmlNotSupported;
  for (size_t i = 0; i < count; i++) {
    const size_t cell = index[i];
    if (code != kNvmlSuccess) values[i].code = code;
    SetField(&cells[cell], values[i], specs[cell].as);
    if (NvmlIsPermanent(values[i].code)) {
      call.dropped |= 1U << cell;
    } else {
      result = values[i].code == kNvmlSuccess || result != kNvmlSuccess ? values[i].code : result;
    }
  }
  return result;
}

// ---- gpu ----

NvmlReturn ReadUtilization(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetUtilizationRates == nullptr) {
    return SetNulls(cells, 2, kNvmlFunctionNotFound);
  }
  NvmlUtilization percent = {};
  const NvmlReturn code = call.table.nvmlDeviceGetUtilizationRates(call.device, &percent);
  if (code != kNvmlSuccess) return SetNulls(cells, 2, code);
  SetPercent(&cells[0], percent.gpu);
  SetPercent(&cells[1], percent.memory);
  return code;
}

template <auto Function>
NvmlReturn ReadEngine(const MetricCall& call, GpuCell* cells) {
  const auto function = call.table.*Function;
  if (function == nullptr) return SetNulls(cells, 1, kNvmlFunctionNotFound);
  unsigned percent = 0;
  unsigned period_us = 0;
  const NvmlReturn code = function(call.device, &percent, &period_us);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetPercent(cells, percent);
  return code;
}

NvmlReturn ReadMemory(const MetricCall& call, GpuCell* cells) {
  NvmlMemory memory;
  const NvmlReturn code = call.scheme.ReadMemory(call.device, &memory);
  if (code != kNvmlSuccess) return SetNulls(cells, 4, code);
  SetCount(&cells[0], memory.total);
  SetCount(&cells[1], memory.used);
  SetCount(&cells[2], memory.free);
  if (memory.reserved == kNvmlNotAvailable64) {
    cells[3].SetNull(kNvmlFunctionNotFound);  // v1 does not have it
  } else {
    SetCount(&cells[3], memory.reserved);
  }
  return code;
}

NvmlReturn ReadPowerInstant(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldPowerInstant, 0, FieldAs::kMilliwatts}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadPowerAverage(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldPowerAverage, 0, FieldAs::kMilliwatts}};
  return ReadFields(call, kFields, cells);
}

template <auto Function>
NvmlReturn ReadUnsigned(const MetricCall& call, GpuCell* cells) {
  const auto function = call.table.*Function;
  if (function == nullptr) return SetNulls(cells, 1, kNvmlFunctionNotFound);
  unsigned value = 0;
  const NvmlReturn code = function(call.device, &value);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetCount(cells, value);
  return code;
}

template <auto Function>
NvmlReturn ReadMilliwatts(const MetricCall& call, GpuCell* cells) {
  const auto function = call.table.*Function;
  if (function == nullptr) return SetNulls(cells, 1, kNvmlFunctionNotFound);
  unsigned value = 0;
  const NvmlReturn code = function(call.device, &value);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetScaled(cells, value, 1e-3);
  return code;
}

template <int Clock>
NvmlReturn ReadClock(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetClockInfo == nullptr) {
    return SetNulls(cells, 1, kNvmlFunctionNotFound);
  }
  unsigned mhz = 0;
  const NvmlReturn code = call.table.nvmlDeviceGetClockInfo(call.device, Clock, &mhz);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetScaled(cells, mhz, 1e6);
  return code;
}

NvmlReturn ReadTemperature(const MetricCall& call, GpuCell* cells) {
  int celsius = 0;
  const NvmlReturn code = call.scheme.ReadTemperature(call.device, &celsius);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetCelsius(cells, celsius);
  return code;
}

NvmlReturn ReadPstate(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetPerformanceState == nullptr) {
    return SetNulls(cells, 1, kNvmlFunctionNotFound);
  }
  int state = 0;
  const NvmlReturn code = call.table.nvmlDeviceGetPerformanceState(call.device, &state);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  if (state < 0 || state > 15) {
    cells->SetOutOfRange();  // 32: unknown
  } else {
    cells->SetU64(static_cast<uint64_t>(state));
  }
  return code;
}

NvmlReturn ReadReasons(const MetricCall& call, GpuCell* cells) {
  const auto function = call.table.ClocksEventReasons();
  if (function == nullptr) return SetNulls(cells, 1, kNvmlFunctionNotFound);
  unsigned long long bits = 0;  // NOLINT(google-runtime-int): the ABI says so
  const NvmlReturn code = function(call.device, &bits);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetCount(cells, bits);
  return code;
}

// ---- gpu.slow ----

NvmlReturn ReadEnergy(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetTotalEnergyConsumption == nullptr) {
    static constexpr FieldSpec kFields[] = {{kFieldEnergy, 0, FieldAs::kMillijoules}};
    return ReadFields(call, kFields, cells);
  }
  uint64_t millijoules = 0;
  const NvmlReturn code = call.table.nvmlDeviceGetTotalEnergyConsumption(call.device, &millijoules);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetScaled(cells, millijoules, 1e-3);
  return code;
}

NvmlReturn ReadLimitConstraints(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetPowerManagementLimitConstraints == nullptr) {
    return SetNulls(cells, 2, kNvmlFunctionNotFound);
  }
  unsigned least = 0;
  unsigned most = 0;
  const NvmlReturn code =
      call.table.nvmlDeviceGetPowerManagementLimitConstraints(call.device, &least, &most);
  if (code != kNvmlSuccess) return SetNulls(cells, 2, code);
  SetScaled(&cells[0], least, 1e-3);
  SetScaled(&cells[1], most, 1e-3);
  return code;
}

NvmlReturn ReadBar1(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetBAR1MemoryInfo == nullptr) {
    return SetNulls(cells, 3, kNvmlFunctionNotFound);
  }
  NvmlBar1 memory = {};
  const NvmlReturn code = call.table.nvmlDeviceGetBAR1MemoryInfo(call.device, &memory);
  if (code != kNvmlSuccess) return SetNulls(cells, 3, code);
  SetCount(&cells[0], memory.total);
  SetCount(&cells[1], memory.used);
  SetCount(&cells[2], memory.free);
  return code;
}

NvmlReturn ReadMemoryTemperature(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldMemoryTemperature, 0, FieldAs::kCelsius}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadMargins(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldMarginShutdown, 0, FieldAs::kCelsius},
                                          {kFieldMarginSlowdown, 0, FieldAs::kCelsius},
                                          {kFieldMarginMemory, 0, FieldAs::kCelsius},
                                          {kFieldMarginGpuMax, 0, FieldAs::kCelsius}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadMargin(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetMarginTemperature == nullptr) {
    return SetNulls(cells, 1, kNvmlFunctionNotFound);
  }
  NvmlMarginTemperature margin = {kNvmlMarginTemperatureVersion, 0};
  const NvmlReturn code = call.table.nvmlDeviceGetMarginTemperature(call.device, &margin);
  if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
  SetCelsius(cells, margin.celsius);
  return code;
}

NvmlReturn ReadThrottleTimes(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldThrottlePower, 0, FieldAs::kCount},
                                          {kFieldThrottleSyncBoost, 0, FieldAs::kCount},
                                          {kFieldThrottleBoardLimit, 0, FieldAs::kCount},
                                          {kFieldThrottleLowUtilization, 0, FieldAs::kCount},
                                          {kFieldThrottleReliability, 0, FieldAs::kCount}};
  return ReadFields(call, kFields, cells);
}

// Apart from its siblings, because it alone costs a round trip to the GPU (0.7 ms on an H200 where
// the others cost 0.5 us).
NvmlReturn ReadThrottleThermal(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldThrottleThermal, 0, FieldAs::kCount}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadPcieErrors(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldPcieReplays, 0, FieldAs::kCount},
                                          {kFieldPcieReplayRollovers, 0, FieldAs::kCount},
                                          {kFieldPcieRecoveries, 0, FieldAs::kCount},
                                          {kFieldPcieCorrectable, 0, FieldAs::kCount},
                                          {kFieldPcieNaksReceived, 0, FieldAs::kCount},
                                          {kFieldPcieReceiverErrors, 0, FieldAs::kCount},
                                          {kFieldPcieBadTlp, 0, FieldAs::kCount},
                                          {kFieldPcieNaksSent, 0, FieldAs::kCount},
                                          {kFieldPcieBadDllp, 0, FieldAs::kCount},
                                          {kFieldPcieNonFatal, 0, FieldAs::kCount},
                                          {kFieldPcieFatal, 0, FieldAs::kCount},
                                          {kFieldPcieUnsupportedRequests, 0, FieldAs::kCount},
                                          {kFieldPcieLcrc, 0, FieldAs::kCount},
                                          {kFieldPcieLaneErrors, 0, FieldAs::kCount}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadNvlink(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldNvlinkDataTx, kNvmlAllLinks, FieldAs::kKib},
                                          {kFieldNvlinkDataRx, kNvmlAllLinks, FieldAs::kKib},
                                          {kFieldNvlinkRawTx, kNvmlAllLinks, FieldAs::kKib},
                                          {kFieldNvlinkRawRx, kNvmlAllLinks, FieldAs::kKib}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadEcc(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldEccSingleVolatile, 0, FieldAs::kCount},
                                          {kFieldEccDoubleVolatile, 0, FieldAs::kCount},
                                          {kFieldEccSingleAggregate, 0, FieldAs::kCount},
                                          {kFieldEccDoubleAggregate, 0, FieldAs::kCount}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadRemapped(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldRemappedCorrectable, 0, FieldAs::kCount},
                                          {kFieldRemappedUncorrectable, 0, FieldAs::kCount},
                                          {kFieldRemappedPending, 0, FieldAs::kFlag},
                                          {kFieldRemappedFailure, 0, FieldAs::kFlag}};
  return ReadFields(call, kFields, cells);
}

NvmlReturn ReadFan(const MetricCall& call, GpuCell* cells) {
  if (call.table.nvmlDeviceGetFanSpeed_v2 == nullptr) {
    return SetNulls(cells, 1, kNvmlFunctionNotFound);
  }
  unsigned fans = 1;
  unsigned highest = 0;
  if (call.table.nvmlDeviceGetNumFans != nullptr &&
      call.table.nvmlDeviceGetNumFans(call.device, &fans) == kNvmlSuccess && fans == 0) {
    return SetNulls(cells, 1, kNvmlNotSupported);
  }
  for (unsigned fan = 0; fan < fans && fan < 8; fan++) {
    unsigned percent = 0;
    const NvmlReturn code = call.table.nvmlDeviceGetFanSpeed_v2(call.device, fan, &percent);
    if (code != kNvmlSuccess) return SetNulls(cells, 1, code);
    if (percent > highest) highest = percent;
  }
  // The header says that a set point may exceed 100 %.
  if (highest > 200) {
    cells->SetOutOfRange();
  } else {
    cells->SetF64(highest / 100.0);
  }
  return kNvmlSuccess;
}

NvmlReturn ReadRecoveryAction(const MetricCall& call, GpuCell* cells) {
  static constexpr FieldSpec kFields[] = {{kFieldRecoveryAction, 0, FieldAs::kCount}};
  return ReadFields(call, kFields, cells);
}

// clang-format off
constexpr GpuColumn kMainColumns[] = {
    {"gpu_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetUtilizationRates gpu", "1/6 to 1 s by product: share of time in which a kernel ran"},
    {"memory_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetUtilizationRates memory", "1/6 to 1 s by product: share of time in which memory was read or written"},
    {"encoder_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetEncoderUtilization", "the driver's sampling period"},
    {"decoder_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetDecoderUtilization", "the driver's sampling period"},
    {"jpeg_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetJpgUtilization", "the driver's sampling period"},
    {"ofa_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetOfaUtilization", "the driver's sampling period"},
    {"memory_total_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetMemoryInfo_v2 total", ""},
    {"memory_used_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetMemoryInfo_v2 used; v1, where that is all there is, counts reserved in", ""},
    {"memory_free_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetMemoryInfo_v2 free", ""},
    {"memory_reserved_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetMemoryInfo_v2 reserved", ""},
    {"power_watts", Type::kFloat64, Kind::kGauge, "watts", "nvmlDeviceGetFieldValues 186 (POWER_INSTANT)", ""},
    {"power_average_watts", Type::kFloat64, Kind::kGauge, "watts", "nvmlDeviceGetFieldValues 185 (POWER_AVERAGE)", "1 s average"},
    {"clock_graphics_hertz", Type::kFloat64, Kind::kGauge, "hertz", "nvmlDeviceGetClockInfo 0", ""},
    {"clock_sm_hertz", Type::kFloat64, Kind::kGauge, "hertz", "nvmlDeviceGetClockInfo 1", ""},
    {"clock_memory_hertz", Type::kFloat64, Kind::kGauge, "hertz", "nvmlDeviceGetClockInfo 2", ""},
    {"clock_video_hertz", Type::kFloat64, Kind::kGauge, "hertz", "nvmlDeviceGetClockInfo 3", ""},
    {"temperature_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetTemperatureV, else nvmlDeviceGetTemperature", ""},
    {"pstate", Type::kUint8, Kind::kState, "1", "nvmlDeviceGetPerformanceState: 0 is the fastest", ""},
    {"throttle_reasons", Type::kUint64, Kind::kState, "1", "nvmlDeviceGetCurrentClocksEventReasons bits: 1 idle, 2 application clocks, 4 power cap, 8 hardware slowdown, 16 sync boost, 32 software thermal, 64 hardware thermal, 128 power brake, 256 display", ""},
};

constexpr GpuColumn kSlowColumns[] = {
    {"energy_joules", Type::kFloat64, Kind::kCounter, "joules", "nvmlDeviceGetTotalEnergyConsumption, since the driver was loaded", ""},
    {"power_limit_watts", Type::kFloat64, Kind::kState, "watts", "nvmlDeviceGetPowerManagementLimit", ""},
    {"power_limit_enforced_watts", Type::kFloat64, Kind::kState, "watts", "nvmlDeviceGetEnforcedPowerLimit", ""},
    {"power_limit_default_watts", Type::kFloat64, Kind::kState, "watts", "nvmlDeviceGetPowerManagementDefaultLimit", ""},
    {"power_limit_min_watts", Type::kFloat64, Kind::kState, "watts", "nvmlDeviceGetPowerManagementLimitConstraints", ""},
    {"power_limit_max_watts", Type::kFloat64, Kind::kState, "watts", "nvmlDeviceGetPowerManagementLimitConstraints", ""},
    {"bar1_total_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetBAR1MemoryInfo", ""},
    {"bar1_used_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetBAR1MemoryInfo", ""},
    {"bar1_free_bytes", Type::kUint64, Kind::kGauge, "bytes", "nvmlDeviceGetBAR1MemoryInfo", ""},
    {"memory_temperature_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetFieldValues 82", ""},
    {"margin_shutdown_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetFieldValues 193: distance to shutdown", ""},
    {"margin_slowdown_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetFieldValues 194: distance to slowdown", ""},
    {"margin_memory_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetFieldValues 195: distance to the memory's limit", ""},
    {"margin_gpu_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetFieldValues 196: distance to the GPU's limit", ""},
    {"margin_celsius", Type::kInt32, Kind::kGauge, "celsius", "nvmlDeviceGetMarginTemperature: distance to the nearest limit", ""},
    {"throttle_power_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 74", ""},
    {"throttle_sync_boost_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 76", ""},
    {"throttle_board_limit_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 77", ""},
    {"throttle_low_utilization_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 78", ""},
    {"throttle_reliability_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 79", ""},
    {"throttle_thermal_ns", Type::kUint64, Kind::kCounter, "ns", "nvmlDeviceGetFieldValues 75", ""},
    {"pcie_generation", Type::kUint8, Kind::kState, "1", "nvmlDeviceGetCurrPcieLinkGeneration: lower while idle", ""},
    {"pcie_generation_max", Type::kUint8, Kind::kState, "1", "nvmlDeviceGetMaxPcieLinkGeneration", ""},
    {"pcie_width", Type::kUint8, Kind::kState, "1", "nvmlDeviceGetCurrPcieLinkWidth, lanes", ""},
    {"pcie_width_max", Type::kUint8, Kind::kState, "1", "nvmlDeviceGetMaxPcieLinkWidth, lanes", ""},
    {"pcie_replays", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 94", ""},
    {"pcie_replay_rollovers", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 95", ""},
    {"pcie_recoveries", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 169: L0 to recovery", ""},
    {"pcie_correctable_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 173", ""},
    {"pcie_naks_received", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 174", ""},
    {"pcie_receiver_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 175", ""},
    {"pcie_bad_tlp", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 176", ""},
    {"pcie_naks_sent", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 177", ""},
    {"pcie_bad_dllp", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 178", ""},
    {"pcie_non_fatal_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 179", ""},
    {"pcie_fatal_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 180", ""},
    {"pcie_unsupported_requests", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 181", ""},
    {"pcie_lcrc_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 182", ""},
    {"pcie_lane_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 183", ""},
    {"nvlink_data_tx_bytes", Type::kUint64, Kind::kCounter, "bytes", "nvmlDeviceGetFieldValues 138, all links: payload", ""},
    {"nvlink_data_rx_bytes", Type::kUint64, Kind::kCounter, "bytes", "nvmlDeviceGetFieldValues 139, all links: payload", ""},
    {"nvlink_raw_tx_bytes", Type::kUint64, Kind::kCounter, "bytes", "nvmlDeviceGetFieldValues 140, all links: with protocol", ""},
    {"nvlink_raw_rx_bytes", Type::kUint64, Kind::kCounter, "bytes", "nvmlDeviceGetFieldValues 141, all links: with protocol", ""},
    {"ecc_single_bit_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 3, since the driver was loaded", ""},
    {"ecc_double_bit_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 4, since the driver was loaded", ""},
    {"ecc_single_bit_lifetime_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 5, over the life of the board", ""},
    {"ecc_double_bit_lifetime_errors", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 6, over the life of the board", ""},
    {"remapped_correctable_rows", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 142", ""},
    {"remapped_uncorrectable_rows", Type::kUint64, Kind::kCounter, "1", "nvmlDeviceGetFieldValues 143", ""},
    {"remapped_pending", Type::kBool, Kind::kState, "1", "nvmlDeviceGetFieldValues 144: a reset is needed", ""},
    {"remapped_failure", Type::kBool, Kind::kState, "1", "nvmlDeviceGetFieldValues 145", ""},
    {"fan_speed_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetFanSpeed_v2, the fastest fan's set point", ""},
    {"recovery_action", Type::kUint32, Kind::kState, "1", "nvmlDeviceGetFieldValues 230: 0 none, 1 GPU reset, 2 reboot, 3 drain peers, 4 drain and reset", ""},
};

// Columns of a table must be covered in order; GpuMetrics() counts them up.
struct MetricSpec {
  const char* call;
  GpuTable table;
  bool on_instance;
  uint8_t count;
  NvmlReturn (*read)(const MetricCall& call, GpuCell* cells);
};

constexpr MetricSpec kMetrics[] = {
    {"nvmlDeviceGetUtilizationRates", GpuTable::kMain, false, 2, ReadUtilization},
    {"nvmlDeviceGetEncoderUtilization", GpuTable::kMain, false, 1, ReadEngine<&NvmlTable::nvmlDeviceGetEncoderUtilization>},
    {"nvmlDeviceGetDecoderUtilization", GpuTable::kMain, false, 1, ReadEngine<&NvmlTable::nvmlDeviceGetDecoderUtilization>},
    {"nvmlDeviceGetJpgUtilization", GpuTable::kMain, false, 1, ReadEngine<&NvmlTable::nvmlDeviceGetJpgUtilization>},
    {"nvmlDeviceGetOfaUtilization", GpuTable::kMain, false, 1, ReadEngine<&NvmlTable::nvmlDeviceGetOfaUtilization>},
    {"nvmlDeviceGetMemoryInfo", GpuTable::kMain, true, 4, ReadMemory},
    {"nvmlDeviceGetFieldValues 186", GpuTable::kMain, false, 1, ReadPowerInstant},
    {"nvmlDeviceGetFieldValues 185", GpuTable::kMain, false, 1, ReadPowerAverage},
    {"nvmlDeviceGetClockInfo graphics", GpuTable::kMain, false, 1, ReadClock<kNvmlClockGraphics>},
    {"nvmlDeviceGetClockInfo sm", GpuTable::kMain, false, 1, ReadClock<kNvmlClockSm>},
    {"nvmlDeviceGetClockInfo memory", GpuTable::kMain, false, 1, ReadClock<kNvmlClockMemory>},
    {"nvmlDeviceGetClockInfo video", GpuTable::kMain, false, 1, ReadClock<kNvmlClockVideo>},
    {"nvmlDeviceGetTemperature", GpuTable::kMain, false, 1, ReadTemperature},
    {"nvmlDeviceGetPerformanceState", GpuTable::kMain, false, 1, ReadPstate},
    {"nvmlDeviceGetCurrentClocksEventReasons", GpuTable::kMain, false, 1, ReadReasons},
    {"nvmlDeviceGetTotalEnergyConsumption", GpuTable::kSlow, false, 1, ReadEnergy},
    {"nvmlDeviceGetPowerManagementLimit", GpuTable::kSlow, false, 1, ReadMilliwatts<&NvmlTable::nvmlDeviceGetPowerManagementLimit>},
    {"nvmlDeviceGetEnforcedPowerLimit", GpuTable::kSlow, false, 1, ReadMilliwatts<&NvmlTable::nvmlDeviceGetEnforcedPowerLimit>},
    {"nvmlDeviceGetPowerManagementDefaultLimit", GpuTable::kSlow, false, 1, ReadMilliwatts<&NvmlTable::nvmlDeviceGetPowerManagementDefaultLimit>},
    {"nvmlDeviceGetPowerManagementLimitConstraints", GpuTable::kSlow, false, 2, ReadLimitConstraints},
    {"nvmlDeviceGetBAR1MemoryInfo", GpuTable::kSlow, false, 3, ReadBar1},
    {"nvmlDeviceGetFieldValues 82", GpuTable::kSlow, false, 1, ReadMemoryTemperature},
    {"nvmlDeviceGetFieldValues 193-196", GpuTable::kSlow, false, 4, ReadMargins},
    {"nvmlDeviceGetMarginTemperature", GpuTable::kSlow, false, 1, ReadMargin},
    {"nvmlDeviceGetFieldValues 74, 76-79", GpuTable::kSlow, false, 5, ReadThrottleTimes},
    {"nvmlDeviceGetFieldValues 75", GpuTable::kSlow, false, 1, ReadThrottleThermal},
    {"nvmlDeviceGetCurrPcieLinkGeneration", GpuTable::kSlow, false, 1, ReadUnsigned<&NvmlTable::nvmlDeviceGetCurrPcieLinkGeneration>},
    {"nvmlDeviceGetMaxPcieLinkGeneration", GpuTable::kSlow, false, 1, ReadUnsigned<&NvmlTable::nvmlDeviceGetMaxPcieLinkGeneration>},
    {"nvmlDeviceGetCurrPcieLinkWidth", GpuTable::kSlow, false, 1, ReadUnsigned<&NvmlTable::nvmlDeviceGetCurrPcieLinkWidth>},
    {"nvmlDeviceGetMaxPcieLinkWidth", GpuTable::kSlow, false, 1, ReadUnsigned<&NvmlTable::nvmlDeviceGetMaxPcieLinkWidth>},
    {"nvmlDeviceGetFieldValues 94, 95, 169, 173-183", GpuTable::kSlow, false, 14, ReadPcieErrors},
    {"nvmlDeviceGetFieldValues 138-141", GpuTable::kSlow, false, 4, ReadNvlink},
    {"nvmlDeviceGetFieldValues 3-6", GpuTable::kSlow, false, 4, ReadEcc},
    {"nvmlDeviceGetFieldValues 142-145", GpuTable::kSlow, false, 4, ReadRemapped},
    {"nvmlDeviceGetFanSpeed_v2", GpuTable::kSlow, false, 1, ReadFan},
    {"nvmlDeviceGetFieldValues 230", GpuTable::kSlow, false, 1, ReadRecoveryAction},
    {"PCIe bytes", GpuTable::kPcie, false, 0, nullptr},
    {"process lists", GpuTable::kProcess, true, 0, nullptr},
    {"nvmlGpmSampleGet", GpuTable::kGpm, true, 0, nullptr},
    {"nvmlDeviceGetSamples power", GpuTable::kSamples, false, 0, nullptr},
    {"nvmlDeviceGetSamples utilization", GpuTable::kSamples, false, 0, nullptr},
    {"MIG capacity", GpuTable::kMig, false, 0, nullptr},
};

// clang-format on
static_assert(std::size(kMainColumns) <= 64 && std::size(kSlowColumns) <= 64);  // bits of `changed`

}  // namespace

const char* GpuTableSuffix(GpuTable table) {
  static constexpr const char* kNames[kGpuTables] = {
      "", "pcie", "slow", "process", "gpm", "samples", "event", "mig"};
  return kNames[static_cast<size_t>(table)];
}

const std::vector<GpuColumn>& ValueColumns(GpuTable table) {
  static const auto& main =
      *new std::vector<GpuColumn>(std::begin(kMainColumns), std::end(kMainColumns));
  static const auto& slow =
      *new std::vector<GpuColumn>(std::begin(kSlowColumns), std::end(kSlowColumns));
  static const auto& none = *new std::vector<GpuColumn>;
  return table == GpuTable::kMain ? main : table == GpuTable::kSlow ? slow : none;
}

const std::vector<GpuMetric>& GpuMetrics() {
  static const auto& metrics = *[] {
    auto* list = new std::vector<GpuMetric>;
    uint8_t next[kGpuTables] = {};
    for (const MetricSpec& spec : kMetrics) {
      uint8_t& first = next[static_cast<size_t>(spec.table)];
      list->push_back({spec.call, spec.table, spec.on_instance, first, spec.count, spec.read});
      first = static_cast<uint8_t>(first + spec.count);
    }
    return list;
  }();
  return metrics;
}

size_t TableMetric(GpuTable table) {
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (size_t i = 0; i < metrics.size(); i++) {
    if (metrics[i].table == table && metrics[i].read == nullptr) return i;
  }
  return metrics.size();
}

}  // namespace warpgauge
