#include "core/table_outlet.h"

#include <algorithm>

#include "core/clock.h"

namespace warpgauge {
namespace {

// Event tables have no rate that says how many rows fill a batch: they start here and grow when
// their slabs fill early.
constexpr uint32_t kEventRows = 256;
// They grow no further than this: a burst that is drained at once would make them as large as it
// was, and what is used again stays in the caches where it is small.
constexpr size_t kGrownBytes = size_t{4} << 20;

}  // namespace

TableOutlet::TableOutlet(const TableSpec& table, int64_t batch_ns, SlabDepot& depot)
    : table_(table), batch_ns_(batch_ns), depot_(depot) {
  row_bytes_ = SlabLayout::For(table, 4096).bytes / 4096 + 1;
  const uint32_t per_tick = std::max(table.rows_per_tick, 1U);
  uint64_t rows = std::max(per_tick, kEventRows);
  if (table.kind == TableKind::kSample && table.interval_ns > 0) {
    // One tick more than a batch holds, for the tick that finds it nearly full.
    rows = per_tick * (static_cast<uint64_t>(batch_ns / table.interval_ns) + 2);
  }
  rows = std::min<uint64_t>(rows, MaxCapacity());
  capacity_.store(std::max(static_cast<uint32_t>(rows), per_tick), std::memory_order_relaxed);
}

TableOutlet::~TableOutlet() {
  FreeEmpty();
  while (Slab* slab = ready_.Pop()) slab->Unref();
  if (Slab* slab = published_.load(std::memory_order_relaxed)) slab->Unref();
  if (retired_ != nullptr) retired_->Unref();
}

// A single slab takes at most an eighth of the bound: dropping one must not lose most of what
// waits.
uint32_t TableOutlet::MaxCapacity() const {
  const auto bound = static_cast<uint64_t>(std::max<int64_t>(depot_.bound_bytes() / 8, 1));
  return static_cast<uint32_t>(std::clamp<uint64_t>(bound / row_bytes_, 1, 1U << 24));
}

Slab* TableOutlet::TakeEmpty(uint32_t rows) {
  if (rows > capacity_.load(std::memory_order_relaxed)) {
    // Half as much again, so that a slowly growing number of rows does not come here every tick.
    capacity_.store(rows + rows / 2, std::memory_order_relaxed);
  }
  while (Slab* slab = empty_.Pop()) {
    if (slab->layout().capacity >= rows) {
      depot_.Poke();
      return slab;
    }
    depot_.Discard(slab);
  }
  late_slabs_.store(late_slabs_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  depot_.Poke();
  const uint32_t capacity = std::max(rows, capacity_.load(std::memory_order_relaxed));
  return MakeSlab(capacity);
}

Slab* TableOutlet::MakeSlab(uint32_t capacity) {
  Slab* slab = Slab::Make(SlabLayout::For(table_, capacity), depot_.account());
  if (slab != nullptr) slab->home_ = this;
  return slab;
}

void TableOutlet::HandOver(Slab* slab) {
  if (discarding_) {
    depot_.Discard(slab);
    return;
  }
  const int64_t now_ns = MonotonicNs();
  const uint32_t rows = slab->rows_;
  // Full, or with less room than the next tick announced.
  const bool is_full = slab->room() <= slab->layout().capacity / 8;
  const bool filled_early = is_full && now_ns - slab->opened_ns_ < batch_ns_ / 2;
  if (filled_early) {
    const uint32_t capacity = slab->layout().capacity;
    const auto grown = static_cast<uint32_t>(std::max<size_t>(kGrownBytes / row_bytes_, 1));
    const uint32_t most = std::max(capacity, std::min(grown, MaxCapacity()));
    const uint32_t twice = capacity > most / 2 ? most : 2 * capacity;
    if (twice > capacity_.load(std::memory_order_relaxed)) {
      capacity_.store(twice, std::memory_order_relaxed);
    }
  }
  const uint64_t handed = handed_rows_.load(std::memory_order_relaxed);
  slab->slabs_before_ = handed_slabs_++;
  slab->rows_before_ = handed + lost_rows_.load(std::memory_order_relaxed);
  handed_rows_.store(handed + rows, std::memory_order_release);
  depot_.AddReady(static_cast<int64_t>(slab->layout().bytes));
  if (!ready_.Push(slab, now_ns)) {
    DropOldest();
    // This thread alone pushes, so the slot that was just freed is still free.
    (void)ready_.Push(slab, now_ns);
  }
  depot_.EnforceBound();
  depot_.PokeReady();
}

void TableOutlet::CountLostRows(uint64_t rows) {
  if (discarding_) return;
  lost_rows_.store(lost_rows_.load(std::memory_order_relaxed) + rows, std::memory_order_relaxed);
}

void TableOutlet::Publish(Slab* slab) {
  if (discarding_) return;
  slab->Ref();
  Slab* old = published_.exchange(slab, std::memory_order_seq_cst);
  if (retired_ != nullptr && reading_.load(std::memory_order_seq_cst) != retired_) {
    depot_.Discard(retired_);
    retired_ = nullptr;
  }
  if (old == nullptr) return;
  if (reading_.load(std::memory_order_seq_cst) != old) {
    depot_.Discard(old);
    return;
  }
  // The reader has moved on to `old`, so it no longer holds what was retired before.
  if (retired_ != nullptr) depot_.Discard(retired_);
  retired_ = old;
}

Slab* TableOutlet::TakePublished() {
  for (;;) {
    Slab* slab = published_.load(std::memory_order_seq_cst);
    reading_.store(slab, std::memory_order_seq_cst);
    if (published_.load(std::memory_order_seq_cst) != slab) continue;
    if (slab != nullptr) slab->Ref();
    reading_.store(nullptr, std::memory_order_seq_cst);
    return slab;
  }
}

void TableOutlet::Prepare() {
  const uint32_t capacity = capacity_.load(std::memory_order_relaxed);
  std::erase_if(spare_, [&](Slab* slab) {
    const bool fits = slab->layout().capacity == capacity;
    if (fits && empty_.full()) return false;
    (void)depot_.AddSpare(-static_cast<int64_t>(slab->layout().bytes));
    if (fits) {
      slab->Reset();
      (void)empty_.Push(slab, 0);
    } else {
      Slab::Free(slab);
    }
    return true;
  });
  while (!empty_.full()) {
    Slab* slab = MakeSlab(capacity);
    if (slab == nullptr) return;
    (void)empty_.Push(slab, 0);
  }
}

bool TableOutlet::Reuse(Slab* slab) {
  if (slab->layout().capacity != capacity_.load(std::memory_order_relaxed)) return false;
  if (!depot_.AddSpare(static_cast<int64_t>(slab->layout().bytes))) return false;
  spare_.push_back(slab);
  return true;
}

void TableOutlet::FreeEmpty() {
  while (Slab* slab = empty_.Pop()) slab->Unref();
  for (Slab* slab : spare_) Slab::Free(slab);
  spare_.clear();
}

void TableOutlet::DropOldest() {
  Slab* slab = ready_.Pop();
  if (slab == nullptr) return;
  depot_.SubtractReady(static_cast<int64_t>(slab->layout().bytes));
  dropped_slabs_.fetch_add(1, std::memory_order_relaxed);
  ring_dropped_rows_.fetch_add(slab->rows_, std::memory_order_acq_rel);
  depot_.Discard(slab);
}

DeliveredSlab TableOutlet::Take() {
  DeliveredSlab delivered;
  delivered.slab = ready_.Pop();
  if (delivered.slab == nullptr) return delivered;
  delivered.slab->SetDelivered();
  const Slab& slab = *delivered.slab;
  depot_.SubtractReady(static_cast<int64_t>(slab.layout().bytes));
  delivered.dropped_slabs = slab.slabs_before_ - expected_slabs_;
  delivered.dropped_rows = slab.rows_before_ - expected_rows_;
  expected_slabs_ = slab.slabs_before_ + 1;
  expected_rows_ = slab.rows_before_ + slab.rows_;
  return delivered;
}

}  // namespace warpgauge
