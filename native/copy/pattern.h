#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpgauge {

inline constexpr size_t kStagingBytes = 1ULL << 20;

// The data of one sample: f(seed, offset mod kStagingBytes), where the seed is unique to
// (cell, sample). One period is generated once and copied, so that filling costs a
// memcpy and not a generator.
class Pattern {
 public:
  explicit Pattern(uint64_t seed);

  [[nodiscard]] const uint8_t* period() const { return period_.data(); }
  // dst[i] = f(offset + i)
  void Fill(uint8_t* dst, size_t bytes) const;
  // Offset of the first byte that differs, or -1.
  [[nodiscard]] int64_t FirstMismatch(const uint8_t* data, size_t bytes) const;

 private:
  std::vector<uint8_t> period_;
};

}  // namespace warpgauge
