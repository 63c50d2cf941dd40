#include "gpu/nvml/reader.h"

namespace warpgauge {
namespace {

template <typename F, typename... Before>
NvmlReturn AskUnsigned(F* function, int64_t* value, Before... before) {
  if (function == nullptr) return kNvmlFunctionNotFound;
  unsigned out = 0;
  const NvmlReturn code = function(before..., &out);
  if (code == kNvmlSuccess) *value = out;
  return code;
}

}  // namespace

Result<std::unique_ptr<NvmlReader>> NvmlReader::Open(const NvmlTable& table,
                                                     const std::string& pci_address) {
  if (table.nvmlInit_v2 == nullptr || table.nvmlShutdown == nullptr ||
      table.nvmlDeviceGetHandleByPciBusId_v2 == nullptr) {
    return Status(
        "ERR_SYMBOL_MISSING",
        table.path + " lacks nvmlInit_v2, nvmlShutdown or nvmlDeviceGetHandleByPciBusId_v2");
  }
  if (NvmlReturn code = table.nvmlInit_v2(); code != kNvmlSuccess) {
    return NvmlStatus(code, "nvmlInit_v2", "Initializing NVML");
  }
  // From here on the destructor shuts NVML down again.
  std::unique_ptr<NvmlReader> reader(new NvmlReader(table));
  if (NvmlReturn code =
          table.nvmlDeviceGetHandleByPciBusId_v2(pci_address.c_str(), &reader->device_);
      code != kNvmlSuccess) {
    return NvmlStatus(
        code, "nvmlDeviceGetHandleByPciBusId_v2", "Finding the device at " + pci_address);
  }
  char text[96] = {};
  static_assert(sizeof(text) >= kNvmlNameBytes && sizeof(text) >= kNvmlUuidBytes &&
                sizeof(text) >= kNvmlVersionBytes);
  if (table.nvmlDeviceGetName != nullptr &&
      table.nvmlDeviceGetName(reader->device_, text, kNvmlNameBytes) == kNvmlSuccess) {
    reader->name_ = text;
  }
  if (table.nvmlDeviceGetUUID != nullptr &&
      table.nvmlDeviceGetUUID(reader->device_, text, kNvmlUuidBytes) == kNvmlSuccess) {
    reader->uuid_ = text;
  }
  if (table.nvmlSystemGetDriverVersion != nullptr &&
      table.nvmlSystemGetDriverVersion(text, kNvmlVersionBytes) == kNvmlSuccess) {
    reader->driver_ = text;
  }
  AskUnsigned(table.nvmlDeviceGetMaxPcieLinkGeneration, &reader->max_generation_, reader->device_);
  AskUnsigned(table.nvmlDeviceGetMaxPcieLinkWidth, &reader->max_width_, reader->device_);
  return reader;
}

NvmlReader::~NvmlReader() { table_.nvmlShutdown(); }

NvmlReturn NvmlReader::Ask(NvmlMetric metric, int64_t* value) const {
  switch (metric) {
    case NvmlMetric::kSmClock:
      return AskUnsigned(table_.nvmlDeviceGetClockInfo, value, device_, kNvmlClockSm);
    case NvmlMetric::kMemoryClock:
      return AskUnsigned(table_.nvmlDeviceGetClockInfo, value, device_, kNvmlClockMemory);
    case NvmlMetric::kPcieGeneration:
      return AskUnsigned(table_.nvmlDeviceGetCurrPcieLinkGeneration, value, device_);
    case NvmlMetric::kPcieWidth:
      return AskUnsigned(table_.nvmlDeviceGetCurrPcieLinkWidth, value, device_);
    case NvmlMetric::kReplays:
      return AskUnsigned(table_.nvmlDeviceGetPcieReplayCounter, value, device_);
    case NvmlMetric::kClockReasons: {
      auto* function = table_.ClocksEventReasons();
      if (function == nullptr) return kNvmlFunctionNotFound;
      unsigned long long bits = 0;  // NOLINT(google-runtime-int): the ABI says so
      const NvmlReturn code = function(device_, &bits);
      if (code == kNvmlSuccess) *value = static_cast<int64_t>(bits);
      return code;
    }
  }
  return kNvmlFunctionNotFound;
}

NvmlReading NvmlReader::Read() {
  NvmlReading reading;
  for (size_t i = 0; i < kNvmlMetrics; ++i) {
    NvmlValue& out = reading[i];
    out.code = lost_ != kNvmlSuccess ? lost_ : given_up_[i];
    if (out.code != kNvmlSuccess) continue;
    out.code = Ask(static_cast<NvmlMetric>(i), &out.value);
    if (NvmlIsLost(out.code)) lost_ = out.code;
    if (NvmlIsPermanent(out.code)) given_up_[i] = out.code;
  }
  return reading;
}

}  // namespace warpgauge
