#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/source.h"
#include "core/status.h"
#include "core/table.h"
#include "os/pread_file.h"

// What the readers of /proc and /sys files have in common.

namespace warpgauge {

// Column 0 of every table.
ColumnSpec TimeColumn();
// A u64 column. `source` is "file field".
ColumnSpec CounterColumn(std::string name, std::string unit, std::string source);
ColumnSpec GaugeColumn(std::string name, std::string unit, std::string source);
// A key that is a name.
ColumnSpec NameKeyColumn(std::string name, std::string source);
// A key that is a small number (a CPU, a node).
ColumnSpec NumberKeyColumn(std::string name, std::string source);

// "MemAvailable" -> "mem_available", "Active(anon)" -> "active_anon", "DirectMap2M" ->
// "direct_map_2m", "BadTLP" -> "bad_tlp".
std::string SnakeCase(std::string_view name);

// A file may repeat a line; a table has each column once.
bool HasColumn(const TableSpec& table, std::string_view name);

// Full name of a table: "vmstat", "cpu.system", "cpu@2.system".
std::string TableName(const SourceRequest& request, const TableSpec& table);

// The fixed word of DESIGN's null reasons for an errno of open or pread.
const char* ReasonForErrno(int error);

// Why a file that a source cannot do without could not be read, with what mends it.
Status CannotRead(const SourceRequest& request, const PreadFile& file, std::string fix);

// Tells the `state` table when something stops and when it can be read again; silent in between.
class Availability {
 public:
  // `error` 0: readable.
  void Update(StateSink& states,
              const std::string& table,
              const std::string& key,
              const std::string& field,
              int error,
              const char* reason = nullptr);

 private:
  int error_ = 0;
};

// Reports that an entity of a table came (state "ok", reason "appeared") or went ("gone").
void ReportAppeared(StateSink& states, const std::string& table, const std::string& key);
void ReportGone(StateSink& states, const std::string& table, const std::string& key);
// Reports a field that an entity does not have: state "unavailable".
void ReportMissing(StateSink& states,
                   const std::string& table,
                   const std::string& key,
                   const std::string& field,
                   const std::string& reason);

// Notices counters that went down (a device reset, a wrap in the kernel): the values stay as they
// were read, and a row of the `state` table says which one fell, so that nobody takes the
// difference for a count.
class CounterWatch {
 public:
  explicit CounterWatch(size_t columns) : last_(columns, 0) { fallen_.reserve(columns); }
  void See(uint32_t column, uint64_t value) {
    if (value < last_[column]) [[unlikely]] {
      // Bounded by the reservation: a file that repeats a line must not make this allocate.
      if (fallen_.size() < fallen_.capacity()) fallen_.push_back(column);
    }
    last_[column] = value;
  }
  // Once per tick and entity, after its last See.
  void Report(StateSink& states,
              const std::string& table,
              const std::string& key,
              const std::vector<ColumnSpec>& columns) {
    if (!fallen_.empty()) [[unlikely]]
      ReportFallen(states, table, key, columns);
  }

 private:
  void ReportFallen(StateSink& states,
                    const std::string& table,
                    const std::string& key,
                    const std::vector<ColumnSpec>& columns);

  std::vector<uint64_t> last_;
  std::vector<uint32_t> fallen_;
};

}  // namespace warpgauge
