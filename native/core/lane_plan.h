#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpgauge {

// What is known of one source before it runs: how often its fastest table is to be read and what
// its calls cost, measured on the real target.
struct LaneLoad {
  int64_t interval_ns = 0;  // of its fastest table
  int64_t longest_ns = 0;   // its longest call
  double busy_ratio = 0;    // share of one CPU that all its calls take
};

// Puts sources together on threads: groups of indices into `loads`. Sources share a thread only
// where no call of one delays the fastest of the others by more than a tenth of its interval and
// the thread stays idle half of the time.
std::vector<std::vector<size_t>> PlanLanes(const std::vector<LaneLoad>& loads);

}  // namespace warpgauge
