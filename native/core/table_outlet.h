#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/ring.h"
#include "core/slab_depot.h"
#include "core/table.h"
#include "core/table_writer.h"

namespace warpgauge {

// A slab on its way to the consumer, and what was lost just before it.
struct DeliveredSlab {
  Slab* slab = nullptr;  // the consumer's reference; nullptr when nothing is ready
  uint64_t dropped_slabs = 0;
  uint64_t dropped_rows = 0;
};

// One table's way out: empty slabs come from the keeper, ready ones wait in a ring until the
// consumer takes them or the bound of the sampler drops them.
//
// Threads: SlabExchange belongs to the producer, Prepare to the keeper, Take and TakePublished to
// one consumer, DropOldest and the counts to any.
class TableOutlet final : public SlabExchange {
 public:
  TableOutlet(const TableSpec& table, int64_t batch_ns, SlabDepot& depot);
  ~TableOutlet() override;
  TableOutlet(const TableOutlet&) = delete;
  TableOutlet& operator=(const TableOutlet&) = delete;

  // While discarding (the calls that measure a source before the start) nothing is kept or counted.
  // Only while no producer is running.
  void SetDiscarding(bool discarding) { discarding_ = discarding; }

  // SlabExchange, the producer's side.
  Slab* TakeEmpty(uint32_t rows) override;
  void HandOver(Slab* slab) override;
  void Publish(Slab* slab) override;
  void CountLostRows(uint64_t rows) override;

  // Keeps two empty slabs ready; the keeper alone.
  void Prepare();
  // Keeps a slab that nobody refers to for the next Prepare; false where it is of no use. The
  // keeper alone.
  [[nodiscard]] bool Reuse(Slab* slab);
  // Frees the empty slabs; when the keeper has ended.
  void FreeEmpty();

  DeliveredSlab Take();
  // The slab of the last whole tick, with a reference for the caller; nullptr before the first.
  Slab* TakePublished();

  [[nodiscard]] int64_t OldestReadyNs() const { return ready_.OldestNs(); }
  void DropOldest();

  // Rows handed over and not dropped.
  [[nodiscard]] uint64_t rows() const {
    const uint64_t dropped = ring_dropped_rows_.load(std::memory_order_acquire);
    return handed_rows_.load(std::memory_order_acquire) - dropped;
  }
  [[nodiscard]] uint64_t dropped_slabs() const {
    return dropped_slabs_.load(std::memory_order_relaxed);
  }
  // Rows of dropped slabs and rows that found no slab.
  [[nodiscard]] uint64_t dropped_rows() const {
    return ring_dropped_rows_.load(std::memory_order_relaxed) +
           lost_rows_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] const TableSpec& table() const { return table_; }
  // Slabs made on the producer's thread because none was prepared.
  [[nodiscard]] uint64_t late_slabs() const { return late_slabs_.load(std::memory_order_relaxed); }

 private:
  // At the default 100 ms a consumer may sleep for nearly seven minutes before slabs are dropped
  // for want of a slot; the bound on bytes comes first for all but the smallest tables.
  static constexpr size_t kReadySlots = 4096;
  static constexpr size_t kEmptySlots = 2;

  [[nodiscard]] uint32_t MaxCapacity() const;
  Slab* MakeSlab(uint32_t capacity);

  const TableSpec table_;
  const int64_t batch_ns_;
  SlabDepot& depot_;
  size_t row_bytes_ = 0;
  bool discarding_ = false;
  std::atomic<uint32_t> capacity_{1};
  Ring<Slab, kReadySlots> ready_;
  Ring<Slab, kEmptySlots> empty_;
  // Used before, with pages that are there; the keeper's.
  std::vector<Slab*> spare_;

  // The reader announces what it is about to use in `reading_`; the producer frees nothing that
  // stands there. One reader, so at most one slab waits in `retired_`.
  std::atomic<Slab*> published_{nullptr};
  std::atomic<Slab*> reading_{nullptr};
  Slab* retired_ = nullptr;

  // Written by the producer.
  uint64_t handed_slabs_ = 0;
  std::atomic<uint64_t> handed_rows_{0};
  std::atomic<uint64_t> lost_rows_{0};
  std::atomic<uint64_t> late_slabs_{0};
  // Written by any thread.
  std::atomic<uint64_t> dropped_slabs_{0};
  std::atomic<uint64_t> ring_dropped_rows_{0};
  // The consumer's: where the next slab begins if nothing was lost.
  uint64_t expected_slabs_ = 0;
  uint64_t expected_rows_ = 0;
};

}  // namespace warpgauge
