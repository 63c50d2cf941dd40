#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"

namespace warpgauge {

// One call that changes power, clocks or persistence of a GPU. Nothing in this project makes one
// but the transaction of `mitigate.power`, with the user's consent and its intent on disk.
struct PowerChange {
  enum class Kind : uint8_t {
    kPowerLimit,
    kLockSm,
    kResetSm,
    kLockMemory,
    kResetMemory,
    kPersistence
  };
  Kind kind = Kind::kPowerLimit;
  std::string gpu;        // UUID of the whole GPU
  unsigned limit_mw = 0;  // kPowerLimit
  unsigned low_mhz = 0;   // kLockSm, kLockMemory
  unsigned high_mhz = 0;  // the same
  bool enabled = false;   // kPersistence
};

// Makes the call with a handle asked for anew. The status has NVML's code: NO_PERMISSION 4,
// NOT_SUPPORTED 3, INVALID_ARGUMENT 2. Success means that the driver took the request, not that it
// is in effect: read again. Blocks for as long as the driver does.
Status ChangePower(const std::string& override_path, const PowerChange& change);

}  // namespace warpgauge
