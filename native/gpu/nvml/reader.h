#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/status.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// What can be read of a device while it works. Clocks in MHz, link as PCIe generation and lanes,
// replays cumulative, reasons as the bits of abi.h.
enum class NvmlMetric : uint8_t {
  kSmClock,
  kMemoryClock,
  kPcieGeneration,
  kPcieWidth,
  kReplays,
  kClockReasons,
};
inline constexpr size_t kNvmlMetrics = 6;

struct NvmlValue {
  int64_t value = -1;              // -1: not readable
  NvmlReturn code = kNvmlSuccess;  // why not
};
using NvmlReading = std::array<NvmlValue, kNvmlMetrics>;

// One device as NVML sees it, found by PCI address: NVML's index is not CUDA's. In MIG mode this is
// the whole GPU behind the instance, which is where clocks and the link are. One thread.
//
// A metric that the device or the library does not have is asked once; after the device is lost
// nothing is asked any more, because a call to a dead device can take seconds.
class NvmlReader {
 public:
  // Initializes NVML and finds the device ("0000:83:00.0").
  static Result<std::unique_ptr<NvmlReader>> Open(const NvmlTable& table,
                                                  const std::string& pci_address);
  NvmlReader(const NvmlReader&) = delete;
  NvmlReader& operator=(const NvmlReader&) = delete;
  ~NvmlReader();

  NvmlReading Read();
  [[nodiscard]] bool lost() const { return lost_ != kNvmlSuccess; }

  // Read once when opened; empty or -1 where NVML does not say.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& uuid() const { return uuid_; }
  [[nodiscard]] const std::string& driver() const { return driver_; }
  [[nodiscard]] int64_t max_pcie_generation() const { return max_generation_; }
  [[nodiscard]] int64_t max_pcie_width() const { return max_width_; }

 private:
  explicit NvmlReader(NvmlTable table) : table_(std::move(table)) {}
  NvmlReturn Ask(NvmlMetric metric, int64_t* value) const;

  NvmlTable table_;
  NvmlDevice device_ = nullptr;
  std::string name_, uuid_, driver_;
  int64_t max_generation_ = -1, max_width_ = -1;
  std::array<NvmlReturn, kNvmlMetrics> given_up_{};  // not success: never ask again, this is why
  NvmlReturn lost_ = kNvmlSuccess;
};

}  // namespace warpgauge
