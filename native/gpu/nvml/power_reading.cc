#include "gpu/nvml/power_reading.h"

#include <algorithm>

#include "gpu/nvml/device.h"
#include "gpu/nvml/power_driver.h"

namespace warpgauge {
namespace {

constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;

template <typename T>
std::string TextOf(NvmlReturn (*function)(NvmlDevice, char*, T), NvmlDevice device) {
  char text[kNvmlNameBytes] = {};
  if (function == nullptr || function(device, text, sizeof(text)) != kNvmlSuccess) return {};
  text[sizeof(text) - 1] = '\0';
  return text;
}

PowerValue Known(NvmlReturn code, uint64_t number) {
  return {code, code == kNvmlSuccess ? number : 0};
}

// A function that gives one number; it may not be there.
template <typename T>
PowerValue Ask(NvmlReturn (*function)(NvmlDevice, T*), NvmlDevice device) {
  if (function == nullptr) return {};
  T number = 0;
  const NvmlReturn code = function(device, &number);
  return Known(code, static_cast<uint64_t>(number));
}

PowerValue AskClock(NvmlReturn (*function)(NvmlDevice, int, unsigned*),
                    NvmlDevice device,
                    int type) {
  if (function == nullptr) return {};
  unsigned mhz = 0;
  const NvmlReturn code = function(device, type, &mhz);
  return Known(code, mhz);
}

void SortUnique(std::vector<unsigned>* clocks) {
  std::sort(clocks->begin(), clocks->end());
  clocks->erase(std::unique(clocks->begin(), clocks->end()), clocks->end());
}

void ReadClocks(const PowerTable& power, NvmlDevice device, PowerGpuReading* gpu) {
  unsigned memory[kNvmlClockRoom] = {};
  unsigned count = kNvmlClockRoom;
  gpu->supported_code = power.nvmlDeviceGetSupportedMemoryClocks == nullptr
                            ? kNvmlFunctionNotFound
                            : power.nvmlDeviceGetSupportedMemoryClocks(device, &count, memory);
  if (gpu->supported_code != kNvmlSuccess) return;
  gpu->supported_memory.assign(memory, memory + std::min(count, kNvmlClockRoom));
  SortUnique(&gpu->supported_memory);
  for (const unsigned mhz : gpu->supported_memory) {
    unsigned clocks[kNvmlClockRoom] = {};
    unsigned found = kNvmlClockRoom;
    const NvmlReturn code =
        power.nvmlDeviceGetSupportedGraphicsClocks == nullptr
            ? kNvmlFunctionNotFound
            : power.nvmlDeviceGetSupportedGraphicsClocks(device, mhz, &found, clocks);
    if (code != kNvmlSuccess) {
      gpu->supported_code = code;
      return;
    }
    gpu->supported_sm.insert(
        gpu->supported_sm.end(), clocks, clocks + std::min(found, kNvmlClockRoom));
  }
  SortUnique(&gpu->supported_sm);
}

void ReadGpu(const NvmlTable& nvml, NvmlDevice device, PowerGpuReading* gpu) {
  gpu->persistence = Ask<int>(nvml.nvmlDeviceGetPersistenceMode, device);
  gpu->limit_requested = Ask<unsigned>(nvml.nvmlDeviceGetPowerManagementLimit, device);
  gpu->limit_enforced = Ask<unsigned>(nvml.nvmlDeviceGetEnforcedPowerLimit, device);
  gpu->limit_default = Ask<unsigned>(nvml.nvmlDeviceGetPowerManagementDefaultLimit, device);
  unsigned least = 0;
  unsigned most = 0;
  const NvmlReturn code =
      nvml.nvmlDeviceGetPowerManagementLimitConstraints == nullptr
          ? kNvmlFunctionNotFound
          : nvml.nvmlDeviceGetPowerManagementLimitConstraints(device, &least, &most);
  gpu->limit_min = {code, least};
  gpu->limit_max = {code, most};
  gpu->draw = Ask<unsigned>(nvml.nvmlDeviceGetPowerUsage, device);
  gpu->energy = Ask<uint64_t>(nvml.nvmlDeviceGetTotalEnergyConsumption, device);
  gpu->sm_clock = AskClock(nvml.nvmlDeviceGetClockInfo, device, kClockSm);
  gpu->memory_clock = AskClock(nvml.nvmlDeviceGetClockInfo, device, kClockMemory);
  gpu->sm_clock_max = AskClock(nvml.nvmlDeviceGetMaxClockInfo, device, kClockSm);
  gpu->memory_clock_max = AskClock(nvml.nvmlDeviceGetMaxClockInfo, device, kClockMemory);
  // NOLINTNEXTLINE(google-runtime-int)
  gpu->event_reasons = Ask<unsigned long long>(nvml.ClocksEventReasons(), device);
  if (nvml.nvmlDeviceGetUtilizationRates != nullptr) {
    NvmlUtilization percent = {};
    const NvmlReturn used = nvml.nvmlDeviceGetUtilizationRates(device, &percent);
    gpu->utilization = Known(used, percent.gpu);
  }
}

}  // namespace

Result<PowerSystemReading> ReadPower(const std::string& override_path,
                                     const std::string& root,
                                     const std::string& uuid,
                                     bool clocks) {
  Result<PowerDriver> opened = PowerDriver::Open(override_path);
  if (!opened.ok()) return opened.status;
  const PowerDriver& driver = opened.value;
  const NvmlTable& nvml = driver.nvml();
  PowerSystemReading system;
  system.library = nvml.path;
  char text[kNvmlVersionBytes] = {};
  if (nvml.nvmlSystemGetDriverVersion != nullptr &&
      nvml.nvmlSystemGetDriverVersion(text, sizeof(text)) == kNvmlSuccess) {
    system.driver = text;
  }
  system.simulated = SaysSimulated(system.driver);
  for (const NvmlFoundDevice& found : FindDevices(nvml, root, false)) {
    if (found.handle == nullptr) continue;
    PowerGpuReading gpu;
    gpu.uuid = TextOf(nvml.nvmlDeviceGetUUID, found.handle);
    if (!uuid.empty() && gpu.uuid != uuid) continue;
    gpu.name = TextOf(nvml.nvmlDeviceGetName, found.handle);
    gpu.pci_address = found.pci_address;
    ReadGpu(nvml, found.handle, &gpu);
    if (clocks) ReadClocks(driver.power(), found.handle, &gpu);
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
