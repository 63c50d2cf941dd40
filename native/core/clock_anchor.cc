#include "core/clock_anchor.h"

#include <sys/timex.h>

#include <cerrno>

#include "core/clock.h"

namespace warpgauge {

ClockAnchor ReadClockAnchor() {
  ClockAnchor best;
  // The narrowest of a few: an interrupt between the readings widens the bracket.
  for (int attempt = 0; attempt < 5; attempt++) {
    const int64_t before = MonotonicNs();
    const int64_t realtime = RealtimeNs();
    const int64_t boottime = ReadClock(CLOCK_BOOTTIME);
    const int64_t bracket = MonotonicNs() - before;
    if (attempt == 0 || bracket < best.bracket_ns) {
      best.monotonic_ns = before + bracket / 2;
      best.realtime_ns = realtime;
      best.boottime_ns = boottime;
      best.bracket_ns = bracket;
    }
  }
  timex request{};  // modes = 0: only reads
  best.state = adjtimex(&request);
  if (best.state < 0) {
    best.error = errno;
  } else {
    best.max_error_ns = request.maxerror * int64_t{1000};
  }
  return best;
}

}  // namespace warpgauge
