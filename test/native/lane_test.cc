#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "core/lane.h"
#include "core/slab_depot.h"
#include "core/table_outlet.h"
#include "sanitized.h"
#include "test_sources.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;

void SleepMs(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// What a sampler owns, for one source on one lane. Left behind like a sampler: by references.
class Bench final : public Shared {
 public:
  Bench(TestSourceState* state, int64_t interval_ns, int64_t batch_ns, int64_t bound = 64 << 20)
      : depot_(bound), source_(state), lane_(batch_ns) {
    TableSpec spec = source_.tables()[0];
    spec.interval_ns = interval_ns;
    outlet_ = std::make_unique<TableOutlet>(spec, batch_ns, depot_);
    writer_ = std::make_unique<TableWriter>(spec, *outlet_, batch_ns);
    depot_.Serve({outlet_.get()});
    lane_.Add({.source = &source_,
               .table = 0,
               .writer = writer_.get(),
               .counts = &counts_,
               .interval_ns = interval_ns});
  }
  void StartKeeper() {
    REQUIRE(depot_
                .StartKeeper(
                    this, [](void* self) { static_cast<Bench*>(self)->wakes++; }, this)
                .ok());
  }
  // All rows that wait, and what was dropped before them.
  uint64_t Drain(uint64_t* dropped_rows) {
    uint64_t rows = 0;
    for (;;) {
      const DeliveredSlab one = outlet_->Take();
      if (one.slab == nullptr) return rows;
      rows += one.slab->rows_;
      *dropped_rows += one.dropped_rows;
      depot_.Discard(one.slab);
    }
  }

  // Gives it up and waits until the last of its threads has done the same: they use the test's
  // state, which is about to go.
  void Finish() {
    depot_.StopKeeper();
    const TestSourceState& state = source_.state();
    Unref();
    while (state.alive != 0) SleepMs(1);
  }

  std::atomic<int> wakes{0};
  SlabDepot depot_;
  TestSource source_;
  TickCounts counts_;
  Lane lane_;
  std::unique_ptr<TableOutlet> outlet_;
  std::unique_ptr<TableWriter> writer_;

 private:
  ~Bench() override = default;
};

TEST_CASE("ticks and missed deadlines together are exactly the deadlines of the duration") {
  for (const int64_t interval_ns : {int64_t{50'000}, int64_t{100'000}, kMs, 7 * kMs}) {
    TestSourceState state;
    auto* bench = new Bench(&state, interval_ns, 10 * kMs);
    bench->StartKeeper();
    const int64_t duration_ns = 200 * kMs;
    REQUIRE(bench->lane_.Start(bench, MonotonicNs() + kMs, duration_ns).ok());
    REQUIRE(bench->lane_.WaitEnded(MonotonicNs() + 30'000 * kMs));
    const uint64_t ticks = bench->counts_.ticks;
    CHECK(ticks > 0);
    CHECK(ticks == state.calls);
    CHECK(ticks + bench->counts_.missed == static_cast<uint64_t>(duration_ns / interval_ns));
    CHECK(bench->counts_.cost.calls() == ticks);
    uint64_t dropped = 0;
    CHECK(bench->Drain(&dropped) == ticks);
    CHECK(dropped == 0);
    CHECK(bench->lane_.CpuNs() > 0);
    bench->Finish();
  }
}

TEST_CASE("a source slower than its interval misses deadlines and is never called in a bunch") {
  TestSourceState state;
  state.spend_ns = 5 * kMs;
  auto* bench = new Bench(&state, 2 * kMs, 10 * kMs);
  bench->StartKeeper();
  REQUIRE(bench->lane_.Start(bench, MonotonicNs(), 100 * kMs).ok());
  REQUIRE(bench->lane_.WaitEnded(MonotonicNs() + 30'000 * kMs));
  CHECK(bench->counts_.ticks + bench->counts_.missed == 50);
  CHECK(bench->counts_.ticks <= 20);  // 100 ms of calls that take 5 ms
  CHECK(bench->counts_.missed >= 30);
  bench->Finish();
}

TEST_CASE("a lane that sleeps for a day stops at once and hands over its only row") {
  TestSourceState state;
  auto* bench = new Bench(&state, 86'400'000 * kMs, 100 * kMs);
  bench->StartKeeper();
  REQUIRE(bench->lane_.Start(bench, MonotonicNs(), 0).ok());
  while (state.calls == 0) SleepMs(1);
  while (bench->outlet_->OldestReadyNs() == INT64_MAX) SleepMs(1);  // not after a day
  const int64_t before_ns = MonotonicNs();
  bench->lane_.RequestStop();
  CHECK(bench->lane_.WaitEnded(MonotonicNs() + 5'000 * kMs));
  if (!kSanitized) CHECK(MonotonicNs() - before_ns < 500 * kMs);
  CHECK(bench->counts_.ticks == 1);
  CHECK(bench->counts_.missed == 0);
  bench->Finish();
}

TEST_CASE("deadlines that pass in a pause are neither ticks nor missed") {
  TestSourceState state;
  auto* bench = new Bench(&state, 2 * kMs, 10 * kMs);
  bench->StartKeeper();
  const int64_t start_ns = MonotonicNs();
  REQUIRE(bench->lane_.Start(bench, start_ns, 400 * kMs).ok());
  SleepMs(50);
  bench->lane_.SetPaused(true);
  SleepMs(50);
  const uint64_t calls = state.calls;
  SleepMs(100);
  CHECK(state.calls == calls);
  bench->lane_.SetPaused(false);
  REQUIRE(bench->lane_.WaitEnded(MonotonicNs() + 30'000 * kMs));
  CHECK(state.calls > calls);
  CHECK(bench->counts_.paused >= 40);
  CHECK(bench->counts_.ticks + bench->counts_.missed + bench->counts_.paused == 200);
  bench->Finish();
}

TEST_CASE("a lane that hangs in a source is left behind and harms nobody when it wakes up") {
  TestSourceState state;
  auto* bench = new Bench(&state, kMs, 10 * kMs);
  bench->StartKeeper();
  REQUIRE(bench->lane_.Start(bench, MonotonicNs(), 0).ok());
  while (state.calls < 5) SleepMs(1);
  state.hang = 1;
  while (state.hanging == 0) SleepMs(1);
  bench->lane_.RequestStop();
  CHECK_FALSE(bench->lane_.WaitEnded(MonotonicNs() + 50 * kMs));
  bench->depot_.StopKeeper();
  bench->Unref();           // the hanging lane has another reference
  CHECK(state.alive == 1);  // what the thread uses is still there
  state.Release();
  const int64_t deadline_ns = MonotonicNs() + 20'000 * kMs;
  while (state.alive != 0 && MonotonicNs() < deadline_ns) SleepMs(1);
  CHECK(state.alive == 0);
}

TEST_CASE("what exceeds the bound is dropped oldest first, and every row is counted once") {
  TestSourceState state;
  state.keys = 50;
  auto* bench = new Bench(&state, 500'000, 2 * kMs, 256 << 10);
  bench->StartKeeper();
  REQUIRE(bench->lane_.Start(bench, MonotonicNs(), 400 * kMs).ok());
  // A consumer that takes now and then, against the writer that drops.
  uint64_t rows = 0;
  uint64_t dropped = 0;
  while (!bench->lane_.WaitEnded(MonotonicNs() + 60 * kMs)) {
    const DeliveredSlab one = bench->outlet_->Take();
    if (one.slab == nullptr) continue;
    rows += one.slab->rows_;
    dropped += one.dropped_rows;
    bench->depot_.Discard(one.slab);
  }
  rows += bench->Drain(&dropped);
  CHECK(bench->outlet_->dropped_slabs() > 0);
  CHECK(dropped == bench->outlet_->dropped_rows());
  CHECK(rows == bench->outlet_->rows());
  CHECK(rows + dropped == 50 * bench->counts_.ticks);
  CHECK(bench->depot_.ready_bytes() == 0);
  bench->Finish();
}

TEST_CASE("the last tick can be read whole while the writer goes on") {
  TestSourceState state;
  state.keys = 40;
  auto* bench = new Bench(&state, 50'000, kMs);
  bench->StartKeeper();
  REQUIRE(bench->lane_.Start(bench, MonotonicNs(), 300 * kMs).ok());
  uint64_t dropped = 0;
  uint64_t last = 0;
  int read = 0;
  while (!bench->lane_.WaitEnded(MonotonicNs())) {
    Slab* slab = bench->outlet_->TakePublished();
    if (slab == nullptr) continue;
    const uint64_t tick = slab->last_tick_.load(std::memory_order_acquire);
    const auto begin = static_cast<uint32_t>(tick >> 32);
    const uint32_t rows = static_cast<uint32_t>(tick) - begin;
    Slab* copy = Slab::Make(SlabLayout::For(bench->outlet_->table(), 64));
    CopyRows(*slab, begin, rows, copy);
    bench->depot_.Discard(slab);
    REQUIRE(rows == 40);
    std::vector<uint64_t> values(rows);
    std::memcpy(values.data(), copy->base() + copy->layout().columns[2].data, rows * 8);
    for (uint32_t i = 0; i < rows; i++) {
      REQUIRE(values[i] == values[0] + i);
      const uint8_t* even = copy->base() + copy->layout().columns[3].data;
      REQUIRE((even[i >> 3] >> (i & 7) & 1) == (values[i] % 2 == 0 ? 1 : 0));
    }
    REQUIRE(values[0] >= last);
    last = values[0];
    copy->Unref();
    bench->Drain(&dropped);
    read++;
  }
  CHECK(read > 10);
  CHECK(last > 0);
  bench->Finish();
}

}  // namespace
}  // namespace warpgauge
