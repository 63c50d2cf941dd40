#include "gpu/nvml/mig_change.h"

#include "gpu/nvml/mig_driver.h"

namespace warpgauge {
namespace {

// A call of a function that may not be there.
template <typename F, typename... Args>
Status Try(const char* name, const std::string& doing, F* function, Args... args) {
  const NvmlReturn code = function == nullptr ? kNvmlFunctionNotFound : function(args...);
  return code == kNvmlSuccess ? Status::Ok() : NvmlStatus(code, name, doing);
}
#define WARPGAUGE_TRY(function, doing, ...) Try(#function, doing, mig.function, __VA_ARGS__)

std::string InstanceName(const MigChange& change) {
  return "GPU instance " + std::to_string(change.instance) + " of " + change.gpu;
}

Result<NvmlGpuInstance> FindInstance(const MigTable& mig,
                                     NvmlDevice device,
                                     const MigChange& change) {
  NvmlGpuInstance instance = nullptr;
  Status status = WARPGAUGE_TRY(nvmlDeviceGetGpuInstanceById,
                                "Finding " + InstanceName(change),
                                device,
                                change.instance,
                                &instance);
  if (!status.ok()) return status;
  return instance;
}

Result<MigChangeResult> CreateInstance(const MigTable& mig,
                                       NvmlDevice device,
                                       const MigChange& change) {
  const NvmlMigPlacement placement = {change.start, change.size};
  NvmlGpuInstance instance = nullptr;
  const std::string doing = "Creating a GPU instance of profile " + std::to_string(change.profile) +
                            " at " + std::to_string(change.start) + " of " + change.gpu;
  Status status = WARPGAUGE_TRY(nvmlDeviceCreateGpuInstanceWithPlacement,
                                doing,
                                device,
                                change.profile,
                                &placement,
                                &instance);
  if (!status.ok()) return status;
  MigChangeResult result;
  NvmlGpuInstanceInfo info = {};
  status = WARPGAUGE_TRY(nvmlGpuInstanceGetInfo, doing, instance, &info);
  if (status.ok()) result.created = info.id;
  return result;
}

Result<MigChangeResult> CreateCompute(const NvmlTable& nvml,
                                      const MigTable& mig,
                                      NvmlGpuInstance instance,
                                      const MigChange& change) {
  const NvmlMigPlacement placement = {change.start, change.size};
  NvmlComputeInstance compute = nullptr;
  const std::string doing = "Creating a compute instance in " + InstanceName(change);
  Status status;
  if (mig.nvmlGpuInstanceCreateComputeInstanceWithPlacement != nullptr) {
    status = WARPGAUGE_TRY(nvmlGpuInstanceCreateComputeInstanceWithPlacement,
                           doing,
                           instance,
                           change.profile,
                           &placement,
                           &compute);
  } else {
    // Before 525 the driver chooses the place; reading back shows which.
    status = WARPGAUGE_TRY(
        nvmlGpuInstanceCreateComputeInstance, doing, instance, change.profile, &compute);
  }
  if (!status.ok()) return status;
  MigChangeResult result;
  NvmlComputeInstanceInfo info = {};
  status = WARPGAUGE_TRY(nvmlComputeInstanceGetInfo_v2, doing, compute, &info);
  if (!status.ok()) return result;
  result.created = info.id;
  char text[kNvmlUuidBytes] = {};
  if (nvml.nvmlDeviceGetUUID != nullptr &&
      nvml.nvmlDeviceGetUUID(info.device, text, sizeof(text)) == kNvmlSuccess) {
    result.uuid = text;
    if (result.uuid.compare(0, 4, "MIG-") != 0) result.uuid.clear();
  }
  return result;
}

}  // namespace

Result<MigChangeResult> ChangeMig(const std::string& override_path, const MigChange& change) {
  Result<MigDriver> opened = MigDriver::Open(override_path);
  if (!opened.ok()) return opened.status;
  const MigDriver& driver = opened.value;
  const MigTable& mig = driver.mig();
  Result<NvmlDevice> device = driver.Device(change.gpu);
  if (!device.ok()) return device.status;
  MigChangeResult result;
  if (change.kind == MigChange::Kind::kSetMode) {
    Status status = WARPGAUGE_TRY(nvmlDeviceSetMigMode,
                                  "Switching MIG of " + change.gpu,
                                  device.value,
                                  change.enabled ? 1U : 0U,
                                  &result.activation);
    if (!status.ok()) return status;
    return result;
  }
  if (change.kind == MigChange::Kind::kCreateInstance) {
    return CreateInstance(mig, device.value, change);
  }
  Result<NvmlGpuInstance> instance = FindInstance(mig, device.value, change);
  if (!instance.ok()) return instance.status;
  if (change.kind == MigChange::Kind::kCreateCompute) {
    return CreateCompute(driver.nvml(), mig, instance.value, change);
  }
  if (change.kind == MigChange::Kind::kDestroyInstance) {
    Status status =
        WARPGAUGE_TRY(nvmlGpuInstanceDestroy, "Destroying " + InstanceName(change), instance.value);
    if (!status.ok()) return status;
    return result;
  }
  const std::string doing = "Destroying compute instance " + std::to_string(change.compute) +
                            " of " + InstanceName(change);
  NvmlComputeInstance compute = nullptr;
  Status status = WARPGAUGE_TRY(
      nvmlGpuInstanceGetComputeInstanceById, doing, instance.value, change.compute, &compute);
  if (status.ok()) status = WARPGAUGE_TRY(nvmlComputeInstanceDestroy, doing, compute);
  if (!status.ok()) return status;
  return result;
}

}  // namespace warpgauge
