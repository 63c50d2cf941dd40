#include "gpu/nvml/facts.h"

#include <array>

#include "gpu/nvml/device.h"
#include "gpu/nvml/scheme.h"

namespace warpgauge {
namespace {

// NOLINTBEGIN(google-runtime-int): words of NVML's masks
std::string ListOfBits(const unsigned long* words, size_t count) {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  const auto is_set = [&](size_t bit) {
    return bit < count * kBits && (words[bit / kBits] >> bit % kBits & 1) != 0;
  };
  std::string list;
  for (size_t bit = 0; bit < count * kBits; bit++) {
    if (!is_set(bit)) continue;
    const size_t first = bit;
    while (is_set(bit + 1)) bit++;
    if (!list.empty()) list += ',';
    list += std::to_string(first);
    if (bit > first) list.append("-").append(std::to_string(bit));
  }
  return list;
}
// NOLINTEND(google-runtime-int)

// Nodes and CPUs of the largest machines that Linux runs on.
constexpr size_t kNodeWords = 16;
constexpr size_t kCpuWords = 128;

// Collects the facts of one device; each method asks one function that may not exist.
class Asker {
 public:
  Asker(const NvmlTable& table, NvmlDevice device) : table_(table), device_(device) {}

  void Text(const char* name, const std::string& text) {
    GpuFact fact;
    fact.name = name;
    fact.kind = GpuFact::Kind::kText;
    fact.text = text;
    facts_.push_back(std::move(fact));
  }
  void Number(const char* name, double number) {
    GpuFact fact;
    fact.name = name;
    fact.kind = GpuFact::Kind::kNumber;
    fact.number = number;
    facts_.push_back(std::move(fact));
  }
  void Flag(const char* name, bool flag) {
    GpuFact fact;
    fact.name = name;
    fact.kind = GpuFact::Kind::kFlag;
    fact.flag = flag;
    facts_.push_back(std::move(fact));
  }
  void Null(const char* name, NvmlReturn code) { Null(name, NvmlReason(code)); }
  void Null(const char* name, const char* reason) {
    GpuFact fact;
    fact.name = name;
    fact.reason = reason;
    facts_.push_back(std::move(fact));
  }

  template <typename F>
  void AskText(const char* name, F* function, unsigned size) {
    char text[96] = {};
    const NvmlReturn code =
        function == nullptr ? kNvmlFunctionNotFound : function(device_, text, size);
    if (code == kNvmlSuccess) {
      Text(name, text);
    } else {
      Null(name, code);
    }
  }
  // An answer of type T, scaled into the base unit of the name.
  template <typename T, typename F, typename... Before>
  void AskNumber(const char* name, double scale, F* function, Before... before) {
    T value{};
    const NvmlReturn code =
        function == nullptr ? kNvmlFunctionNotFound : function(device_, before..., &value);
    if (code != kNvmlSuccess) {
      Null(name, code);
    } else if (value == static_cast<T>(-1)) {
      Null(name, "out_of_range");
    } else {
      Number(name, static_cast<double>(value) * scale);
    }
  }
  template <typename F>
  void AskTwo(const char* first, const char* second, F* function, bool flags) {
    unsigned values[2] = {};
    const NvmlReturn code =
        function == nullptr ? kNvmlFunctionNotFound : function(device_, &values[0], &values[1]);
    for (int i = 0; i < 2; i++) {
      const char* name = i == 0 ? first : second;
      if (code != kNvmlSuccess) {
        Null(name, code);
      } else if (flags) {
        Flag(name, values[i] != 0);
      } else {
        Number(name, values[i] / 1e3);
      }
    }
  }
  // The numbers of the bits that are set, in the kernel's form: 0-3,8.
  template <size_t kWords, typename F>
  void AskNumbers(const char* name, F* function) {
    std::array<unsigned long, kWords> mask = {};  // NOLINT(google-runtime-int): NVML's type
    const NvmlReturn code = function == nullptr
                                ? kNvmlFunctionNotFound
                                : function(device_, kWords, mask.data(), kNvmlAffinityNode);
    if (code == kNvmlSuccess) {
      Text(name, ListOfBits(mask.data(), kWords));
    } else {
      Null(name, code);
    }
  }
  void AskAll(const std::string& pci_address);
  std::vector<GpuFact> Take() { return std::move(facts_); }

 private:
  const NvmlTable& table_;
  NvmlDevice device_;
  std::vector<GpuFact> facts_;
};

const char* ArchitectureName(unsigned number) {
  switch (number) {
    case 2:
      return "Kepler";
    case 3:
      return "Maxwell";
    case 4:
      return "Pascal";
    case 5:
      return "Volta";
    case 6:
      return "Turing";
    case 7:
      return "Ampere";
    case 8:
      return "Ada";
    case 9:
      return "Hopper";
    case 10:
      return "Blackwell";
    case 13:
      return "Rubin";
    default:
      return nullptr;
  }
}

const char* ComputeModeName(int mode) {
  switch (mode) {
    case 0:
      return "default";
    case 1:
      return "exclusive-thread";
    case 2:
      return "prohibited";
    case 3:
      return "exclusive-process";
    default:
      return nullptr;
  }
}

void Asker::AskAll(const std::string& pci_address) {
  AskText("name", table_.nvmlDeviceGetName, kNvmlNameBytes);
  AskText("uuid", table_.nvmlDeviceGetUUID, kNvmlUuidBytes);
  Text("pciAddress", pci_address);
  AskText("serial", table_.nvmlDeviceGetSerial, kNvmlSerialBytes);
  AskText("vbios", table_.nvmlDeviceGetVbiosVersion, kNvmlVbiosBytes);
  unsigned architecture = 0;
  NvmlReturn code = table_.nvmlDeviceGetArchitecture == nullptr
                        ? kNvmlFunctionNotFound
                        : table_.nvmlDeviceGetArchitecture(device_, &architecture);
  if (code != kNvmlSuccess) {
    Null("architecture", code);
  } else if (const char* name = ArchitectureName(architecture)) {
    Text("architecture", name);
  } else {
    Text("architecture", "number " + std::to_string(architecture));
  }
  int major = 0;
  int minor = 0;
  code = table_.nvmlDeviceGetCudaComputeCapability == nullptr
             ? kNvmlFunctionNotFound
             : table_.nvmlDeviceGetCudaComputeCapability(device_, &major, &minor);
  if (code == kNvmlSuccess) {
    Text("computeCapability", std::to_string(major) + "." + std::to_string(minor));
  } else {
    Null("computeCapability", code);
  }
  NvmlMemory memory;
  code = NvmlScheme(table_).ReadMemory(device_, &memory);
  if (code != kNvmlSuccess) {
    Null("memoryBytes", code);
  } else if (memory.total == kNvmlNotAvailable64) {
    Null("memoryBytes", "out_of_range");
  } else {
    Number("memoryBytes", static_cast<double>(memory.total));
  }
  AskTwo("migEnabled", "migPending", table_.nvmlDeviceGetMigMode, true);
  int mode = 0;
  code = table_.nvmlDeviceGetComputeMode == nullptr
             ? kNvmlFunctionNotFound
             : table_.nvmlDeviceGetComputeMode(device_, &mode);
  if (code != kNvmlSuccess) {
    Null("computeMode", code);
  } else if (const char* name = ComputeModeName(mode)) {
    Text("computeMode", name);
  } else {
    Null("computeMode", "out_of_range");
  }
  int persistence = 0;
  code = table_.nvmlDeviceGetPersistenceMode == nullptr
             ? kNvmlFunctionNotFound
             : table_.nvmlDeviceGetPersistenceMode(device_, &persistence);
  if (code == kNvmlSuccess) {
    Flag("persistence", persistence != 0);
  } else {
    Null("persistence", code);
  }
  int ecc[2] = {};
  code = table_.nvmlDeviceGetEccMode == nullptr
             ? kNvmlFunctionNotFound
             : table_.nvmlDeviceGetEccMode(device_, &ecc[0], &ecc[1]);
  for (int i = 0; i < 2; i++) {
    const char* name = i == 0 ? "eccEnabled" : "eccPending";
    if (code == kNvmlSuccess) {
      Flag(name, ecc[i] != 0);
    } else {
      Null(name, code);
    }
  }
  AskNumber<unsigned>("powerLimitWatts", 1e-3, table_.nvmlDeviceGetPowerManagementLimit);
  AskNumber<unsigned>("powerEnforcedLimitWatts", 1e-3, table_.nvmlDeviceGetEnforcedPowerLimit);
  AskNumber<unsigned>(
      "powerDefaultLimitWatts", 1e-3, table_.nvmlDeviceGetPowerManagementDefaultLimit);
  AskTwo("powerMinLimitWatts",
         "powerMaxLimitWatts",
         table_.nvmlDeviceGetPowerManagementLimitConstraints,
         false);
  AskNumber<unsigned>("clockGraphicsMaxHertz", 1e6, table_.nvmlDeviceGetMaxClockInfo, 0);
  AskNumber<unsigned>("clockSmMaxHertz", 1e6, table_.nvmlDeviceGetMaxClockInfo, 1);
  AskNumber<unsigned>("clockMemoryMaxHertz", 1e6, table_.nvmlDeviceGetMaxClockInfo, 2);
  AskNumber<unsigned>("pcieGenerationMax", 1, table_.nvmlDeviceGetMaxPcieLinkGeneration);
  AskNumber<unsigned>("pcieWidthMax", 1, table_.nvmlDeviceGetMaxPcieLinkWidth);
  AskNumber<unsigned>("numaNode", 1, table_.nvmlDeviceGetNumaNodeId);
  AskNumbers<kNodeWords>("nearNodes", table_.nvmlDeviceGetMemoryAffinity);
  AskNumbers<kCpuWords>("nearCpus", table_.nvmlDeviceGetCpuAffinityWithinScope);
}

// The names AskAll gives, for a device that must not be asked.
std::vector<GpuFact> Unasked(const std::string& pci_address, const char* reason) {
  const NvmlTable nothing;
  Asker asker(nothing, nullptr);
  asker.AskAll(pci_address);
  std::vector<GpuFact> facts = asker.Take();
  for (GpuFact& fact : facts) {
    if (fact.kind == GpuFact::Kind::kNull) fact.reason = reason;
  }
  return facts;
}

std::string CudaText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

Result<GpuSystemFacts> ReadGpuFacts(const std::string& override_path, const std::string& root) {
  Result<NvmlTable> opened = OpenNvml(override_path);
  if (!opened.ok()) return opened.status;
  const NvmlTable& table = opened.value;
  if (table.nvmlInit_v2 == nullptr || table.nvmlShutdown == nullptr ||
      table.nvmlDeviceGetHandleByPciBusId_v2 == nullptr) {
    return Status(
        "ERR_SYMBOL_MISSING",
        table.path + " lacks nvmlInit_v2, nvmlShutdown or nvmlDeviceGetHandleByPciBusId_v2");
  }
  if (NvmlReturn code = table.nvmlInit_v2(); code != kNvmlSuccess) {
    return NvmlStatus(code, "nvmlInit_v2", "Initializing NVML");
  }
  GpuSystemFacts system;
  system.library = table.path;
  char text[kNvmlVersionBytes] = {};
  if (table.nvmlSystemGetDriverVersion != nullptr &&
      table.nvmlSystemGetDriverVersion(text, sizeof(text)) == kNvmlSuccess) {
    system.driver = text;
  }
  if (table.nvmlSystemGetNVMLVersion != nullptr &&
      table.nvmlSystemGetNVMLVersion(text, sizeof(text)) == kNvmlSuccess) {
    system.nvml = text;
  }
  int cuda = 0;
  if (table.nvmlSystemGetCudaDriverVersion_v2 != nullptr &&
      table.nvmlSystemGetCudaDriverVersion_v2(&cuda) == kNvmlSuccess) {
    system.cuda = CudaText(cuda);
  }
  system.simulated = SaysSimulated(system.driver);
  for (const NvmlFoundDevice& found : FindDevices(table, root, false)) {
    GpuFacts gpu;
    if (found.handle == nullptr) {
      gpu.facts = Unasked(found.pci_address, found.asleep ? "asleep" : NvmlReason(found.code));
    } else {
      Asker asker(table, found.handle);
      asker.AskAll(found.pci_address);
      gpu.facts = asker.Take();
      system.simulated |= SaysSimulated(gpu.facts[0].text);
      for (const NvmlInstance& instance : ReadInstances(table, found.handle)) {
        MigInstanceFacts facts;
        facts.uuid = instance.uuid;
        if (instance.gpu_instance != kNvmlNotAvailable32)
          facts.gpu_instance = instance.gpu_instance;
        if (instance.compute_instance != kNvmlNotAvailable32)
          facts.compute_instance = instance.compute_instance;
        NvmlAttributes attributes = {};
        if (table.nvmlDeviceGetAttributes_v2 != nullptr &&
            table.nvmlDeviceGetAttributes_v2(instance.handle, &attributes) == kNvmlSuccess) {
          facts.memory_bytes = static_cast<int64_t>(attributes.memory_mib) << 20;
          facts.multiprocessors = attributes.multiprocessors;
        }
        gpu.instances.push_back(std::move(facts));
      }
    }
    system.gpus.push_back(std::move(gpu));
  }
  table.nvmlShutdown();
  return system;
}

}  // namespace warpgauge
