// Whole samples (map, place, fill, copy, verify, unmap) through the CUDA backend on the
// fake driver. The fake copies real memory, so the faults that its copies take are real;
// its times mean nothing.
#include <doctest/doctest.h>

#include <string>

#include "copy/cuda_backend.h"
#include "copy/sample.h"
#include "fake_driver.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace warpgauge {
namespace {

constexpr size_t kBytes = 4 << 20;
constexpr int64_t kPages = kBytes / 4096;

SampleSpec Spec(SampleOp op, PinMode pin, bool cold, PageKind kind = PageKind::k4K) {
  SampleSpec spec;
  spec.op = op;
  spec.pin = pin;
  spec.cold = cold;
  spec.driver_memory = pin == PinMode::kHostAlloc;
  spec.kind = kind;
  spec.bytes = kBytes;
  spec.pattern_seed = 99;
  spec.flush_bytes = 1 << 20;
  return spec;
}

Result<SampleReading> Run(const SampleSpec& spec) {
  auto backend = OpenCudaBackend(0, FakeDriver::Cuda(), FakeDriver::Nvml());
  if (!backend.ok()) return backend.status;
  SampleRunner runner(std::move(backend.value), -1);
  return runner.Run(spec);
}

int64_t PhaseNs(const SampleReading& reading, Phase phase) {
  return reading.phases[static_cast<size_t>(phase)];
}

TEST_CASE("every legal cell of the CUDA backend runs and is verified") {
  const FakeDriver fake("");
  for (const SampleOp op : {SampleOp::kHtoD, SampleOp::kDtoH, SampleOp::kVectorAdd}) {
    for (const PinMode pin : {PinMode::kNone, PinMode::kRegister, PinMode::kHostAlloc}) {
      for (const bool cold : {false, true}) {
        const bool hostalloc = pin == PinMode::kHostAlloc;
        if (hostalloc && (cold || op == SampleOp::kVectorAdd)) continue;
        if (op == SampleOp::kHtoD && cold && pin == PinMode::kNone) continue;
        CAPTURE(static_cast<int>(op));
        CAPTURE(static_cast<int>(pin));
        CAPTURE(cold);
        const auto reading = Run(Spec(op, pin, cold));
        REQUIRE_MESSAGE(reading.ok(), reading.status.message());
        CHECK(reading.value.verified);
        CHECK(reading.value.host_ns > 0);
        const bool copies = !(op == SampleOp::kHtoD && cold);
        CHECK((reading.value.event_ns >= 0) == copies);
        if (copies) {
          CHECK(reading.value.has_gpu);
          CHECK(reading.value.gpu_before.pcie_gen == 5);
          CHECK(reading.value.gpu_after.sm_mhz == 1980);
          CHECK(std::string(reading.value.verified_by) ==
                (op == SampleOp::kHtoD ? "readback" : "compare"));
        }
        CHECK((PhaseNs(reading.value, Phase::kRegister) > 0) == (pin == PinMode::kRegister));
        CHECK((PhaseNs(reading.value, Phase::kUnregister) > 0) == (pin == PinMode::kRegister));
        // Whatever is written for the first time inside the timed region, and nothing else, faults.
        const bool faults = cold && (pin == PinMode::kNone || op == SampleOp::kHtoD);
        CHECK(reading.value.minflt_thread >= (faults ? kPages : 0));
        if (kSanitized) continue;  // the sanitizer's shadow memory faults too
        CHECK(reading.value.minflt_thread <= (faults ? kPages + 2 : 2));
        if (reading.value.faults_perf >= 0 && cold) {
          // Pinning faults inside the kernel, where perf does not count.
          CHECK(reading.value.faults_perf <= (op == SampleOp::kHtoD ? 2 : kPages + 2));
        }
      }
    }
  }
  CHECK(fake.Count("VIOLATION") == 0);
}

TEST_CASE("a page that the driver does not copy is named, in every direction") {
  const FakeDriver fake("");
  for (const SampleOp op : {SampleOp::kHtoD, SampleOp::kDtoH, SampleOp::kVectorAdd}) {
    for (const int64_t page : {int64_t{0}, int64_t{500}, kPages - 1}) {
      CAPTURE(static_cast<int>(op));
      CAPTURE(page);
      SampleSpec spec = Spec(op, PinMode::kNone, op != SampleOp::kHtoD);
      spec.fault.drop_page = page;
      const auto reading = Run(spec);
      REQUIRE_MESSAGE(reading.ok(), reading.status.message());
      CHECK_FALSE(reading.value.verified);
      CHECK(reading.value.first_bad_offset / 4096 == page);
    }
  }
}

TEST_CASE("a device that dies in the middle of a sample is an error of the driver") {
  const FakeDriver fake("error.cuStreamSynchronize = 719@4\n");
  const auto reading = Run(Spec(SampleOp::kDtoH, PinMode::kRegister, false));
  CHECK(std::string(reading.status.code()) == "ERR_CUDA");
  CHECK(reading.status.number() == 719);
}

}  // namespace
}  // namespace warpgauge
