#include <doctest/doctest.h>

#include <string>

#include "core/clock.h"
#include "core/status.h"

namespace warpgauge {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) {
    return Status("ERR_INVALID_ARGUMENT", "odd")
        .WithFix("pass an even number")
        .WithSource("Half", value);
  }
  return value / 2;
}

TEST_CASE("a status is success only without a code") {
  CHECK(Status::Ok().ok());
  const Status failed("ERR_SYSCALL", "madvise: Invalid argument");
  CHECK_FALSE(failed.ok());
  CHECK(std::string(failed.code()) == "ERR_SYSCALL");
  CHECK(failed.message() == "madvise: Invalid argument");
  CHECK(failed.fix().empty());
  CHECK(failed.number() == 0);
}

TEST_CASE("a result is a value or a reason with all its details") {
  const Result<int> good = Half(8);
  CHECK(good.ok());
  CHECK(good.value == 4);
  const Result<int> bad = Half(7);
  CHECK_FALSE(bad.ok());
  CHECK(bad.status.fix() == "pass an even number");
  CHECK(bad.status.source() == "Half");
  CHECK(bad.status.number() == 7);
}

TEST_CASE("both monotonic clocks run forward in nanoseconds and realtime is after 2024") {
  const int64_t monotonic = MonotonicNs();
  const int64_t raw = MonotonicRawNs();
  timespec pause{0, 2'000'000};
  nanosleep(&pause, nullptr);
  // 2 ms asleep is at least 2 million of the clock's units, and a stalled clock would show 0.
  CHECK(MonotonicNs() - monotonic >= 1'900'000);
  CHECK(MonotonicRawNs() - raw >= 1'900'000);
  CHECK(RealtimeNs() > 1'704'067'200'000'000'000);
}

}  // namespace
}  // namespace warpgauge
