#include "gpu/nvml/table.h"

#include "core/dynamic_library.h"
#include "gpu/driver_gate.h"

namespace warpgauge {

NvmlTable ResolveNvml(const std::function<void*(const char*)>& find, const std::string& path) {
  NvmlTable table;
  table.path = path;
#define WARPGAUGE_RESOLVE(name, ...)                                           \
  table.name = reinterpret_cast<std::add_pointer_t<__VA_ARGS__>>(find(#name)); \
  if (table.name == nullptr) table.missing.emplace_back(#name);
  WARPGAUGE_NVML_FUNCTIONS(WARPGAUGE_RESOLVE)
#undef WARPGAUGE_RESOLVE
  table.has_conf_compute_memory = find("nvmlDeviceGetConfComputeMemSizeInfo") != nullptr;
  table.has_process_details = find("nvmlDeviceGetRunningProcessDetailList") != nullptr;
  return table;
}

Result<NvmlTable> OpenNvml(const std::string& override_path) {
  if (Status gate = PassDriverGate("", override_path); !gate.ok()) return gate;
  Result<DynamicLibrary> library = DynamicLibrary::Open(
      override_path.empty() ? std::vector<std::string>{"libnvidia-ml.so.1",
                                                       "/usr/lib/wsl/lib/libnvidia-ml.so.1",
                                                       "libnvidia-ml.so"}
                            : std::vector<std::string>{override_path});
  if (!library.ok()) {
    return std::move(library.status)
        .WithFix(override_path.empty()
                     ? "install the driver's management library (Debian: libnvidia-ml1)"
                     : "set WARPGAUGE_NVML to the path of a libnvidia-ml.so.1");
  }
  return ResolveNvml([&](const char* name) { return library.value.Find(name); },
                     library.value.path());
}

const char* NvmlErrorText(NvmlReturn code) {
  switch (code) {
    case 0:
      return "success";
    case 1:
      return "NVML was not initialized";
    case 2:
      return "an argument was refused";
    case 3:
      return "not supported by this device";
    case 4:
      return "no permission";
    case 5:
      return "already initialized";
    case 6:
      return "no such device or object";
    case 7:
      return "the buffer was too small";
    case 8:
      return "the device's power cables are not attached properly";
    case 9:
      return "the NVIDIA kernel driver is not loaded";
    case 10:
      return "the driver did not answer in time";
    case 11:
      return "the driver has a problem with the device's interrupt";
    case 12:
      return "a library that NVML needs was not found";
    case 13:
      return "the library lacks this function";
    case 14:
      return "the device's information ROM is corrupt";
    case 15:
      return "the GPU fell off the bus or stopped answering";
    case 16:
      return "the GPU needs a reset";
    case 17:
      return "the operating system or a cgroup blocks access to the device";
    case 18:
      return "the library and the kernel driver differ in version";
    case 19:
      return "the GPU is in use";
    case 20:
      return "not enough memory";
    case 21:
      return "no data";
    case 22:
      return "not available with ECC on";
    case 23:
      return "not enough resources left";
    case 24:
      return "frequency not supported";
    case 25:
      return "the library does not know this version of the argument";
    case 26:
      return "withdrawn by NVIDIA";
    case 27:
      return "not ready yet";
    case 28:
      return "no GPU was found";
    case 29:
      return "not possible in the present state";
    case 30:
      return "this kind of reset is not supported";
    default:
      return "an internal driver error";
  }
}

const char* NvmlReason(NvmlReturn code) {
  switch (code) {
    case kNvmlSuccess:
      return "ok";
    case kNvmlNotSupported:
    case kNvmlDeprecated:
      return "not_supported";
    case kNvmlNoPermission:
      return "no_permission";
    case kNvmlFunctionNotFound:
    case kNvmlArgumentVersionMismatch:
      return "function_not_found";
    case kNvmlNotFound:
    case kNvmlNoData:
      return "no_data";
    case kNvmlNotReady:
      return "not_ready";
    case kNvmlTimeout:
      return "timeout";
    case kNvmlResetRequired:
      return "reset_required";
    case kNvmlOperatingSystem:
      return "blocked_by_system";
    case kNvmlGpuIsLost:
    case kNvmlVersionMismatch:
    case kNvmlUninitialized:
    case kNvmlDriverNotLoaded:
    case kNvmlUnknown:
      return "lost";
    default:
      return "driver_error";
  }
}

bool NvmlIsLost(NvmlReturn code) {
  return code == kNvmlGpuIsLost || code == kNvmlResetRequired || code == kNvmlOperatingSystem ||
         code == kNvmlVersionMismatch || code == kNvmlUninitialized ||
         code == kNvmlDriverNotLoaded || code == kNvmlUnknown;
}

bool NvmlIsPermanent(NvmlReturn code) {
  return code == kNvmlNotSupported || code == kNvmlDeprecated || code == kNvmlFunctionNotFound ||
         code == kNvmlNoPermission || code == kNvmlArgumentVersionMismatch ||
         code == kNvmlInvalidArgument;
}

Status NvmlStatus(NvmlReturn code, const char* function, const std::string& doing) {
  if (code == kNvmlSuccess) return Status::Ok();
  const char* own = "ERR_NVML";
  std::string fix;
  switch (code) {
    case kNvmlDriverNotLoaded:
      own = "ERR_NO_DRIVER";
      fix = "sudo modprobe nvidia";
      break;
    case kNvmlNotFound:
      own = "ERR_NO_DEVICE";
      fix = "nvidia-smi -L lists the devices";
      break;
    case kNvmlFunctionNotFound:
      own = "ERR_SYMBOL_MISSING";
      break;
    case kNvmlGpuIsLost:
    case kNvmlResetRequired:
      fix = "sudo nvidia-smi --gpu-reset -i <device>, or reboot";
      break;
    case kNvmlOperatingSystem:
      fix =
          "check the rights on /dev/nvidia*; in a container restart it: it may have lost its "
          "devices";
      break;
    case kNvmlVersionMismatch:
      fix = "reload the kernel modules or reboot after the driver update";
      break;
    default:
      break;
  }
  return Status(own,
                doing + ": " + function + " failed (" + std::to_string(code) +
                    "): " + NvmlErrorText(code))
      .WithFix(std::move(fix))
      .WithSource(function, code);
}

}  // namespace warpgauge
