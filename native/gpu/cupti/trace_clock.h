#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/cupti/trace_record.h"

namespace warpgauge {

// How the clock of a lane's CUPTI lies on CLOCK_MONOTONIC: pairs of readings that its writer took,
// and straight lines between them. CUPTI runs on CLOCK_REALTIME, which may be stepped; a clock that
// another tool gave it may have any rate. One thread.
class TraceClock {
 public:
  // What a new pair tells beyond its readings.
  struct News {
    int64_t step_ns = 0;      // CLOCK_REALTIME jumped by this much since the pair before
    bool is_foreign = false;  // first seen: CUPTI does not run on CLOCK_REALTIME
    bool is_refused = false;  // the pair cannot be: it was not taken
  };
  News Add(const wg_record& pair);

  [[nodiscard]] bool empty() const { return pairs_.empty(); }
  // CLOCK_MONOTONIC of a time of CUPTI; only when not empty.
  [[nodiscard]] int64_t ToMonotonic(uint64_t cupti_ns) const;

 private:
  struct Pair {
    uint64_t cupti_ns;
    int64_t monotonic_ns;
    bool after_step;  // the clock was stepped between the pair before and this one
  };
  // Straight line through two pairs at `cupti_ns`, also beyond them.
  static int64_t Along(const Pair& from, const Pair& to, uint64_t cupti_ns);
  // A time after the newest pair.
  [[nodiscard]] int64_t Beyond(uint64_t cupti_ns) const;

  // Kept pairs, oldest first: at 20 ms each the last ten seconds and more. Older records use the
  // oldest one.
  static constexpr size_t kKept = 512;
  std::vector<Pair> pairs_;
  int64_t best_bracket_ns_ = INT64_MAX;
  bool is_foreign_ = false;
  // No step and no foreign clock: a time lies between two neighbours only.
  bool is_in_order_ = true;
  mutable size_t last_ = 0;  // the younger of the pairs that the last answer lay between
};

}  // namespace warpgauge
