#include "gpu/nvml/schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace warpgauge {
namespace {

constexpr int64_t kCapsNs[] = {1'000'000'000, 10'000'000'000, 60'000'000'000};
constexpr double kLongestNs = 86'400e9;

int64_t RoundUpTo(double interval, int64_t wanted) {
  const double times = std::ceil(std::min(interval, kLongestNs) / static_cast<double>(wanted));
  return static_cast<int64_t>(std::max(times, 1.0)) * wanted;
}

}  // namespace

double ShareOf(const std::vector<CallDemand>& demands, const std::vector<int64_t>& intervals) {
  double share = 0;
  for (size_t i = 0; i < demands.size(); i++) {
    if (intervals[i] <= 0 || demands[i].exempt) continue;
    share += static_cast<double>(demands[i].cost_ns) / static_cast<double>(intervals[i]);
  }
  return share;
}

std::vector<int64_t> PlanSchedule(const std::vector<CallDemand>& demands, double share) {
  std::vector<int64_t> intervals(demands.size());
  for (size_t i = 0; i < demands.size(); i++) intervals[i] = demands[i].wanted_ns;
  std::vector<size_t> dearest(demands.size());
  std::iota(dearest.begin(), dearest.end(), size_t{0});
  std::stable_sort(dearest.begin(), dearest.end(), [&](size_t a, size_t b) {
    return demands[a].cost_ns > demands[b].cost_ns;
  });
  for (const int64_t cap : kCapsNs) {
    for (const size_t i : dearest) {
      const CallDemand& call = demands[i];
      if (intervals[i] <= 0 || call.exempt || intervals[i] >= cap) continue;
      const double total = ShareOf(demands, intervals);
      if (total <= share) return intervals;
      const double cost = static_cast<double>(call.cost_ns);
      const double others = total - cost / static_cast<double>(intervals[i]);
      const double fits = others < share ? cost / (share - others) : kLongestNs;
      const int64_t bound = RoundUpTo(static_cast<double>(cap), call.wanted_ns);
      intervals[i] = std::min(RoundUpTo(fits, call.wanted_ns), bound);
    }
  }
  const double over = share > 0 ? ShareOf(demands, intervals) / share : kLongestNs;
  if (over <= 1) return intervals;
  for (size_t i = 0; i < demands.size(); i++) {
    if (intervals[i] <= 0 || demands[i].exempt) continue;
    intervals[i] = RoundUpTo(static_cast<double>(intervals[i]) * over, demands[i].wanted_ns);
  }
  return intervals;
}

}  // namespace warpgauge
