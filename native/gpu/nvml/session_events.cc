// The thread that waits for the driver's events.
#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

constexpr unsigned kEventWaitMs = 100;

}  // namespace

void NvmlSession::LoopEvents(NvmlWorker& worker) {
  NvmlEventSet set = nullptr;
  uint64_t generation = 0;
  uint64_t init = 0;
  const bool able = table_.nvmlEventSetCreate != nullptr && table_.nvmlEventSetFree != nullptr &&
                    table_.nvmlEventSetWait_v2 != nullptr &&
                    table_.nvmlDeviceRegisterEvents != nullptr;
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    bool wanted = false;
    bool stale = false;
    bool stopping = false;
    std::vector<std::pair<GpuDevice*, NvmlDevice>> devices;
    {
      const std::unique_lock<std::mutex> look(mutex_);
      if (worker.abandoned) return;
      if (set != nullptr && init != init_count_) set = nullptr;  // went with the driver
      wanted = IsWanted(GpuTable::kEvent) && initialized_ && !quiet_ && !stop_;
      stale = generation != generation_;
      stopping = stop_;
      if (stopping && set == nullptr) return;
      if (wanted && able && set == nullptr) {
        generation = generation_;
        init = init_count_;
        for (const auto& device : devices_) {
          if (device->state == GpuState::kOk && device->whole != nullptr) {
            devices.emplace_back(device.get(), device->whole->handle);
          }
        }
      }
      // So that events reach the consumer although none follow.
      const int64_t now_ns = MonotonicNs();
      for (GpuSubscription* subscription : subscriptions_) {
        TableWriter* writer = subscription->writers[static_cast<size_t>(GpuTable::kEvent)];
        if (subscription->active && writer != nullptr) writer->FlushIfOld(now_ns);
      }
    }
    if (!able) {
      const std::unique_lock<std::mutex> look(mutex_);
      if (stop_) return;
      for (const auto& target : targets_) {
        if (target->is_instance || target->gone || !wanted || generation == UINT64_MAX) continue;
        ReportUnavailable(*target, GpuTable::kEvent, kNvmlFunctionNotFound);
      }
      if (wanted) generation = UINT64_MAX;
    }
    if (set != nullptr && stopping) {
      // Begin refuses by now; whoever stops does not wait for this longer than he wants.
      table_.nvmlEventSetFree(set);
      return;
    }
    if (set != nullptr && (!wanted || stale)) {
      if (Begin(worker, nullptr, "nvmlEventSetFree", kBlockingDeadlineNs)) {
        table_.nvmlEventSetFree(set);
        if (!End(worker, lock, &duration_ns)) return;
        lock.unlock();
      }
      set = nullptr;
      continue;
    }
    if (!wanted || !able) {
      FutexWait(wake_, seen, MonotonicNs() + 500 * kMs);
      continue;
    }
    if (set == nullptr) {
      if (!Begin(worker, nullptr, "nvmlEventSetCreate", kBlockingDeadlineNs)) continue;
      const NvmlReturn code = table_.nvmlEventSetCreate(&set);
      if (!End(worker, lock, &duration_ns)) return;
      lock.unlock();
      if (code != kNvmlSuccess) {
        set = nullptr;
        FutexWait(wake_, seen, MonotonicNs() + 1000 * kMs);
        continue;
      }
      for (const auto& [device, handle] : devices) {
        if (!Begin(worker, device, "nvmlDeviceRegisterEvents", kBlockingDeadlineNs)) continue;
        unsigned long long types = 0;  // NOLINT(google-runtime-int): the ABI says so
        NvmlReturn registered = kNvmlSuccess;
        if (table_.nvmlDeviceGetSupportedEventTypes == nullptr ||
            table_.nvmlDeviceGetSupportedEventTypes(handle, &types) != kNvmlSuccess) {
          types = kNvmlEventXid;
        }
        if (types != 0) registered = table_.nvmlDeviceRegisterEvents(handle, types, set);
        if (!End(worker, lock, &duration_ns)) return;
        if (registered != kNvmlSuccess) {
          ReportUnavailable(*device->whole, GpuTable::kEvent, registered);
        }
        lock.unlock();
      }
    }
    if (!Begin(worker, nullptr, "nvmlEventSetWait_v2", kEventWaitMs * kMs + kBlockingDeadlineNs)) {
      continue;
    }
    NvmlEventData data = {};
    const NvmlReturn code = table_.nvmlEventSetWait_v2(set, &data, kEventWaitMs);
    if (!End(worker, lock, &duration_ns)) return;
    if (code == kNvmlSuccess) WriteEvent(data, MonotonicNs());
    lock.unlock();
    if (code == kNvmlSuccess || code == kNvmlTimeout) continue;
    // A lost GPU is told by every wait at once: the other GPUs' events come all the same.
    FutexWait(wake_, seen, MonotonicNs() + 500 * kMs);
  }
}

}  // namespace warpgauge
