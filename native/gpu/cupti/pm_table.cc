#include "gpu/cupti/pm_table.h"

#include <dlfcn.h>

#include <cstring>
#include <vector>

#include "core/dynamic_library.h"
#include "gpu/cupti/library_paths.h"

namespace warpgauge {
namespace {

constexpr const char* kGetCupti =
    "install CUPTI of CUDA 12.6 or later (pip install nvidia-cuda-cupti-cu12, apt-get install "
    "cuda-cupti-12-8, or the toolkit), or set WARPGAUGE_CUPTI to a libcupti.so.12 or .13";

constexpr const char* kPrivilegeFix =
    "run as root or with CAP_SYS_ADMIN (in a container --cap-add SYS_ADMIN); from driver 565 on "
    "CAP_PERFMON is enough where it is ambient (systemd: AmbientCapabilities=CAP_PERFMON) and not "
    "a "
    "file capability; or let every user in: echo 'options nvidia "
    "NVreg_RestrictProfilingToAdminUsers=0' | sudo tee /etc/modprobe.d/nvidia-profiling.conf, then "
    "reload the driver or reboot; from driver 610 on a capability of /dev/nvidia-caps "
    "(profiler-device) grants it";

constexpr const char* kBusyFix =
    "only one client can have the counters of a GPU: pause DCGM (dcgmi profile --pause), end ncu, "
    "nsys --gpu-metrics-devices and other samplers of this GPU";

struct Meaning {
  CuptiResult result;
  const char* name;
  const char* code;
  const char* reason;
  const char* fix;
};

constexpr Meaning kMeanings[] = {
    {kCuptiInvalidParameter, "CUPTI_ERROR_INVALID_PARAMETER", "ERR_CUPTI", "error", ""},
    {kCuptiInvalidDevice,
     "CUPTI_ERROR_INVALID_DEVICE",
     "ERR_NO_DEVICE",
     "gone",
     "nvidia-smi -L lists the devices"},
    {kCuptiHardware,
     "CUPTI_ERROR_HARDWARE",
     "ERR_CUPTI",
     "lost",
     "see dmesg for an XID of this GPU"},
    {kCuptiInvalidOperation,
     "CUPTI_ERROR_INVALID_OPERATION",
     "ERR_BUSY",
     "busy",
     "PM sampling is already on for this GPU in this process: end it there first"},
    {kCuptiOutOfMemory, "CUPTI_ERROR_OUT_OF_MEMORY", "ERR_NO_MEMORY", "no_memory", ""},
    {kCuptiNotInitialized,
     "CUPTI_ERROR_NOT_INITIALIZED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "CUPTI must not be newer than the driver: update the driver, or set WARPGAUGE_CUPTI to the "
     "libcupti of the CUDA version that nvidia-smi shows (12.6 or later)"},
    {kCuptiHardwareBusy, "CUPTI_ERROR_HARDWARE_BUSY", "ERR_BUSY", "busy", kBusyFix},
    {kCuptiNotSupported,
     "CUPTI_ERROR_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "PM sampling needs a GPU of Turing (compute capability 7.5) or later, outside MPS"},
    {kCuptiVirtualNotSupported,
     "CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "this virtual GPU has no profiling"},
    {kCuptiInsufficientPrivileges,
     "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",
     "ERR_PERMISSION",
     "no_permission",
     kPrivilegeFix},
    {kCuptiVirtualPrivileges,
     "CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES",
     "ERR_PERMISSION",
     "no_permission",
     "the host must allow profiling for this virtual GPU: enable_profiling=1 in its vGPU "
     "parameters"},
    {kCuptiConfidentialNotSupported,
     "CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "GPUs in confidential mode have no profiling"},
    {kCuptiCmpNotSupported,
     "CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "mining GPUs have no profiling"},
    {kCuptiMigNotSupported,
     "CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "PM sampling of this GPU needs MIG off: sudo nvidia-smi -i N -mig 0"},
    {kCuptiSliNotSupported,
     "CUPTI_ERROR_SLI_DEVICE_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "GPUs joined by SLI have no profiling"},
    {kCuptiWslNotSupported,
     "CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED",
     "ERR_UNAVAILABLE",
     "not_supported",
     "PM sampling does not work under WSL"},
    {kCuptiInvalidChipName,
     "CUPTI_ERROR_INVALID_CHIP_NAME",
     "ERR_UNAVAILABLE",
     "not_supported",
     "this GPU is newer than libcupti: set WARPGAUGE_CUPTI to a later one"},
    {kCuptiUnknown,
     "CUPTI_ERROR_UNKNOWN",
     "ERR_CUPTI",
     "error",
     "see dmesg for the driver's word; libnvperf_host.so and libnvperf_target.so must lie beside "
     "libcupti"},
};

const Meaning* Find(CuptiResult result) {
  for (const Meaning& meaning : kMeanings) {
    if (meaning.result == result) return &meaning;
  }
  return nullptr;
}

// Mapped and left so: CUPTI then finds them by name. Their absence shows at the first call.
void OpenNvperf(const std::string& cupti_path) {
  const size_t slash = cupti_path.rfind('/');
  if (slash == std::string::npos) return;
  for (const char* name : {"libnvperf_host.so", "libnvperf_target.so"}) {
    static_cast<void>(DynamicLibrary::Open({cupti_path.substr(0, slash + 1) + name}));
  }
}

Result<PmTable> Resolve(const DynamicLibrary& library) {
  OpenNvperf(library.path());
  return ResolvePm([&](const char* name) { return library.Find(name); }, library.path());
}

bool IsOpenAlready(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_NOLOAD | RTLD_NOW | RTLD_LOCAL);
  return handle != nullptr;  // a reference more keeps it open, which is what is wanted
}

}  // namespace

bool CuptiSuitsDriver(int major, int cuda_version) {
  return cuda_version == 0 || major <= cuda_version / 1000;
}

Result<PmTable> ResolvePm(const SymbolFinder& find, const std::string& path) {
  PmTable table;
  table.path = path;
  std::string absent;
// NOLINTBEGIN(bugprone-macro-parentheses): `argument` is a type
#define WARPGAUGE_RESOLVE(name, required, argument)                 \
  table.name = reinterpret_cast<PmFunction<argument>>(find(#name)); \
  if ((required) && table.name == nullptr && absent.empty()) absent = #name;
  WARPGAUGE_PM_FUNCTIONS(WARPGAUGE_RESOLVE)
#undef WARPGAUGE_RESOLVE
  // NOLINTEND(bugprone-macro-parentheses)
  if (table.cuptiGetVersion != nullptr) table.cuptiGetVersion(&table.version);
  if (!absent.empty()) {
    return Status("ERR_LIBRARY_MISSING",
                  path + " (CUPTI API version " + std::to_string(table.version) + ") lacks " +
                      absent + ": PM sampling needs CUPTI of CUDA 12.6 (version 24) or later")
        .WithFix(kGetCupti)
        .WithSource(path, 0);
  }
  return table;
}

Result<PmTable> OpenPm(const std::string& override_path, int cuda_version) {
  if (!override_path.empty()) {
    Result<DynamicLibrary> library = DynamicLibrary::Open({override_path});
    if (!library.ok()) {
      return std::move(library.status)
          .WithFix("set WARPGAUGE_CUPTI to the path of a libcupti of CUDA 12.6 or later");
    }
    return Resolve(library.value);
  }
  std::vector<std::string> majors;
  for (const int major : {13, 12}) {
    if (CuptiSuitsDriver(major, cuda_version)) majors.push_back(std::to_string(major));
  }
  std::vector<std::string> names;
  names.reserve(majors.size());
  for (const std::string& major : majors) names.push_back("libcupti.so." + major);
  for (const std::string& name : names) {
    if (!IsOpenAlready(name)) continue;
    const Result<DynamicLibrary> library = DynamicLibrary::Open({name});
    if (library.ok()) return Resolve(library.value);
  }
  for (std::string& file : CuptiLibraryFiles("", majors, ReadEnvironment)) {
    names.push_back(std::move(file));
  }
  // A library without PM sampling (12.0 to 12.5) is passed over for one that has it.
  Status old;
  std::vector<std::string> tried;
  for (const std::string& name : names) {
    Result<DynamicLibrary> library = DynamicLibrary::Open({name});
    if (!library.ok()) {
      tried.push_back(name);
      continue;
    }
    Result<PmTable> table = Resolve(library.value);
    if (table.ok()) return table;
    if (old.ok()) old = std::move(table.status);
  }
  if (!old.ok()) return old;
  std::string text = "No libcupti of CUDA 12.6 or later was found";
  if (cuda_version != 0 && cuda_version < 12000) {
    text += ", and the driver runs CUDA " + std::to_string(cuda_version / 1000) + "." +
            std::to_string(cuda_version % 1000 / 10) + ": PM sampling needs driver 560 or later";
  }
  for (size_t i = 0; i < tried.size(); i++) text += (i == 0 ? "; tried " : ", ") + tried[i];
  return Status("ERR_LIBRARY_MISSING", std::move(text)).WithFix(kGetCupti);
}

Status CuptiStatus(CuptiResult result, const char* function, const std::string& doing) {
  if (result == kCuptiSuccess) return Status::Ok();
  const Meaning* meaning = Find(result);
  std::string text = doing + ": " + function + " failed with ";
  text += meaning != nullptr ? std::string(meaning->name) + " (" + std::to_string(result) + ")"
                             : "CUPTI error " + std::to_string(result);
  return Status(meaning != nullptr ? meaning->code : "ERR_CUPTI", std::move(text))
      .WithFix(meaning != nullptr ? meaning->fix : "")
      .WithSource(function, result);
}

const char* CuptiReason(CuptiResult result) {
  const Meaning* meaning = Find(result);
  return meaning != nullptr ? meaning->reason : "error";
}

}  // namespace warpgauge
