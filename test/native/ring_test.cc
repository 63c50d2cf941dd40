#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core/cost_histogram.h"
#include "core/lane_plan.h"
#include "core/ring.h"

namespace warpgauge {
namespace {

TEST_CASE("a ring gives back what went in, in order, and says when it is full") {
  Ring<int, 3> ring;
  std::array<int, 4> items{};
  CHECK(ring.Pop() == nullptr);
  CHECK(ring.OldestNs() == INT64_MAX);
  for (int i = 0; i < 3; i++) CHECK(ring.Push(&items[static_cast<size_t>(i)], 10 + i));
  CHECK(ring.full());
  CHECK_FALSE(ring.Push(&items[3], 13));
  CHECK(ring.OldestNs() == 10);
  CHECK(ring.Pop() == &items[0]);
  CHECK(ring.OldestNs() == 11);
  CHECK(ring.Push(&items[3], 13));
  CHECK(ring.Pop() == &items[1]);
  CHECK(ring.Pop() == &items[2]);
  CHECK(ring.Pop() == &items[3]);
  CHECK(ring.Pop() == nullptr);
}

TEST_CASE("no item is lost or given twice while several threads pop") {
  constexpr int kItems = 200'000;
  constexpr int kReaders = 3;
  struct Item {
    int number = 0;
    int payload = 0;
  };
  auto ring = std::make_unique<Ring<Item, 8>>();
  std::vector<Item> items(kItems);
  std::vector<std::atomic<int>> taken(kItems);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; r++) {
    readers.emplace_back([&] {
      int last = -1;
      for (;;) {
        const bool last_chance = done.load(std::memory_order_acquire);
        Item* item = ring->Pop();
        if (item == nullptr) {
          if (last_chance) return;
          std::this_thread::yield();
          continue;
        }
        // What one reader sees is in order, and the item's contents came with it.
        if (item->number <= last || item->payload != item->number + 1) wrong++;
        last = item->number;
        taken[static_cast<size_t>(item->number)]++;
      }
    });
  }
  for (int i = 0; i < kItems; i++) {
    Item& item = items[static_cast<size_t>(i)];
    item.number = i;
    item.payload = i + 1;
    while (!ring->Push(&item, i)) std::this_thread::yield();
  }
  done.store(true, std::memory_order_release);
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
  int missing = 0;
  int twice = 0;
  for (const auto& count : taken) {
    if (count == 0) missing++;
    if (count > 1) twice++;
  }
  CHECK(missing == 0);
  CHECK(twice == 0);
}

TEST_CASE("a histogram of costs is exact when small and at most an eighth off when large") {
  CostHistogram costs;
  CHECK(costs.QuantileNs(0.5) == 0);
  for (int i = 0; i < 100; i++) costs.Record(i < 50 ? 7 : 1'000'000);
  CHECK(costs.calls() == 100);
  CHECK(costs.QuantileNs(0) == 7);
  CHECK(costs.QuantileNs(0.49) == 7);
  CHECK(costs.QuantileNs(0.99) == 1'000'000);  // never above the longest call
  CHECK(costs.max_ns() == 1'000'000);
  CHECK(costs.Summary("x").total_ns == 50 * 7 + 50 * 1'000'000);

  for (uint64_t ns = 1; ns < (1ull << 62); ns += ns / 4 + 1) {
    CostHistogram one;
    one.Record(static_cast<int64_t>(ns));
    one.Record(INT64_MAX);  // so that the longest call does not hide the bound
    const uint64_t bound = one.QuantileNs(0);
    CHECK(bound >= ns);
    CHECK(static_cast<double>(bound) <= static_cast<double>(ns) * 1.125 + 1);
  }
  costs.Record(-5);  // a clock that went back is no huge cost
  CHECK(costs.QuantileNs(0) == 0);
}

TEST_CASE("sources share a thread only where none delays the fastest") {
  using Groups = std::vector<std::vector<size_t>>;
  constexpr int64_t kMs = 1'000'000;
  // A 3 ms call does not go beside a 1 ms tick.
  CHECK(PlanLanes({{kMs, 1'000, 0.001}, {100 * kMs, 3 * kMs, 0.03}}) == Groups{{0}, {1}});
  // Cheap slow ones do, also in the other order of asking.
  CHECK(PlanLanes({{100 * kMs, 20'000, 0.0002}, {kMs, 1'000, 0.001}}) == Groups{{1, 0}});
  CHECK(PlanLanes({{100'000, 1'500, 0.015}, {10 * kMs, 22'000, 0.0022}}) == Groups{{0}, {1}});
  // Together they would be busy more than half of the time.
  CHECK(PlanLanes({{10 * kMs, 900'000, 0.3}, {10 * kMs, 900'000, 0.3}}) == Groups{{0}, {1}});
  CHECK(PlanLanes({}).empty());
}

}  // namespace
}  // namespace warpgauge
