#pragma once

#include <cstdint>

namespace warpgauge {

// Payload and protocol bytes per second that a PCIe link can carry one way; the fastest link known
// where generation or width are not (0).
double PcieBytesPerSecond(unsigned generation, unsigned lanes);

// Extends a counter of the driver to 64 bits that never wrap. What NVML returns as 64 bits may be a
// 32-bit register behind it: a counter counts as 32 bits wide until it has shown more.
class ByteCounter {
 public:
  // `bits`: 32 or 64, as the driver's value type says. `expected_rate`: the mean
  // bytes per second since the value before by another source, to tell how often a 32-bit register
  // wrapped; negative when there is none.
  void Update(
      uint64_t raw, int bits, int64_t now_ns, double bytes_per_second, double expected_rate = -1);
  // The source is known to count in 64 bits.
  void AssumeWide() { wide_ = true; }
  // A gap in which the device was lost or the driver reloaded: the next value is a new beginning
  // and adds nothing.
  void Restart() { has_previous_ = false; }

  [[nodiscard]] uint64_t total() const { return total_; }
  // The last interval was so long that the register may have wrapped more than once and nothing
  // tells how often, or the counter began anew: bytes may be missing from `total`.
  [[nodiscard]] bool ambiguous() const { return ambiguous_; }
  // Time since the value before, ns; 0 for the first.
  [[nodiscard]] int64_t window_ns() const { return window_ns_; }
  [[nodiscard]] bool is_wide() const { return wide_; }

 private:
  uint64_t total_ = 0, previous_ = 0;
  int64_t previous_ns_ = 0, window_ns_ = 0;
  bool has_previous_ = false, started_ = false, wide_ = false, ambiguous_ = false;
};

}  // namespace warpgauge
