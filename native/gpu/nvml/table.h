#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/status.h"
#include "gpu/nvml/abi.h"

namespace warpgauge {

// The functions of one libnvidia-ml, by their exact exported names; nullptr where the library lacks
// one. Plain data: copied freely, any thread. The library behind it is never closed.
struct NvmlTable {
#define WARPGAUGE_DECLARE(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  WARPGAUGE_NVML_FUNCTIONS(WARPGAUGE_DECLARE)
#undef WARPGAUGE_DECLARE

  std::string path;  // the file that was mapped
  std::vector<std::string> missing;
  // Only these two tell the 32-byte process entries of drivers 535.43 to 535.86 from the 24-byte
  // ones: those have the first and not yet the second. Never called.
  bool has_conf_compute_memory = false;
  bool has_process_details = false;

  // Driver 535 renamed it; older ones have only the second name. nullptr where neither exists.
  [[nodiscard]] auto ClocksEventReasons() const {
    return nvmlDeviceGetCurrentClocksEventReasons != nullptr
               ? nvmlDeviceGetCurrentClocksEventReasons
               : nvmlDeviceGetCurrentClocksThrottleReasons;
  }
};

// Fills a table from any source of addresses.
NvmlTable ResolveNvml(const std::function<void*(const char*)>& find, const std::string& path);

// Opens libnvidia-ml: `override_path` if not empty, else libnvidia-ml.so.1 by the loader, where WSL
// keeps it, and the developer's unversioned link. Calls no function of it. ERR_NO_DRIVER (without
// opening anything) when no kernel driver is loaded and no override was given; ERR_LIBRARY_MISSING.
Result<NvmlTable> OpenNvml(const std::string& override_path);

// Our own words for a return code: NVML's own table stops at 27 in drivers
// that return higher codes.
const char* NvmlErrorText(NvmlReturn code);

// The fixed word for a return code in metadata and `state` rows: not_supported, no_permission,
// function_not_found, lost, ...; "ok" for success.
const char* NvmlReason(NvmlReturn code);
// Nothing of this device can be read any more until it is found anew.
bool NvmlIsLost(NvmlReturn code);
// Neither this device nor this library will ever answer: stop asking.
bool NvmlIsPermanent(NvmlReturn code);

// A failed call as ERR_NVML (ERR_NO_DRIVER for DRIVER_NOT_LOADED, ERR_NO_DEVICE for NOT_FOUND,
// ERR_SYMBOL_MISSING for FUNCTION_NOT_FOUND); `source` is the function, `number` the code.
Status NvmlStatus(NvmlReturn code, const char* function, const std::string& doing);

}  // namespace warpgauge
