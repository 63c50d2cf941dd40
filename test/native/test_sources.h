#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
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

}  // namespace warpgauge
