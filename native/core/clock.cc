#include "core/clock.h"

namespace warpgauge {
namespace {

// The two clocks cannot be read at one instant: the realtime reading lies somewhere between two
// monotonic ones, and of several tries the closest pair says it best (about 50 ns on one CPU). A
// try that the thread was scheduled away in is simply a wide one.
int64_t MeasureUtcOffsetNs() {
  constexpr int kTries = 64;
  int64_t best_width = INT64_MAX;
  int64_t offset = 0;
  for (int i = 0; i < kTries; i++) {
    const int64_t before = MonotonicNs();
    const int64_t utc = RealtimeNs();
    const int64_t after = MonotonicNs();
    if (after - before >= best_width) continue;
    best_width = after - before;
    offset = utc - (before + best_width / 2);
  }
  return offset;
}

}  // namespace

int64_t UtcOffsetNs() {
  static const int64_t offset = MeasureUtcOffsetNs();
  return offset;
}

}  // namespace warpgauge
