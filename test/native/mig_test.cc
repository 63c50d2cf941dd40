// MIG through our own reader and the calls that change it, on the fake NVML; and the fake's rules,
// on which all tests of partitions stand.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fake/nvml_mig_abi.h"
#include "fake_driver.h"
#include "gpu/nvml/mig_change.h"
#include "gpu/nvml/mig_reading.h"
#include "gpu/nvml/power_abi.h"

#if __has_include(<nvml.h>)
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>

#include "abi_compat.h"
#endif

namespace warpgauge {
namespace {

const char* const kGpu = "GPU-53494d55-4c41-5445-4400-000000000000";
const char* const kBoard = "nvml.0.mig_board = H100-80\nnvml.0.mig_mode = 1\n";

// Every test has a text of its own, so that each begins with a fresh machine; without a state file
// that lives in the process.
std::string Script(const std::string& more) { return kBoard + more; }

MigGpuReading Read() {
  Result<MigSystemReading> system = ReadMig(FakeDriver::Nvml(), "/nonexistent", kGpu);
  REQUIRE_MESSAGE(system.ok(), system.status.message());
  REQUIRE(system.value.gpus.size() == 1);
  CHECK(system.value.simulated);
  return system.value.gpus[0];
}

MigChange Change(MigChange::Kind kind) {
  MigChange change;
  change.kind = kind;
  change.gpu = kGpu;
  return change;
}

Result<MigChangeResult> Create(unsigned profile, unsigned start, unsigned size) {
  MigChange change = Change(MigChange::Kind::kCreateInstance);
  change.profile = profile;
  change.start = start;
  change.size = size;
  return ChangeMig(FakeDriver::Nvml(), change);
}

Result<MigChangeResult> CreateCompute(unsigned instance,
                                      unsigned profile,
                                      unsigned start,
                                      unsigned size) {
  MigChange change = Change(MigChange::Kind::kCreateCompute);
  change.instance = instance;
  change.profile = profile;
  change.start = start;
  change.size = size;
  return ChangeMig(FakeDriver::Nvml(), change);
}

Result<MigChangeResult> Destroy(unsigned instance) {
  MigChange change = Change(MigChange::Kind::kDestroyInstance);
  change.instance = instance;
  return ChangeMig(FakeDriver::Nvml(), change);
}

TEST_CASE("profiles with their places are those of the board") {
  const FakeDriver fake(Script("# profiles\n"));
  const MigGpuReading gpu = Read();
  CHECK(gpu.mode);
  CHECK(gpu.without_reset == 1);
  CHECK(gpu.profiles_code == kNvmlSuccess);
  REQUIRE(gpu.profiles.size() == 7);
  const auto at = [&](unsigned id) {
    return *std::find_if(
        gpu.profiles.begin(), gpu.profiles.end(), [&](const auto& one) { return one.id == id; });
  };
  CHECK(at(9).name == "3g.40gb");
  CHECK(at(9).number == 2);
  CHECK(at(9).starts == std::vector<unsigned>{0, 4});
  CHECK(at(9).memory_slices == 4);
  CHECK(at(9).multiprocessors == 60);
  CHECK(at(20).name == "1g.10gb+me");
  CHECK(at(20).count == 1);
  CHECK(at(15).starts == std::vector<unsigned>{0, 2, 4, 6});
}

TEST_CASE("what a library lacks or refuses is told, and the rest is read") {
  {
    const FakeDriver fake(Script("error.nvmlDeviceGetGpuInstancePossiblePlacements_v2 = 4@1\n"));
    const MigGpuReading gpu = Read();
    CHECK(gpu.profiles_code == kNvmlNoPermission);
    CHECK(gpu.profiles.size() == 7);
    CHECK(gpu.profiles[0].starts.empty());
  }
  {
    const FakeDriver fake(Script("error.nvmlDeviceGetGpuInstanceProfileInfoV = 25@1\n"));
    const MigGpuReading gpu = Read();  // falls back to the first version, which has no names
    REQUIRE(gpu.profiles.size() == 7);
    CHECK(gpu.profiles[0].name.empty());
    CHECK(gpu.profiles[0].memory_mib == 9984);
  }
  {
    const FakeDriver fake("# a GPU without MIG\n");
    const MigGpuReading gpu = Read();
    CHECK_FALSE(gpu.mode);
    CHECK(gpu.profiles.empty());
    CHECK(gpu.profiles_code == kNvmlNotSupported);
  }
}

TEST_CASE("instances are made where asked, and the driver's rules hold") {
  const FakeDriver fake(Script("# rules\n"));
  const Result<MigChangeResult> first = Create(9, 4, 4);
  REQUIRE(first.ok());
  const auto id = static_cast<unsigned>(first.value.created);
  CHECK(Create(9, 4, 4).status.number() == kNvmlInsufficientResources);   // the same place
  CHECK(Create(19, 5, 1).status.number() == kNvmlInsufficientResources);  // inside it
  CHECK(Create(9, 1, 4).status.number() == kNvmlInvalidArgument);         // no place of it
  CHECK(Create(9, 0, 3).status.number() == kNvmlInvalidArgument);         // not its size
  REQUIRE(Create(20, 0, 1).ok());
  CHECK(Create(20, 1, 1).status.number() == kNvmlInsufficientResources);  // one at most
  REQUIRE(CreateCompute(id, 1, 0, 2).ok());
  CHECK(CreateCompute(id, 0, 1, 1).status.number() == kNvmlInsufficientResources);
  const Result<MigChangeResult> compute = CreateCompute(id, 0, 2, 1);
  REQUIRE(compute.ok());
  CHECK(compute.value.uuid.compare(0, 4, "MIG-") == 0);
  CHECK(CreateCompute(id, 3, 0, 4).status.number() == kNvmlNotSupported);
  CHECK(Destroy(id).status.number() == kNvmlInUse);  // compute instances go first
  MigGpuReading gpu = Read();
  REQUIRE(gpu.instances.size() == 2);
  CHECK(gpu.instances[1].start == 4);
  REQUIRE(gpu.instances[1].compute.size() == 2);
  CHECK(gpu.instances[1].compute[0].slices == 2);
  CHECK(gpu.instances[1].compute[1].start == 2);
  CHECK(gpu.instances[1].compute[1].uuid == compute.value.uuid);
  for (const MigComputeReading& one : gpu.instances[1].compute) {
    MigChange change = Change(MigChange::Kind::kDestroyCompute);
    change.instance = id;
    change.compute = one.id;
    CHECK(ChangeMig(FakeDriver::Nvml(), change).ok());
    CHECK_FALSE(ChangeMig(FakeDriver::Nvml(), change).ok());
  }
  CHECK(Destroy(id).ok());
  CHECK(Destroy(id).status.number() == kNvmlNotFound);
  gpu = Read();
  CHECK(gpu.instances.size() == 1);
}

TEST_CASE("a process keeps its instance, and a leaked handle does too") {
  const FakeDriver fake(Script("nvml.0.processes = 4242:C:1000:1:0\nnvml.0.leaked = 7\n"));
  REQUIRE(Create(9, 0, 4).ok());
  REQUIRE(CreateCompute(1, 2, 0, 3).ok());
  REQUIRE(Create(19, 4, 1).ok());
  const MigGpuReading gpu = Read();
  REQUIRE(gpu.instances[0].compute.size() == 1);
  CHECK(gpu.instances[0].compute[0].pids == std::vector<unsigned>{4242});
  CHECK(gpu.pids == std::vector<unsigned>{4242});
  MigChange change = Change(MigChange::Kind::kDestroyCompute);
  change.instance = 1;
  CHECK(ChangeMig(FakeDriver::Nvml(), change).status.number() == kNvmlInUse);
  CHECK(Destroy(7).status.number() == kNvmlInUse);
}

TEST_CASE("a mode is current at once, pending on a client, or pending on a reset") {
  const auto set_mode = [](bool enabled) {
    MigChange change = Change(MigChange::Kind::kSetMode);
    change.enabled = enabled;
    return ChangeMig(FakeDriver::Nvml(), change);
  };
  {
    const FakeDriver fake("nvml.0.mig_board = A100-40\n# at once\n");
    CHECK(set_mode(true).value.activation == 0);
    CHECK(Read().mode);
    REQUIRE(Create(19, 0, 1).ok());
    CHECK(set_mode(false).status.number() == kNvmlInUse);
  }
  {
    const FakeDriver fake("nvml.0.mig_board = A100-40\nnvml.0.holders = 2\n");
    CHECK(set_mode(true).value.activation == kNvmlInUse);
    CHECK_FALSE(Read().mode);
    CHECK(Read().pending);
  }
  {
    const FakeDriver fake("nvml.0.mig_board = A100-40\nnvml.0.mig_reset = 1\n");
    CHECK(set_mode(true).value.activation == kNvmlResetRequired);
    CHECK_FALSE(Read().mode);
  }
}

TEST_CASE("a GPU that is not there and functions that are missing are errors of their own") {
  const FakeDriver fake(Script("# absent\n"));
  MigChange change = Change(MigChange::Kind::kSetMode);
  change.gpu = "GPU-other";
  CHECK(std::string(ChangeMig(FakeDriver::Nvml(), change).status.code()) == "ERR_NO_DEVICE");
  CHECK(std::string(ReadMig(FakeDriver::Nvml(), "", "GPU-other").status.code()) == "ERR_NO_DEVICE");
  const MigTable nothing = ResolveMig([](const char*) -> void* { return nullptr; });
  CHECK_FALSE(bool(nothing.nvmlDeviceSetMigMode));
}

TEST_CASE("the structs and functions of MIG and power are those of the real nvml.h") {
#if __has_include(<nvml.h>)
  CHECK(sizeof(NvmlMigProfileV1) == sizeof(nvmlGpuInstanceProfileInfo_t));
  CHECK(sizeof(NvmlMigProfile) == sizeof(nvmlGpuInstanceProfileInfo_v2_t));
  CHECK(kNvmlMigProfileVersion2 == nvmlGpuInstanceProfileInfo_v2);
  CHECK(offsetof(NvmlMigProfile, memory_mib) ==
        offsetof(nvmlGpuInstanceProfileInfo_v2_t, memorySizeMB));
  CHECK(offsetof(NvmlMigProfile, name) == offsetof(nvmlGpuInstanceProfileInfo_v2_t, name));
  CHECK(sizeof(NvmlGpuInstanceInfo) == sizeof(nvmlGpuInstanceInfo_t));
  CHECK(offsetof(NvmlGpuInstanceInfo, placement) == offsetof(nvmlGpuInstanceInfo_t, placement));
  CHECK(sizeof(NvmlMigComputeProfile) == sizeof(nvmlComputeInstanceProfileInfo_t));
  CHECK(sizeof(NvmlComputeInstanceInfo) == sizeof(nvmlComputeInstanceInfo_t));
  CHECK(sizeof(NvGiProfileV2) == sizeof(nvmlGpuInstanceProfileInfo_v2_t));
  CHECK(sizeof(NvCiProfileV2) == sizeof(nvmlComputeInstanceProfileInfo_v2_t));
  CHECK(kNvmlInUse == NVML_ERROR_IN_USE);
  CHECK(kNvmlInsufficientResources == NVML_ERROR_INSUFFICIENT_RESOURCES);
#define COMPARE(name, ...)                                                                         \
  static_assert(CompatibleFunctions<__VA_ARGS__, std::remove_pointer_t<decltype(&::name)>>::value, \
                #name);
  WARPGAUGE_MIG_FUNCTIONS_11(COMPARE)
  WARPGAUGE_POWER_FUNCTIONS(COMPARE)
#ifdef nvmlClocksEventReasonGpuIdle
  WARPGAUGE_MIG_FUNCTIONS_12(COMPARE)
#endif
#undef COMPARE
#else
  MESSAGE("no nvml.h is installed: not compared");
#endif
}

}  // namespace
}  // namespace warpgauge
