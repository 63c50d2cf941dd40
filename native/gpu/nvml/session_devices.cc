// Devices of a session: finding them and their MIG instances, and asking each for everything once.
// Runs on the slow thread.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

constexpr int kProbes = 3;

std::string Fingerprint(const std::vector<NvmlInstance>& instances) {
  std::string text;
  for (const NvmlInstance& instance : instances) {
    text += instance.uuid + "/" + std::to_string(instance.gpu_instance) + "/" +
            std::to_string(instance.compute_instance) + " ";
  }
  return text;
}

}  // namespace

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
  for (size_t i = 0; i < found.size(); i++) {
    const NvmlFoundDevice& one = found[i];
    // Without an address (a driver that lacks the function) their order tells them apart.
    const std::string address =
        one.pci_address.empty() ? "index " + std::to_string(i) : one.pci_address;
    GpuDevice* device = nullptr;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      for (const auto& known : devices_) {
        if (known->pci_address == address) device = known.get();
      }
      if (device == nullptr) {
        devices_.push_back(std::make_unique<GpuDevice>());
        device = devices_.back().get();
        device->pci_address = address;
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
    const std::string uuid = NvmlText(table_.nvmlDeviceGetUUID, one.handle, kNvmlUuidBytes);
    const std::string name = NvmlText(table_.nvmlDeviceGetName, one.handle, kNvmlNameBytes);
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
        case GpuTable::kMig:
          here = ReadMigSlots(worker, target, -1);
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
  worker.mig_rows.clear();
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
