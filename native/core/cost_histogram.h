#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/source.h"

namespace warpgauge {

// How long calls of one kind took: exact below 16 ns, then 8 buckets per power of two, so that a
// percentile is at most 12.5 % too high. One thread records, any thread reads; a reader may see a
// call in some of the sums and not yet in others.
class CostHistogram {
 public:
  void Record(int64_t duration_ns) {
    const uint64_t ns = duration_ns < 0 ? 0 : static_cast<uint64_t>(duration_ns);
    Add(buckets_[Bucket(ns)], 1);
    Add(calls_, 1);
    Add(total_ns_, ns);
    if (ns > max_ns_.load(std::memory_order_relaxed)) {
      max_ns_.store(ns, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t max_ns() const { return max_ns_.load(std::memory_order_relaxed); }
  // Upper bound of the bucket that holds the share `quantile` (0-1) of all calls, never above the
  // longest call; 0 without calls.
  [[nodiscard]] uint64_t QuantileNs(double quantile) const {
    uint64_t calls = 0;
    for (const auto& bucket : buckets_) calls += bucket.load(std::memory_order_relaxed);
    if (calls == 0) return 0;
    const auto rank = static_cast<uint64_t>(quantile * static_cast<double>(calls - 1)) + 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); i++) {
      seen += buckets_[i].load(std::memory_order_relaxed);
      if (seen >= rank) return UpperNs(i) < max_ns() ? UpperNs(i) : max_ns();
    }
    return max_ns();
  }
  [[nodiscard]] Source::Cost Summary(std::string name) const {
    return {.name = std::move(name),
            .calls = calls(),
            .p50_ns = QuantileNs(0.5),
            .p99_ns = QuantileNs(0.99),
            .max_ns = max_ns(),
            .total_ns = total_ns_.load(std::memory_order_relaxed),
            .buckets = Filled()};
  }

 private:
  [[nodiscard]] std::vector<std::pair<uint64_t, uint64_t>> Filled() const {
    std::vector<std::pair<uint64_t, uint64_t>> filled;
    for (size_t i = 0; i < buckets_.size(); i++) {
      const uint64_t calls = buckets_[i].load(std::memory_order_relaxed);
      if (calls != 0) filled.emplace_back(UpperNs(i), calls);
    }
    return filled;
  }
  static constexpr uint32_t kSubBits = 3;
  static constexpr uint32_t kExact = 2U << kSubBits;
  static constexpr size_t kBuckets = kExact + (64 - kSubBits - 1) * (1U << kSubBits);

  static size_t Bucket(uint64_t ns) {
    if (ns < kExact) return ns;
    const auto exponent = static_cast<uint32_t>(std::bit_width(ns)) - 1;  // at least 4
    const uint64_t sub = (ns >> (exponent - kSubBits)) & ((1U << kSubBits) - 1);
    return kExact + (exponent - kSubBits - 1) * (1U << kSubBits) + sub;
  }
  static uint64_t UpperNs(size_t bucket) {
    if (bucket < kExact) return bucket;
    const size_t above = bucket - kExact;
    const uint32_t shift = static_cast<uint32_t>(above >> kSubBits) + 1;
    const uint64_t sub = above & ((1U << kSubBits) - 1);
    return (((1ULL << kSubBits) + sub + 1) << shift) - 1;
  }
  // One writer: a load and a store, not a locked addition.
  static void Add(std::atomic<uint64_t>& sum, uint64_t n) {
    sum.store(sum.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> total_ns_{0};
  std::atomic<uint64_t> max_ns_{0};
};

}  // namespace warpgauge
