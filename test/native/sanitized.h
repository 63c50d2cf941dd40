#pragma once

#include <cstdint>

namespace warpgauge {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// GCC 12's AddressSanitizer does not take its allocator's locks before fork: a child that was made
// while another thread allocated waits for ever in its first malloc. (ThreadSanitizer does.)
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kCanForkAmongThreads = false;
#else
inline constexpr bool kCanForkAmongThreads = true;
#endif

// A sanitizer touches shadow memory of its own inside the measured region: there a
// count can only be too high.
inline bool IsFaultCount(int64_t counted, int64_t expected) {
  return kSanitized ? counted >= expected : counted == expected;
}

}  // namespace warpgauge
