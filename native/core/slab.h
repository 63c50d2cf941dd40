#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/table.h"
#include "core/thread.h"

namespace warpgauge {

// Where the buffers of each column lie in a slab of `capacity` rows: every buffer starts on a
// 64-byte boundary, as Arrow asks. The same for all slabs of a table with that capacity.
struct SlabLayout {
  static constexpr size_t kNone = ~size_t{0};
  struct Column {
    size_t data = 0;
    size_t validity = kNone;  // kNone: the column has no nulls
    ColumnType type = ColumnType::kUint64;
  };
  uint32_t capacity = 0;
  size_t bytes = 0;
  std::vector<Column> columns;

  static SlabLayout For(const TableSpec& table, uint32_t capacity);
};

class Slab;
class TableOutlet;

// Bytes of the slabs of one sampler that are not freed: its own (empty, being written, waiting to
// be taken, waiting to be freed), and those that the consumer took and still refers to. Slabs
// outlive their sampler and keep this alive. Any thread.
class SlabAccount final : public Shared {
 public:
  // Slabs that the consumer has done with, for the keeper to use again: their pages are there, and
  // fresh ones cost more than all that is written into them. Until Close.
  [[nodiscard]] std::vector<Slab*> TakeGivenBack();
  // Frees what was given back; what comes later is freed by whoever brings it.
  void Close();
  [[nodiscard]] int64_t own_bytes() const { return own_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t delivered_bytes() const {
    return delivered_.load(std::memory_order_relaxed);
  }

 private:
  friend class Slab;
  // Slabs that wait for the keeper; more are freed at once.
  static constexpr size_t kMostGivenBack = 32;
  [[nodiscard]] bool Keep(Slab* slab);

  std::atomic<int64_t> own_{0};
  std::atomic<int64_t> delivered_{0};
  std::mutex mutex_;  // of the consumer's and the keeper's threads
  std::vector<Slab*> given_back_;
  bool is_closed_ = false;
};

// One 64-byte-aligned allocation with all columns and validity bitmaps of a batch in Arrow layout,
// zeroed when made: a cell that nobody sets is null. Reference counted by hand (std::shared_ptr
// raises the glibc floor): the writer, the last-tick view and the JavaScript buffer may each hold
// one.
class Slab {
 public:
  // nullptr when there is no memory. Touches every page, so that the sampling loop takes no faults.
  // `account` (nullptr: none) counts its bytes until it is freed.
  static Slab* Make(const SlabLayout& layout, SlabAccount* account = nullptr);
  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  // Frees the slab with the last reference. Any thread.
  void Unref() {
    if (Release()) delete this;
  }
  // Gives a reference up; true when it was the last one: the caller then owns the slab and frees it
  // (Unref), or has it freed where that costs nobody a deadline.
  [[nodiscard]] bool Release() { return references_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  // From now on it is the consumer's, who calls this once, with the reference that he took over.
  void SetDelivered();
  // Gives the consumer's reference up. With the last one the slab goes back to its sampler, or is
  // freed where that has ended.
  void GiveBack();
  // As new, with one reference, for whoever owns it alone.
  void Reset();
  // Frees a slab whose last reference Release gave up.
  static void Free(Slab* slab) { delete slab; }

  [[nodiscard]] uint8_t* base() const { return base_; }
  [[nodiscard]] const SlabLayout& layout() const { return layout_; }
  [[nodiscard]] uint32_t room() const { return layout_.capacity - rows_; }

  // Written by the producer alone before hand-over, read by anybody after it.
  uint32_t rows_ = 0;
  int64_t first_row_ns_ = 0;
  int64_t opened_ns_ = 0;  // when the first row was begun: its age decides the hand-over
  // Place of this slab in its table: how many slabs were handed over, and how many rows were handed
  // over or lost, before it. What is missing between two delivered slabs was dropped.
  uint64_t slabs_before_ = 0;
  uint64_t rows_before_ = 0;
  // Ticks run and deadlines missed of the table from its start to the last whole tick in this slab.
  uint64_t ticks_ = 0;
  uint64_t missed_ = 0;
  // Links slabs that wait to be freed.
  Slab* next_ = nullptr;
  // The table that it was made for; nullptr: nobody's. For the keeper alone.
  TableOutlet* home_ = nullptr;
  // Rows [begin, end) of the last whole tick in this slab, as begin << 32 | end: latest() reads it
  // while the producer goes on writing later rows. 0: no whole tick yet.
  std::atomic<uint64_t> last_tick_{0};

 private:
  Slab() = default;
  ~Slab();
  std::atomic<uint32_t> references_{1};
  uint8_t* base_ = nullptr;
  SlabLayout layout_;
  SlabAccount* account_ = nullptr;
  // Written by the consumer, read by the thread that frees: whoever gives the last reference up
  // sees what was written before the others were given up.
  bool delivered_ = false;
};

// Copies rows [from, from + rows) of `old` to the start of the empty slab `young`, which has room
// for them. The producer of `old` may be writing later rows meanwhile.
void CopyRows(const Slab& old, uint32_t from, uint32_t rows, Slab* young);

}  // namespace warpgauge
