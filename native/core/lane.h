#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/cost_histogram.h"
#include "core/source.h"
#include "core/table_writer.h"
#include "core/thread.h"

namespace warpgauge {

// What a lane counts of one table. The lane's thread writes, any thread reads.
struct TickCounts {
  std::atomic<uint64_t> ticks{0};
  // Deadlines that passed while the tick before them was still running or the thread was not
  // scheduled.
  std::atomic<uint64_t> missed{0};
  // Deadlines that passed in pauses.
  std::atomic<uint64_t> paused{0};
  CostHistogram cost;
};

// One table that a lane ticks at start + k * interval.
struct LaneTable {
  Source* source = nullptr;
  size_t table = 0;
  TableWriter* writer = nullptr;
  TickCounts* counts = nullptr;
  int64_t interval_ns = 0;
  // Set by Start and used by the lane's thread alone:
  int64_t next = 0;          // k of the next tick
  int64_t last = INT64_MAX;  // number of deadlines there are
};

// One thread that ticks tables on absolute deadlines of CLOCK_MONOTONIC. A deadline that is missed
// is counted and not made up for: the next tick is the next deadline. For every table ticks +
// missed is the number of deadlines that have passed (less those of pauses), to the last one.
class Lane {
 public:
  explicit Lane(int64_t batch_ns) : batch_ns_(batch_ns) {}

  // Before Start.
  void Add(const LaneTable& table) { tables_.push_back(table); }
  [[nodiscard]] const std::vector<LaneTable>& tables() const { return tables_; }

  // `duration_ns` 0: until Stop. `owner` holds the lane, its sources and writers.
  Status Start(Shared* owner, int64_t start_ns, int64_t duration_ns);
  // Asks the thread to count what it missed, hand over what there is and end.
  void RequestStop();
  // When the call began that its source is in; 0: it is in none.
  [[nodiscard]] int64_t call_since_ns() const {
    return call_since_ns_.load(std::memory_order_relaxed);
  }
  // False when the thread has not ended by then: it hangs in a source, and is left behind.
  [[nodiscard]] bool WaitEnded(int64_t deadline_ns) const { return thread_.WaitEnded(deadline_ns); }
  // While paused no tick runs and no deadline counts.
  void SetPaused(bool paused);
  // Deadlines of a table at or before `now_ns`.
  [[nodiscard]] int64_t Passed(const LaneTable& table, int64_t now_ns) const;
  // Hands over what there is, soon.
  void RequestFlush();
  [[nodiscard]] int64_t CpuNs() const { return thread_.CpuNs(); }

 private:
  static void Run(void* self);
  void Loop();
  // Returns the time after it.
  int64_t Tick(LaneTable& table, int64_t now_ns) const;
  void FlushAll();
  // Moves on to the first deadline at or after now; those in between are added to `count`.
  void SkipTo(LaneTable& table, int64_t now_ns, std::atomic<uint64_t> TickCounts::*count) const;
  [[nodiscard]] int64_t DeadlineNs(const LaneTable& table) const {
    return start_ns_ + table.next * table.interval_ns;
  }
  void Signal();
  void WaitUntil(int64_t deadline_ns, int64_t now_ns, uint32_t seen);

  const int64_t batch_ns_;
  std::vector<LaneTable> tables_;
  int64_t start_ns_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> paused_{false};
  std::atomic<bool> flush_{false};
  std::atomic<uint32_t> signal_{0};                // changes with every request
  mutable std::atomic<int64_t> call_since_ns_{0};  // written by the lane's thread
  Thread thread_;
};

}  // namespace warpgauge
