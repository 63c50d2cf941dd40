#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "gpu/nvml/abi.h"

namespace warpgauge {

// One number of the driver, or NVML's code of why there is none.
struct PowerValue {
  NvmlReturn code = kNvmlFunctionNotFound;
  uint64_t value = 0;
};

// Limits in mW, energy in mJ, clocks in MHz, as one GPU has them now.
struct PowerGpuReading {
  std::string uuid, name, pci_address;
  PowerValue persistence;           // nvmlDeviceGetPersistenceMode: 0 or 1
  PowerValue limit_requested;       // nvmlDeviceGetPowerManagementLimit
  PowerValue limit_enforced;        // nvmlDeviceGetEnforcedPowerLimit: out-of-band limits count
  PowerValue limit_default;         // nvmlDeviceGetPowerManagementDefaultLimit
  PowerValue limit_min, limit_max;  // nvmlDeviceGetPowerManagementLimitConstraints
  PowerValue draw;                  // nvmlDeviceGetPowerUsage: on most GPUs the average of 1 s
  PowerValue energy;                // nvmlDeviceGetTotalEnergyConsumption, since the driver's load
  PowerValue sm_clock, memory_clock;          // nvmlDeviceGetClockInfo
  PowerValue sm_clock_max, memory_clock_max;  // nvmlDeviceGetMaxClockInfo
  PowerValue event_reasons;  // why clocks are lower than they could be: bits of NVML
  PowerValue utilization;    // percent of time with a kernel running
  // Read on demand, ascending: supported clocks, those of the SM at any memory clock.
  NvmlReturn supported_code = kNvmlSuccess;
  std::vector<unsigned> supported_memory, supported_sm;
};

struct PowerSystemReading {
  std::string library, driver;
  bool simulated = false;
  std::vector<PowerGpuReading> gpus;
};

// Reads one GPU, or with an empty UUID all; supported clocks only where `clocks` says so. Changes
// nothing, needs no privilege, and holds no handle afterwards. Blocks for as long as the driver
// does.
Result<PowerSystemReading> ReadPower(const std::string& override_path,
                                     const std::string& root,
                                     const std::string& uuid,
                                     bool clocks);

}  // namespace warpgauge
