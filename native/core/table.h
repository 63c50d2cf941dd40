#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace warpgauge {

// How a table is to be read (docs/monitor.md): `sample` has one row per tick and key, `event` one
// row per thing that happened, `span` is an event with a `duration_ns`.
enum class TableKind : uint8_t { kSample, kEvent, kSpan };

// The Arrow type of a column and the C++ type of its cells.
enum class ColumnType : uint8_t {
  kTime,     // Timestamp(ns, UTC); given as CLOCK_MONOTONIC ns, stored plus UtcOffsetNs()
  kUint64,   // Uint64
  kInt64,    // Int64
  kFloat64,  // Float64
  kUint32,   // Uint32
  kInt32,    // Int32
  kUint8,    // Uint8
  kBool,     // Bool, one bit per row
  kName,     // Dictionary(Int32, Utf8): few, bounded names (devices, UUIDs, sizes): a key as a rule
  kNameId,   // Uint32 id into a names table (TableSpec::names): open-ended names (paths, commands)
};

// What a number means for whoever aggregates it.
enum class ColumnKind : uint8_t { kKey, kGauge, kCounter, kState };

// Members have values, also the texts: a designated initializer then may leave them out.
struct ColumnSpec {
  // snake_case with a unit suffix in base units: _bytes, _ns, _watts, _ratio; none for counts.
  std::string name = {};
  ColumnType type = ColumnType::kUint64;
  ColumnKind kind = ColumnKind::kGauge;
  // Base unit: "bytes", "ns", "watts", "1" for counts and ratios, "" for names.
  std::string unit = "1";
  // Where the number comes from: "/proc/vmstat pgfault", "nvmlDeviceGetUtilizationRates gpu".
  std::string source = {};
  // Column 0 (time) and keys are never null; all else may be.
  bool nullable = true;
  // Why the column is null from the start on this machine ("not_supported", "no_permission", ...);
  // empty where it is readable. Later changes are rows of the `state` table.
  std::string reason = {};
  // Averaging window of the number where it has one, in words: "1 s average"; else empty.
  std::string window = {};
};

// One table of a source. Column 0 is always {"time", kTime}. Fixed once the source is open, but for
// `rows_per_tick`.
struct TableSpec {
  // "" for the main table of the source (vmstat), else the part after the dot (pcie in gpu.pcie).
  std::string suffix = {};
  TableKind kind = TableKind::kSample;
  // What one row is, in words: "one row per tick and disk".
  std::string grain = {};
  std::vector<ColumnSpec> columns = {};
  // Rows that one tick writes at present; a guess that sizes slabs, not a limit.
  uint32_t rows_per_tick = 1;
  // Cadence of this table where it differs from the source's; 0: the source's.
  int64_t interval_ns = 0;
  // A driver library or device that calls itself "Simulated" is behind it.
  bool simulated = false;
  // Which names table the kNameId columns point into: "" for the table's own, `<table>.name`; else
  // the suffix of one that all tables of the source share which say the same ("name": `cuda.name`).
  std::string names = {};
};

// Width of one cell in bytes; 0 for kBool (one bit).
constexpr uint32_t CellBytes(ColumnType type) {
  switch (type) {
    case ColumnType::kTime:
    case ColumnType::kUint64:
    case ColumnType::kInt64:
    case ColumnType::kFloat64:
      return 8;
    case ColumnType::kUint32:
    case ColumnType::kInt32:
    case ColumnType::kName:
    case ColumnType::kNameId:
      return 4;
    case ColumnType::kUint8:
      return 1;
    case ColumnType::kBool:
      return 0;
  }
  return 0;
}

}  // namespace warpgauge
