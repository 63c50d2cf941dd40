#pragma once

#include <cstdint>

namespace warpgauge {

// The same moment on the three clocks, ns.
struct ClockReading {
  int64_t monotonic_ns = 0, realtime_ns = 0, boottime_ns = 0;
  static ClockReading Now();
};

// Drivers stamp their buffered samples with microseconds since 1970 or, newer ones, since boot
// (CLOCK_BOOTTIME), and no call says which. Whatever is nearer to now is meant: the two are decades
// apart. The verdict of the first stamp stays, because a driver does not change its clock.
class SampleClock {
 public:
  enum class Domain : uint8_t { kUnknown, kRealtime, kBoottime };
  // CLOCK_MONOTONIC ns of a stamp.
  int64_t ToMonotonic(uint64_t stamp_us, const ClockReading& now);
  // "Now" as the driver would stamp it, us; 0 while the domain is unknown.
  [[nodiscard]] uint64_t StampOf(int64_t monotonic_ns, const ClockReading& now) const;
  [[nodiscard]] Domain domain() const { return domain_; }

 private:
  Domain domain_ = Domain::kUnknown;
};

}  // namespace warpgauge
