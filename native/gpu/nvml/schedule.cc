#include "gpu/nvml/schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace warpgauge {
namespace {

constexpr int64_t kCapsNs[] = {1'000'000'000, 10'000'000'000, 60'000'000'000};
constexpr double kLongestNs = 86'400e9;
// Credit that is not used is kept for so long.
constexpr double kSavedNs = 500e6;
constexpr double kLongestDebtNs = 10e9;
// A call that waits asks again at its next tick: each second, by default.
constexpr int64_t kForgottenNs = 3'000'000'000;

int64_t RoundUpTo(double interval, int64_t wanted) {
  const double times = std::ceil(std::min(interval, kLongestNs) / static_cast<double>(wanted));
  return static_cast<int64_t>(std::max(times, 1.0)) * wanted;
}

// What the dear calls left over goes to the cheap ones first: a hundred calls of a microsecond cost
// less than the one of energy, and a table that is read each 10 ms is what was asked for.
void GiveBack(const std::vector<CallDemand>& demands,
              double share,
              const std::vector<size_t>& dearest,
              std::vector<int64_t>* intervals) {
  double total = ShareOf(demands, *intervals);
  for (size_t at = dearest.size(); at-- > 0;) {
    const CallDemand& call = demands[dearest[at]];
    int64_t& interval = (*intervals)[dearest[at]];
    if (interval <= call.wanted_ns || call.exempt || call.wanted_ns <= 0) continue;
    const auto cost = static_cast<double>(call.cost_ns);
    const double others = total - cost / static_cast<double>(interval);
    if (others >= share) continue;
    const int64_t shorter = RoundUpTo(cost / (share - others), call.wanted_ns);
    if (shorter >= interval) continue;
    interval = shorter;
    total = others + cost / static_cast<double>(interval);
  }
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

void CallBudget::Accrue(int64_t now_ns) {
  if (accrued_ns_ != 0 && now_ns > accrued_ns_) {
    const double rate = share_ * kPlannedPart;
    credit_ns_ += static_cast<double>(now_ns - accrued_ns_) * rate;
    credit_ns_ = std::min(credit_ns_, kSavedNs * share_);
  }
  accrued_ns_ = std::max(accrued_ns_, now_ns);
}

void CallBudget::Charge(int64_t now_ns, int64_t cost_ns) {
  Accrue(now_ns);
  credit_ns_ -= static_cast<double>(cost_ns);
  // One call that stalled for a second must not silence the others for minutes.
  credit_ns_ = std::max(credit_ns_, -kLongestDebtNs * share_ * kPlannedPart);
}

int64_t CallBudget::WaitNs(int64_t now_ns, int64_t due_ns) {
  Accrue(now_ns);
  due_ns = std::max<int64_t>(due_ns, 1);
  // Nobody may want any more what was first.
  if (now_ns - first_asked_at_ns_ > kForgottenNs) first_due_ns_ = 0;
  const bool is_first = first_due_ns_ == 0 || due_ns <= first_due_ns_;
  if (is_first) {
    first_due_ns_ = credit_ns_ >= 0 ? 0 : due_ns;
    first_asked_at_ns_ = now_ns;
  }
  if (credit_ns_ >= 0) return is_first ? 0 : 1;
  const double wait_ns = -credit_ns_ / (share_ * kPlannedPart);
  return static_cast<int64_t>(std::min(wait_ns, kLongestNs)) + 1;
}

std::vector<int64_t> PlanSchedule(const std::vector<CallDemand>& demands, double share) {
  std::vector<int64_t> intervals(demands.size());
  for (size_t i = 0; i < demands.size(); i++) intervals[i] = demands[i].wanted_ns;
  std::vector<size_t> dearest(demands.size());
  std::iota(dearest.begin(), dearest.end(), size_t{0});
  std::stable_sort(dearest.begin(), dearest.end(), [&](size_t a, size_t b) {
    if (demands[a].last != demands[b].last) return demands[b].last;
    return demands[a].cost_ns > demands[b].cost_ns;
  });
  for (const bool dear : {true, false}) {
    for (const int64_t cap : kCapsNs) {
      for (const size_t i : dearest) {
        const CallDemand& call = demands[i];
        if (intervals[i] <= 0 || call.exempt || intervals[i] >= cap) continue;
        if ((call.cost_ns >= kDearCallNs) != dear) continue;
        const double total = ShareOf(demands, intervals);
        if (total <= share) {
          GiveBack(demands, share, dearest, &intervals);
          return intervals;
        }
        const auto cost = static_cast<double>(call.cost_ns);
        const double others = total - cost / static_cast<double>(intervals[i]);
        const double fits = others < share ? cost / (share - others) : kLongestNs;
        const int64_t bound = RoundUpTo(static_cast<double>(cap), call.wanted_ns);
        intervals[i] = std::min(RoundUpTo(fits, call.wanted_ns), bound);
      }
    }
  }
  const double over = share > 0 ? ShareOf(demands, intervals) / share : kLongestNs;
  if (over <= 1) {
    GiveBack(demands, share, dearest, &intervals);
    return intervals;
  }
  for (size_t i = 0; i < demands.size(); i++) {
    if (intervals[i] <= 0 || demands[i].exempt) continue;
    intervals[i] = RoundUpTo(static_cast<double>(intervals[i]) * over, demands[i].wanted_ns);
  }
  return intervals;
}

}  // namespace warpgauge
