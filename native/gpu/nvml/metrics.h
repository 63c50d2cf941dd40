#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/table.h"
#include "gpu/nvml/scheme.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// The tables of the gpu source, in the order of its TableSpecs.
enum class GpuTable : uint8_t { kMain, kPcie, kSlow, kProcess, kGpm, kSamples, kEvent, kMig };
inline constexpr size_t kGpuTables = 8;
// "", "pcie", "slow", ...
const char* GpuTableSuffix(GpuTable table);

// One value of one GPU as it was last read, or the fixed reason why there is none.
struct GpuCell {
  bool valid = false;
  NvmlReturn code = kNvmlSuccess;
  const char* reason = "not_read";
  union {
    uint64_t u64 = 0;
    int64_t i64;
    double f64;
  };

  void SetU64(uint64_t value) {
    valid = true;
    code = kNvmlSuccess;
    reason = "";
    u64 = value;
  }
  void SetI64(int64_t value) {
    SetU64(0);
    i64 = value;
  }
  void SetF64(double value) {
    SetU64(0);
    f64 = value;
  }
  void SetNull(NvmlReturn why) {
    valid = false;
    code = why;
    reason = NvmlReason(why);
    u64 = 0;
  }
  // The driver gave a number that is none: a sentinel, a percentage above 100.
  void SetOutOfRange() {
    valid = false;
    code = kNvmlSuccess;
    reason = "out_of_range";
    u64 = 0;
  }
};

struct GpuColumn {
  const char* name;
  ColumnType type;
  ColumnKind kind;
  const char* unit;
  const char* source;
  const char* window;
};

inline constexpr size_t kMaxMetricCells = 16;

// What a metric's reader gets: one device (or MIG instance) and the scheme of its driver.
struct MetricCall {
  const NvmlTable& table;
  NvmlScheme& scheme;
  NvmlDevice device;
  // Bit i: cell i will never be answered; a reader of fields leaves it out.
  uint32_t& dropped;
};

// A call (or a few that belong together) that fills neighbouring columns of `gpu` or `gpu.slow`, or
// whole rows of another table. Costs are measured and schedules made per metric.
struct GpuMetric {
  const char* call;  // name in cost histograms
  GpuTable table;
  bool on_instance;  // MIG instances have it too
  uint8_t first;     // index of its first value column in its table
  uint8_t count;
  // Fills `count` cells. Returns the code that describes the call as a whole: a cell has its own.
  NvmlReturn (*read)(const MetricCall& call, GpuCell* cells);
};

// Value columns of `gpu` and `gpu.slow`; empty for the other tables.
const std::vector<GpuColumn>& ValueColumns(GpuTable table);
// All metrics. Those with read == nullptr are whole tables, read by code of their own.
const std::vector<GpuMetric>& GpuMetrics();
// Index of the metric that stands for a whole table: gpu.pcie, gpu.process, gpu.gpm, gpu.samples.
// The last has two: power, and behind it utilization.
size_t TableMetric(GpuTable table);

}  // namespace warpgauge
