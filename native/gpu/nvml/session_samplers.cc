// What samplers ask of a session: subscriptions, start, stop, pauses, counts.
#include <algorithm>

#include "core/clock.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

int64_t Passed(const GpuSubscription& subscription, size_t table, int64_t now_ns) {
  const int64_t interval = subscription.request.interval_ns[table];
  if (interval <= 0 || now_ns < subscription.start_ns) return 0;
  return std::min((now_ns - subscription.start_ns) / interval + 1,
                  subscription.cadence[table].last);
}

}  // namespace

bool NvmlSession::IsWanted(GpuTable table) const {
  return std::any_of(subscriptions_.begin(), subscriptions_.end(), [&](auto* subscription) {
    return subscription->active &&
           subscription->request.interval_ns[static_cast<size_t>(table)] > 0;
  });
}

bool NvmlSession::IsReadNow(const GpuTarget& target, GpuTable table) const {
  if (target.gone || !target.probed || target.device->state != GpuState::kOk) return false;
  return std::any_of(subscriptions_.begin(), subscriptions_.end(), [&](const auto* subscription) {
    return subscription->active && !subscription->paused &&
           subscription->request.interval_ns[static_cast<size_t>(table)] > 0 &&
           Wants(*subscription, target);
  });
}

bool NvmlSession::Wants(const GpuSubscription& subscription, const GpuTarget& target) {
  const std::vector<std::string>& devices = subscription.request.devices;
  if (devices.empty()) return true;
  return std::any_of(devices.begin(), devices.end(), [&](const std::string& uuid) {
    return uuid == target.uuid || uuid == target.device->uuid;
  });
}

Status NvmlSession::Subscribe(GpuSubscription* subscription) {
  const std::unique_lock<std::mutex> lock(mutex_);
  for (const std::string& uuid : subscription->request.devices) {
    const bool known = std::any_of(targets_.begin(), targets_.end(), [&](const auto& target) {
      return target->uuid == uuid && !target->gone;
    });
    if (known) continue;
    return Status("ERR_NO_DEVICE", "There is no GPU or MIG instance " + uuid)
        .WithFix("nvidia-smi -L lists them")
        .WithSource("nvmlDeviceGetUUID", kNvmlNotFound);
  }
  subscriptions_.push_back(subscription);
  if (subscription->request.wake) wake_devices_ = true;
  PlanAll();
  return Status::Ok();
}

void NvmlSession::Unsubscribe(GpuSubscription* subscription) {
  const std::unique_lock<std::mutex> lock(mutex_);
  const auto at = std::find(subscriptions_.begin(), subscriptions_.end(), subscription);
  if (at == subscriptions_.end()) return;
  subscriptions_.erase(at);
  wake_devices_ = std::any_of(
      subscriptions_.begin(), subscriptions_.end(), [](auto* one) { return one->request.wake; });
  PlanAll();
}

void NvmlSession::SetInterval(GpuSubscription* subscription, GpuTable table, int64_t interval_ns) {
  const std::unique_lock<std::mutex> lock(mutex_);
  subscription->request.interval_ns[static_cast<size_t>(table)] = interval_ns;
}

void NvmlSession::Start(GpuSubscription* subscription,
                        const std::array<TableWriter*, kGpuTables>& writers,
                        int64_t start_ns,
                        int64_t end_ns) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    subscription->writers = writers;
    subscription->start_ns = start_ns;
    subscription->end_ns = end_ns;
    for (size_t i = 0; i < kGpuTables; i++) {
      GpuSubscription::Cadence& cadence = subscription->cadence[i];
      cadence = {};
      const int64_t interval = subscription->request.interval_ns[i];
      if (end_ns != 0 && interval > 0) {
        cadence.last = (end_ns - start_ns + interval - 1) / interval;
      }
    }
    subscription->active = true;
    ReportNulls(*subscription);
    StartMissing(MonotonicNs());
  }
  Wake();
}

void NvmlSession::Stop(GpuSubscription* subscription) {
  const std::unique_lock<std::mutex> lock(mutex_);
  if (!subscription->active) return;
  subscription->active = false;
  const int64_t now_ns = MonotonicNs();
  for (size_t i = 0; i < kGpuTables; i++) {
    if (static_cast<GpuTable>(i) == GpuTable::kEvent) continue;
    GpuSubscription::Cadence& cadence = subscription->cadence[i];
    const int64_t passed = subscription->paused ? cadence.next : Passed(*subscription, i, now_ns);
    if (passed <= cadence.next) continue;
    cadence.missed += static_cast<uint64_t>(passed - cadence.next);
    cadence.next = passed;
  }
}

void NvmlSession::SetPaused(GpuSubscription* subscription, bool paused) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (subscription->paused == paused) return;
    const int64_t now_ns = MonotonicNs();
    for (size_t i = 0; i < kGpuTables; i++) {
      GpuSubscription::Cadence& cadence = subscription->cadence[i];
      const int64_t passed = Passed(*subscription, i, now_ns);
      if (passed > cadence.next) {
        // Into a pause they were missed; out of it nobody wanted them.
        if (paused && static_cast<GpuTable>(i) != GpuTable::kEvent) {
          cadence.missed += static_cast<uint64_t>(passed - cadence.next);
        }
        cadence.next = passed;
      }
      if (paused && subscription->writers[i] != nullptr) subscription->writers[i]->Flush();
    }
    subscription->paused = paused;
  }
  Wake();
}

Source::Ticks NvmlSession::TicksOf(const GpuSubscription& subscription, GpuTable table) const {
  const std::unique_lock<std::mutex> lock(mutex_);
  const GpuSubscription::Cadence& cadence = subscription.cadence[static_cast<size_t>(table)];
  return {cadence.ticks, cadence.missed};
}

std::vector<Source::Cost> NvmlSession::Costs() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  std::vector<Source::Cost> costs;
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (const auto& target : targets_) {
    for (size_t i = 0; i < metrics.size(); i++) {
      const CostHistogram& cost = target->metrics[i].cost;
      if (cost.calls() != 0)
        costs.push_back(cost.Summary(std::string(metrics[i].call) + " " + target->uuid));
    }
  }
  return costs;
}

int64_t NvmlSession::CpuNs() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  int64_t sum = supervisor_.CpuNs() + ended_cpu_ns_;
  for (const auto& worker : workers_) sum += worker->thread.CpuNs();
  return sum;
}

}  // namespace warpgauge
