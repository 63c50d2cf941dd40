#include "core/lane_plan.h"

#include <algorithm>
#include <numeric>

namespace warpgauge {
namespace {

constexpr int64_t kDelayShare = 10;     // of an interval: one tenth
constexpr double kMostBusyRatio = 0.5;  // of a shared thread

bool Fits(const LaneLoad& lane, const LaneLoad& load) {
  const int64_t fastest = std::min(lane.interval_ns, load.interval_ns);
  const int64_t longest = std::max(lane.longest_ns, load.longest_ns);
  return longest <= fastest / kDelayShare && lane.busy_ratio + load.busy_ratio <= kMostBusyRatio;
}

}  // namespace

std::vector<std::vector<size_t>> PlanLanes(const std::vector<LaneLoad>& loads) {
  std::vector<size_t> order(loads.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return loads[a].interval_ns < loads[b].interval_ns;
  });
  std::vector<LaneLoad> lanes;
  std::vector<std::vector<size_t>> groups;
  for (const size_t index : order) {
    const LaneLoad& load = loads[index];
    size_t lane = 0;
    while (lane < lanes.size() && !Fits(lanes[lane], load)) lane++;
    if (lane == lanes.size()) {
      lanes.push_back(load);
      groups.push_back({index});
      continue;
    }
    LaneLoad& shared = lanes[lane];
    shared.interval_ns = std::min(shared.interval_ns, load.interval_ns);
    shared.longest_ns = std::max(shared.longest_ns, load.longest_ns);
    shared.busy_ratio += load.busy_ratio;
    groups[lane].push_back(index);
  }
  return groups;
}

}  // namespace warpgauge
