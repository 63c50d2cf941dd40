#include "gpu/cuda/table.h"

#include "core/dynamic_library.h"
#include "gpu/driver_gate.h"

namespace warpgauge {
namespace {

struct Remedy {
  CuResult result;
  const char* name;  // for a library without cuGetErrorName
  const char* fix;
};

constexpr Remedy kRemedies[] = {
    {kCuOutOfMemory,
     "CUDA_ERROR_OUT_OF_MEMORY",
     "choose smaller --sizes, or free memory of the device: nvidia-smi lists what uses it"},
    {kCuNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", ""},
    {kCuStubLibrary,
     "CUDA_ERROR_STUB_LIBRARY",
     "take the toolkit's lib64/stubs out of LD_LIBRARY_PATH: it shadows the driver's libcuda.so.1"},
    {kCuDeviceUnavailable,
     "CUDA_ERROR_DEVICE_UNAVAILABLE",
     "another process holds the device exclusively: sudo nvidia-smi -c DEFAULT"},
    {kCuNoDevice,
     "CUDA_ERROR_NO_DEVICE",
     "check nvidia-smi -L, CUDA_VISIBLE_DEVICES and, in a container, --gpus all"},
    {kCuInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "nvidia-smi -L lists the devices"},
    {kCuJitCompilerNotFound,
     "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
     "install libnvidia-ptxjitcompiler.so.1 of the same driver version; in a container set "
     "NVIDIA_DRIVER_CAPABILITIES=compute,utility"},
    {kCuOperatingSystem,
     "CUDA_ERROR_OPERATING_SYSTEM",
     "check the rights on /dev/nvidia* and, in a container, its device list"},
    {kCuSystemNotReady,
     "CUDA_ERROR_SYSTEM_NOT_READY",
     "on a machine with NVSwitch: sudo systemctl start nvidia-fabricmanager"},
    {kCuDriverMismatch,
     "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "the kernel driver and libcuda.so.1 differ in version: reload the kernel modules or reboot"},
    {kCuCompatNotSupported,
     "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
     "take the CUDA compat folder out of LD_LIBRARY_PATH"},
    {kCuUnknown,
     "CUDA_ERROR_UNKNOWN",
     "check that the uvm module is loaded: sudo modprobe nvidia_uvm"},
};

}  // namespace

Result<CudaTable> ResolveCuda(const SymbolFinder& find, const std::string& path) {
  CudaTable table;
  table.path = path;
  std::string absent;
#define WARPGAUGE_RESOLVE(name, required, lost_without, ...)                   \
  table.name = reinterpret_cast<std::add_pointer_t<__VA_ARGS__>>(find(#name)); \
  if (table.name == nullptr) {                                                 \
    table.missing.push_back({#name, lost_without});                            \
    if (required) absent += (absent.empty() ? "" : ", ") + std::string(#name); \
  }
  WARPGAUGE_CUDA_FUNCTIONS(WARPGAUGE_RESOLVE)
#undef WARPGAUGE_RESOLVE
  if (!absent.empty()) {
    return Status("ERR_SYMBOL_MISSING", path + " lacks " + absent)
        .WithFix("a driver of branch 450 (CUDA 11.0) or newer has all of them")
        .WithSource(path, 0);
  }
  return table;
}

Result<CudaTable> OpenCuda(const std::string& override_path) {
  if (Status gate = PassDriverGate("", override_path); !gate.ok()) return gate;
  Result<DynamicLibrary> library = DynamicLibrary::Open(
      override_path.empty()
          ? std::vector<std::string>{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"}
          : std::vector<std::string>{override_path});
  if (!library.ok()) {
    return std::move(library.status)
        .WithFix(override_path.empty()
                     ? "install the driver's user-space libraries (Debian: libcuda1)"
                     : "set WARPGAUGE_CUDA to the path of a libcuda.so.1");
  }
  return ResolveCuda([&](const char* name) { return library.value.Find(name); },
                     library.value.path());
}

Status CudaStatus(const CudaTable& table,
                  CuResult result,
                  const char* function,
                  const std::string& doing) {
  if (result == kCuSuccess) return Status::Ok();
  const Remedy* remedy = nullptr;
  for (const Remedy& known : kRemedies) {
    if (known.result == result) remedy = &known;
  }
  const char* name = nullptr;
  const char* text = nullptr;
  if (table.cuGetErrorName == nullptr || table.cuGetErrorName(result, &name) != kCuSuccess) {
    name = nullptr;
  }
  if (table.cuGetErrorString == nullptr || table.cuGetErrorString(result, &text) != kCuSuccess) {
    text = nullptr;
  }
  if (name == nullptr) name = remedy != nullptr ? remedy->name : "an error without a name";
  std::string message =
      doing + ": " + function + " failed with " + name + " (" + std::to_string(result) + ")";
  if (text != nullptr) message += std::string(": ") + text;
  const char* code = "ERR_CUDA";
  if (result == kCuNoDevice || result == kCuInvalidDevice) code = "ERR_NO_DEVICE";
  if (result == kCuOutOfMemory) code = "ERR_NO_MEMORY";
  return Status(code, std::move(message))
      .WithFix(remedy != nullptr ? remedy->fix : "")
      .WithSource(function, result);
}

}  // namespace warpgauge
