#include "gpu/driver_gate.h"

#include <unistd.h>

#include <algorithm>
#include <array>

namespace warpgauge {

bool KernelDriverPresent(const std::string& root) {
  // The WSL driver is /dev/dxg and has neither of the first two; its libraries
  // are mounted from Windows.
  static constexpr std::array<const char*, 4> kSigns = {"/proc/driver/nvidia/version",
                                                        "/sys/module/nvidia",
                                                        "/usr/lib/wsl/lib/libnvidia-ml.so.1",
                                                        "/usr/lib/wsl/lib/libcuda.so.1"};
  return std::any_of(kSigns.begin(), kSigns.end(), [&](const char* path) {
    return access((root + path).c_str(), F_OK) == 0;
  });
}

Status PassDriverGate(const std::string& root, const std::string& override_path) {
  if (!override_path.empty() || KernelDriverPresent(root)) return Status::Ok();
  return Status("ERR_NO_DRIVER",
                "No NVIDIA kernel driver is loaded: there is no /proc/driver/nvidia/version and no "
                "/sys/module/nvidia; no driver library was opened")
      .WithFix("install the NVIDIA driver and load it: sudo modprobe nvidia");
}

}  // namespace warpgauge
