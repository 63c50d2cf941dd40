#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpgauge {

// One kind of call to one GPU: what it costs and how often it is wanted.
struct CallDemand {
  int64_t cost_ns = 0;
  int64_t wanted_ns = 0;  // 0: not wanted
  bool exempt = false;    // outside the budget: asked for at any cost
  bool last = false;      // of the dear ones the last to give way: what the user came for
};

// How often each call is made so that the time inside the driver, the sum of cost / interval over
// what is not exempt, stays within `share` of the wall time. Calls of 80 us and more give way
// first, the dearest before the others and those marked `last` after them: to once in a second,
// then once in 10 s, once in a minute. Only then do the cheap ones, in the same way, and if that is
// not enough all equally. Every interval is a whole multiple of the wanted one, because calls are
// made at ticks; 0 for what is not wanted.
std::vector<int64_t> PlanSchedule(const std::vector<CallDemand>& demands, double share);

// The share that a plan takes, exempt calls left out.
double ShareOf(const std::vector<CallDemand>& demands, const std::vector<int64_t>& intervals);

}  // namespace warpgauge
