#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace warpgauge {

// Brings times of CUPTI's clock to CLOCK_MONOTONIC. That clock is CLOCK_REALTIME unless someone in
// this process gave CUPTI another one: it may step while we sample. Both are slewed alike, so the
// distance between them changes by steps only. One thread.
class PmClock {
 public:
  // A pair of readings: `cupti_ns` was taken between the two of CLOCK_MONOTONIC.
  struct Pair {
    int64_t before_ns = 0, cupti_ns = 0, after_ns = 0;
  };
  // Takes over a pair; true when the clock has stepped since the one before.
  bool Update(const Pair& pair) {
    const int64_t offset = pair.cupti_ns - (pair.before_ns + (pair.after_ns - pair.before_ns) / 2);
    const int64_t uncertain = pair.after_ns - pair.before_ns + kNoiseNs;
    const bool stepped = has_offset_ && std::llabs(offset - offset_ns_) > uncertain;
    const int64_t width = pair.after_ns - pair.before_ns;
    if (stepped) {
      before_step_ns_ = offset_ns_;
      is_before_step_ = true;
    }
    // A wide pair knows less than those before it; one about as narrow as the best follows a clock
    // that drifts.
    if (!has_offset_ || stepped || width <= 2 * width_ns_ + 1'000) {
      offset_ns_ = offset;
      width_ns_ = has_offset_ && !stepped ? std::min(width, width_ns_) : width;
    }
    has_offset_ = true;
    return stepped;
  }
  // CLOCK_MONOTONIC of a sample that starts at `start` and ends at `end`. Windows follow each
  // other, so after a step the reading that continues the last window is the right one.
  struct Window {
    int64_t start_ns = 0, end_ns = 0;
  };
  Window Convert(uint64_t start, uint64_t end) {
    int64_t offset = offset_ns_ + foreign_ns_;
    if (is_before_step_ && last_end_ns_ != 0) {
      const int64_t by_new = static_cast<int64_t>(start) - offset;
      const int64_t by_old = static_cast<int64_t>(start) - (before_step_ns_ + foreign_ns_);
      if (std::llabs(by_old - last_end_ns_) < std::llabs(by_new - last_end_ns_)) {
        offset = before_step_ns_ + foreign_ns_;
      } else {
        is_before_step_ = false;
      }
    }
    const Window window = {static_cast<int64_t>(start) - offset,
                           static_cast<int64_t>(end) - offset};
    last_end_ns_ = window.end_ns;
    return window;
  }
  // The newest sample there is, just decoded at `now_ns`, which may be `late_ns` old at most. When
  // it lies elsewhere, samples are not on CUPTI's clock: from then on the newest one is taken to
  // end when it was decoded. Returns by how much it was off, 0 where nothing was wrong.
  int64_t CheckNewest(int64_t end_ns, int64_t now_ns, int64_t late_ns) {
    const int64_t age = now_ns - end_ns;
    if (age >= -kAheadNs && age <= late_ns) return 0;
    foreign_ns_ -= age;
    last_end_ns_ = 0;
    return age;
  }
  // After a restart the next window does not continue the last one.
  void Forget() { last_end_ns_ = 0; }

 private:
  // A reading of the clock is coarser than its pair says: CUPTI converts in its own ways.
  static constexpr int64_t kNoiseNs = 1'000'000;
  // A window may end this much after now: CUPTI interpolates GPU times.
  static constexpr int64_t kAheadNs = 5'000'000;

  bool has_offset_ = false, is_before_step_ = false;
  int64_t offset_ns_ = 0, width_ns_ = 0, before_step_ns_ = 0, foreign_ns_ = 0, last_end_ns_ = 0;
};

}  // namespace warpgauge
