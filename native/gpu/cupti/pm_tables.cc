#include "gpu/cupti/pm_tables.h"

#include <string>

#include "gpu/cupti/pm_plan.h"

namespace warpgauge {
namespace {

using Type = ColumnType;
using Kind = ColumnKind;

ColumnSpec Column(
    const char* name, Type type, Kind kind, const char* unit, const std::string& source) {
  ColumnSpec spec;
  spec.name = name;
  spec.type = type;
  spec.kind = kind;
  spec.unit = unit;
  spec.source = source;
  spec.nullable = kind != Kind::kKey;
  return spec;
}

}  // namespace

TableSpec MakePmTable() {
  TableSpec spec;
  spec.grain = "one row per sample of the hardware and GPU; ascending by GPU";
  spec.columns = {
      Column(
          "time",
          Type::kTime,
          Kind::kKey,
          "ns",
          "end of the window: cuptiPmSamplingCounterDataGetSampleInfo, brought from CUPTI's clock "
          "to CLOCK_MONOTONIC"),
      Column("gpu", Type::kName, Kind::kKey, "", "cuDeviceGetUuid of the GPU or MIG instance"),
      Column("window_ns",
             Type::kUint64,
             Kind::kGauge,
             "ns",
             "end less start of the sample: cuptiPmSamplingCounterDataGetSampleInfo")};
  for (const PmQuantity& quantity : PmQuantities()) {
    const bool is_bytes = std::string(quantity.unit) == "bytes";
    ColumnSpec column = Column(quantity.column,
                               is_bytes ? Type::kUint64 : Type::kFloat64,
                               Kind::kGauge,
                               quantity.unit,
                               quantity.what);
    column.window = "window_ns";
    spec.columns.push_back(std::move(column));
  }
  return spec;
}

TableSpec MakePmStatTable() {
  TableSpec spec;
  spec.suffix = "stat";
  spec.grain = "one row per second and GPU: what sampling it cost and lost";
  spec.interval_ns = 1'000'000'000;
  spec.columns = {
      Column("time", Type::kTime, Kind::kKey, "ns", "CLOCK_MONOTONIC of the tick"),
      Column("gpu", Type::kName, Kind::kKey, "", "cuDeviceGetUuid of the GPU or MIG instance"),
      Column("samples", Type::kUint64, Kind::kCounter, "1", "rows of pm-sampling"),
      Column("lost_samples",
             Type::kUint64,
             Kind::kCounter,
             "1",
             "windows missing between two samples, by their times"),
      Column("overflows",
             Type::kUint64,
             Kind::kCounter,
             "1",
             "times the hardware buffer was full: cuptiPmSamplingDecodeData"),
      Column("without_time",
             Type::kUint64,
             Kind::kCounter,
             "1",
             "samples that CUPTI gave without times or of no length: left out"),
      Column("decodes", Type::kUint64, Kind::kCounter, "1", "calls of cuptiPmSamplingDecodeData"),
      Column("decode_ns",
             Type::kUint64,
             Kind::kCounter,
             "ns",
             "time in cuptiPmSamplingDecodeData and cuptiPmSamplingCounterDataImageInitialize"),
      Column("evaluate_ns",
             Type::kUint64,
             Kind::kCounter,
             "ns",
             "time in cuptiProfilerHostEvaluateToGpuValues and "
             "cuptiPmSamplingCounterDataGetSampleInfo"),
      Column("image_ratio",
             Type::kFloat64,
             Kind::kGauge,
             "1",
             "fullest counter data image of the last second, as share of its room"),
      Column("backlog_ns",
             Type::kUint64,
             Kind::kGauge,
             "ns",
             "longest time of the last second that a sample waited in the hardware buffer"),
  };
  return spec;
}

}  // namespace warpgauge
