// The schedule of a session: how often each call is made to each device.
#include <algorithm>

#include "core/clock.h"
#include "gpu/nvml/schedule.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

constexpr int64_t kPlanNs = 5000 * kMs;
// The thread of the fast table makes calls up to this cost; dearer ones would delay its ticks.
constexpr int64_t kDearNs = 100'000;
constexpr int64_t kUtilizationSamplesNs = 5'000'000'000;  // the buffers are 14 s deep
constexpr int64_t kFreshNs = 500 * kMs;
constexpr uint64_t kCallsToTrust = 20;

// ns that a call costs as far as is known: what it really took, once there are enough of them.
int64_t CostOf(const MetricState& state) {
  if (state.cost.calls() < kCallsToTrust) return state.probed_ns;
  const Source::Cost cost = state.cost.Summary("");
  return static_cast<int64_t>(cost.total_ns / cost.calls);
}

}  // namespace

void NvmlSession::PlanAll() {
  for (const auto& device : devices_) Plan(*device);
  next_plan_ns_ = MonotonicNs() + kPlanNs;
}

void NvmlSession::Plan(GpuDevice& device) {
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  std::vector<CallDemand> demands;
  std::vector<std::pair<GpuTarget*, size_t>> calls;
  double share = 1;
  for (const auto& target : targets_) {
    if (target->device != &device || target->gone || !target->probed) continue;
    std::array<int64_t, kGpuTables> wanted{};
    bool exact = false;
    for (const GpuSubscription* subscription : subscriptions_) {
      if (!Wants(*subscription, *target)) continue;
      share = std::min(share, subscription->request.driver_share);
      exact |= subscription->request.exact_pcie;
      for (size_t i = 0; i < kGpuTables; i++) {
        const int64_t interval = subscription->request.interval_ns[i];
        if (interval > 0 && (wanted[i] == 0 || interval < wanted[i])) wanted[i] = interval;
      }
    }
    for (size_t i = 0; i < metrics.size(); i++) {
      MetricState& state = target->metrics[i];
      CallDemand demand;
      demand.cost_ns = CostOf(state);
      demand.wanted_ns =
          state.given_up == kNvmlSuccess ? wanted[static_cast<size_t>(metrics[i].table)] : 0;
      if (demand.wanted_ns > 0 && i == TableMetric(GpuTable::kSamples) + 1) {
        demand.wanted_ns = std::max(demand.wanted_ns, kUtilizationSamplesNs);
      }
      demand.exempt = exact && metrics[i].table == GpuTable::kPcie;
      demand.last = metrics[i].table == GpuTable::kPcie;
      state.by_slow_thread = metrics[i].table == GpuTable::kMain && demand.cost_ns > kDearNs;
      state.can_wait = demand.cost_ns >= kDearCallNs && !demand.exempt && !demand.last;
      state.exempt = demand.exempt;
      state.wanted_ns = demand.wanted_ns;
      demands.push_back(demand);
      calls.emplace_back(target.get(), i);
    }
  }
  device.budget.SetShare(share);
  const std::vector<int64_t> plan = PlanSchedule(demands, share * kPlannedPart);
  for (size_t i = 0; i < plan.size(); i++) {
    MetricState& state = calls[i].first->metrics[calls[i].second];
    const GpuMetric& metric = metrics[calls[i].second];
    const int64_t before_ns = state.interval_ns;
    // A cost that trembles must not make the interval tremble; but one that is too short stays
    // above the budget.
    const bool close = before_ns >= demands[i].wanted_ns && before_ns > 0 &&
                       plan[i] > before_ns * 3 / 4 && plan[i] <= before_ns;
    if (!close || plan[i] == 0) state.interval_ns = plan[i];
    if (state.interval_ns < before_ns || before_ns == 0) {
      // What is dear and was asked a moment ago, at the start, is not asked again at the first
      // tick.
      const bool fresh = state.interval_ns > demands[i].wanted_ns && metric.count != 0 &&
                         MonotonicNs() - state.read_ns < kFreshNs;
      state.next_due_ns = fresh ? state.read_ns + state.interval_ns : 0;
    }
    if (state.interval_ns == 0 || state.interval_ns == state.reported_interval_ns) continue;
    const bool stretched = state.interval_ns > demands[i].wanted_ns;
    const bool was = state.reported_interval_ns != 0;
    state.reported_interval_ns = stretched ? state.interval_ns : 0;
    if (demands[i].exempt && !was) {
      // Its price: ns inside the driver per second.
      Report(*calls[i].first,
             metric.table,
             {.table = "",
              .key = "",
              .field = "",
              .state = "ok",
              .reason = "outside_budget",
              .code = demands[i].cost_ns * 1'000'000'000 / demands[i].wanted_ns});
      state.reported_interval_ns = state.interval_ns;
    } else if (stretched || was) {
      const std::vector<GpuColumn>& columns = ValueColumns(metric.table);
      const size_t fields = columns.empty() ? 1 : metric.count;
      for (size_t j = 0; j < fields; j++) {
        Report(*calls[i].first,
               metric.table,
               {.table = "",
                .key = "",
                .field = columns.empty() ? "" : columns[metric.first + j].name,
                .state = stretched ? "degraded" : "ok",
                .reason = stretched ? "too_slow" : "",
                .code = state.interval_ns});
      }
    }
  }
}

}  // namespace warpgauge
