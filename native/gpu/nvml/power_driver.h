#pragma once

#include <functional>
#include <string>
#include <type_traits>

#include "core/status.h"
#include "gpu/nvml/mig_driver.h"
#include "gpu/nvml/power_abi.h"

namespace warpgauge {

// The functions of one libnvidia-ml that change power and clocks; nullptr where the library lacks
// one. Plain data.
struct PowerTable {
#define WARPGAUGE_DECLARE(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  WARPGAUGE_POWER_FUNCTIONS(WARPGAUGE_DECLARE)
#undef WARPGAUGE_DECLARE
};

PowerTable ResolvePower(const std::function<void*(const char*)>& find);

// An initialized NVML for the length of one piece of work, with the functions above. One thread.
class PowerDriver {
 public:
  // As MigDriver::Open. Blocks for as long as the driver does.
  static Result<PowerDriver> Open(const std::string& override_path);

  [[nodiscard]] const NvmlTable& nvml() const { return driver_.nvml(); }
  [[nodiscard]] const PowerTable& power() const { return power_; }
  [[nodiscard]] Result<NvmlDevice> Device(const std::string& uuid) const {
    return driver_.Device(uuid);
  }

 private:
  MigDriver driver_;
  PowerTable power_;
};

}  // namespace warpgauge
