// The host proxy and the sample runner: what is verified, what is refused, what the counters see.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "copy/host_backend.h"
#include "copy/pattern.h"
#include "copy/sample.h"
#include "memory/page_proof.h"
#include "memory/region.h"
#include "memory_support.h"
#include "os/kernel_abi.h"
#include "sanitized.h"

namespace warpgauge {
namespace {

constexpr size_t kBytes = 8ULL << 20;
constexpr int64_t kPages = kBytes / k4KiB;

std::unique_ptr<CopyBackend> Host() {
  auto backend = HostBackend::Open();
  REQUIRE_MESSAGE(backend.ok(), backend.status.message());
  return std::move(backend.value);
}

SampleSpec Spec(SampleOp op, bool cold, PageKind kind = PageKind::k4K) {
  SampleSpec spec;
  spec.op = op;
  spec.cold = cold;
  spec.kind = kind;
  spec.bytes = kBytes;
  spec.pattern_seed = 42;
  return spec;
}

TEST_CASE("a pattern is periodic, seeded, and names its first wrong byte") {
  const Pattern pattern(7);
  const Pattern other(8);
  std::vector<uint8_t> data(3 * kStagingBytes + 512);
  pattern.Fill(data.data(), data.size());
  CHECK(pattern.FirstMismatch(data.data(), data.size()) == -1);
  CHECK(data[5] == data[kStagingBytes + 5]);
  CHECK(other.FirstMismatch(data.data(), data.size()) >= 0);
  data[2 * kStagingBytes + 17] ^= 1;
  CHECK(pattern.FirstMismatch(data.data(), data.size()) == 2 * kStagingBytes + 17);
}

TEST_CASE("copies are right in every direction and state") {
  SampleRunner runner(Host(), -1);
  for (const SampleOp op : {SampleOp::kHtoD, SampleOp::kDtoH}) {
    for (const bool cold : {false, true}) {
      if (op == SampleOp::kHtoD && cold) continue;
      const auto reading = runner.Run(Spec(op, cold));
      REQUIRE_MESSAGE(reading.ok(), reading.status.message());
      CHECK(reading.value.verified);
      CHECK(reading.value.host_ns > 0);
      CHECK(reading.value.page_after.bytes_4k == kBytes);
      CHECK(IsFaultCount(reading.value.minflt_thread, cold ? kPages : 0));
      CHECK(std::string(reading.value.verified_by) ==
            (op == SampleOp::kDtoH ? "compare" : "replay"));
    }
  }
}

TEST_CASE("a dropped page is named with its offset: first, one in the middle, last") {
  SampleRunner runner(Host(), -1);
  for (const SampleOp op : {SampleOp::kHtoD, SampleOp::kDtoH}) {
    for (const PageKind kind : {PageKind::k4K, PageKind::kThp, PageKind::k4KSplit}) {
      for (const bool cold : {false, true}) {
        if (cold && (op == SampleOp::kHtoD || kind == PageKind::k4KSplit)) continue;
        for (const int64_t page : {int64_t{0}, int64_t{777}, kPages - 1}) {
          SampleSpec spec = Spec(op, cold, kind);
          spec.fault.drop_page = page;
          const auto reading = runner.Run(spec);
          if (!reading.ok() && std::string(reading.status.code()) == "ERR_THP_DISABLED") continue;
          REQUIRE_MESSAGE(reading.ok(), reading.status.message());
          CHECK_FALSE(reading.value.verified);
          CHECK(reading.value.first_bad_offset == page * static_cast<int64_t>(k4KiB));
        }
      }
    }
  }
}

// Under some hypervisors a page that is read is a page of its own.
bool HasZeroPage() {
  constexpr size_t kOnePage = 4096;
  void* page = mmap(nullptr, kOnePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return true;
  static_cast<void>(*static_cast<const volatile uint8_t*>(page));
  const auto proof = ProvePages(page, kOnePage);
  munmap(page, kOnePage);
  return !proof.ok() || proof.value.bytes_zero != 0;
}

TEST_CASE("a source that was never written is refused (zero-page guard)") {
  SampleRunner runner(Host(), -1);
  SampleSpec spec = Spec(SampleOp::kHtoD, false);
  spec.fill = false;
  const auto reading = runner.Run(spec);
  if (reading.ok() && !HasZeroPage()) {
    MESSAGE("skipped: reading gives no zero page on this machine");
    return;
  }
  REQUIRE_FALSE(reading.ok());
  CHECK(std::string(reading.status.code()) == "ERR_ZERO_PAGES");
}

TEST_CASE("pinning a cold buffer faults it in where perf does not see it") {
  if (const Status can = IoUringPin().Check(kBytes); !can.ok()) {
    MESSAGE("skipped: " << can.message());
    return;
  }
  SampleRunner runner(Host(), -1);
  SampleSpec spec = Spec(SampleOp::kHtoD, true);
  spec.pin = PinMode::kRegister;
  const auto reading = runner.Run(spec);
  REQUIRE_MESSAGE(reading.ok(), reading.status.message());
  CHECK(IsFaultCount(reading.value.minflt_thread, kPages));
  if (runner.faults_scope() != nullptr) CHECK(IsFaultCount(reading.value.faults_perf, 0));
  CHECK(reading.value.host_ns == reading.value.phases[static_cast<size_t>(Phase::kRegister)]);
  // And again: the first buffer must be unregistered, or this one fails.
  CHECK(runner.Run(spec).ok());
}

TEST_CASE("what a page costs is measured on mappings of its own") {
  SampleRunner runner(Host(), -1);
  const auto touch = runner.Run(Spec(SampleOp::kTouch, true));
  REQUIRE(touch.ok());
  CHECK(IsFaultCount(touch.value.minflt_thread, kPages));
  const auto populate = runner.Run(Spec(SampleOp::kPopulate, true));
  REQUIRE(populate.ok());
  CHECK(IsFaultCount(populate.value.minflt_thread, kPages));
  if (runner.faults_scope() != nullptr) {
    CHECK(IsFaultCount(touch.value.faults_perf, kPages));
    CHECK(IsFaultCount(populate.value.faults_perf, 0));
  }
}

TEST_CASE("a flush that cannot be had fails the sample: it is never claimed and left out") {
  SampleRunner runner(Host(), -1);
  SampleSpec spec = Spec(SampleOp::kDtoH, true);
  spec.flush_bytes = 1ULL << 46;  // more than any machine commits
  CHECK(std::string(runner.Run(spec).status.code()) == "ERR_NO_MEMORY");
  spec.flush_bytes = 1ULL << 20;
  const auto reading = runner.Run(spec);
  REQUIRE_MESSAGE(reading.ok(), reading.status.message());
  CHECK(reading.value.phases[static_cast<size_t>(Phase::kFlush)] > 0);
}

TEST_CASE("a buffer that is populated before its first touch is not called cold") {
  if (kSanitized) {
    MESSAGE("skipped: the sanitizer makes mlockall a no-op");
    return;
  }
  const int outcome = warpgauge_test::RunChild([] {
    auto backend = HostBackend::Open();
    if (!backend.ok()) return 1;
    SampleRunner runner(std::move(backend.value), -1);
    if (mlockall(MCL_FUTURE) != 0) return 77;
    const auto reading = runner.Run(Spec(SampleOp::kDtoH, true));
    return std::string(reading.status.code()) == "ERR_PAGES_NOT_GRANTED" ? 0 : 2;
  });
  if (outcome == 77) {
    MESSAGE("skipped: this process may not lock memory");
  } else {
    CHECK(outcome == 0);
  }
}

TEST_CASE("a ring that the kernel refuses is an error with the knob, before anything is pinned") {
  CHECK(warpgauge_test::RunChild([] {
          // As kernel.io_uring_disabled or a container's filter does. Argument 0: one entry.
          if (!warpgauge_test::RefuseCall(kIoUringSetup, 0, 1, EPERM)) return 1;
          const Status status = IoUringPin().Check(kBytes);
          if (std::string(status.code()) != "ERR_IO_URING") return 2;
          return status.number() == EPERM ? 0 : 3;
        }) == 0);
}

TEST_CASE("an HtoD copy that moved nothing is seen in what it left, not only by the replay") {
  auto backend = Host();
  auto region = Region::Map({.bytes = 3 * kStagingBytes});
  REQUIRE(region.ok());
  const Pattern pattern(5);
  pattern.Fill(region.value.data(), 3 * kStagingBytes);
  REQUIRE(backend->PoisonDevice(3 * kStagingBytes).ok());
  // No copy: host and replay are both right.
  const auto bad = backend->VerifyHtoD(region.value.data(), 3 * kStagingBytes, pattern);
  REQUIRE(bad.ok());
  CHECK(bad.value >= 0);
}

TEST_CASE("the injected delay is inside the timed region") {
  SampleRunner runner(Host(), -1);
  SampleSpec spec = Spec(SampleOp::kDtoH, true);
  spec.fault.stretch = 20;  // far above any noise
  const auto slow = runner.Run(spec);
  spec.fault.stretch = 0;
  const auto fast = runner.Run(spec);
  REQUIRE(slow.ok());
  REQUIRE(fast.ok());
  CHECK(slow.value.host_ns > 5 * fast.value.host_ns);
  CHECK(slow.value.verified);
}

TEST_CASE("the host proxy says that vectorAdd and driver memory need a device") {
  SampleRunner runner(Host(), -1);
  const auto vector_add = runner.Run(Spec(SampleOp::kVectorAdd, true));
  CHECK(std::string(vector_add.status.code()) == "ERR_ILLEGAL_CELL");
  SampleSpec spec = Spec(SampleOp::kHtoD, false);
  spec.driver_memory = true;
  CHECK(std::string(runner.Run(spec).status.code()) == "ERR_ILLEGAL_CELL");
}

TEST_CASE("registration beyond RLIMIT_MEMLOCK is refused before it faults anything") {
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_MEMLOCK, &old) == 0);
  // Only a process without CAP_IPC_LOCK is bound by the limit; root's answer is
  // Ok whatever the limit.
  const rlimit small{1 << 20, old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_MEMLOCK, &small) == 0);
  const Status status = IoUringPin().Check(kBytes);
  setrlimit(RLIMIT_MEMLOCK, &old);
  if (!status.ok() && std::string(status.code()) == "ERR_MEMLOCK") {
    CHECK(status.fix().find("ulimit -l") != std::string::npos);
  } else {
    MESSAGE("skipped: this process has CAP_IPC_LOCK or no io_uring");
  }
}

}  // namespace
}  // namespace warpgauge
