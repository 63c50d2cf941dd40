#pragma once

#include <cstdint>

namespace warpgauge {

// The clocks of this machine at one instant: what a recording keeps each second, so that a step or
// a suspend can be told later and times can be moved onto another clock. Any thread; three vDSO
// reads and one system call.
struct ClockAnchor {
  int64_t monotonic_ns = 0;
  int64_t realtime_ns = 0;
  int64_t boottime_ns = 0;
  // Time between the readings of CLOCK_MONOTONIC before and after the other two: the three belong
  // to one instant up to half of this.
  int64_t bracket_ns = 0;
  // What adjtimex returned: 0 synchronized, 1-4 a leap second, 5 not synchronized; -1: not told
  // (`error` says why: containers often forbid the call).
  int state = -1;
  int error = 0;
  // Largest error of CLOCK_REALTIME that the kernel assumes, ns.
  int64_t max_error_ns = 0;
};

ClockAnchor ReadClockAnchor();

}  // namespace warpgauge
