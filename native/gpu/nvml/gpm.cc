#include "gpu/nvml/gpm.h"

#include <atomic>
#include <cmath>
#include <ctime>
#include <iterator>

#include "core/clock.h"

namespace warpgauge {
namespace {

constexpr double kMib = 1048576.0;
constexpr GpmColumn kColumns[] = {
    {"graphics_utilization_ratio", "1", 0.01, 1, true},
    {"sm_utilization_ratio", "1", 0.01, 2, true},
    {"sm_occupancy_ratio", "1", 0.01, 3, true},
    {"integer_utilization_ratio", "1", 0.01, 4, true},
    {"tensor_utilization_ratio", "1", 0.01, 5, true},
    {"dfma_tensor_utilization_ratio", "1", 0.01, 6, true},
    {"hmma_tensor_utilization_ratio", "1", 0.01, 7, true},
    {"imma_tensor_utilization_ratio", "1", 0.01, 9, true},
    {"dram_bandwidth_utilization_ratio", "1", 0.01, 10, true},
    {"fp64_utilization_ratio", "1", 0.01, 11, true},
    {"fp32_utilization_ratio", "1", 0.01, 12, true},
    {"fp16_utilization_ratio", "1", 0.01, 13, true},
    {"pcie_tx_bytes_per_second", "bytes/s", kMib, 20, false},
    {"pcie_rx_bytes_per_second", "bytes/s", kMib, 21, false},
    {"decoder_0_utilization_ratio", "1", 0.01, 30, true},
    {"jpeg_0_utilization_ratio", "1", 0.01, 40, true},
    {"ofa_0_utilization_ratio", "1", 0.01, 50, true},
    {"nvlink_rx_bytes_per_second", "bytes/s", kMib, 60, false},
    {"nvlink_tx_bytes_per_second", "bytes/s", kMib, 61, false},
};
static_assert(std::size(kColumns) <= kMaxGpmColumns);

// Lets one thread of the process into GPM. Driver 580.159 keeps its place in the GPM buffer without
// a lock: two threads in nvmlGpmSampleGet at once, each with samples of its own, read past its end
// (SIGSEGV on an H200 within seconds). A thread that hangs inside keeps the gate: others then go
// without GPM instead of crashing, and without waiting for it at every tick.
class GpmGate {
 public:
  // Waits for at most 20 ms: a call takes one or two, and the reader of PCIe bytes must not be
  // late.
  GpmGate() {
    constexpr timespec kPause = {0, 100'000};
    constexpr int64_t kPatienceNs = 20'000'000;
    constexpr int64_t kHungNs = 1'000'000'000;
    const int64_t begin_ns = MonotonicNs();
    for (;;) {
      const int64_t now_ns = MonotonicNs();
      int64_t since_ns = 0;
      entered_ = since_ns_.compare_exchange_strong(since_ns, now_ns, std::memory_order_acquire);
      if (entered_ || now_ns - begin_ns >= kPatienceNs || now_ns - since_ns >= kHungNs) return;
      nanosleep(&kPause, nullptr);
    }
  }
  ~GpmGate() {
    if (entered_) since_ns_.store(0, std::memory_order_release);
  }
  GpmGate(const GpmGate&) = delete;
  GpmGate& operator=(const GpmGate&) = delete;
  [[nodiscard]] bool entered() const { return entered_; }

 private:
  static std::atomic<int64_t> since_ns_;  // when the thread inside went in; 0: nobody is
  bool entered_ = false;
};
std::atomic<int64_t> GpmGate::since_ns_{0};

}  // namespace

const GpmColumn* GpmColumns(size_t* count) {
  *count = std::size(kColumns);
  return kColumns;
}

NvmlReturn QueryGpm(const NvmlTable& table, NvmlDevice device) {
  if (table.nvmlGpmQueryDeviceSupport == nullptr || table.nvmlGpmSampleAlloc == nullptr ||
      table.nvmlGpmSampleFree == nullptr || table.nvmlGpmSampleGet == nullptr ||
      table.nvmlGpmMetricsGet == nullptr) {
    return kNvmlFunctionNotFound;
  }
  const GpmGate gate;
  if (!gate.entered()) return kNvmlNotReady;
  NvmlGpmSupport support = {kNvmlGpmVersion, 0};
  const NvmlReturn code = table.nvmlGpmQueryDeviceSupport(device, &support);
  if (code != kNvmlSuccess) return code;
  return support.supported != 0 ? kNvmlSuccess : kNvmlNotSupported;
}

GpmPair::Outcome GpmPair::Read(const NvmlTable& table,
                               NvmlDevice device,
                               uint32_t gpu_instance,
                               const std::string& fingerprint,
                               int64_t now_ns,
                               const unsigned* metrics,
                               size_t count,
                               NvmlGpmMetrics* scratch) {
  code_ = kNvmlSuccess;
  const bool changed = fingerprint != fingerprint_;
  const bool had = have_;
  if (changed) {
    fingerprint_ = fingerprint;
    have_ = false;
  }
  if (have_ && now_ns - newest_ns_ < kGpmShortestWindowNs) return Outcome::kTooShort;
  const GpmGate gate;
  if (!gate.entered()) return Outcome::kBusy;
  for (NvmlGpmSample& sample : samples_) {
    if (sample != nullptr) continue;
    code_ = table.nvmlGpmSampleAlloc(&sample);
    if (code_ != kNvmlSuccess) {
      sample = nullptr;
      return Outcome::kFailed;
    }
  }
  const int older = newest_;
  const int target = have_ ? 1 - newest_ : newest_;
  if (gpu_instance == kNvmlNotAvailable32) {
    code_ = table.nvmlGpmSampleGet(device, samples_[target]);
  } else {
    code_ = table.nvmlGpmMigSampleGet == nullptr
                ? kNvmlFunctionNotFound
                : table.nvmlGpmMigSampleGet(device, gpu_instance, samples_[target]);
  }
  if (code_ != kNvmlSuccess) {
    have_ = false;  // a pair must not span a failure
    return Outcome::kFailed;
  }
  newest_ = target;
  window_ns_ = now_ns - newest_ns_;
  newest_ns_ = now_ns;
  if (!have_) {
    have_ = true;
    return changed && had ? Outcome::kDropped : Outcome::kFirst;
  }
  scratch->version = kNvmlGpmVersion;
  scratch->count = static_cast<unsigned>(count);
  scratch->first = samples_[older];
  scratch->second = samples_[target];
  for (size_t i = 0; i < count; i++) {
    scratch->metrics[i] = {metrics[i], kNvmlNotSupported, 0, nullptr, nullptr, nullptr};
  }
  code_ = table.nvmlGpmMetricsGet(scratch);
  return code_ == kNvmlSuccess ? Outcome::kRow : Outcome::kFailed;
}

void GpmPair::Free(const NvmlTable& table) {
  const GpmGate gate;
  if (!gate.entered()) return Forget();  // left behind with the thread that hangs in there
  for (NvmlGpmSample& sample : samples_) {
    if (sample != nullptr && table.nvmlGpmSampleFree != nullptr) table.nvmlGpmSampleFree(sample);
  }
  Forget();
}

void SetGpmCell(const NvmlGpmMetric& metric, const GpmColumn& column, GpuCell* cell) {
  if (metric.code != kNvmlSuccess) {
    cell->SetNull(metric.code);
  } else if (!std::isfinite(metric.value) || metric.value < 0 || metric.value >= 9.2e18 ||
             (column.percentage && metric.value > 100.0 + 1e-9) ||
             // DCGM's and NVML's words for "none" come as numbers too.
             (metric.value >= 2147483632.0 && IsBlank(static_cast<uint64_t>(metric.value)))) {
    cell->SetOutOfRange();
  } else {
    cell->SetF64(metric.value * column.scale);
  }
}

}  // namespace warpgauge
