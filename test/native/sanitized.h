#pragma once

#include <cstdint>

namespace warpgauge {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// GCC 12's sanitizers are not made for fork among threads: AddressSanitizer's allocator may be
// locked for ever in the child, and ThreadSanitizer stops where a thread of the child gets the id
// of one of the parent.
inline constexpr bool kCanForkAmongThreads = !kSanitized;

// A sanitizer touches shadow memory of its own inside the measured region: there a
// count can only be too high.
inline bool IsFaultCount(int64_t counted, int64_t expected) {
  return kSanitized ? counted >= expected : counted == expected;
}

}  // namespace warpgauge
