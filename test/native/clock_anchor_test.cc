#include "core/clock_anchor.h"

#include <doctest/doctest.h>

#include "core/clock.h"

using namespace warpgauge;

TEST_CASE("an anchor lies between two readings of each clock") {
  const int64_t mono_before = MonotonicNs();
  const int64_t real_before = RealtimeNs();
  const ClockAnchor anchor = ReadClockAnchor();
  const int64_t mono_after = MonotonicNs();
  const int64_t real_after = RealtimeNs();
  CHECK(anchor.monotonic_ns >= mono_before);
  CHECK(anchor.monotonic_ns <= mono_after);
  CHECK(anchor.realtime_ns >= real_before);
  CHECK(anchor.realtime_ns <= real_after);
  // CLOCK_BOOTTIME runs on through a suspend, so it is never behind.
  CHECK(anchor.boottime_ns + anchor.bracket_ns >= anchor.monotonic_ns);
  CHECK(anchor.bracket_ns >= 0);
  CHECK(anchor.bracket_ns <= mono_after - mono_before);
  // Told, or the reason why not.
  CHECK((anchor.state >= 0) == (anchor.error == 0));
}
