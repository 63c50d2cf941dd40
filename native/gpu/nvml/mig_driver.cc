#include "gpu/nvml/mig_driver.h"

#include <utility>

#include "core/dynamic_library.h"

namespace warpgauge {

MigTable ResolveMig(const std::function<void*(const char*)>& find) {
  MigTable table;
#define WARPGAUGE_RESOLVE(name, ...) \
  table.name = reinterpret_cast<std::add_pointer_t<__VA_ARGS__>>(find(#name));
  WARPGAUGE_MIG_FUNCTIONS(WARPGAUGE_RESOLVE)
#undef WARPGAUGE_RESOLVE
  return table;
}

Result<MigDriver> MigDriver::Open(const std::string& override_path) {
  Result<NvmlTable> nvml = OpenNvml(override_path);
  if (!nvml.ok()) return nvml.status;
  MigDriver driver;
  driver.nvml_ = std::move(nvml.value);
  // The same file once more, which the loader only counts.
  const Result<DynamicLibrary> library = DynamicLibrary::Open({driver.nvml_.path});
  if (!library.ok()) return library.status;
  driver.mig_ = ResolveMig([&](const char* name) { return library.value.Find(name); });
  if (driver.nvml_.nvmlInit_v2 == nullptr || driver.nvml_.nvmlShutdown == nullptr) {
    return Status("ERR_SYMBOL_MISSING", driver.nvml_.path + " lacks nvmlInit_v2 or nvmlShutdown");
  }
  if (const NvmlReturn code = driver.nvml_.nvmlInit_v2(); code != kNvmlSuccess) {
    return NvmlStatus(code, "nvmlInit_v2", "Initializing NVML");
  }
  driver.initialized_ = true;
  return driver;
}

MigDriver& MigDriver::operator=(MigDriver&& other) noexcept {
  std::swap(nvml_, other.nvml_);
  std::swap(mig_, other.mig_);
  std::swap(initialized_, other.initialized_);
  return *this;
}

MigDriver::~MigDriver() {
  if (initialized_) nvml_.nvmlShutdown();
}

Result<NvmlDevice> MigDriver::Device(const std::string& uuid) const {
  NvmlDevice device = nullptr;
  const NvmlReturn code = mig_.nvmlDeviceGetHandleByUUID == nullptr
                              ? kNvmlFunctionNotFound
                              : mig_.nvmlDeviceGetHandleByUUID(uuid.c_str(), &device);
  if (code != kNvmlSuccess) {
    return NvmlStatus(code, "nvmlDeviceGetHandleByUUID", "Finding the GPU " + uuid);
  }
  return device;
}

}  // namespace warpgauge
