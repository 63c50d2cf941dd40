#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/futex.h"
#include "core/source.h"

namespace warpgauge {

// Sources whose rows follow from what they are told, for tests of the engine. All shared state is
// behind a pointer that the test owns and that outlives every thread.
struct TestSourceState {
  std::atomic<uint32_t> hang{0};  // 1: Sample waits until it is 0 again
  std::atomic<int> hanging{0};    // threads that wait
  std::atomic<int> alive{0};      // sources not destroyed
  std::atomic<uint64_t> calls{0};
  std::atomic<int64_t> spend_ns{0};  // a call takes at least this long
  std::atomic<uint32_t> keys{1};     // rows of a tick

  void Release() {
    hang.store(0);
    FutexWakeAll(hang);
  }
};

class TestSource : public Source {
 public:
  explicit TestSource(TestSourceState* state, TableKind kind = TableKind::kSample) : state_(state) {
    TableSpec spec;
    spec.kind = kind;
    spec.grain = "one row per tick and key";
    spec.columns = {
        {.name = "time", .type = ColumnType::kTime, .kind = ColumnKind::kKey, .nullable = false},
        {.name = "key", .type = ColumnType::kName, .kind = ColumnKind::kKey, .nullable = false},
        {.name = "n", .type = ColumnType::kUint64, .kind = ColumnKind::kCounter},
        {.name = "even", .type = ColumnType::kBool, .kind = ColumnKind::kState},
    };
    tables_.push_back(std::move(spec));
    state_->alive++;
  }
  ~TestSource() override { state_->alive--; }

  [[nodiscard]] const TestSourceState& state() const { return *state_; }
  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    state_->calls++;
    while (state_->hang.load() != 0) {
      state_->hanging++;
      FutexWait(state_->hang, 1, kNoDeadline);
      state_->hanging--;
    }
    while (MonotonicNs() - tick_ns < state_->spend_ns.load()) {
    }
    const uint32_t keys = state_->keys.load();
    if (!rows.BeginTick(tick_ns, keys)) return;
    for (uint32_t i = 0; i < keys; i++) {
      if (!rows.BeginRow(tick_ns)) continue;
      while (codes_.size() <= i) {
        codes_.push_back(rows.names(1).Code("key" + std::to_string(codes_.size())));
      }
      rows.SetCode(1, codes_[i]);
      rows.SetU64(2, written_);
      rows.SetBool(3, written_ % 2 == 0);
      rows.EndRow();
      rows.CountEvent(codes_[i]);
      written_++;
    }
    rows.EndTick();
  }

 private:
  TestSourceState* state_;
  std::vector<TableSpec> tables_;
  std::vector<int32_t> codes_;
  uint64_t written_ = 0;
};

// A source with a thread of its own: one row per call of Work.
class ThreadedTestSource : public Source {
 public:
  explicit ThreadedTestSource(TestSourceState* state) : inner_(state) {}
  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return inner_.tables(); }
  [[nodiscard]] bool has_own_threads() const override { return true; }
  void Sample(size_t /*table*/, int64_t /*tick_ns*/, TableWriter& /*rows*/) override {}
  Status Start(const std::vector<TableWriter*>& writers,
               int64_t /*start_ns*/,
               int64_t end_ns) override {
    end_ns_ = end_ns;
    thread_ = std::thread([this, writer = writers[0]] {
      while (!stop_) {
        const int64_t now_ns = MonotonicNs();
        if (end_ns_ != 0 && now_ns >= end_ns_) break;
        if (!paused_) {
          inner_.Sample(0, now_ns, *writer);
          ticks_++;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    return Status::Ok();
  }
  void Stop() override {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void SetPaused(bool paused) override { paused_ = paused; }
  [[nodiscard]] std::vector<Ticks> ticks() const override { return {{.ticks = ticks_}}; }
  [[nodiscard]] std::vector<Cost> costs() const override { return {{.name = "call", .calls = 1}}; }
  [[nodiscard]] int64_t cpu_ns() const override { return 1; }

 private:
  TestSource inner_;
  int64_t end_ns_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> paused_{false};
  std::atomic<uint64_t> ticks_{0};
  std::thread thread_;
};

}  // namespace warpgauge
