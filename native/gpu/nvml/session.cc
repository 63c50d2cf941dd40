#include "gpu/nvml/session.h"

#include <sys/prctl.h>

#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "core/patience.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/mig_intent.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSupervisePeriodNs = 50 * kMs;
constexpr int64_t kIdlePeriodNs = 500 * kMs;
constexpr int64_t kShortestDeadlineNs = 1000 * kMs;
constexpr int64_t kFirstCallDeadlineNs = 10'000 * kMs;  // the first touch of a GPU initializes it
constexpr int64_t kLongestBackoffNs = 30'000 * kMs;
constexpr size_t kMostAbandoned = 32;

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

const char* ThreadName(WorkerRole role) {
  static constexpr const char* kNames[] = {
      "nvml-fast", "nvml-pcie", "nvml-slow", "nvml-event", "nvml-rate"};
  return kNames[static_cast<size_t>(role)];
}

int64_t Passed(const GpuSubscription& subscription, size_t table, int64_t now_ns) {
  const int64_t interval = subscription.request.interval_ns[table];
  if (interval <= 0 || now_ns < subscription.start_ns) return 0;
  return std::min((now_ns - subscription.start_ns) / interval + 1,
                  subscription.cadence[table].last);
}

}  // namespace

// ---- life ----

Status NvmlSession::Open(const GpuRequest& request, int64_t wait_ns) {
  override_ = request.library;
  root_ = request.root;
  wake_devices_ = request.wake;
  lock_folders_ = LockFolders(root_);
  if (Status gate = PassDriverGate(root_, override_); !gate.ok()) return gate;
  Result<NvmlTable> table = OpenNvml(override_);
  if (!table.ok()) return table.status;
  table_ = std::move(table.value);
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

// ---- the supervisor ----

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

// ---- calls ----

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
  const std::unique_lock<std::mutex> lock(mutex_);
  if (worker.abandoned || stop_ || quiet_ || target.gone) return false;
  if (target.device->state != GpuState::kOk) return false;
  MetricState& state = target.metrics[metric];
  if (state.given_up != kNvmlSuccess) return false;
  int64_t deadline_ns = kFirstCallDeadlineNs;
  if (tick_ns >= 0) {
    // Ticks are as late as the thread was woken: one that comes a little earlier than the last did
    // is due.
    if (state.interval_ns <= 0 || tick_ns + state.interval_ns / 8 < state.next_due_ns) return false;
    if (state.by_slow_thread && worker.role == WorkerRole::kFast) return false;
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

// ---- samplers ----

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

// ---- ticks ----

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

// ---- the service ----

NvmlService& NvmlService::Get() {
  static auto& service = *new NvmlService;
  return service;
}

Result<NvmlSession*> NvmlService::Acquire(const GpuRequest& request) {
  const std::string key = request.library + "\n" + request.root;
  // One opens at a time; releasing is possible meanwhile.
  const std::unique_lock<std::mutex> opening(opening_);
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.key != key) continue;
      entry.users++;
      return entry.session;
    }
  }
  auto* session = new NvmlSession;
  Status status = session->Open(request, 15'000 * kMs);
  if (!status.ok()) {
    End(session);
    return status;
  }
  const std::unique_lock<std::mutex> lock(mutex_);
  entries_.push_back({key, session, 1});
  return session;
}

void NvmlService::Release(NvmlSession* session) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.session == session;
    });
    if (at == entries_.end() || --at->users > 0) return;
    entries_.erase(at);
  }
  End(session);
}

void NvmlService::End(NvmlSession* session) {
  session->RequestStop();
  const int64_t now_ns = MonotonicNs();
  if (!session->WaitStopped(StopDeadlineNs(now_ns, session->CallSinceNs()))) {
    NoteLeftBehind(MonotonicNs());
  }
  session->Unref();
}

}  // namespace warpgauge
