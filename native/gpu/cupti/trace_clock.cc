#include "gpu/cupti/trace_clock.h"

#include <algorithm>
#include <cstdlib>

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
// NTP slews by 500 ppm, chrony at most by a tenth: what drifts more was stepped.
constexpr int64_t kMostSlew = 10;  // one part of so many
constexpr int64_t kLeastStepNs = kMs;
// A reading that took longer than this and than the best one ever is left out while a younger one
// is there: the writer was not scheduled in the middle of it.
constexpr int64_t kGoodBracketNs = 50'000;
constexpr int64_t kLeastAheadNs = 100 * kMs;
constexpr int64_t kWhileFlushingNs = 5 * kMs;

// Times that a foreign process made up may be any number: sums end at the largest one.
int64_t Plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? INT64_MAX : -INT64_MAX;
}

int64_t Difference(uint64_t a, uint64_t b) {
  return std::max(static_cast<int64_t>(a - b), -INT64_MAX);
}

}  // namespace

TraceClock::News TraceClock::Add(const wg_record& pair) {
  News news;
  const int64_t before = pair.of.clock.monotonic_before_ns;
  const int64_t after = pair.of.clock.monotonic_after_ns;
  // CLOCK_MONOTONIC counts from boot: no machine runs for centuries.
  constexpr int64_t kMostNs = INT64_MAX / 4;
  if (before < 0 || after < before || after > kMostNs || after - before > 10 * kSecond) {
    news.is_refused = true;
    return news;
  }
  const int64_t bracket = after - before;
  const Pair made{pair.start, before + bracket / 2, false};
  if (!pairs_.empty()) {
    const int64_t age = made.monotonic_ns - pairs_.back().monotonic_ns;
    news.is_refused = age <= 0;
    const bool is_wide = bracket > std::max(kGoodBracketNs, 2 * best_bracket_ns_);
    if (news.is_refused || (is_wide && age < kSecond)) return news;
  }
  best_bracket_ns_ = std::min(best_bracket_ns_, bracket);
  const int64_t off = Difference(pair.start, static_cast<uint64_t>(pair.of.clock.realtime_ns));
  if (!is_foreign_ && std::abs(off) > bracket + kMs) {
    // All pairs are of one clock, or none can be joined to the next.
    pairs_.clear();
    news.is_foreign = is_foreign_ = true;
    is_in_order_ = false;
  }
  pairs_.push_back(made);
  if (pairs_.size() > kKept) pairs_.erase(pairs_.begin(), pairs_.begin() + kKept / 2);
  if (pairs_.size() < 2 || is_foreign_) return news;
  const Pair& last = pairs_[pairs_.size() - 2];
  const int64_t elapsed = made.monotonic_ns - last.monotonic_ns;
  const int64_t shift = Plus(Difference(made.cupti_ns, last.cupti_ns), -elapsed);
  if (std::abs(shift) > std::max(kLeastStepNs + bracket, elapsed / kMostSlew)) {
    pairs_.back().after_step = true;
    is_in_order_ = false;
    news.step_ns = shift;
  }
  return news;
}

int64_t TraceClock::Along(const Pair& from, const Pair& to, uint64_t cupti_ns) {
  const int64_t span = Difference(to.cupti_ns, from.cupti_ns);
  const int64_t at = Difference(cupti_ns, from.cupti_ns);
  if (span <= 0) return Plus(from.monotonic_ns, at);
  // In doubles the offset to the straight line of slope 1 alone, so that no nanosecond is lost.
  const double slope = static_cast<double>(Plus(to.monotonic_ns - from.monotonic_ns, -span)) /
                       static_cast<double>(span);
  const double shift = slope * static_cast<double>(at);
  if (!(shift > -9e18 && shift < 9e18)) return from.monotonic_ns;
  return Plus(Plus(from.monotonic_ns, at), static_cast<int64_t>(shift));
}

int64_t TraceClock::ToMonotonic(uint64_t cupti_ns) const {
  const Pair& newest = pairs_.back();
  const int64_t beyond = Difference(cupti_ns, newest.cupti_ns);
  // From the youngest: nearly all records are of the last intervals. A little after the last pair
  // lies what ended while the flush that it was taken for was running.
  if (pairs_.size() > 1 && beyond > 0) {
    const Pair& last = pairs_[pairs_.size() - 2];
    const int64_t last_ns = newest.monotonic_ns - last.monotonic_ns;
    int64_t most_ahead_ns = std::max(kLeastAheadNs, 2 * last_ns);
    // A clock that was stepped back shows times of before the step once more, and nearly all that
    // comes with the pair after a step is of before that pair.
    if (newest.after_step) {
      const int64_t before = Plus(last.monotonic_ns, Difference(cupti_ns, last.cupti_ns));
      if (before >= last.monotonic_ns && before <= newest.monotonic_ns) return before;
      most_ahead_ns = kWhileFlushingNs;
    }
    if (beyond <= most_ahead_ns) return Beyond(cupti_ns);
  }
  const auto is_between = [&](size_t i) {
    return cupti_ns >= pairs_[i - 1].cupti_ns && cupti_ns <= pairs_[i].cupti_ns;
  };
  // A reader that is behind asks for thousands of times between the same two pairs.
  if (is_in_order_ && last_ > 0 && last_ < pairs_.size() && is_between(last_)) {
    return Along(pairs_[last_ - 1], pairs_[last_], cupti_ns);
  }
  for (size_t i = pairs_.size() - 1; i > 0; i--) {
    const Pair& from = pairs_[i - 1];
    const Pair& to = pairs_[i];
    if (to.after_step) {
      // On one side of the step or the other: the side on which the time lies between the pairs.
      const int64_t before = Plus(from.monotonic_ns, Difference(cupti_ns, from.cupti_ns));
      if (before >= from.monotonic_ns && before <= to.monotonic_ns) return before;
      const int64_t after = Plus(to.monotonic_ns, Difference(cupti_ns, to.cupti_ns));
      if (after >= from.monotonic_ns && after <= to.monotonic_ns) return after;
    } else if (is_between(i)) {
      last_ = i;
      return Along(from, to, cupti_ns);
    }
  }
  if (beyond > 0) return Beyond(cupti_ns);
  const Pair& oldest = pairs_.front();
  if (pairs_.size() == 1 || pairs_[1].after_step) {
    return Plus(oldest.monotonic_ns, Difference(cupti_ns, oldest.cupti_ns));
  }
  return Along(oldest, pairs_[1], cupti_ns);
}

int64_t TraceClock::Beyond(uint64_t cupti_ns) const {
  const Pair& newest = pairs_.back();
  if (pairs_.size() == 1 || newest.after_step) {
    return Plus(newest.monotonic_ns, Difference(cupti_ns, newest.cupti_ns));
  }
  return Along(pairs_[pairs_.size() - 2], newest, cupti_ns);
}

}  // namespace warpgauge
