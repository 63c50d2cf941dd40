#pragma once

#include <functional>
#include <string>
#include <type_traits>

#include "core/status.h"
#include "gpu/nvml/mig_abi.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// The MIG functions of one libnvidia-ml; nullptr where the library lacks one. Plain data.
struct MigTable {
#define WARPGAUGE_DECLARE(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  WARPGAUGE_MIG_FUNCTIONS(WARPGAUGE_DECLARE)
#undef WARPGAUGE_DECLARE
};

MigTable ResolveMig(const std::function<void*(const char*)>& find);

// An initialized NVML for the length of one piece of work: what reads or changes MIG holds no
// handle in between, so that it never keeps a GPU from being reset. One thread.
class MigDriver {
 public:
  // As OpenNvml, then nvmlInit_v2. Blocks for as long as the driver does.
  static Result<MigDriver> Open(const std::string& override_path);
  MigDriver() = default;
  MigDriver(MigDriver&& other) noexcept { *this = std::move(other); }
  MigDriver& operator=(MigDriver&& other) noexcept;
  MigDriver(const MigDriver&) = delete;
  MigDriver& operator=(const MigDriver&) = delete;
  ~MigDriver();

  [[nodiscard]] const NvmlTable& nvml() const { return nvml_; }
  [[nodiscard]] const MigTable& mig() const { return mig_; }

  // The handle of a whole GPU, asked for anew: indices and handles change with the mode.
  [[nodiscard]] Result<NvmlDevice> Device(const std::string& uuid) const;

 private:
  NvmlTable nvml_;
  MigTable mig_;
  bool initialized_ = false;
};

}  // namespace warpgauge
