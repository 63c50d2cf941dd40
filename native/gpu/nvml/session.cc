// The life of a session: its threads, the supervisor that looks after them, and what surrounds a
// call.
#include <sys/prctl.h>
#include <algorithm>

#include "core/clock.h"
#include "core/dynamic_library.h"
#include "core/futex.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/mig_intent.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

constexpr int64_t kSupervisePeriodNs = 50 * kMs;
constexpr int64_t kIdlePeriodNs = 500 * kMs;
constexpr int64_t kShortestDeadlineNs = 1000 * kMs;
constexpr int64_t kFirstCallDeadlineNs = 10'000 * kMs;  // the first touch of a GPU initializes it
constexpr int64_t kLeastWaitNs = 5 * kMs;
// A call that the budget put off is made with the next tick, unless that is further away.
constexpr int64_t kNextTickIsFarNs = 2000 * kMs;
// What a tick of the fast table would notice, how often its end is looked for, and how long a dear
// call waits for one at most.
constexpr int64_t kGapCostNs = 200'000;
constexpr int64_t kGapStepNs = 200'000;
constexpr int64_t kLongestGapWaitNs = 50 * kMs;
constexpr size_t kMostAbandoned = 32;

const char* ThreadName(WorkerRole role) {
  static constexpr const char* kNames[] = {
      "nvml-fast", "nvml-pcie", "nvml-slow", "nvml-event", "nvml-rate"};
  return kNames[static_cast<size_t>(role)];
}

}  // namespace

Status NvmlSession::Open(const GpuRequest& request, int64_t wait_ns) {
  override_ = request.library;
  root_ = request.root;
  wake_devices_ = request.wake;
  lock_folders_ = LockFolders(root_);
  if (Status gate = PassDriverGate(root_, override_); !gate.ok()) return gate;
  Result<NvmlTable> table = OpenNvml(override_);
  if (!table.ok()) return table.status;
  table_ = std::move(table.value);
  const Result<DynamicLibrary> library = DynamicLibrary::Open({table_.path});
  if (library.ok()) mig_ = ResolveMig([&](const char* name) { return library.value.Find(name); });
  if (table_.nvmlInit_v2 == nullptr || table_.nvmlShutdown == nullptr) {
    return {"ERR_SYMBOL_MISSING", table_.path + " lacks nvmlInit_v2 or nvmlShutdown"};
  }
  processes_ = std::make_unique<ProcessLookup>(root_);
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    Status status = supervisor_.Start(this, "nvml-watch", RunSupervisor, this);
    if (status.ok()) status = StartWorker(WorkerRole::kSlow, nullptr);
    if (!status.ok()) return status;
  }
  const int64_t deadline_ns = MonotonicNs() + wait_ns;
  while (ready_word_.load(std::memory_order_acquire) == 0) {
    if (MonotonicNs() >= deadline_ns) {
      return Status("ERR_NVML",
                    "NVML did not start within " + std::to_string(wait_ns / 1'000'000'000) +
                        " s: the driver hangs")
          .WithFix("see dmesg for NVRM and Xid lines; a reboot may be needed")
          .WithSource("nvmlInit_v2", kNvmlTimeout);
    }
    FutexWait(ready_word_, 0, deadline_ns);
  }
  const std::unique_lock<std::mutex> lock(mutex_);
  return failure_;
}

void NvmlSession::RequestStop() {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    stop_ = true;
  }
  Wake();
}

int64_t NvmlSession::CallSinceNs() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  int64_t since_ns = 0;
  for (const auto& worker : workers_) {
    if (!worker->in_call || (since_ns != 0 && since_ns < worker->call_start_ns)) continue;
    since_ns = worker->call_start_ns;
  }
  return since_ns;
}

void NvmlSession::Wake() {
  wake_.fetch_add(1, std::memory_order_acq_rel);
  FutexWakeAll(wake_);
}

Status NvmlSession::StartWorker(WorkerRole role, GpuDevice* only) {
  auto worker = std::make_unique<NvmlWorker>();
  worker->session = this;
  worker->role = role;
  worker->only = only;
  worker->scheme = std::make_unique<NvmlScheme>(table_);
  worker->gpm = std::make_unique<NvmlGpmMetrics>();
  worker->targets.reserve(64);
  workers_.push_back(std::move(worker));
  Status status =
      workers_.back()->thread.Start(this, ThreadName(role), RunWorker, workers_.back().get());
  if (!status.ok()) workers_.pop_back();
  return status;
}

void NvmlSession::RunWorker(void* argument) {
  auto* worker = static_cast<NvmlWorker*>(argument);
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  NvmlSession* session = worker->session;
  switch (worker->role) {
    case WorkerRole::kEvent:
      session->LoopEvents(*worker);
      break;
    case WorkerRole::kThroughput:
      session->LoopThroughput(*worker);
      break;
    default:
      session->WorkerLoop(*worker);
      break;
  }
  const std::unique_lock<std::mutex> lock(session->mutex_);
  worker->ended = true;
}

void NvmlSession::RunSupervisor(void* argument) {
  static_cast<NvmlSession*>(argument)->Supervise();
}

void NvmlSession::Supervise() {
  int64_t next_look_ns = 0;
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    const int64_t now_ns = MonotonicNs();
    bool busy = false;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (stop_) break;
      AbandonHung(now_ns);
      StartMissing(now_ns);
      busy = !ready_ || std::any_of(subscriptions_.begin(), subscriptions_.end(), [](auto* one) {
        return one->active;
      });
    }
    if (now_ns >= next_look_ns) {
      LookAtSleep();
      LookAtIntents();
      next_look_ns = now_ns + 2 * kSupervisePeriodNs;
    }
    FutexWait(wake_, seen, now_ns + (busy ? kSupervisePeriodNs : kIdlePeriodNs));
  }
  // Whoever waits for the stop does not wait longer than he wants; here the threads have time.
  const int64_t deadline_ns = MonotonicNs() + 2000 * kMs;
  bool all_ended = true;
  for (const auto& worker : workers_) all_ended &= worker->thread.WaitEnded(deadline_ns);
  // A thread that is still inside the driver would crash in a driver that is shut down.
  if (!all_ended || !initialized_) return;
  for (const auto& target : targets_) {
    target->gpm_pair.Free(table_);
    target->pcie_pair.Free(table_);
  }
  table_.nvmlShutdown();
}

void NvmlSession::AbandonHung(int64_t now_ns) {
  for (const auto& worker : workers_) {
    if (worker->abandoned || !worker->in_call || now_ns < worker->call_deadline_ns) continue;
    worker->abandoned = true;
    const auto role = static_cast<size_t>(worker->role);
    restart_ns_[role] = now_ns + restart_backoff_ns_[role];
    restart_backoff_ns_[role] =
        std::clamp(restart_backoff_ns_[role] * 2, 1000 * kMs, kLongestBackoffNs);
    if (worker->call_device != nullptr) {
      SetState(*worker->call_device, GpuState::kHung, kNvmlTimeout);
    } else if (!ready_) {
      failure_ =
          Status("ERR_NVML", std::string(worker->call_name) + " did not return: the driver hangs")
              .WithFix("see dmesg for NVRM and Xid lines; a reboot may be needed")
              .WithSource(worker->call_name, kNvmlTimeout);
      ready_ = true;
      ready_word_.store(1, std::memory_order_release);
      FutexWakeAll(ready_word_);
    } else {
      for (GpuSubscription* subscription : subscriptions_) {
        subscription->states->Report({.table = subscription->request.table_prefix,
                                      .key = "",
                                      .field = worker->call_name,
                                      .state = "hung",
                                      .reason = "hung",
                                      .code = kNvmlTimeout});
      }
    }
  }
}

// Threads come and go as often as a GPU is lost or hangs: what they left is not kept for hours.
void NvmlSession::ForgetEnded() {
  std::erase_if(workers_, [&](const auto& worker) {
    if (!worker->ended || !worker->thread.WaitEnded(0)) return false;
    ended_cpu_ns_ += worker->thread.CpuNs();
    return true;
  });
}

void NvmlSession::StartMissing(int64_t now_ns) {
  ForgetEnded();
  size_t left_behind = 0;
  bool live[5] = {};
  for (const auto& worker : workers_) {
    left_behind += worker->abandoned && !worker->ended ? 1 : 0;
    if (!worker->abandoned && !worker->ended) live[static_cast<size_t>(worker->role)] = true;
  }
  if (left_behind >= kMostAbandoned || !failure_.ok()) return;
  const auto start = [&](WorkerRole role, bool wanted) {
    const auto i = static_cast<size_t>(role);
    if (!wanted || live[i] || now_ns < restart_ns_[i]) return;
    // A failure shows as missed ticks; the next round tries again.
    static_cast<void>(StartWorker(role, nullptr).ok());
  };
  start(WorkerRole::kSlow, true);
  if (!ready_) return;
  start(WorkerRole::kFast, IsWanted(GpuTable::kMain));
  start(WorkerRole::kPcie, IsWanted(GpuTable::kPcie));
  start(WorkerRole::kEvent, IsWanted(GpuTable::kEvent));
  if (!IsWanted(GpuTable::kPcie)) return;
  for (const auto& device : devices_) {
    if (device->whole == nullptr || device->whole->pcie_source != PcieSource::kThroughput ||
        device->state != GpuState::kOk) {
      continue;
    }
    const bool has = std::any_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
      return worker->only == device.get() && !worker->abandoned && !worker->ended;
    });
    if (!has) static_cast<void>(StartWorker(WorkerRole::kThroughput, device.get()).ok());
  }
}

void NvmlSession::LookAtSleep() {
  std::vector<std::pair<GpuDevice*, std::string>> looked;
  bool wake = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    wake = wake_devices_;
    for (const auto& device : devices_) looked.emplace_back(device.get(), device->pci_address);
  }
  for (const auto& [device, address] : looked) {
    const bool asleep = !wake && IsAsleep(root_, address);
    const std::unique_lock<std::mutex> lock(mutex_);
    if (asleep && device->state == GpuState::kOk) {
      SetState(*device, GpuState::kAsleep, kNvmlSuccess);
    } else if (!asleep && device->state == GpuState::kAsleep) {
      if (device->found) {
        SetState(*device, GpuState::kOk, kNvmlSuccess);
      } else {
        // Never met: the slow thread gets a handle and asks it everything once.
        device->state = GpuState::kLost;
        device->retry_ns = 0;
        next_maintenance_ns_ = 0;
        Wake();
      }
    }
  }
}

bool NvmlSession::Begin(NvmlWorker& worker,
                        GpuDevice* device,
                        const char* name,
                        int64_t deadline_ns) {
  const std::unique_lock<std::mutex> lock(mutex_);
  if (worker.abandoned || stop_ || (quiet_ && worker.role != WorkerRole::kSlow)) return false;
  if (device != nullptr && device->state != GpuState::kOk && worker.role != WorkerRole::kSlow) {
    return false;
  }
  worker.in_call = true;
  worker.call_device = device;
  worker.call_name = name;
  worker.call_start_ns = MonotonicNs();
  worker.call_deadline_ns = worker.call_start_ns + deadline_ns;
  return true;
}

bool NvmlSession::BeginMetric(NvmlWorker& worker,
                              GpuTarget& target,
                              size_t metric,
                              int64_t tick_ns) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto may_call = [&] {
    const bool is_on = !worker.abandoned && !stop_ && !quiet_ && !target.gone;
    return is_on && target.device->state == GpuState::kOk;
  };
  if (!may_call()) return false;
  MetricState& state = target.metrics[metric];
  if (state.given_up != kNvmlSuccess) return false;
  int64_t deadline_ns = kFirstCallDeadlineNs;
  if (tick_ns >= 0) {
    // Ticks are as late as the thread was woken: one that comes a little earlier than the last did
    // is due. By the interval of ticks: an eighth of 10 s would make it 9 s, and 11 % dearer.
    if (state.interval_ns <= 0 || tick_ns + state.wanted_ns / 8 < state.next_due_ns) return false;
    if (state.by_slow_thread && worker.role == WorkerRole::kFast) return false;
    if (state.can_wait) {
      const int64_t now_ns = MonotonicNs();
      if (state.waiting_since_ns == 0) state.waiting_since_ns = now_ns;
      const int64_t wait_ns = target.device->budget.WaitNs(now_ns, state.waiting_since_ns);
      // The thread of dear calls wakes when one is due: not at once again.
      if (wait_ns > 0) {
        state.next_due_ns = now_ns + std::max(wait_ns, kLeastWaitNs);
        const GpuTable table = GpuMetrics()[metric].table;
        if (table != GpuTable::kMain && state.wanted_ns > kNextTickIsFarNs) {
          NvmlWorker::Late& late = worker.late[static_cast<size_t>(table)];
          if (late.retry_ns == 0 || state.next_due_ns < late.retry_ns) {
            late.retry_ns = state.next_due_ns;
          }
          late.tick_ns = tick_ns;
        }
        return false;
      }
      state.waiting_since_ns = 0;
    }
    if (worker.role == WorkerRole::kSlow) {
      const auto usual_ns = static_cast<int64_t>(state.cost.QuantileNs(0.9));
      WaitForGap(lock, state.cost.calls() == 0 ? state.probed_ns : usual_ns);
      if (!may_call()) return false;
    }
    state.next_due_ns = tick_ns + state.interval_ns;
    deadline_ns =
        std::max(kShortestDeadlineNs, static_cast<int64_t>(20 * state.cost.QuantileNs(0.99)));
  }
  worker.handle = target.handle;
  worker.in_call = true;
  worker.call_device = target.device;
  worker.call_name = GpuMetrics()[metric].call;
  worker.call_start_ns = MonotonicNs();
  worker.call_deadline_ns = worker.call_start_ns + deadline_ns;
  return true;
}

void NvmlSession::WaitForGap(std::unique_lock<std::mutex>& lock, int64_t cost_ns) {
  if (cost_ns < kGapCostNs) return;
  const int64_t begin_ns = MonotonicNs();
  for (;;) {
    int64_t next_ns = INT64_MAX;
    int64_t interval_ns = INT64_MAX;
    constexpr auto kMain = static_cast<size_t>(GpuTable::kMain);
    for (const GpuSubscription* subscription : subscriptions_) {
      const int64_t interval = subscription->request.interval_ns[kMain];
      const GpuSubscription::Cadence& cadence = subscription->cadence[kMain];
      if (!subscription->active || subscription->paused || interval <= 0) continue;
      if (cadence.next >= cadence.last) continue;
      next_ns = std::min(next_ns, subscription->start_ns + cadence.next * interval);
      interval_ns = std::min(interval_ns, interval);
    }
    const int64_t now_ns = MonotonicNs();
    // No gap is wide enough, or there was none for a whole round: the call comes first.
    if (next_ns == INT64_MAX || cost_ns >= interval_ns * 3 / 4) return;
    if (now_ns - begin_ns >= std::min(2 * interval_ns, kLongestGapWaitNs)) return;
    if (!fast_reading_ && now_ns + cost_ns <= next_ns) return;
    const int64_t step_ns = fast_reading_ ? kGapStepNs : std::max(next_ns - now_ns, kGapStepNs);
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    lock.unlock();
    FutexWait(wake_, seen, now_ns + step_ns);
    lock.lock();
    if (stop_) return;
  }
}

bool NvmlSession::End(NvmlWorker& worker,
                      std::unique_lock<std::mutex>& lock,
                      int64_t* duration_ns) {
  const int64_t now_ns = MonotonicNs();
  lock = std::unique_lock<std::mutex>(mutex_);
  worker.in_call = false;
  *duration_ns = now_ns - worker.call_start_ns;
  if (!worker.abandoned) return true;
  // It came back after all: the device may be asked again, carefully.
  if (worker.call_device != nullptr && worker.call_device->state == GpuState::kHung) {
    worker.call_device->state = GpuState::kLost;
    worker.call_device->retry_ns = now_ns;
    next_maintenance_ns_ = 0;
    Wake();
  }
  lock.unlock();
  return false;
}

}  // namespace warpgauge
