#include "gpu/nvml/sample_clock.h"

#include <cstdlib>

#include "core/clock.h"

namespace warpgauge {

ClockReading ClockReading::Now() {
  return {MonotonicNs(), RealtimeNs(), warpgauge::ReadClock(CLOCK_BOOTTIME)};
}

int64_t SampleClock::ToMonotonic(uint64_t stamp_us, const ClockReading& now) {
  const int64_t stamp_ns = static_cast<int64_t>(stamp_us) * 1000;
  const int64_t from_realtime = stamp_ns - now.realtime_ns;
  const int64_t from_boottime = stamp_ns - now.boottime_ns;
  if (domain_ == Domain::kUnknown) {
    domain_ =
        std::abs(from_realtime) < std::abs(from_boottime) ? Domain::kRealtime : Domain::kBoottime;
  }
  return now.monotonic_ns + (domain_ == Domain::kRealtime ? from_realtime : from_boottime);
}

uint64_t SampleClock::StampOf(int64_t monotonic_ns, const ClockReading& now) const {
  if (domain_ == Domain::kUnknown) return 0;
  const int64_t base = domain_ == Domain::kRealtime ? now.realtime_ns : now.boottime_ns;
  const int64_t stamp = base + (monotonic_ns - now.monotonic_ns);
  return stamp > 0 ? static_cast<uint64_t>(stamp / 1000) : 0;
}

}  // namespace warpgauge
