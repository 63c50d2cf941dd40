#include "copy/pattern.h"

#include <algorithm>
#include <cstring>

namespace warpgauge {
namespace {

// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
uint64_t Mix(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

}  // namespace

Pattern::Pattern(uint64_t seed) : period_(kStagingBytes) {
  uint64_t state = seed;
  for (size_t i = 0; i < kStagingBytes; i += sizeof(uint64_t)) {
    const uint64_t word = Mix(&state);
    std::memcpy(&period_[i], &word, sizeof(word));
  }
}

void Pattern::Fill(uint8_t* dst, size_t bytes) const {
  for (size_t done = 0; done < bytes; done += kStagingBytes) {
    std::memcpy(dst + done, period_.data(), std::min(kStagingBytes, bytes - done));
  }
}

int64_t Pattern::FirstMismatch(const uint8_t* data, size_t bytes) const {
  for (size_t done = 0; done < bytes; done += kStagingBytes) {
    const size_t length = std::min(kStagingBytes, bytes - done);
    if (std::memcmp(data + done, period_.data(), length) == 0) continue;
    const auto* first = std::mismatch(data + done, data + done + length, period_.data()).first;
    return first - data;
  }
  return -1;
}

}  // namespace warpgauge
