#include "gpu/nvml/pcie_bytes.h"

#include <cmath>

namespace warpgauge {
namespace {

constexpr double kWrap = 4294967296.0;

}  // namespace

double PcieBytesPerSecond(unsigned generation, unsigned lanes) {
  // Transfers per second and lane times the line code: 8b/10b, then 128b/130b; the 6th generation
  // has flits of 256 bytes without line code.
  static constexpr double kPerLane[] = {
      0, 250e6, 500e6, 8e9 / 8 * 128 / 130, 16e9 / 8 * 128 / 130, 32e9 / 8 * 128 / 130, 64e9 / 8};
  constexpr unsigned kNewest = 6;
  if (generation == 0 || generation > kNewest) generation = kNewest;
  if (lanes == 0 || lanes > 32) lanes = 16;
  return kPerLane[generation] * lanes;
}

void ByteCounter::Update(
    uint64_t raw, int bits, int64_t now_ns, double bytes_per_second, double expected_rate) {
  ambiguous_ = false;
  window_ns_ = has_previous_ ? now_ns - previous_ns_ : 0;
  if (raw >= uint64_t{1} << 32) wide_ = true;
  if (!has_previous_) {
    if (!started_) total_ = raw;
    // After a gap the bytes in between are not known.
    ambiguous_ = started_;
    started_ = true;
  } else if (wide_ && bits == 64) {
    if (raw >= previous_) {
      total_ += raw - previous_;
    } else {
      total_ += raw;  // the driver began anew
      ambiguous_ = true;
    }
  } else {
    uint64_t moved = static_cast<uint32_t>(raw - previous_);
    ambiguous_ = static_cast<double>(window_ns_) * 1e-9 * bytes_per_second > kWrap;
    if (ambiguous_ && expected_rate >= 0) {
      const double expected_bytes = expected_rate * static_cast<double>(window_ns_) * 1e-9;
      const double turns = std::round((expected_bytes - static_cast<double>(moved)) / kWrap);
      if (turns > 0) moved += static_cast<uint64_t>(turns) << 32;
      // Half a turn off and the number of turns is anybody's guess: trust a quarter.
      ambiguous_ = std::abs(expected_bytes - static_cast<double>(moved)) > kWrap / 4;
    }
    total_ += moved;
  }
  previous_ = raw;
  previous_ns_ = now_ns;
  has_previous_ = true;
}

}  // namespace warpgauge
