#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/source.h"
#include "os/page_faults_events.h"
#include "os/page_faults_maps.h"

namespace warpgauge {

// `page-faults`: every page fault of a process, a process tree or the machine as a row of an event
// table, with the mapping that it was in. Options: `pid` (default: this process), `tree`, `system`,
// `ring_bytes` (per CPU; 0: by itself).
//
// Each tick drains the rings of all CPUs in order of time, up to the moment at which the tick
// began, and only then asks the kernel for the mappings (os/page_faults_maps.h).
class PageFaultsSource : public Source {
 public:
  static Result<std::unique_ptr<Source>> Open(const SourceRequest& request, StateSink& states);

  PageFaultsSource(const SourceRequest& request,
                   const FaultTarget& target,
                   FaultEvents events,
                   StateSink& states);

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }
  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override;

  [[nodiscard]] int64_t memory_bytes() const override { return events_.memory_bytes(); }

  // Tests of kernels without PROCMAP_QUERY; before the first Sample.
  void set_may_query(bool may_query) { may_query_ = may_query; }
  // When the maps of every process may be read whole again; of tests, between two looks.
  [[nodiscard]] int64_t next_read_ns() const;

 private:
  struct Cursor {
    FaultRing* ring;
    RingRecord record;
  };
  void Drain(int64_t tick_ns, TableWriter& rows);
  void Handle(const RingRecord& record, TableWriter& rows);
  void WriteFault(const RingRecord& record, TableWriter& rows);
  void WriteStatistics(int64_t tick_ns, TableWriter& rows);
  // The maps of a process in this look; nullptr when there are too many processes.
  ProcessMaps* MapsOf(uint32_t pid, TableWriter& rows);
  void EndLook(TableWriter& rows);
  void Report(const char* field, const char* state, const char* reason, int64_t code);

  std::string instance_;
  FaultTarget target_;
  StateSink& states_;
  std::vector<TableSpec> tables_;
  FaultEvents events_;
  bool may_query_ = true;
  bool is_first_look_ = true;

  std::vector<Cursor> cursors_;  // a heap by time, while draining
  std::unordered_map<uint32_t, std::unique_ptr<ProcessMaps>> maps_;
  std::vector<uint32_t> looked_at_;  // pids of this look
  std::vector<uint32_t> ended_;      // processes that ended in this look
  int64_t look_ns_ = 0;
  uint32_t rows_in_tick_ = 0;
  bool has_slab_ = false;

  int32_t minor_code_ = -1;
  int32_t major_code_ = -1;
  uint64_t minor_ = 0;
  uint64_t major_ = 0;
  uint64_t lost_ = 0;
  uint64_t unattributed_ = 0;
  uint64_t lost_before_ = 0;
  int64_t lost_reported_ns_ = 0;
  bool is_gone_ = false;
};

}  // namespace warpgauge
