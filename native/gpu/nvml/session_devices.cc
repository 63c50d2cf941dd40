// Devices of a session: finding them, asking each for everything once, the schedule, and what is
// done when one sleeps, hangs, is lost, or changes its MIG instances. Runs on the slow thread.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/schedule.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kMaintenanceNs = 1000 * kMs;
constexpr int64_t kPlanNs = 5000 * kMs;
constexpr int64_t kInitDeadlineNs = 14'000 * kMs;
constexpr int64_t kDeviceDeadlineNs = 10'000 * kMs;
constexpr int64_t kLongestBackoffNs = 30'000 * kMs;
// The thread of the fast table makes calls up to this cost; dearer ones would delay its ticks.
constexpr int64_t kDearNs = 100'000;
constexpr int64_t kUtilizationSamplesNs = 5'000'000'000;  // the buffers are 14 s deep
constexpr int64_t kFreshNs = 500 * kMs;
constexpr int kProbes = 3;
constexpr uint64_t kCallsToTrust = 20;

std::string Fingerprint(const std::vector<NvmlInstance>& instances) {
  std::string text;
  for (const NvmlInstance& instance : instances) {
    text += instance.uuid + "/" + std::to_string(instance.gpu_instance) + "/" +
            std::to_string(instance.compute_instance) + " ";
  }
  return text;
}

std::string Text(NvmlReturn (*function)(NvmlDevice, char*, unsigned),
                 NvmlDevice device,
                 unsigned size) {
  char text[96] = {};
  return function != nullptr && function(device, text, size) == kNvmlSuccess ? text : "";
}

// ns that a call costs as far as is known: what it really took, once there are enough of them.
int64_t CostOf(const MetricState& state) {
  if (state.cost.calls() < kCallsToTrust) return state.probed_ns;
  const Source::Cost cost = state.cost.Summary("");
  return static_cast<int64_t>(cost.total_ns / cost.calls);
}

}  // namespace

// ---- start ----

bool NvmlSession::BringUp(NvmlWorker& worker) {
  bool initialized = false;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (ready_ && !failure_.ok()) return false;
    initialized = initialized_;
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!initialized) {
    if (!Begin(worker, nullptr, "nvmlInit_v2", kInitDeadlineNs)) return false;
    const NvmlReturn code = table_.nvmlInit_v2();
    std::vector<NvmlFoundDevice> found;
    std::string driver;
    if (code == kNvmlSuccess) {
      char text[kNvmlVersionBytes] = {};
      if (table_.nvmlSystemGetDriverVersion != nullptr &&
          table_.nvmlSystemGetDriverVersion(text, sizeof(text)) == kNvmlSuccess) {
        driver = text;
      }
      found = FindDevices(table_, root_, wake_devices_);
    }
    if (!End(worker, lock, &duration_ns)) return false;
    if (code != kNvmlSuccess) {
      failure_ = NvmlStatus(code, "nvmlInit_v2", "Initializing NVML");
    } else if (found.empty()) {
      failure_ = Status("ERR_NO_DEVICE", "NVML is there and knows of no GPU")
                     .WithFix("nvidia-smi -L lists the GPUs; in a container pass them in")
                     .WithSource("nvmlDeviceGetCount_v2", 0);
    }
    initialized_ = code == kNvmlSuccess;
    driver_ = driver;
    simulated_ = SaysSimulated(driver);
    const bool good = failure_.ok();
    lock.unlock();
    if (good && !Enumerate(worker, found)) return false;
  }
  if (!ProbeAll(worker)) return false;
  lock = std::unique_lock<std::mutex>(mutex_);
  if (worker.abandoned) return false;
  if (!ready_) {
    ready_ = true;
    next_maintenance_ns_ = MonotonicNs() + kMaintenanceNs;
    ready_word_.store(1, std::memory_order_release);
    FutexWakeAll(ready_word_);
  }
  return failure_.ok();
}

GpuTarget* NvmlSession::AddTarget(GpuDevice* device, const std::string& uuid) {
  auto target = std::make_unique<GpuTarget>();
  target->index = targets_.size();
  target->device = device;
  target->uuid = uuid;
  target->metrics = std::make_unique<MetricState[]>(GpuMetrics().size());
  targets_.push_back(std::move(target));
  return targets_.back().get();
}

bool NvmlSession::Enumerate(NvmlWorker& worker, const std::vector<NvmlFoundDevice>& found) {
  for (const NvmlFoundDevice& one : found) {
    GpuDevice* device = nullptr;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      for (const auto& known : devices_) {
        if (known->pci_address == one.pci_address) device = known.get();
      }
      if (device == nullptr) {
        devices_.push_back(std::make_unique<GpuDevice>());
        device = devices_.back().get();
        device->pci_address = one.pci_address;
      }
      if (one.asleep) device->state = GpuState::kAsleep;
      if (one.handle == nullptr && !one.asleep) {
        device->state = GpuState::kLost;
        device->code = one.code;
        device->retry_ns = MonotonicNs() + kMaintenanceNs;
      }
    }
    if (one.handle == nullptr) continue;
    if (!Begin(worker, device, "nvmlDeviceGetUUID", kDeviceDeadlineNs)) return false;
    const std::string uuid = Text(table_.nvmlDeviceGetUUID, one.handle, kNvmlUuidBytes);
    const std::string name = Text(table_.nvmlDeviceGetName, one.handle, kNvmlNameBytes);
    std::unique_lock<std::mutex> lock;
    int64_t duration_ns = 0;
    if (!End(worker, lock, &duration_ns)) return false;
    // Without a UUID the PCI address is the identity.
    device->uuid = uuid.empty() ? device->pci_address : uuid;
    device->name = name;
    simulated_ |= SaysSimulated(name);
    device->found = true;
    if (device->whole == nullptr) device->whole = AddTarget(device, device->uuid);
    device->whole->handle = one.handle;
    lock.unlock();
    if (!LookAtInstances(worker, *device)) return false;
  }
  return true;
}

bool NvmlSession::ProbeAll(NvmlWorker& worker) {
  for (size_t i = 0;; i++) {
    GpuTarget* target = nullptr;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (worker.abandoned || stop_) return false;
      if (i >= targets_.size()) return true;
      target = targets_[i].get();
      if (target->probed || target->gone || target->device->state != GpuState::kOk) continue;
    }
    if (!ProbeTarget(worker, *target)) return false;
  }
}

bool NvmlSession::ProbeTarget(NvmlWorker& worker, GpuTarget& target) {
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (size_t i = 0; i < metrics.size(); i++) {
    if (target.is_instance && !metrics[i].on_instance) {
      const std::unique_lock<std::mutex> lock(mutex_);
      target.metrics[i].given_up = kNvmlNotSupported;
      continue;
    }
    for (int probe = 0; probe < kProbes; probe++) {
      bool here = true;
      switch (metrics[i].table) {
        case GpuTable::kPcie:
          here = ReadPcie(worker, target, -1);
          break;
        case GpuTable::kProcess:
          here = ReadProcesses(worker, target, -1);
          break;
        case GpuTable::kGpm:
          here = ReadGpm(worker, target, -1);
          break;
        case GpuTable::kSamples:
          here = ReadSamples(worker, target, i, -1);
          break;
        default:
          here = ReadMetric(worker, target, i, -1);
          break;
      }
      if (!here) return false;
    }
    const std::unique_lock<std::mutex> lock(mutex_);
    target.metrics[i].probed_ns = static_cast<int64_t>(target.metrics[i].cost.QuantileNs(0.5));
  }
  worker.pcie_rows.clear();
  worker.gpm_rows.clear();
  worker.process_rows.clear();
  worker.sample_rows.clear();
  const std::unique_lock<std::mutex> lock(mutex_);
  target.probed = true;
  if (!target.is_instance) {
    unsigned generation = 0;
    unsigned lanes = 0;
    const std::vector<GpuColumn>& columns = ValueColumns(GpuTable::kSlow);
    for (size_t i = 0; i < metrics.size(); i++) {
      if (metrics[i].table != GpuTable::kSlow || metrics[i].count != 1) continue;
      const GpuCell& cell = target.metrics[i].cells[0];
      const std::string name = columns[metrics[i].first].name;
      if (cell.valid && name == "pcie_generation_max") generation = static_cast<unsigned>(cell.u64);
      if (cell.valid && name == "pcie_width_max") lanes = static_cast<unsigned>(cell.u64);
    }
    target.device->link_bytes_per_second = PcieBytesPerSecond(generation, lanes);
  }
  return true;
}

// ---- the schedule ----

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
      demands.push_back(demand);
      calls.emplace_back(target.get(), i);
    }
  }
  const std::vector<int64_t> plan = PlanSchedule(demands, share);
  for (size_t i = 0; i < plan.size(); i++) {
    MetricState& state = calls[i].first->metrics[calls[i].second];
    const GpuMetric& metric = metrics[calls[i].second];
    const int64_t before_ns = state.interval_ns;
    // A cost that trembles must not make the interval tremble.
    const bool close = before_ns >= demands[i].wanted_ns && before_ns > 0 &&
                       plan[i] > before_ns * 3 / 4 && plan[i] < before_ns * 5 / 4;
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

// ---- states ----

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

// ---- upkeep ----

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
    uuid = Text(table_.nvmlDeviceGetUUID, handle, kNvmlUuidBytes);
    name = Text(table_.nvmlDeviceGetName, handle, kNvmlNameBytes);
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

bool NvmlSession::LookAtInstances(NvmlWorker& worker, GpuDevice& device) {
  if (table_.nvmlDeviceGetMigMode == nullptr) return true;
  NvmlDevice handle = nullptr;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (device.whole == nullptr) return true;
    handle = device.whole->handle;
  }
  if (!Begin(worker, &device, "nvmlDeviceGetMigDeviceHandleByIndex", kDeviceDeadlineNs))
    return true;
  unsigned current = 0;
  unsigned pending = 0;
  const bool mig =
      table_.nvmlDeviceGetMigMode(handle, &current, &pending) == kNvmlSuccess && current == 1;
  const std::vector<NvmlInstance> instances =
      mig ? ReadInstances(table_, handle) : std::vector<NvmlInstance>();
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  const std::string fingerprint = Fingerprint(instances);
  device.mig = mig;
  if (fingerprint == device.fingerprint) return true;
  device.fingerprint = fingerprint;
  std::vector<GpuTarget*> now;
  for (const NvmlInstance& instance : instances) {
    GpuTarget* target = nullptr;
    for (const auto& known : targets_) {
      if (known->device == &device && known->is_instance && known->uuid == instance.uuid) {
        target = known.get();
      }
    }
    const bool is_new = target == nullptr;
    if (is_new) {
      target = AddTarget(&device, instance.uuid);
      target->is_instance = true;
    }
    const bool was_gone = target->gone;
    target->handle = instance.handle;
    target->gpu_instance = instance.gpu_instance;
    target->compute_instance = instance.compute_instance;
    target->gone = false;
    now.push_back(target);
    if (ready_ && (is_new || was_gone)) {
      Report(*target,
             GpuTable::kMain,
             {.table = "", .key = "", .field = "", .state = "ok", .reason = ""});
    }
  }
  for (GpuTarget* before : device.instances) {
    if (std::find(now.begin(), now.end(), before) != now.end()) continue;
    before->gone = true;
    Report(*before,
           GpuTable::kMain,
           {.table = "", .key = "", .field = "", .state = "gone", .reason = "mig_reconfigured"});
  }
  device.instances = std::move(now);
  const bool started = ready_;
  lock.unlock();
  if (!started) return true;
  if (!ProbeAll(worker)) return false;
  const std::unique_lock<std::mutex> plan(mutex_);
  PlanAll();
  return true;
}

}  // namespace warpgauge
