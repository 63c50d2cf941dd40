#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "gpu/nvml/mig_driver.h"

namespace warpgauge {

// What a GPU can be divided into and what it is divided into, read once. Nothing here changes
// anything. A number that the driver does not say is -1.

struct MigComputeProfileReading {
  unsigned number = 0;
  unsigned id = 0, slices = 0, count = 0;
  std::vector<unsigned> starts;  // empty where the library cannot say
};

struct MigProfileReading {
  unsigned number = 0;
  unsigned id = 0, slices = 0, count = 0, memory_slices = 0;
  std::string name;  // empty: a library of before 510
  std::vector<unsigned> starts;
  int64_t memory_mib = -1, multiprocessors = -1, copy_engines = -1, decoders = -1, encoders = -1,
          jpegs = -1, ofas = -1;
};

struct MigComputeReading {
  unsigned id = 0, profile = 0, slices = 0;
  int64_t start = -1;
  std::string uuid;  // of the MIG device; empty where it cannot be read
  std::vector<unsigned> pids;
};

struct MigInstanceReading {
  unsigned id = 0, profile = 0, start = 0, size = 0;
  std::vector<MigComputeReading> compute;
  std::vector<MigComputeProfileReading> compute_profiles;
};

struct MigGpuReading {
  std::string uuid, name, pci_address;
  bool mode_known = false;
  bool mode = false, pending = false;
  int without_reset = -1;  // the mode can be switched without a reset: 1, 0, or -1 for not known
  std::vector<MigProfileReading> profiles;
  std::vector<MigInstanceReading> instances;
  std::vector<unsigned> pids;  // of all processes on the GPU, in instances or not
  // Why one of the three could not be read: kNvmlSuccess when it was.
  NvmlReturn mode_code = kNvmlSuccess, profiles_code = kNvmlSuccess, instances_code = kNvmlSuccess;
};

struct MigSystemReading {
  std::string library, driver;
  bool simulated = false;
  std::vector<MigGpuReading> gpus;
};

// The profiles of a GPU without their places: what any reader may ask. The code of the first call
// that failed; profiles that this board lacks are none of it.
NvmlReturn ReadMigProfiles(const MigTable& mig,
                           NvmlDevice device,
                           std::vector<MigProfileReading>* profiles);

// All GPUs, or the one of `uuid`. GPUs that sleep are left asleep and left out.
Result<MigSystemReading> ReadMig(const std::string& override_path,
                                 const std::string& root,
                                 const std::string& uuid);

}  // namespace warpgauge
