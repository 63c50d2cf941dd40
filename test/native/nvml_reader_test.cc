#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>

#include "core/clock.h"
#include "core/dynamic_library.h"
#include "fake_driver.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/reader.h"

namespace warpgauge {
namespace {

constexpr const char* kAddress = "0000:83:00.0";

std::string Code(const Status& status) { return status.code(); }

NvmlValue Get(const NvmlReading& reading, NvmlMetric metric) {
  return reading[static_cast<size_t>(metric)];
}

Result<std::unique_ptr<NvmlReader>> OpenFake() {
  const Result<NvmlTable> table = OpenNvml(FakeDriver::Nvml());
  if (!table.ok()) return table.status;
  return NvmlReader::Open(table.value, kAddress);
}

TEST_CASE("the gate opens for a kernel driver, for WSL and for an explicit path only") {
  char root[] = "/tmp/warpgauge-gate-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string at = root;
  CHECK_FALSE(KernelDriverPresent(at));
  const Status closed = PassDriverGate(at, "");
  CHECK(Code(closed) == "ERR_NO_DRIVER");
  CHECK(closed.fix().find("modprobe nvidia") != std::string::npos);
  CHECK(PassDriverGate(at, "/some/libcuda.so.1").ok());

  std::string path = at;
  for (const char* part : {"/proc", "/driver", "/nvidia", "/version"}) {
    path += part;
    REQUIRE(mkdir(path.c_str(), 0700) == 0);
  }
  CHECK(KernelDriverPresent(at));
  CHECK(PassDriverGate(at, "").ok());
  while (path.size() >= at.size()) {
    rmdir(path.c_str());
    path.resize(path.rfind('/'));
  }
}

TEST_CASE("a library that is not there names what was tried and the variable that sets it") {
  const Result<NvmlTable> table = OpenNvml("/nowhere/libnvidia-ml.so.1");
  CHECK(Code(table.status) == "ERR_LIBRARY_MISSING");
  CHECK(table.status.message().find("/nowhere/libnvidia-ml.so.1") != std::string::npos);
  CHECK(table.status.fix().find("WARPGAUGE_NVML") != std::string::npos);
}

TEST_CASE("a loaded H200 is read, found by PCI address") {
  const FakeDriver fake("");
  auto reader = OpenFake();
  REQUIRE_MESSAGE(reader.ok(), reader.status.message());
  CHECK(reader.value->name() == "Simulated NVIDIA H200");
  CHECK(reader.value->uuid() == "GPU-53494d55-4c41-5445-4400-000000000000");
  CHECK(reader.value->driver() == "Simulated 590.48.01");
  CHECK(reader.value->max_pcie_generation() == 5);
  CHECK(reader.value->max_pcie_width() == 16);
  const NvmlReading reading = reader.value->Read();
  CHECK(Get(reading, NvmlMetric::kSmClock).value == 1980);
  CHECK(Get(reading, NvmlMetric::kMemoryClock).value == 3201);
  CHECK(Get(reading, NvmlMetric::kPcieGeneration).value == 5);
  CHECK(Get(reading, NvmlMetric::kPcieWidth).value == 16);
  CHECK(Get(reading, NvmlMetric::kReplays).value == 0);
  CHECK(Get(reading, NvmlMetric::kClockReasons).value == 0);
  reader.value.reset();
  CHECK(fake.Count("nvmlShutdown") == 1);
  // The index of NVML is not that of CUDA: no function takes one.
  for (const std::string& call : fake.Calls()) CHECK(call.find("ByIndex") == std::string::npos);
}

TEST_CASE("changing values are followed: link, replays, throttling") {
  const FakeDriver fake(
      "nvml.pcie_gen = 1, 4, 5\nnvml.pcie_width = 16, 8\nnvml.replays = 7\nnvml.replays_step = 3\n"
      "nvml.sm_mhz = 345, 1980\nnvml.reasons = 1, 0x40\n");
  auto reader = OpenFake();
  REQUIRE(reader.ok());
  const NvmlReading first = reader.value->Read();
  const NvmlReading second = reader.value->Read();
  const NvmlReading third = reader.value->Read();
  CHECK(Get(first, NvmlMetric::kPcieGeneration).value == 1);
  CHECK(Get(second, NvmlMetric::kPcieGeneration).value == 4);
  CHECK(Get(third, NvmlMetric::kPcieGeneration).value == 5);
  CHECK(Get(second, NvmlMetric::kPcieWidth).value == 8);
  CHECK(Get(first, NvmlMetric::kReplays).value == 7);
  CHECK(Get(third, NvmlMetric::kReplays).value == 13);
  CHECK(Get(first, NvmlMetric::kSmClock).value == 345);
  CHECK(Get(first, NvmlMetric::kClockReasons).value == kNvmlReasonIdle);
  CHECK(Get(second, NvmlMetric::kClockReasons).value == kNvmlReasonHwThermal);
}

TEST_CASE("what a device does not support is -1 with the code, asked once") {
  const FakeDriver fake(
      "error.nvmlDeviceGetPcieReplayCounter = 3\nerror.nvmlDeviceGetCurrPcieLinkWidth = 4\n"
      "error_once.nvmlDeviceGetCurrPcieLinkGeneration = 27@1\n");
  auto reader = OpenFake();
  REQUIRE(reader.ok());
  const NvmlReading first = reader.value->Read();
  const NvmlReading second = reader.value->Read();
  CHECK(Get(first, NvmlMetric::kReplays).value == -1);
  CHECK(Get(second, NvmlMetric::kReplays).code == kNvmlNotSupported);
  CHECK(Get(second, NvmlMetric::kPcieWidth).code == kNvmlNoPermission);
  CHECK(fake.Count("nvmlDeviceGetPcieReplayCounter") == 1);
  // "Not ready" passes: the next reading has it again.
  CHECK(Get(first, NvmlMetric::kPcieGeneration).value == -1);
  CHECK(Get(second, NvmlMetric::kPcieGeneration).value == 5);
  CHECK(Get(first, NvmlMetric::kSmClock).value == 1980);
}

TEST_CASE("a lost GPU is all -1, and is not asked again") {
  const FakeDriver fake("nvml.lost_from_call = 7\n");
  auto reader = OpenFake();
  REQUIRE(reader.ok());
  const NvmlReading first = reader.value->Read();
  CHECK(reader.value->lost());
  CHECK(Get(first, NvmlMetric::kSmClock).value == 1980);
  CHECK(Get(first, NvmlMetric::kClockReasons).value == -1);
  const size_t calls = fake.Calls().size();
  const NvmlReading second = reader.value->Read();
  for (const NvmlValue& value : second) {
    CHECK(value.value == -1);
    CHECK(value.code == kNvmlGpuIsLost);
  }
  CHECK(fake.Calls().size() == calls);
}

TEST_CASE("a call that hangs is only as slow as the driver") {
  const FakeDriver fake("latency_us.nvmlDeviceGetClockInfo = 20000\n");
  auto reader = OpenFake();
  REQUIRE(reader.ok());
  const int64_t begin = MonotonicNs();
  CHECK(Get(reader.value->Read(), NvmlMetric::kSmClock).value == 1980);
  CHECK(MonotonicNs() - begin >= 40'000'000);
}

TEST_CASE("failures to open carry their own code") {
  {
    const FakeDriver fake("error.nvmlInit_v2 = 9\n");
    const auto reader = OpenFake();
    CHECK(Code(reader.status) == "ERR_NO_DRIVER");
    CHECK(reader.status.number() == 9);
    CHECK(fake.Count("nvmlShutdown") == 0);
  }
  {
    const FakeDriver fake("error.nvmlInit_v2 = 18\n");
    const auto reader = OpenFake();
    CHECK(Code(reader.status) == "ERR_NVML");
    CHECK(reader.status.source() == "nvmlInit_v2");
    CHECK_FALSE(reader.status.fix().empty());
  }
  {
    const FakeDriver fake("pci = 0000:01:00.0\n");
    const auto reader = OpenFake();
    CHECK(Code(reader.status) == "ERR_NO_DEVICE");
    CHECK(fake.Count("nvmlShutdown") == 1);
  }
  {
    const FakeDriver fake("error.nvmlDeviceGetHandleByPciBusId_v2 = 15\n");
    CHECK(Code(OpenFake().status) == "ERR_NVML");
    CHECK(fake.Count("nvmlShutdown") == 1);
  }
}

NvmlTable Without(const std::set<std::string>& hidden) {
  const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Nvml()});
  REQUIRE(library.ok());
  return ResolveNvml(
      [&](const char* name) { return hidden.contains(name) ? nullptr : library.value.Find(name); },
      "hidden");
}

TEST_CASE("the older name of the clock reasons is taken where the newer is missing") {
  const FakeDriver fake("nvml.reasons = 4\n");
  auto reader = NvmlReader::Open(Without({"nvmlDeviceGetCurrentClocksEventReasons"}), kAddress);
  REQUIRE(reader.ok());
  CHECK(Get(reader.value->Read(), NvmlMetric::kClockReasons).value == kNvmlReasonPowerCap);
  CHECK(fake.Count("nvmlDeviceGetCurrentClocksThrottleReasons") == 1);
}

TEST_CASE("every missing function is a missing value and nothing else") {
  const FakeDriver fake("");
#define HIDE(name, ...)                                                             \
  {                                                                                 \
    CAPTURE(#name);                                                                 \
    const std::string symbol = #name;                                               \
    const NvmlTable table = Without({symbol});                                      \
    CHECK(std::count(table.missing.begin(), table.missing.end(), symbol) == 1);     \
    auto reader = NvmlReader::Open(table, kAddress);                                \
    if (symbol == "nvmlInit_v2" || symbol == "nvmlShutdown" ||                      \
        symbol == "nvmlDeviceGetHandleByPciBusId_v2") {                             \
      CHECK(Code(reader.status) == "ERR_SYMBOL_MISSING");                           \
    } else {                                                                        \
      REQUIRE(reader.ok());                                                         \
      for (const NvmlValue& value : reader.value->Read()) {                         \
        CHECK((value.code == kNvmlSuccess) == (value.value >= 0));                  \
        CHECK((value.code == kNvmlSuccess || value.code == kNvmlFunctionNotFound)); \
      }                                                                             \
    }                                                                               \
  }
  WARPGAUGE_NVML_FUNCTIONS(HIDE)
#undef HIDE
}

}  // namespace
}  // namespace warpgauge
