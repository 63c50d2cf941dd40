// When a session's threads read: deadlines of all samplers together, on absolute times.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

bool RoleReads(WorkerRole role, GpuTable table) {
  switch (table) {
    case GpuTable::kMain:
      return role == WorkerRole::kFast;
    case GpuTable::kPcie:
      return role == WorkerRole::kPcie;
    case GpuTable::kEvent:
      return false;
    default:
      return role == WorkerRole::kSlow;
  }
}

}  // namespace

int64_t NvmlSession::NextDeadline(const NvmlWorker& worker) const {
  int64_t next_ns = INT64_MAX;
  for (const GpuSubscription* subscription : subscriptions_) {
    if (!subscription->active || subscription->paused) continue;
    for (size_t i = 0; i < kGpuTables; i++) {
      const int64_t interval = subscription->request.interval_ns[i];
      const GpuSubscription::Cadence& cadence = subscription->cadence[i];
      if (!RoleReads(worker.role, static_cast<GpuTable>(i)) || interval <= 0) continue;
      if (cadence.next >= cadence.last) continue;
      next_ns = std::min(next_ns, subscription->start_ns + cadence.next * interval);
    }
  }
  for (const NvmlWorker::Late& late : worker.late) {
    if (late.retry_ns != 0) next_ns = std::min(next_ns, late.retry_ns);
  }
  if (worker.role != WorkerRole::kSlow) return next_ns;
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (const auto& target : targets_) {
    // The same condition as for the reading itself: a call that is due and not made would be due
    // again at once, and this thread would spin.
    if (!IsReadNow(*target, GpuTable::kMain)) continue;
    for (size_t i = 0; i < metrics.size(); i++) {
      const MetricState& state = target->metrics[i];
      if (metrics[i].table != GpuTable::kMain || !state.by_slow_thread) continue;
      if (state.interval_ns <= 0 || state.given_up != kNvmlSuccess) continue;
      next_ns = std::min(next_ns, state.next_due_ns);
    }
  }
  const bool needed = !subscriptions_.empty();
  return needed ? std::min(next_ns, next_maintenance_ns_) : next_ns;
}

void NvmlSession::WorkerLoop(NvmlWorker& worker) {
  if (worker.role == WorkerRole::kSlow && !BringUp(worker)) return;
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    int64_t next_ns = 0;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (worker.abandoned || stop_) return;
      next_ns = NextDeadline(worker);
    }
    const int64_t now_ns = MonotonicNs();
    if (now_ns < next_ns) {
      FutexWait(wake_, seen, next_ns);
      continue;
    }
    if (worker.role == WorkerRole::kSlow && !Maintain(worker, now_ns)) return;
    RunDueTicks(worker, now_ns);
  }
}

void NvmlSession::RunDueTicks(NvmlWorker& worker, int64_t now_ns) {
  struct Due {
    GpuSubscription* subscription;
    size_t table;
  };
  Due due[64];
  size_t count = 0;
  int64_t ticks_ns[kGpuTables] = {};
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    for (GpuSubscription* subscription : subscriptions_) {
      if (!subscription->active || subscription->paused) continue;
      for (size_t i = 0; i < kGpuTables && count < 64; i++) {
        const int64_t interval = subscription->request.interval_ns[i];
        GpuSubscription::Cadence& cadence = subscription->cadence[i];
        if (!RoleReads(worker.role, static_cast<GpuTable>(i)) || interval <= 0) continue;
        if (cadence.next >= cadence.last) continue;
        if (subscription->start_ns + cadence.next * interval > now_ns) continue;
        const int64_t passed = (now_ns - subscription->start_ns) / interval;
        if (passed > cadence.next) {
          const int64_t reached = std::min(passed, cadence.last);
          cadence.missed += static_cast<uint64_t>(reached - cadence.next);
          cadence.next = reached;
          if (reached == cadence.last) continue;
        }
        const int64_t tick_ns = subscription->start_ns + cadence.next * interval;
        ticks_ns[i] = std::max(ticks_ns[i], tick_ns);
        cadence.next++;
        cadence.ticks++;
        due[count++] = {subscription, i};
      }
    }
    // Where the budget put calls off, they alone are made, for the same tick: the next one may be
    // an hour away.
    for (size_t i = 0; i < kGpuTables; i++) {
      NvmlWorker::Late& late = worker.late[i];
      if (ticks_ns[i] == 0 && late.retry_ns != 0 && late.retry_ns <= now_ns) {
        ticks_ns[i] = late.tick_ns;
      }
      if (ticks_ns[i] != 0) late = {};
    }
    if (worker.role == WorkerRole::kFast) fast_reading_ = count != 0;
  }
  for (size_t i = 0; i < kGpuTables; i++) {
    if (ticks_ns[i] == 0) continue;
    const auto table = static_cast<GpuTable>(i);
    if (!ReadTable(worker, table, ticks_ns[i])) return;
    const std::unique_lock<std::mutex> lock(mutex_);
    if (worker.abandoned) return;
    if (table != GpuTable::kMain && table != GpuTable::kSlow) {
      PublishRows(worker, table, ticks_ns[i]);
      continue;
    }
    for (size_t j = 0; j < count; j++) {
      if (due[j].table != i) continue;
      // It may have been stopped while the driver was asked.
      const bool there =
          std::find(subscriptions_.begin(), subscriptions_.end(), due[j].subscription) !=
          subscriptions_.end();
      if (there && due[j].subscription->active) {
        WriteValueRows(*due[j].subscription, table, now_ns);
      }
    }
  }
  if (worker.role == WorkerRole::kFast) {
    const std::unique_lock<std::mutex> lock(mutex_);
    fast_reading_ = false;
  }
  if (worker.role != WorkerRole::kSlow) return;
  // Calls of the fast table that are too dear for its thread.
  CollectTargets(worker, GpuTable::kMain);
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (GpuTarget* target : worker.targets) {
    for (size_t i = 0; i < metrics.size(); i++) {
      if (metrics[i].table != GpuTable::kMain) continue;
      {
        const std::unique_lock<std::mutex> lock(mutex_);
        if (!target->metrics[i].by_slow_thread) continue;
      }
      if (!ReadMetric(worker, *target, i, now_ns)) return;
    }
  }
}

}  // namespace warpgauge
