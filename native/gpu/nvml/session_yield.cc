// Letting go of the driver while another process changes how a GPU is divided. A client that keeps
// handles of MIG devices, or the GPU open at all, is what makes such a change fail, and NVML has no
// call that gives a handle back: so the whole library is shut down, for the second or seconds that
// the change takes, and every GPU's gap is a row of `state`. And gpu.mig, what a change could use.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/mig_intent.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
// Within a second of the announcement everything is given back: 0.1 s until it is seen, this for
// calls that run, and the rest for the library's own shutdown.
constexpr int64_t kQuietNs = 700 * kMs;
constexpr int64_t kShutdownDeadlineNs = 5000 * kMs;

}  // namespace

void NvmlSession::LookAtIntents() {
  std::vector<std::string> uuids;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (!ready_) return;
    for (const auto& device : devices_) {
      if (!device->uuid.empty()) uuids.push_back(device->uuid);
    }
  }
  const bool announced = std::any_of(uuids.begin(), uuids.end(), [&](const std::string& uuid) {
    return MigChangeAnnounced(lock_folders_, uuid);
  });
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (announced == yield_wanted_) return;
    yield_wanted_ = announced;
    next_maintenance_ns_ = 0;
  }
  Wake();
}

bool NvmlSession::FollowIntent(NvmlWorker& worker) {
  bool wanted = false;
  bool is = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    wanted = yield_wanted_;
    is = yielded_;
  }
  if (wanted == is) return true;
  if (wanted) return Yield(worker);
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    yielded_ = false;
    quiet_ = false;
    reinit_ns_ = 0;
    for (const auto& device : devices_) {
      if (device->state != GpuState::kYielded) continue;
      // Found anew like one that was lost, without being called that.
      device->state = GpuState::kLost;
      device->retry_ns = 0;
    }
    if (initialized_) {
      // A call that ran kept the library from being shut down: the devices are asked again.
      for (const auto& device : devices_) device->fingerprint.clear();
    }
  }
  return Reinitialize(worker);
}

bool NvmlSession::Yield(NvmlWorker& worker) {
  const int64_t give_up_ns = MonotonicNs() + kQuietNs;
  bool busy = true;
  while (busy) {
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (stop_ || worker.abandoned) return false;
      quiet_ = true;
      busy = std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
        return other.get() != &worker && other->in_call;
      });
    }
    if (MonotonicNs() >= give_up_ns) break;
    const std::atomic<uint32_t> never{0};
    if (busy) FutexWait(never, 0, MonotonicNs() + 5 * kMs);
  }
  bool initialized = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    initialized = initialized_;
    for (const auto& device : devices_) {
      if (device->state == GpuState::kOk) SetState(*device, GpuState::kYielded, kNvmlSuccess);
    }
    yielded_ = true;
  }
  // A thread that is still inside the driver would crash in one that is shut down.
  if (busy || !initialized) return true;
  if (!Begin(worker, nullptr, "nvmlShutdown", kShutdownDeadlineNs)) return false;
  for (const auto& target : targets_) {
    target->gpm_pair.Free(table_);
    target->pcie_pair.Free(table_);
  }
  table_.nvmlShutdown();
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  initialized_ = false;
  generation_++;
  init_count_++;
  return true;
}

// ---- gpu.mig ----

bool NvmlSession::ReadMigSlots(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns) {
  // Without MIG there is nothing to ask, now; the mode may change.
  if (target.is_instance || !target.device->mig) return true;
  const size_t metric = TableMetric(GpuTable::kMig);
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  NvmlReturn code = kNvmlSuccess;
  if (target.mig_profiles.empty()) {
    code = ReadMigProfiles(mig_, worker.handle, &target.mig_profiles);
  }
  std::vector<MigSlotRow> rows;
  for (const MigProfileReading& profile : target.mig_profiles) {
    unsigned free = 0;
    code = mig_.nvmlDeviceGetGpuInstanceRemainingCapacity == nullptr
               ? kNvmlFunctionNotFound
               : mig_.nvmlDeviceGetGpuInstanceRemainingCapacity(worker.handle, profile.id, &free);
    if (code != kNvmlSuccess) break;
    const std::string name = profile.name.empty() ? std::to_string(profile.id) : profile.name;
    rows.push_back({&target, profile.id, name, free});
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  Account(target, metric, code, duration_ns);
  if (target.metrics[metric].given_up != kNvmlSuccess && ready_) {
    Report(target,
           GpuTable::kMig,
           {.table = "",
            .key = "",
            .field = "",
            .state = "unavailable",
            .reason = NvmlReason(code),
            .code = code});
  }
  if (code == kNvmlSuccess && tick_ns >= 0) {
    worker.mig_rows.insert(worker.mig_rows.end(), rows.begin(), rows.end());
  }
  return true;
}

}  // namespace warpgauge
