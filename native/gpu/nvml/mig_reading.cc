#include "gpu/nvml/mig_reading.h"

#include <algorithm>
#include <cstring>

#include "gpu/nvml/device.h"
#include "gpu/nvml/scheme.h"

namespace warpgauge {
namespace {

int64_t Known(unsigned value) { return value == kNvmlNotAvailable32 ? -1 : value; }

std::string UuidOf(const NvmlTable& table, NvmlDevice device) {
  char text[kNvmlUuidBytes] = {};
  if (table.nvmlDeviceGetUUID == nullptr || device == nullptr ||
      table.nvmlDeviceGetUUID(device, text, sizeof(text)) != kNvmlSuccess) {
    return {};
  }
  return text;
}

template <typename P>
void Fill(const P& profile, MigProfileReading* out) {
  out->id = profile.id;
  out->slices = profile.slices;
  out->count = profile.count;
  out->memory_mib = static_cast<int64_t>(profile.memory_mib);
  out->multiprocessors = Known(profile.multiprocessors);
  out->copy_engines = Known(profile.copy_engines);
  out->decoders = Known(profile.decoders);
  out->encoders = Known(profile.encoders);
  out->jpegs = Known(profile.jpegs);
  out->ofas = Known(profile.ofas);
}

NvmlReturn ReadProfile(const MigTable& mig,
                       NvmlDevice device,
                       unsigned number,
                       MigProfileReading* out) {
  NvmlReturn code = kNvmlFunctionNotFound;
  if (mig.nvmlDeviceGetGpuInstanceProfileInfoV != nullptr) {
    NvmlMigProfile profile = {};
    profile.version = kNvmlMigProfileVersion2;
    code = mig.nvmlDeviceGetGpuInstanceProfileInfoV(device, number, &profile);
    if (code == kNvmlSuccess) {
      profile.name[sizeof(profile.name) - 1] = '\0';
      // nvidia-smi says "MIG 1g.10gb"; the library may say so too.
      const char* name = profile.name;
      out->name = strncmp(name, "MIG ", 4) == 0 ? name + 4 : name;
      Fill(profile, out);
      return code;
    }
  }
  if (code != kNvmlFunctionNotFound && code != kNvmlArgumentVersionMismatch) return code;
  if (mig.nvmlDeviceGetGpuInstanceProfileInfo == nullptr) return code;
  NvmlMigProfileV1 profile = {};
  code = mig.nvmlDeviceGetGpuInstanceProfileInfo(device, number, &profile);
  if (code == kNvmlSuccess) Fill(profile, out);
  return code;
}

// Reads one GPU through one driver.
class Reading {
 public:
  Reading(const MigDriver& driver, NvmlDevice device, MigGpuReading* gpu)
      : nvml_(driver.nvml()), mig_(driver.mig()), scheme_(nvml_), device_(device), gpu_(gpu) {}

  void All() {
    gpu_->uuid = UuidOf(nvml_, device_);
    char name[kNvmlNameBytes] = {};
    if (nvml_.nvmlDeviceGetName != nullptr &&
        nvml_.nvmlDeviceGetName(device_, name, sizeof(name)) == kNvmlSuccess) {
      gpu_->name = name;
    }
    Mode();
    gpu_->pids = Pids(device_);
    if (!gpu_->mode_known) {
      gpu_->profiles_code = gpu_->instances_code = gpu_->mode_code;
      return;
    }
    Profiles();
    if (gpu_->mode) Instances();
  }

 private:
  void Mode() {
    unsigned current = 0;
    unsigned pending = 0;
    gpu_->mode_code = nvml_.nvmlDeviceGetMigMode == nullptr
                          ? kNvmlFunctionNotFound
                          : nvml_.nvmlDeviceGetMigMode(device_, &current, &pending);
    gpu_->mode_known = gpu_->mode_code == kNvmlSuccess;
    gpu_->mode = current == 1;
    gpu_->pending = pending == 1;
    NvmlFieldValue value = {};
    value.field = kFieldMigWithoutReset;
    if (gpu_->mode_known && nvml_.nvmlDeviceGetFieldValues != nullptr &&
        nvml_.nvmlDeviceGetFieldValues(device_, 1, &value) == kNvmlSuccess &&
        value.code == kNvmlSuccess) {
      const NvmlNumber number = DecodeNvmlValue(value.type, value.value);
      if (number.type == NvmlNumber::Type::kUnsigned) {
        gpu_->without_reset = number.u64 == 0 ? 0 : 1;
      }
    }
  }

  void Profiles() {
    gpu_->profiles_code = ReadMigProfiles(mig_, device_, &gpu_->profiles);
    if (gpu_->profiles_code != kNvmlSuccess) return;
    for (MigProfileReading& profile : gpu_->profiles) {
      NvmlMigPlacement placements[kNvmlMigRoom] = {};
      unsigned count = 0;
      const NvmlReturn placed = mig_.nvmlDeviceGetGpuInstancePossiblePlacements_v2 == nullptr
                                    ? kNvmlFunctionNotFound
                                    : mig_.nvmlDeviceGetGpuInstancePossiblePlacements_v2(
                                          device_, profile.id, nullptr, &count);
      if (placed == kNvmlSuccess && count > 0 && count <= kNvmlMigRoom &&
          mig_.nvmlDeviceGetGpuInstancePossiblePlacements_v2(
              device_, profile.id, placements, &count) == kNvmlSuccess) {
        for (unsigned i = 0; i < std::min(count, kNvmlMigRoom); i++) {
          profile.starts.push_back(placements[i].start);
          profile.memory_slices = placements[i].size;
        }
        std::sort(profile.starts.begin(), profile.starts.end());
      } else {
        // Placements need a right that the rest does not.
        gpu_->profiles_code = placed == kNvmlSuccess ? kNvmlUnknown : placed;
      }
    }
    if (gpu_->profiles.empty()) gpu_->profiles_code = kNvmlNotSupported;
  }

  void Instances() {
    if (mig_.nvmlDeviceGetGpuInstances == nullptr || mig_.nvmlGpuInstanceGetInfo == nullptr) {
      gpu_->instances_code = kNvmlFunctionNotFound;
      return;
    }
    const std::vector<NvmlInstance> devices = ReadInstances(nvml_, device_);
    for (const MigProfileReading& profile : gpu_->profiles) {
      // Output only: the library writes as many as there are, which a board bounds by `count`.
      NvmlGpuInstance handles[kNvmlMigRoom] = {};
      unsigned count = 0;
      const NvmlReturn code = mig_.nvmlDeviceGetGpuInstances(device_, profile.id, handles, &count);
      if (code != kNvmlSuccess) {
        gpu_->instances_code = code;
        return;
      }
      for (unsigned i = 0; i < std::min(count, kNvmlMigRoom); i++) Instance(handles[i], devices);
    }
    std::sort(gpu_->instances.begin(), gpu_->instances.end(), [](const auto& a, const auto& b) {
      return a.start < b.start;
    });
  }

  void Instance(NvmlGpuInstance handle, const std::vector<NvmlInstance>& devices) {
    NvmlGpuInstanceInfo info = {};
    if (const NvmlReturn code = mig_.nvmlGpuInstanceGetInfo(handle, &info); code != kNvmlSuccess) {
      gpu_->instances_code = code;
      return;
    }
    MigInstanceReading instance;
    instance.id = info.id;
    instance.profile = info.profile;
    instance.start = info.placement.start;
    instance.size = info.placement.size;
    ComputeProfiles(handle, &instance);
    for (const MigComputeProfileReading& profile : instance.compute_profiles) {
      NvmlComputeInstance handles[kNvmlMigRoom] = {};
      unsigned count = 0;
      const NvmlReturn code =
          mig_.nvmlGpuInstanceGetComputeInstances == nullptr
              ? kNvmlFunctionNotFound
              : mig_.nvmlGpuInstanceGetComputeInstances(handle, profile.id, handles, &count);
      if (code != kNvmlSuccess) {
        gpu_->instances_code = code;
        break;
      }
      for (unsigned i = 0; i < std::min(count, kNvmlMigRoom); i++) {
        Compute(handles[i], profile, devices, &instance);
      }
    }
    std::sort(instance.compute.begin(), instance.compute.end(), [](const auto& a, const auto& b) {
      return a.start != b.start ? a.start < b.start : a.id < b.id;
    });
    gpu_->instances.push_back(std::move(instance));
  }

  void ComputeProfiles(NvmlGpuInstance handle, MigInstanceReading* instance) {
    if (mig_.nvmlGpuInstanceGetComputeInstanceProfileInfo == nullptr) {
      gpu_->instances_code = kNvmlFunctionNotFound;
      return;
    }
    for (unsigned number = 0; number < kNvmlMigComputeNumbers; number++) {
      NvmlMigComputeProfile profile = {};
      const NvmlReturn code = mig_.nvmlGpuInstanceGetComputeInstanceProfileInfo(
          handle, number, kNvmlMigEngineShared, &profile);
      if (code == kNvmlInvalidArgument) break;
      if (code == kNvmlNotSupported) continue;
      if (code != kNvmlSuccess) {
        gpu_->instances_code = code;
        return;
      }
      MigComputeProfileReading reading;
      reading.number = number;
      reading.id = profile.id;
      reading.slices = profile.slices;
      reading.count = profile.count;
      NvmlMigPlacement placements[kNvmlMigRoom] = {};
      unsigned count = 0;
      if (mig_.nvmlGpuInstanceGetComputeInstancePossiblePlacements != nullptr &&
          mig_.nvmlGpuInstanceGetComputeInstancePossiblePlacements(
              handle, profile.id, nullptr, &count) == kNvmlSuccess &&
          count <= kNvmlMigRoom &&
          mig_.nvmlGpuInstanceGetComputeInstancePossiblePlacements(
              handle, profile.id, placements, &count) == kNvmlSuccess) {
        for (unsigned i = 0; i < std::min(count, kNvmlMigRoom); i++) {
          reading.starts.push_back(placements[i].start);
        }
        std::sort(reading.starts.begin(), reading.starts.end());
      }
      instance->compute_profiles.push_back(std::move(reading));
    }
  }

  void Compute(NvmlComputeInstance handle,
               const MigComputeProfileReading& profile,
               const std::vector<NvmlInstance>& devices,
               MigInstanceReading* instance) {
    NvmlComputeInstanceInfo info = {};
    const NvmlReturn code = mig_.nvmlComputeInstanceGetInfo_v2 == nullptr
                                ? kNvmlFunctionNotFound
                                : mig_.nvmlComputeInstanceGetInfo_v2(handle, &info);
    if (code != kNvmlSuccess) {
      gpu_->instances_code = code;
      return;
    }
    MigComputeReading compute;
    compute.id = info.id;
    compute.profile = info.profile;
    compute.slices = profile.slices;
    compute.start = info.placement.start;
    NvmlDevice device = info.device;
    compute.uuid = UuidOf(nvml_, device);
    if (compute.uuid.compare(0, 4, "MIG-") != 0) {
      // The header calls it the parent; then the MIG device is found by its ids.
      compute.uuid.clear();
      device = nullptr;
      for (const NvmlInstance& one : devices) {
        if (one.gpu_instance != instance->id || one.compute_instance != info.id) continue;
        compute.uuid = one.uuid;
        device = one.handle;
      }
    }
    if (device != nullptr) compute.pids = Pids(device);
    instance->compute.push_back(std::move(compute));
  }

  std::vector<unsigned> Pids(NvmlDevice device) {
    std::vector<unsigned> pids;
    std::vector<NvmlProcessEntry> entries;
    for (const NvmlProcessKind kind :
         {NvmlProcessKind::kCompute, NvmlProcessKind::kGraphics, NvmlProcessKind::kMps}) {
      if (scheme_.ReadProcesses(device, kind, &entries) != kNvmlSuccess) continue;
      for (const NvmlProcessEntry& entry : entries) pids.push_back(entry.pid);
    }
    std::sort(pids.begin(), pids.end());
    pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
    return pids;
  }

  const NvmlTable& nvml_;
  const MigTable& mig_;
  NvmlScheme scheme_;
  NvmlDevice device_;
  MigGpuReading* gpu_;
};

}  // namespace

NvmlReturn ReadMigProfiles(const MigTable& mig,
                           NvmlDevice device,
                           std::vector<MigProfileReading>* profiles) {
  profiles->clear();
  for (unsigned number = 0; number < kNvmlMigProfileNumbers; number++) {
    MigProfileReading profile;
    profile.number = number;
    const NvmlReturn code = ReadProfile(mig, device, number, &profile);
    if (code == kNvmlInvalidArgument) break;  // the library knows no more numbers
    if (code == kNvmlNotSupported) continue;  // not of this board
    if (code != kNvmlSuccess) return code;
    profiles->push_back(std::move(profile));
  }
  return kNvmlSuccess;
}

Result<MigSystemReading> ReadMig(const std::string& override_path,
                                 const std::string& root,
                                 const std::string& uuid) {
  Result<MigDriver> opened = MigDriver::Open(override_path);
  if (!opened.ok()) return opened.status;
  const MigDriver& driver = opened.value;
  MigSystemReading system;
  system.library = driver.nvml().path;
  char text[kNvmlVersionBytes] = {};
  if (driver.nvml().nvmlSystemGetDriverVersion != nullptr &&
      driver.nvml().nvmlSystemGetDriverVersion(text, sizeof(text)) == kNvmlSuccess) {
    system.driver = text;
  }
  system.simulated = SaysSimulated(system.driver);
  for (const NvmlFoundDevice& found : FindDevices(driver.nvml(), root, false)) {
    if (found.handle == nullptr) continue;
    if (!uuid.empty() && UuidOf(driver.nvml(), found.handle) != uuid) continue;
    MigGpuReading gpu;
    gpu.pci_address = found.pci_address;
    Reading(driver, found.handle, &gpu).All();
    system.simulated |= SaysSimulated(gpu.name);
    system.gpus.push_back(std::move(gpu));
  }
  if (!uuid.empty() && system.gpus.empty()) {
    return Status("ERR_NO_DEVICE", "There is no GPU " + uuid)
        .WithFix("nvidia-smi -L lists them")
        .WithSource("nvmlDeviceGetUUID", kNvmlNotFound);
  }
  return system;
}

}  // namespace warpgauge
