#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/nvml/table.h"

namespace warpgauge {

// A MIG instance as it stands in one configuration of its GPU.
struct NvmlInstance {
  NvmlDevice handle = nullptr;
  std::string uuid;  // "MIG-..."
  uint32_t gpu_instance = kNvmlNotAvailable32, compute_instance = kNvmlNotAvailable32;

  bool operator==(const NvmlInstance& other) const {
    return uuid == other.uuid && gpu_instance == other.gpu_instance &&
           compute_instance == other.compute_instance;
  }
};

// The address as /sys writes it, "0000:83:00.0", of NVML's "00000000:83:00.0"; lower case.
std::string PciAddressOf(const char* nvml_address);

// Whether the kernel has put the device to sleep: any call would wake it. False where the file is
// not there (no runtime power management, WSL).
bool IsAsleep(const std::string& root, const std::string& pci_address);

// Addresses of NVIDIA display devices by /sys, without waking or asking anything.
std::vector<std::string> NvidiaAddresses(const std::string& root);

// A GPU as it was found: with a handle, or with the reason why there is none.
struct NvmlFoundDevice {
  NvmlDevice handle = nullptr;
  std::string pci_address;
  bool asleep = false;             // not asked, so that it sleeps on
  NvmlReturn code = kNvmlSuccess;  // why there is no handle
};

// All GPUs of an initialized NVML. By index, as the driver numbers them; where a device sleeps and
// `wake` is false by PCI address, because the first handle of a device wakes it.
std::vector<NvmlFoundDevice> FindDevices(const NvmlTable& table,
                                         const std::string& root,
                                         bool wake);

// The instances of a GPU in MIG mode; empty when MIG is off or unknown to the library. Holes in the
// numbering are normal.
std::vector<NvmlInstance> ReadInstances(const NvmlTable& table, NvmlDevice device);

// A text that a device tells of itself; empty where there is none.
std::string NvmlText(NvmlReturn (*function)(NvmlDevice, char*, unsigned),
                     NvmlDevice device,
                     unsigned size);

// True for texts that a simulated driver gives: "Simulated NVIDIA H200".
bool SaysSimulated(const std::string& text);

}  // namespace warpgauge
