#include "os/perf_group_totals.h"

#include <algorithm>

namespace warpgauge {

size_t PerfTotals::AddRow() {
  rows_++;
  sums_.resize(rows_ * events_);
  given_.resize(rows_ * events_);
  times_.resize(rows_ * clocks_);
  return rows_ - 1;
}

void PerfTotals::RemoveRow(size_t row) {
  const auto erase = [row](auto& cells, size_t width) {
    const auto begin = cells.begin() + static_cast<std::ptrdiff_t>(row * width);
    cells.erase(begin, begin + static_cast<std::ptrdiff_t>(width));
  };
  erase(sums_, events_);
  erase(given_, events_);
  erase(times_, clocks_);
  rows_--;
}

void PerfTotals::Begin() {
  std::fill(sums_.begin(), sums_.end(), Sum{});
  std::fill(times_.begin(), times_.end(), PerfGroupTimes{});
}

void PerfTotals::AddCount(size_t row, size_t event, uint64_t value, const PerfGroupTimes& times) {
  Sum& sum = sums_[row * events_ + event];
  sum.value += value;
  sum.enabled_ns += times.enabled_ns;
  sum.running_ns += times.running_ns;
  sum.is_read = true;
}

void PerfTotals::AddUnread(size_t row, size_t event) {
  sums_[row * events_ + event].is_torn = true;
}

void PerfTotals::AddTimes(size_t row, size_t clock, const PerfGroupTimes& times) {
  PerfGroupTimes& sum = times_[row * clocks_ + clock];
  sum.enabled_ns += times.enabled_ns;
  sum.running_ns += times.running_ns;
}

PerfTotals::Count PerfTotals::Take(size_t row, size_t event) {
  const Sum& sum = sums_[row * events_ + event];
  uint64_t& given = given_[row * events_ + event];
  Count count;
  if (!sum.is_read || sum.is_torn) return count;
  if (sum.running_ns == 0 && sum.enabled_ns > 0) {
    count.starved_ns = sum.enabled_ns;
    return count;
  }
  count.is_known = true;
  count.value = sum.value;
  if (sum.running_ns < sum.enabled_ns) {
    count.is_estimate = true;
    const double factor = static_cast<double>(sum.enabled_ns) / static_cast<double>(sum.running_ns);
    const double estimate = static_cast<double>(sum.value) * factor;
    // 2^63: what a count can reach in centuries; a broken reading must not overflow the cast.
    count.value = static_cast<uint64_t>(std::min(estimate + 0.5, 9223372036854775807.0));
  }
  count.value = std::max(count.value, given);
  given = count.value;
  return count;
}

}  // namespace warpgauge
