// Rows of the `state` table: what a device cannot give, and what becomes of devices.
#include <algorithm>

#include "core/clock.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {

void NvmlSession::Report(const GpuTarget& target, GpuTable table, const StateChange& change) {
  for (GpuSubscription* subscription : subscriptions_) {
    if (!Wants(*subscription, target)) continue;
    if (subscription->request.interval_ns[static_cast<size_t>(table)] <= 0) continue;
    StateChange told = change;
    told.table = subscription->request.table_prefix;
    if (table != GpuTable::kMain) told.table += std::string(".") + GpuTableSuffix(table);
    told.key = target.uuid;
    subscription->states->Report(std::move(told));
  }
}

void NvmlSession::ReportUnavailable(const GpuTarget& target, GpuTable table, NvmlReturn code) {
  Report(target,
         table,
         {.table = "",
          .key = "",
          .field = "",
          .state = "unavailable",
          .reason = NvmlReason(code),
          .code = code});
}

void NvmlSession::SetState(GpuDevice& device, GpuState state, NvmlReturn code) {
  if (device.state == state && device.code == code) return;
  const bool was_ok = device.state == GpuState::kOk;
  device.state = state;
  device.code = code;
  const int64_t now_ns = MonotonicNs();
  if (state == GpuState::kLost) {
    device.backoff_ns = was_ok
                            ? kMaintenanceNs
                            : std::clamp(device.backoff_ns * 2, kMaintenanceNs, kLongestBackoffNs);
    device.retry_ns = now_ns + device.backoff_ns;
  }
  if (state == GpuState::kOk) {
    for (const auto& target : targets_) {
      if (target->device != &device) continue;
      for (size_t i = 0; i < GpuMetrics().size(); i++) target->metrics[i].next_due_ns = 0;
    }
    generation_++;  // events are registered anew
  }
  const char* words[][2] = {{"ok", ""},
                            {"unavailable", "asleep"},
                            {"lost", NvmlReason(code)},
                            {"hung", "hung"},
                            {"unavailable", "mig_change"}};
  const auto* word = words[static_cast<size_t>(state)];
  for (GpuSubscription* subscription : subscriptions_) {
    if (device.whole != nullptr && !Wants(*subscription, *device.whole) &&
        std::none_of(device.instances.begin(), device.instances.end(), [&](const auto* instance) {
          return Wants(*subscription, *instance);
        })) {
      continue;
    }
    subscription->states->Report({.table = subscription->request.table_prefix,
                                  .key = device.Key(),
                                  .field = "",
                                  .state = word[0],
                                  .reason = word[1],
                                  .code = code});
  }
}

void NvmlSession::ReportNulls(GpuSubscription& subscription) {
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  const std::string& prefix = subscription.request.table_prefix;
  for (const auto& device : devices_) {
    if (device->state == GpuState::kOk) continue;
    const char* reason = device->state == GpuState::kAsleep    ? "asleep"
                         : device->state == GpuState::kHung    ? "hung"
                         : device->state == GpuState::kYielded ? "mig_change"
                                                               : NvmlReason(device->code);
    subscription.states->Report({.table = prefix,
                                 .key = device->Key(),
                                 .field = "",
                                 .state = "unavailable",
                                 .reason = reason,
                                 .code = device->code});
  }
  for (const auto& target : targets_) {
    if (target->gone || !target->probed || !Wants(subscription, *target)) continue;
    if (target->is_instance) {
      subscription.states->Report({.table = prefix,
                                   .key = target->uuid,
                                   .field = "",
                                   .state = "degraded",
                                   .reason = "whole_gpu_only"});
    }
    for (size_t i = 0; i < metrics.size(); i++) {
      if (target->is_instance && !metrics[i].on_instance) continue;
      const MetricState& state = target->metrics[i];
      const auto table = static_cast<size_t>(metrics[i].table);
      if (subscription.request.interval_ns[table] <= 0) continue;
      const std::string name = metrics[i].table == GpuTable::kMain
                                   ? prefix
                                   : prefix + "." + GpuTableSuffix(metrics[i].table);
      if (metrics[i].count == 0 && state.given_up != kNvmlSuccess) {
        subscription.states->Report({.table = name,
                                     .key = target->uuid,
                                     .field = "",
                                     .state = "unavailable",
                                     .reason = NvmlReason(state.given_up),
                                     .code = state.given_up});
      }
      for (size_t j = 0; j < metrics[i].count; j++) {
        const GpuCell& cell = state.cells[j];
        if (cell.valid) continue;
        subscription.states->Report(
            {.table = name,
             .key = target->uuid,
             .field = ValueColumns(metrics[i].table)[metrics[i].first + j].name,
             .state = "unavailable",
             .reason = cell.reason,
             .code = cell.code});
      }
    }
  }
}

}  // namespace warpgauge
