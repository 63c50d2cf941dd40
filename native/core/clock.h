#pragma once

#include <ctime>

#include <cstdint>

namespace warpgauge {

inline int64_t ReadClock(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

// The clock of every time stamp: nanoseconds since boot, never stepped, slewed by
// NTP, served by the vDSO.
inline int64_t MonotonicNs() { return ReadClock(CLOCK_MONOTONIC); }

// The clock of every duration in the benchmark: as MonotonicNs, but NTP cannot change its rate.
inline int64_t MonotonicRawNs() { return ReadClock(CLOCK_MONOTONIC_RAW); }

// Nanoseconds since 1970, UTC. Steps; only for anchors and file headers.
inline int64_t RealtimeNs() { return ReadClock(CLOCK_REALTIME); }

// What to add to CLOCK_MONOTONIC to get UTC, ns: measured once per process at first use, so that
// times made with it never step, whatever is done to the realtime clock later. Any thread.
int64_t UtcOffsetNs();

}  // namespace warpgauge
