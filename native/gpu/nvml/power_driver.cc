#include "gpu/nvml/power_driver.h"

#include <utility>

#include "core/dynamic_library.h"

namespace warpgauge {

PowerTable ResolvePower(const std::function<void*(const char*)>& find) {
  PowerTable table;
#define WARPGAUGE_RESOLVE(name, ...) \
  table.name = reinterpret_cast<std::add_pointer_t<__VA_ARGS__>>(find(#name));
  WARPGAUGE_POWER_FUNCTIONS(WARPGAUGE_RESOLVE)
#undef WARPGAUGE_RESOLVE
  return table;
}

Result<PowerDriver> PowerDriver::Open(const std::string& override_path) {
  Result<MigDriver> opened = MigDriver::Open(override_path);
  if (!opened.ok()) return opened.status;
  PowerDriver driver;
  driver.driver_ = std::move(opened.value);
  // The same file once more, which the loader only counts.
  const Result<DynamicLibrary> library = DynamicLibrary::Open({driver.nvml().path});
  if (!library.ok()) return library.status;
  driver.power_ = ResolvePower([&](const char* name) { return library.value.Find(name); });
  return driver;
}

}  // namespace warpgauge
