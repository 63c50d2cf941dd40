#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "os/perf_group.h"

namespace warpgauge {

// Adds up what several groups counted for the same row (the threads of a process, the CPUs of a
// machine), and tells whole counts from estimates. No allocation but in AddRow.
class PerfTotals {
 public:
  struct Count {
    // Cumulative and never falling: the count, or the estimate count * enabled / running, which is
    // what `perf stat` prints for a multiplexed event. An estimate below the one before it (the
    // counters were on the CPU for longer since) stays at that one.
    uint64_t value = 0;
    bool is_estimate = false;
    // False when the event was enabled and never got a counter, or could not be read.
    bool is_known = false;
    // How long it has been enabled without ever getting a counter.
    uint64_t starved_ns = 0;
  };

  PerfTotals(size_t events, size_t clocks) : events_(events), clocks_(clocks) {}

  // The index of a new row.
  size_t AddRow();
  void RemoveRow(size_t row);  // later rows move up by one
  [[nodiscard]] size_t rows() const { return rows_; }

  // Begins a tick: all sums are 0 again, the estimates given out are remembered.
  void Begin();
  // What one member of a group counted, and the times of that group. A group counts once for the
  // times of `clock`, however many members it has.
  void AddCount(size_t row, size_t event, uint64_t value, const PerfGroupTimes& times);
  // A group of this row and event could not be read: the sum would lack its part.
  void AddUnread(size_t row, size_t event);
  void AddTimes(size_t row, size_t clock, const PerfGroupTimes& times);

  // Once per row, event and tick.
  Count Take(size_t row, size_t event);
  [[nodiscard]] const PerfGroupTimes& times(size_t row, size_t clock) const {
    return times_[row * clocks_ + clock];
  }

 private:
  struct Sum {
    uint64_t value = 0;
    uint64_t enabled_ns = 0;
    uint64_t running_ns = 0;
    bool is_read = false;
    bool is_torn = false;  // a part of it could not be read
  };

  size_t events_;
  size_t clocks_;
  size_t rows_ = 0;
  std::vector<Sum> sums_;        // row * events_ + event
  std::vector<uint64_t> given_;  // as sums_: the last value taken
  std::vector<PerfGroupTimes> times_;
};

}  // namespace warpgauge
