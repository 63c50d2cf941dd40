#pragma once

#include <cstdint>

namespace warpgauge {

// Times that the parts of a session share.
inline constexpr int64_t kMs = 1'000'000;
inline constexpr int64_t kMaintenanceNs = 1000 * kMs;
inline constexpr int64_t kLongestBackoffNs = 30'000 * kMs;
// How long a call may take before its thread is left behind.
inline constexpr int64_t kInitDeadlineNs = 14'000 * kMs;
inline constexpr int64_t kDeviceDeadlineNs = 10'000 * kMs;
inline constexpr int64_t kBlockingDeadlineNs = 2000 * kMs;

}  // namespace warpgauge
