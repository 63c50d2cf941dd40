#include "gpu/nvml/power_change.h"

#include "gpu/nvml/power_driver.h"

namespace warpgauge {
namespace {

// A call of a function that may not be there.
template <typename F, typename... Args>
Status Try(const char* name, const std::string& doing, F* function, Args... args) {
  const NvmlReturn code = function == nullptr ? kNvmlFunctionNotFound : function(args...);
  return code == kNvmlSuccess ? Status::Ok() : NvmlStatus(code, name, doing);
}
#define WARPGAUGE_TRY(function, doing, ...) Try(#function, doing, power.function, __VA_ARGS__)

}  // namespace

Status ChangePower(const std::string& override_path, const PowerChange& change) {
  Result<PowerDriver> opened = PowerDriver::Open(override_path);
  if (!opened.ok()) return opened.status;
  const PowerTable& power = opened.value.power();
  Result<NvmlDevice> device = opened.value.Device(change.gpu);
  if (!device.ok()) return device.status;
  const std::string range =
      std::to_string(change.low_mhz) + " to " + std::to_string(change.high_mhz) + " MHz";
  switch (change.kind) {
    case PowerChange::Kind::kPowerLimit:
      return WARPGAUGE_TRY(
          nvmlDeviceSetPowerManagementLimit,
          "Limiting " + change.gpu + " to " + std::to_string(change.limit_mw) + " mW",
          device.value,
          change.limit_mw);
    case PowerChange::Kind::kLockSm:
      return WARPGAUGE_TRY(nvmlDeviceSetGpuLockedClocks,
                           "Locking the SM clock of " + change.gpu + " to " + range,
                           device.value,
                           change.low_mhz,
                           change.high_mhz);
    case PowerChange::Kind::kResetSm:
      return WARPGAUGE_TRY(
          nvmlDeviceResetGpuLockedClocks, "Unlocking the SM clock of " + change.gpu, device.value);
    case PowerChange::Kind::kLockMemory:
      return WARPGAUGE_TRY(nvmlDeviceSetMemoryLockedClocks,
                           "Locking the memory clock of " + change.gpu + " to " + range,
                           device.value,
                           change.low_mhz,
                           change.high_mhz);
    case PowerChange::Kind::kResetMemory:
      return WARPGAUGE_TRY(nvmlDeviceResetMemoryLockedClocks,
                           "Unlocking the memory clock of " + change.gpu,
                           device.value);
    case PowerChange::Kind::kPersistence:
      return WARPGAUGE_TRY(nvmlDeviceSetPersistenceMode,
                           "Switching persistence of " + change.gpu,
                           device.value,
                           change.enabled ? 1U : 0U);
  }
  return {"ERR_INVALID_ARGUMENT", "an unknown change"};
}

}  // namespace warpgauge
