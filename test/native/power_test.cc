// Power, clocks and persistence through our own reader and the calls that change them, on the fake
// NVML.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fake_driver.h"
#include "gpu/nvml/power_change.h"
#include "gpu/nvml/power_driver.h"
#include "gpu/nvml/power_reading.h"

namespace warpgauge {
namespace {

const char* const kGpu = "GPU-53494d55-4c41-5445-4400-000000000000";

// Every test has a text of its own, so that each begins with a fresh machine.
PowerGpuReading Read(bool clocks = false) {
  Result<PowerSystemReading> system = ReadPower(FakeDriver::Nvml(), "/nonexistent", kGpu, clocks);
  REQUIRE_MESSAGE(system.ok(), system.status.message());
  REQUIRE(system.value.gpus.size() == 1);
  CHECK(system.value.simulated);
  return system.value.gpus[0];
}

PowerChange Change(PowerChange::Kind kind) {
  PowerChange change;
  change.kind = kind;
  change.gpu = kGpu;
  return change;
}

TEST_CASE("what a GPU says of power and clocks, and the code of what it does not say") {
  const FakeDriver fake(
      "# reading\nnvml.power_limit_enforced = 500000\nnvml.energy = 12345\nnvml.power_average = "
      "!3\n");
  const PowerGpuReading gpu = Read(true);
  CHECK(gpu.persistence.value == 1);
  CHECK(gpu.limit_requested.value == 700000);
  CHECK(gpu.limit_enforced.value == 500000);
  CHECK(gpu.limit_min.value == 200000);
  CHECK(gpu.limit_max.value == 700000);
  CHECK(gpu.energy.value == 12345);
  CHECK(gpu.draw.code == kNvmlNotSupported);
  CHECK(gpu.draw.value == 0);
  CHECK(gpu.sm_clock.value == 1980);
  CHECK(gpu.supported_memory == std::vector<unsigned>{1593, 3201});
  REQUIRE(gpu.supported_sm.size() == 110);
  CHECK(gpu.supported_sm.front() == 345);
  CHECK(gpu.supported_sm.back() == 1980);
  CHECK(Read().supported_sm.empty());
}

TEST_CASE("each call changes what it says and nothing else") {
  const FakeDriver fake("# changing\n");
  PowerChange change = Change(PowerChange::Kind::kPowerLimit);
  change.limit_mw = 400000;
  CHECK(ChangePower(FakeDriver::Nvml(), change).ok());
  CHECK(Read().limit_requested.value == 400000);
  CHECK(Read().limit_enforced.value == 400000);
  change.limit_mw = 100000;
  const Status refused = ChangePower(FakeDriver::Nvml(), change);
  CHECK(std::string(refused.code()) == "ERR_NVML");
  CHECK(refused.message().find("100000 mW") != std::string::npos);
  CHECK(Read().limit_requested.value == 400000);

  change = Change(PowerChange::Kind::kLockSm);
  change.low_mhz = 345;
  change.high_mhz = 1200;
  CHECK(ChangePower(FakeDriver::Nvml(), change).ok());
  CHECK(Read().sm_clock.value == 1200);
  CHECK(Read().memory_clock.value == 3201);
  change.kind = PowerChange::Kind::kLockMemory;
  change.low_mhz = change.high_mhz = 1593;
  CHECK(ChangePower(FakeDriver::Nvml(), change).ok());
  CHECK(Read().memory_clock.value == 1593);
  CHECK(ChangePower(FakeDriver::Nvml(), Change(PowerChange::Kind::kResetSm)).ok());
  CHECK(Read().sm_clock.value == 1980);
  CHECK(Read().memory_clock.value == 1593);
  CHECK(ChangePower(FakeDriver::Nvml(), Change(PowerChange::Kind::kResetMemory)).ok());
  CHECK(Read().memory_clock.value == 3201);

  change = Change(PowerChange::Kind::kPersistence);
  CHECK(ChangePower(FakeDriver::Nvml(), change).ok());
  CHECK(Read().persistence.value == 0);
  change.enabled = true;
  CHECK(ChangePower(FakeDriver::Nvml(), change).ok());
  CHECK(Read().persistence.value == 1);
}

TEST_CASE("a GPU that is not there and functions that are missing are errors of their own") {
  const FakeDriver fake("# absent\n");
  PowerChange change = Change(PowerChange::Kind::kPowerLimit);
  change.gpu = "GPU-other";
  CHECK(std::string(ChangePower(FakeDriver::Nvml(), change).code()) == "ERR_NO_DEVICE");
  CHECK(std::string(ReadPower(FakeDriver::Nvml(), "", "GPU-other", false).status.code()) ==
        "ERR_NO_DEVICE");
  const PowerTable nothing = ResolvePower([](const char*) -> void* { return nullptr; });
  CHECK_FALSE(bool(nothing.nvmlDeviceSetPowerManagementLimit));
}

}  // namespace
}  // namespace warpgauge
