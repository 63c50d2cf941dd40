#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpu/cupti/name_table.h"
#include "gpu/cupti/trace_clock.h"
#include "gpu/cupti/trace_record.h"
#include "gpu/cupti/trace_tables.h"

namespace warpgauge {

// What the lanes of one source share: writers of its tables and the codes of their words. The
// source's thread alone.
class TraceRows {
 public:
  // Of all lanes together: each process that a hostile one starts has a lane of its own.
  static constexpr size_t kMostNameBytes = size_t{64} << 20;
  explicit TraceRows(size_t most_name_bytes = kMostNameBytes) : most_name_bytes_(most_name_bytes) {}

  // By TraceTable; nullptr for tables that were not asked for. Rows that begin at or after `end_ns`
  // are left out (0: none).
  void Attach(const std::array<TableWriter*, kTraceTables>& writers, int64_t end_ns);
  void BeginLook(int64_t look_ns);
  void EndLook();

  [[nodiscard]] RowBatcher& operator[](TraceTable table) {
    return batches_[static_cast<size_t>(table)];
  }
  // A row of a span that lasted from `start_ns` on; nullptr as RowBatcher::Begin, and after the
  // end.
  TableWriter* Begin(TraceTable table, int64_t start_ns) {
    return start_ns < end_ns_ ? (*this)[table].Begin(start_ns) : nullptr;
  }
  void End(TraceTable table) { (*this)[table].End(); }
  // The code of an open-ended name, the same in all tables; -1 when there are too many names.
  int32_t NameCode(const std::string& name);

  WordCodes direction, source_memory, destination_memory, set_memory, counter, synchronization;
  WordCodes overhead, api, external, state, reason;

 private:
  std::array<RowBatcher, kTraceTables> batches_;
  NameList* names_ = nullptr;
  const size_t most_name_bytes_;
  size_t name_bytes_ = 0;
  int64_t end_ns_ = INT64_MAX;
};

// Turns the records of one lane into rows: times onto CLOCK_MONOTONIC, ids into names and GPUs. A
// record that cannot be is counted and left out, whoever wrote it. One thread.
class TraceDecoder {
 public:
  explicit TraceDecoder(TraceRows& rows);

  // The process in our pid namespace; 0: not known, the column is null.
  void set_pid(uint32_t pid) { pid_ = pid; }
  void Take(const wg_record* records, size_t count);
  // No more will come: tells the ranges that were never ended.
  void Finish();

  // What became of the clock, since the last call.
  struct ClockNews {
    int64_t step_ns = 0;
    bool is_foreign = false;
    bool is_missing = false;  // records came before any pair: they were placed by our own reading
  };
  ClockNews TakeClockNews();
  [[nodiscard]] uint64_t rejected() const { return rejected_; }
  // Records of things that happened; the others tell of the lane.
  [[nodiscard]] uint64_t events() const { return events_; }

 private:
  struct Device {
    bool is_known = false;
    std::string uuid;
    // Code of `uuid` in each table, asked for at its first row there; -2: not yet.
    std::array<int32_t, kTraceTables> codes{};
    int32_t destination_code = -2;
  };
  struct External {
    uint32_t correlation = 0;
    uint32_t kind = 0;
    uint64_t id = 0;
  };
  struct OpenMarker {
    int64_t start_ns;
    uint32_t tid;
    int32_t name;
    int32_t domain;
  };

  void TakeOne(const wg_record& record);
  void Memcpy(const wg_record& record, bool is_peer);
  void Kernel(const wg_record& record);
  void Memset(const wg_record& record);
  void UnifiedMemory(const wg_record& record);
  void Synchronization(const wg_record& record);
  void Overhead(const wg_record& record);
  void Api(const wg_record& record);
  void Marker(const wg_record& record);
  void WriteMarker(uint32_t id, const OpenMarker& marker, int64_t end_ns);
  void Clock(const wg_record& record);
  void Name(const wg_record& record);
  void KeepName(uint32_t id);
  void DeviceIs(const wg_record& record);

  // When the record begins, on CLOCK_MONOTONIC; false, and counted, for times that cannot be.
  bool Place(const wg_record& record, int64_t* start_ns);
  // Begins the row of a span with time, duration and pid; nullptr: no row is to be written.
  TableWriter* BeginSpan(TraceTable table, const wg_record& record);
  [[nodiscard]] int64_t ToMonotonic(uint64_t cupti_ns);
  [[nodiscard]] int32_t GpuCode(TraceTable table, uint32_t device);
  [[nodiscard]] int32_t DestinationCode(uint32_t device);
  [[nodiscard]] int32_t NameOf(uint32_t id) const { return id < names_.size() ? names_[id] : -1; }

  // Ids of a lane are small numbers from 0 on, and its names have the bounds of a name table;
  // beyond these they were made up.
  static constexpr uint32_t kMostNames = WG_MOST_NAMES;
  static constexpr size_t kMostNameBytes = WG_MOST_NAME_BYTES;
  static constexpr uint32_t kMostDevices = 1024;
  // Ranges that wait for their end; more are told as if they had none.
  static constexpr size_t kMostMarkers = 65'536;
  // A call follows its external correlation within a few records of its thread.
  static constexpr uint32_t kExternals = 8192;

  TraceRows& rows_;
  uint32_t pid_ = 0;
  TraceClock clock_;
  ClockNews news_;
  std::vector<int32_t> names_;  // code by id of the lane
  size_t name_bytes_ = 0;
  std::vector<Device> devices_;
  std::vector<External> externals_;
  std::unordered_map<uint32_t, OpenMarker> markers_;
  // The name that is coming in pieces.
  std::string name_;
  uint32_t name_id_ = WG_NO_ID;
  uint64_t rejected_ = 0;
  uint64_t events_ = 0;
};

}  // namespace warpgauge
