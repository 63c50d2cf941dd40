#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "gpu/nvml/metrics.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// Shorter windows give wrong numbers on Hopper: they are refused, not returned.
inline constexpr int64_t kGpmShortestWindowNs = 100'000'000;

// The value columns of gpu.gpm, in order.
struct GpmColumn {
  const char* name;
  const char* unit;
  double scale;     // from NVML's unit to ours
  unsigned metric;  // NVML's GPM metric id
  bool percentage;  // above 100 is never true
};
const GpmColumn* GpmColumns(size_t* count);
inline constexpr size_t kMaxGpmColumns = 40;

// PCIe bytes since boot, from driver 595 on.
inline constexpr unsigned kGpmPcieTxBytes = 255;
inline constexpr unsigned kGpmPcieRxBytes = 256;

// Two samples of one GPU or MIG instance and what lies between them. One thread: sharing a sample
// between threads has crashed a kernel. The samples belong to the driver; they are freed by Free()
// only, so that a thread that hangs inside the driver leaves them behind.
class GpmPair {
 public:
  enum class Outcome : uint8_t {
    kRow,       // cells and window_ns() are set
    kFirst,     // the first sample of a pair
    kTooShort,  // less than 100 ms since the sample before, which stays
    kBusy,      // another thread is inside GPM for long: nothing was read, what there was stays
    kDropped,   // the set of instances changed in between: the pair was dropped
    kFailed,    // code() says why
  };
  // `gpu_instance`: kNvmlNotAvailable32 for a whole GPU (or a GPU without MIG). `fingerprint`: the
  // set of instances now. `metrics` and `cells` have `count` entries.
  Outcome Read(const NvmlTable& table,
               NvmlDevice device,
               uint32_t gpu_instance,
               const std::string& fingerprint,
               int64_t now_ns,
               const unsigned* metrics,
               size_t count,
               NvmlGpmMetrics* scratch);
  void Free(const NvmlTable& table);
  // Forgets the samples without a call: they went with the driver or with a thread that hangs.
  void Forget() { samples_[0] = samples_[1] = nullptr, have_ = false; }
  [[nodiscard]] int64_t window_ns() const { return window_ns_; }
  [[nodiscard]] NvmlReturn code() const { return code_; }

 private:
  NvmlGpmSample samples_[2] = {nullptr, nullptr};
  int newest_ = 0;
  bool have_ = false;
  int64_t newest_ns_ = 0, window_ns_ = 0;
  NvmlReturn code_ = kNvmlSuccess;
  std::string fingerprint_;
};

// kNvmlSuccess when the device has GPM at all.
NvmlReturn QueryGpm(const NvmlTable& table, NvmlDevice device);
// What one metric of `scratch` says, as a cell in our unit.
void SetGpmCell(const NvmlGpmMetric& metric, const GpmColumn& column, GpuCell* cell);

}  // namespace warpgauge
