#include "gpu/nvml/device.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace warpgauge {
namespace {

// The first word of a small file; empty where it cannot be read.
std::string ReadWord(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[64];
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return {};
  text[n] = '\0';
  return {text, strcspn(text, " \n")};
}

}  // namespace

std::string PciAddressOf(const char* nvml_address) {
  std::string address = nvml_address;
  if (address.size() == 16 && address.compare(0, 4, "0000") == 0) address.erase(0, 4);
  std::transform(address.begin(), address.end(), address.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return address;
}

bool IsAsleep(const std::string& root, const std::string& pci_address) {
  return !pci_address.empty() && ReadWord(root + "/sys/bus/pci/devices/" + pci_address +
                                          "/power/runtime_status") == "suspended";
}

std::vector<std::string> NvidiaAddresses(const std::string& root) {
  std::vector<std::string> found;
  const std::string base = root + "/sys/bus/pci/devices";
  DIR* folder = opendir(base.c_str());
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    const std::string device = base + "/" + entry->d_name;
    if (entry->d_name[0] != '.' && ReadWord(device + "/vendor") == "0x10de" &&
        ReadWord(device + "/class").compare(0, 4, "0x03") == 0) {
      found.emplace_back(entry->d_name);
    }
  }
  closedir(folder);
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<NvmlFoundDevice> FindDevices(const NvmlTable& table,
                                         const std::string& root,
                                         bool wake) {
  std::vector<NvmlFoundDevice> devices;
  const std::vector<std::string> addresses = NvidiaAddresses(root);
  const bool sleeping = !wake && std::any_of(addresses.begin(),
                                             addresses.end(),
                                             [&](const auto& at) { return IsAsleep(root, at); });
  unsigned count = 0;
  if (!sleeping && table.nvmlDeviceGetCount_v2 != nullptr &&
      table.nvmlDeviceGetHandleByIndex_v2 != nullptr &&
      table.nvmlDeviceGetCount_v2(&count) == kNvmlSuccess) {
    for (unsigned i = 0; i < count && i < 256; i++) {
      NvmlFoundDevice device;
      device.code = table.nvmlDeviceGetHandleByIndex_v2(i, &device.handle);
      NvmlPciInfo info = {};
      if (device.code != kNvmlSuccess) {
        device.handle = nullptr;
        device.pci_address = "index " + std::to_string(i);
      } else if (table.nvmlDeviceGetPciInfo_v3 != nullptr &&
                 table.nvmlDeviceGetPciInfo_v3(device.handle, &info) == kNvmlSuccess) {
        device.pci_address = PciAddressOf(info.address);
      }
      devices.push_back(std::move(device));
    }
    return devices;
  }
  for (const std::string& address : addresses) {
    NvmlFoundDevice device;
    device.pci_address = address;
    device.asleep = !wake && IsAsleep(root, address);
    if (!device.asleep) {
      device.code = table.nvmlDeviceGetHandleByPciBusId_v2 == nullptr
                        ? kNvmlFunctionNotFound
                        : table.nvmlDeviceGetHandleByPciBusId_v2(address.c_str(), &device.handle);
      if (device.code != kNvmlSuccess) device.handle = nullptr;
      // A container sees the whole bus and some of the GPUs.
      if (device.code == kNvmlNotFound || device.code == kNvmlNoPermission) continue;
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

std::vector<NvmlInstance> ReadInstances(const NvmlTable& table, NvmlDevice device) {
  std::vector<NvmlInstance> instances;
  unsigned current = 0;
  unsigned pending = 0;
  unsigned most = 0;
  if (table.nvmlDeviceGetMigMode == nullptr || table.nvmlDeviceGetMaxMigDeviceCount == nullptr ||
      table.nvmlDeviceGetMigDeviceHandleByIndex == nullptr || table.nvmlDeviceGetUUID == nullptr ||
      table.nvmlDeviceGetMigMode(device, &current, &pending) != kNvmlSuccess || current != 1 ||
      table.nvmlDeviceGetMaxMigDeviceCount(device, &most) != kNvmlSuccess) {
    return instances;
  }
  for (unsigned i = 0; i < most && i < 64; i++) {
    NvmlInstance instance;
    char text[kNvmlUuidBytes] = {};
    if (table.nvmlDeviceGetMigDeviceHandleByIndex(device, i, &instance.handle) != kNvmlSuccess ||
        table.nvmlDeviceGetUUID(instance.handle, text, kNvmlUuidBytes) != kNvmlSuccess) {
      continue;
    }
    instance.uuid = text;
    if (table.nvmlDeviceGetGpuInstanceId != nullptr) {
      table.nvmlDeviceGetGpuInstanceId(instance.handle, &instance.gpu_instance);
    }
    if (table.nvmlDeviceGetComputeInstanceId != nullptr) {
      table.nvmlDeviceGetComputeInstanceId(instance.handle, &instance.compute_instance);
    }
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::string NvmlText(NvmlReturn (*function)(NvmlDevice, char*, unsigned),
                     NvmlDevice device,
                     unsigned size) {
  char text[96] = {};
  return function != nullptr && function(device, text, size) == kNvmlSuccess ? text : "";
}

bool SaysSimulated(const std::string& text) { return text.find("Simulated") != std::string::npos; }

}  // namespace warpgauge
