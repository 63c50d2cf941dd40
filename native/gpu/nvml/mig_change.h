#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"

namespace warpgauge {

// One call that changes how a GPU is divided. Nothing in this project makes one but the transaction
// of `mitigate.mig`, with the user's consent and its intent on disk.
struct MigChange {
  enum class Kind : uint8_t {
    kSetMode,
    kCreateInstance,
    kDestroyInstance,
    kCreateCompute,
    kDestroyCompute
  };
  Kind kind = Kind::kSetMode;
  std::string gpu;  // UUID of the whole GPU
  bool enabled = false;
  unsigned profile = 0;          // kCreateInstance, kCreateCompute: the driver's id
  unsigned start = 0, size = 0;  // the same
  unsigned instance = 0;         // GPU instance: all but kSetMode and kCreateInstance
  unsigned compute = 0;          // kDestroyCompute
};

struct MigChangeResult {
  int activation = 0;    // kSetMode: not 0 when the mode is pending, and why
  int64_t created = -1;  // id of what was made
  std::string uuid;      // kCreateCompute: of the MIG device; empty where it cannot be read
};

// Makes the call with handles asked for anew. The status has NVML's code: IN_USE 19, INSUFFICIENT_
// RESOURCES 23, NO_PERMISSION 4. Success means that the driver took it, not that it is so: read
// again. Blocks for as long as the driver does, seconds.
Result<MigChangeResult> ChangeMig(const std::string& override_path, const MigChange& change);

}  // namespace warpgauge
