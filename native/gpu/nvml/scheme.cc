#include "gpu/nvml/scheme.h"

#include <algorithm>
#include <cstring>

namespace warpgauge {
namespace {

using ProcessFunction = NvmlReturn(NvmlDevice, unsigned*, NvmlProcess*);

ProcessFunction* FindProcessFunction(const NvmlTable& table, NvmlProcessKind kind, int version) {
  ProcessFunction* const functions[3][3] = {
      {table.nvmlDeviceGetComputeRunningProcesses,
       table.nvmlDeviceGetComputeRunningProcesses_v2,
       table.nvmlDeviceGetComputeRunningProcesses_v3},
      {table.nvmlDeviceGetGraphicsRunningProcesses,
       table.nvmlDeviceGetGraphicsRunningProcesses_v2,
       table.nvmlDeviceGetGraphicsRunningProcesses_v3},
      {table.nvmlDeviceGetMPSComputeRunningProcesses,
       table.nvmlDeviceGetMPSComputeRunningProcesses_v2,
       table.nvmlDeviceGetMPSComputeRunningProcesses_v3},
  };
  return functions[static_cast<int>(kind)][version - 1];
}

// The driver does not know this version of the call: try the next older one.
bool IsRefused(NvmlReturn code) {
  return code == kNvmlFunctionNotFound || code == kNvmlArgumentVersionMismatch ||
         code == kNvmlDeprecated || code == kNvmlInvalidArgument;
}

}  // namespace

NvmlNumber DecodeNvmlValue(int value_type, const NvmlValueBits& bits) {
  NvmlNumber number;
  switch (value_type) {
    case kNvmlValueDouble:
      number.type = NvmlNumber::Type::kFloat;
      number.f64 = bits.f64;
      break;
    case kNvmlValueUint:
      number.type = NvmlNumber::Type::kUnsigned;
      number.u64 = bits.u32;
      break;
    case kNvmlValueUlong:  // 8 bytes on every 64-bit Linux
    case kNvmlValueUlongLong:
      number.type = NvmlNumber::Type::kUnsigned;
      number.u64 = bits.u64;
      break;
    case kNvmlValueLongLong:
      number.type = NvmlNumber::Type::kSigned;
      number.i64 = bits.i64;
      break;
    case kNvmlValueInt:
      number.type = NvmlNumber::Type::kSigned;
      number.i64 = bits.i32;
      break;
    case kNvmlValueUshort:
      number.type = NvmlNumber::Type::kUnsigned;
      number.u64 = bits.u16;
      break;
    default:
      break;
  }
  return number;
}

int NvmlCounterBits(int value_type) {
  switch (value_type) {
    case kNvmlValueUint:
      return 32;
    case kNvmlValueUlong:
    case kNvmlValueUlongLong:
      return 64;
    default:
      return 0;
  }
}

bool IsBlank(uint64_t value) {
  return value == kNvmlNotAvailable64 || value == kNvmlNotAvailable32 ||
         (value >= 0x7ffffff0 && value <= 0x7fffffff) ||
         (value >= 0x7ffffffffffffff0 && value <= 0x7fffffffffffffff);
}

NvmlReturn NvmlScheme::ReadMemory(NvmlDevice device, NvmlMemory* memory) {
  NvmlReturn code = kNvmlFunctionNotFound;
  if (!memory_v2_refused_ && table_->nvmlDeviceGetMemoryInfo_v2 != nullptr) {
    NvmlMemoryV2 v2 = {};
    v2.version = kNvmlMemoryVersion;
    code = table_->nvmlDeviceGetMemoryInfo_v2(device, &v2);
    if (code == kNvmlSuccess) {
      memory->total = v2.total;
      memory->used = v2.used;
      memory->free = v2.free;
      memory->reserved = v2.reserved;
      return code;
    }
    memory_v2_refused_ = IsRefused(code);
    if (!memory_v2_refused_) return code;
  }
  if (table_->nvmlDeviceGetMemoryInfo == nullptr) return code;
  NvmlMemoryV1 v1 = {};
  code = table_->nvmlDeviceGetMemoryInfo(device, &v1);
  if (code != kNvmlSuccess) return code;
  memory->total = v1.total;
  memory->free = v1.free;
  // v1 counts the driver's reserve as used: that is another number, but the only one this driver
  // has; `reserved` is unknown.
  memory->used = v1.used;
  memory->reserved = kNvmlNotAvailable64;
  return code;
}

size_t NvmlScheme::ProcessBytes(int version) const {
  if (version == 1) return 16;
  if (version == 3 && table_->has_conf_compute_memory && !table_->has_process_details) return 32;
  return 24;
}

NvmlReturn NvmlScheme::ReadProcesses(NvmlDevice device,
                                     NvmlProcessKind kind,
                                     std::vector<NvmlProcessEntry>* entries) {
  entries->clear();
  int& version = process_version_[static_cast<int>(kind)];
  NvmlReturn code = kNvmlFunctionNotFound;
  for (; version >= 1; version--) {
    ProcessFunction* function = FindProcessFunction(*table_, kind, version);
    if (function == nullptr) continue;
    // Processes come and go between the question how many there are and the list itself: start with
    // room, grow when told.
    unsigned room = 64;
    for (int attempt = 0; attempt < 4; attempt++) {
      // 32 bytes per entry whatever the layout: a driver that writes the longest one stays inside.
      buffer_.assign(size_t{room} * 32, 0);
      unsigned count = room;
      code = function(device, &count, reinterpret_cast<NvmlProcess*>(buffer_.data()));
      if (code == kNvmlSuccess) {
        const size_t stride = ProcessBytes(version);
        for (unsigned i = 0; i < count && i < room; i++) {
          NvmlProcess raw = {};
          raw.gpu_instance = raw.compute_instance = kNvmlNotAvailable32;
          std::memcpy(&raw, buffer_.data() + i * stride, std::min(stride, sizeof(raw)));
          entries->push_back({raw.pid, raw.memory, raw.gpu_instance, raw.compute_instance});
        }
        return code;
      }
      if (code == kNvmlNotFound) return kNvmlSuccess;  // nobody
      if (code != kNvmlInsufficientSize) break;
      room = std::max(count, room) * 2;
      if (room > 65536) break;
    }
    if (!IsRefused(code)) return code;
  }
  version = 1;  // all were refused; the next call says so again
  return code;
}

NvmlReturn NvmlScheme::ReadProcessUse(NvmlDevice device,
                                      uint64_t since_us,
                                      std::vector<NvmlProcessUse>* entries) {
  entries->clear();
  NvmlReturn code = kNvmlFunctionNotFound;
  if (!use_v2_refused_ && table_->nvmlDeviceGetProcessesUtilizationInfo != nullptr) {
    unsigned room = 128;
    for (int attempt = 0; attempt < 4; attempt++) {
      buffer_.assign(size_t{room} * sizeof(NvmlProcessUtilizationInfo), 0);
      NvmlProcessesUtilization list = {};
      list.version = kNvmlProcessesUtilizationVersion;
      list.count = room;
      list.last_seen_us = since_us;
      list.entries = reinterpret_cast<NvmlProcessUtilizationInfo*>(buffer_.data());
      code = table_->nvmlDeviceGetProcessesUtilizationInfo(device, &list);
      if (code == kNvmlSuccess) {
        for (unsigned i = 0; i < list.count && i < room; i++) {
          const NvmlProcessUtilizationInfo& raw = list.entries[i];
          entries->push_back({raw.pid,
                              raw.timestamp_us,
                              raw.sm,
                              raw.memory,
                              raw.encoder,
                              raw.decoder,
                              raw.jpeg,
                              raw.ofa});
        }
        return code;
      }
      if (code == kNvmlNotFound || code == kNvmlNoData) return kNvmlSuccess;
      if (code != kNvmlInsufficientSize) break;
      room = std::max(list.count, room) * 2;
      if (room > 65536) break;
    }
    use_v2_refused_ = IsRefused(code);
    if (!use_v2_refused_) return code;
  }
  if (table_->nvmlDeviceGetProcessUtilization == nullptr) return code;
  unsigned room = 128;
  for (int attempt = 0; attempt < 4; attempt++) {
    buffer_.assign(size_t{room} * sizeof(NvmlProcessUtilization), 0);
    unsigned count = room;
    auto* samples = reinterpret_cast<NvmlProcessUtilization*>(buffer_.data());
    code = table_->nvmlDeviceGetProcessUtilization(device, samples, &count, since_us);
    if (code == kNvmlSuccess) {
      for (unsigned i = 0; i < count && i < room; i++) {
        NvmlProcessUse use;
        use.pid = samples[i].pid;
        use.timestamp_us = samples[i].timestamp_us;
        use.sm = samples[i].sm;
        use.memory = samples[i].memory;
        use.encoder = samples[i].encoder;
        use.decoder = samples[i].decoder;
        entries->push_back(use);
      }
      return code;
    }
    if (code == kNvmlNotFound || code == kNvmlNoData) return kNvmlSuccess;
    if (code != kNvmlInsufficientSize) break;
    room = std::max(count, room) * 2;
    if (room > 65536) break;
  }
  return code;
}

NvmlReturn NvmlScheme::ReadTemperature(NvmlDevice device, int* celsius) {
  NvmlReturn code = kNvmlFunctionNotFound;
  if (!temperature_v_refused_ && table_->nvmlDeviceGetTemperatureV != nullptr) {
    NvmlTemperature temperature = {kNvmlTemperatureVersion, kNvmlTemperatureGpu, 0};
    code = table_->nvmlDeviceGetTemperatureV(device, &temperature);
    if (code == kNvmlSuccess) {
      *celsius = temperature.celsius;
      return code;
    }
    temperature_v_refused_ = IsRefused(code) || code == kNvmlNotSupported;
    if (!temperature_v_refused_) return code;
  }
  if (table_->nvmlDeviceGetTemperature == nullptr) return code;
  unsigned value = 0;
  code = table_->nvmlDeviceGetTemperature(device, kNvmlTemperatureGpu, &value);
  if (code == kNvmlSuccess) *celsius = static_cast<int>(value);
  return code;
}

}  // namespace warpgauge
