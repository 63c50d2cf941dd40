#pragma once

#include <string>

#include "core/status.h"

namespace warpgauge {

// Whether an NVIDIA kernel driver is loaded (or, under WSL, its stand-in library is there). Asked
// before any driver library is opened: as root, nvmlInit and cuInit on a machine without driver
// create /dev/nvidiactl, may start nvidia-modprobe and read every PCI configuration space. `root`
// is put before every path; empty on a real machine, a recorded tree in tests.
[[nodiscard]] bool KernelDriverPresent(const std::string& root);

// ERR_NO_DRIVER unless the driver is there or `override_path` names a library on purpose.
Status PassDriverGate(const std::string& root, const std::string& override_path);

}  // namespace warpgauge
