// What a session does once a second: devices that were lost come back, the driver too. Runs on the
// slow thread.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {

bool NvmlSession::Maintain(NvmlWorker& worker, int64_t now_ns) {
  std::vector<GpuDevice*> lost;
  std::vector<GpuDevice*> present;
  bool any_ok = false;
  bool changed = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (now_ns < next_maintenance_ns_) return true;
    next_maintenance_ns_ = now_ns + kMaintenanceNs;
  }
  if (!FollowIntent(worker)) return false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (yielded_) return true;
    changed = instances_changed_;
    instances_changed_ = false;
    if (now_ns >= next_plan_ns_) {
      PlanAll();
      changed = true;  // the set of instances is looked at as often
      for (size_t i = 0; i < restart_backoff_ns_.size(); i++) {
        if (now_ns > restart_ns_[i] + 2 * kLongestBackoffNs) restart_backoff_ns_[i] = 0;
      }
    }
    for (const auto& device : devices_) {
      if (device->state == GpuState::kOk || device->state == GpuState::kAsleep) {
        any_ok = initialized_;
      }
      if (device->state == GpuState::kLost && now_ns >= device->retry_ns)
        lost.push_back(device.get());
      if (device->state == GpuState::kOk && device->found) present.push_back(device.get());
    }
  }
  if (!lost.empty() && !any_ok) {
    if (now_ns >= reinit_ns_ && !Reinitialize(worker)) return false;
  } else {
    for (GpuDevice* device : lost) {
      if (!Recover(worker, *device)) return false;
    }
  }
  if (!changed) return true;
  for (GpuDevice* device : present) {
    if (!LookAtInstances(worker, *device)) return false;
  }
  return true;
}

bool NvmlSession::Recover(NvmlWorker& worker, GpuDevice& device) {
  if (!wake_devices_ && IsAsleep(root_, device.pci_address)) {
    const std::unique_lock<std::mutex> lock(mutex_);
    SetState(device, GpuState::kAsleep, kNvmlSuccess);
    return true;
  }
  if (!Begin(worker, &device, "nvmlDeviceGetHandleByPciBusId_v2", kDeviceDeadlineNs)) return true;
  NvmlDevice handle = nullptr;
  NvmlReturn code =
      table_.nvmlDeviceGetHandleByPciBusId_v2 == nullptr
          ? kNvmlFunctionNotFound
          : table_.nvmlDeviceGetHandleByPciBusId_v2(device.pci_address.c_str(), &handle);
  std::string uuid;
  std::string name;
  if (code == kNvmlSuccess) {
    // A handle alone proves nothing: ask something that has to reach the driver.
    NvmlMemory memory;
    code = worker.scheme->ReadMemory(handle, &memory);
    if (!NvmlIsLost(code)) code = kNvmlSuccess;
    uuid = NvmlText(table_.nvmlDeviceGetUUID, handle, kNvmlUuidBytes);
    name = NvmlText(table_.nvmlDeviceGetName, handle, kNvmlNameBytes);
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  if (code != kNvmlSuccess) {
    device.backoff_ns = std::clamp(device.backoff_ns * 2, kMaintenanceNs, kLongestBackoffNs);
    device.retry_ns = MonotonicNs() + device.backoff_ns;
    return true;
  }
  device.uuid = uuid.empty() ? device.pci_address : uuid;
  device.name = name;
  device.found = true;
  if (device.whole == nullptr || device.whole->uuid != device.uuid) {
    if (device.whole != nullptr) device.whole->gone = true;
    device.whole = AddTarget(&device, device.uuid);
  }
  device.whole->handle = handle;
  device.whole->tx.Restart();
  device.whole->rx.Restart();
  device.fingerprint.clear();
  SetState(device, GpuState::kOk, kNvmlSuccess);
  lock.unlock();
  if (!LookAtInstances(worker, device)) return false;
  return ProbeAll(worker);
}

bool NvmlSession::Reinitialize(NvmlWorker& worker) {
  const auto postpone = [&] {
    reinit_backoff_ns_ = std::clamp(reinit_backoff_ns_ * 2, kMaintenanceNs, kLongestBackoffNs);
    reinit_ns_ = MonotonicNs() + reinit_backoff_ns_;
  };
  // Nobody may be inside the driver while it is shut down.
  int64_t give_up_ns = MonotonicNs() + 2000 * kMs;
  for (;;) {
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      quiet_ = true;
      const bool busy = std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
        return other.get() != &worker && other->in_call;
      });
      if (!busy) break;
      if (stop_ || MonotonicNs() > give_up_ns) {
        quiet_ = false;
        postpone();
        return true;
      }
    }
    const std::atomic<uint32_t> never{0};
    FutexWait(never, 0, MonotonicNs() + 10 * kMs);
  }
  std::vector<NvmlFoundDevice> found;
  bool is_initialized = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    is_initialized = initialized_;
  }
  if (!Begin(worker, nullptr, "nvmlInit_v2", kInitDeadlineNs)) return false;
  if (is_initialized) table_.nvmlShutdown();
  NvmlReturn code = kNvmlDriverNotLoaded;
  if (PassDriverGate(root_, override_).ok()) code = table_.nvmlInit_v2();
  if (code == kNvmlSuccess) found = FindDevices(table_, root_, wake_devices_);
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  const bool here = End(worker, lock, &duration_ns);
  if (!here) lock = std::unique_lock<std::mutex>(mutex_);
  quiet_ = false;
  if (!here) return false;
  initialized_ = code == kNvmlSuccess;
  generation_++;
  init_count_++;
  for (const auto& target : targets_) {
    // What the old driver gave is gone with it.
    target->gpm_pair.Forget();
    target->pcie_pair.Forget();
    target->tx.Restart();
    target->rx.Restart();
  }
  if (code != kNvmlSuccess || found.empty()) {
    postpone();
    return true;
  }
  reinit_backoff_ns_ = 0;
  reinit_ns_ = 0;
  for (const auto& device : devices_) {
    device->fingerprint.clear();
    device->retry_ns = MonotonicNs() + kMaintenanceNs;
  }
  lock.unlock();
  if (!Enumerate(worker, found)) return false;
  // A handle alone proves nothing: each shows that it answers before it counts as back.
  std::vector<GpuDevice*> back;
  {
    const std::unique_lock<std::mutex> look(mutex_);
    for (const auto& device : devices_) {
      if (device->state == GpuState::kLost) back.push_back(device.get());
    }
  }
  for (GpuDevice* device : back) {
    if (!Recover(worker, *device)) return false;
  }
  if (!ProbeAll(worker)) return false;
  {
    const std::unique_lock<std::mutex> plan(mutex_);
    PlanAll();
  }
  Wake();
  return true;
}

}  // namespace warpgauge
