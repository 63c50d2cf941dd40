#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/event_counts.h"
#include "core/name_list.h"
#include "core/slab.h"
#include "core/table.h"

namespace warpgauge {

// Takes full slabs from a writer and gives it empty ones. Implemented by the engine
// (core/table_outlet.h); by a vector in tests of sources.
class SlabExchange {
 public:
  virtual ~SlabExchange() = default;
  // An empty slab with room for at least `rows` rows, or nullptr: then rows are counted as lost
  // until one comes. Never blocks; allocates on the producer's thread only when a tick has outgrown
  // all slabs that were prepared for it.
  virtual Slab* TakeEmpty(uint32_t rows) = 0;
  // Takes over the writer's reference. Wakes the consumer, coalesced.
  virtual void HandOver(Slab* slab) = 0;
  // Publishes the slab that is being written, for latest(); called when it changes.
  virtual void Publish(Slab* slab) = 0;
  virtual void CountLostRows(uint64_t rows) = 0;
};

// What a source writes rows with. One producer thread; no lock, allocation or system call per row.
// A tick is: BeginTick, then for each row BeginRow, Set..., EndRow, then EndTick. A cell not set is
// null.
//
//   if (!rows.BeginTick(time_ns, 1)) return;
//   rows.BeginRow(time_ns);
//   rows.SetU64(1, faults);
//   rows.EndRow();
//   rows.EndTick();
class TableWriter {
 public:
  // `shared_ids`: the list of all kNameId columns where several tables share one; outlives this.
  TableWriter(TableSpec table,
              SlabExchange& exchange,
              int64_t batch_ns,
              NameList* shared_ids = nullptr);
  ~TableWriter();
  TableWriter(const TableWriter&) = delete;
  TableWriter& operator=(const TableWriter&) = delete;

  // Before a tick: how many ran before it and how many deadlines were missed so far. Slabs carry
  // the counts up to their last whole tick.
  void NoteTick(uint64_t ticks_before, uint64_t missed) {
    ticks_ = ticks_before;
    missed_in_tick_ = missed;
  }
  // Makes room for `rows` rows, so that one tick lies in one slab. False when there is no slab: the
  // rows are then counted as lost, and the caller may skip its work. `time_ns` is the tick's time.
  bool BeginTick(int64_t time_ns, uint32_t rows);
  // False when a tick writes more rows than announced and no slab is left: skip the row.
  bool BeginRow(int64_t time_ns) {
    if (slab_ == nullptr || slab_->room() == 0) {
      if (!NextSlab(time_ns, 1)) return false;
    }
    if (slab_->rows_ == 0) {
      slab_->first_row_ns_ = time_ns;
      // Rows of spans tell of the past: what ages is the wait of a row, not what it tells.
      slab_->opened_ns_ = in_tick_ ? tick_ns_ : time_ns;
    }
    row_ = slab_->rows_;
    Put<int64_t>(0, time_ns + utc_offset_ns_);
    return true;
  }
  void SetU64(uint32_t column, uint64_t value) { Set(column, value); }
  void SetI64(uint32_t column, int64_t value) { Set(column, value); }
  void SetF64(uint32_t column, double value) { Set(column, value); }
  void SetU32(uint32_t column, uint32_t value) { Set(column, value); }
  void SetI32(uint32_t column, int32_t value) { Set(column, value); }
  void SetU8(uint32_t column, uint8_t value) { Set(column, value); }
  // A time in CLOCK_MONOTONIC ns, for kTime columns other than column 0.
  void SetTime(uint32_t column, int64_t monotonic_ns) {
    Set(column, monotonic_ns + utc_offset_ns_);
  }
  void SetBool(uint32_t column, bool value) {
    uint8_t* bits = slab_->base() + columns_[column].data;
    const auto bit = static_cast<uint8_t>(1U << (row_ & 7));
    PutBits(bits + (row_ >> 3), bit, value ? bit : 0);
    MarkValid(column);
  }
  // A kName or kNameId cell by its code; a negative code leaves it null.
  void SetCode(uint32_t column, int32_t code) {
    if (code >= 0) Set(column, code);
  }
  void EndRow() { slab_->rows_ = row_ + 1; }
  // Publishes the rows of this tick to latest() and hands the slab over when it is full or old.
  void EndTick();
  // For event tables: adds to the cumulative count of one key (a code of the first key column);
  // latest() reports them.
  void CountEvent(int32_t key_code, uint64_t n = 1);
  // Hands over what there is: at stop, pause and when JavaScript asks.
  void Flush();
  // Hands over when the slab is older than batch_ns: called by the lane between ticks of slow
  // tables.
  void FlushIfOld(int64_t now_ns);

  // Forgets the rows and counts of the calls that measured the source; its names stay. Only while
  // no producer is running.
  void Restart();

  // The names of a kName or kNameId column. All kNameId columns of a table share one list, because
  // they share a names table.
  NameList& names(uint32_t column);
  // Any thread.
  [[nodiscard]] const EventCounts& event_counts() const { return event_counts_; }
  [[nodiscard]] const TableSpec& table() const { return table_; }

 private:
  template <typename T>
  void Put(uint32_t column, T value) {
    std::memcpy(
        slab_->base() + columns_[column].data + size_t{row_} * sizeof(T), &value, sizeof(T));
  }
  template <typename T>
  void Set(uint32_t column, T value) {
    Put(column, value);
    MarkValid(column);
  }
  void MarkValid(uint32_t column) {
    const size_t validity = columns_[column].validity;
    if (validity == SlabLayout::kNone) return;
    const auto bit = static_cast<uint8_t>(1U << (row_ & 7));
    PutBits(slab_->base() + validity + (row_ >> 3), bit, bit);
  }
  // latest() copies bytes of which the producer still writes the upper bits: atomic to both, and a
  // plain load and store to the machine.
  // NOLINTNEXTLINE(readability-non-const-parameter): the builtin's store is not seen as one
  static void PutBits(uint8_t* byte, uint8_t mask, uint8_t bits) {
    const uint8_t old = __atomic_load_n(byte, __ATOMIC_RELAXED);
    __atomic_store_n(byte, static_cast<uint8_t>((old & ~mask) | bits), __ATOMIC_RELAXED);
  }
  // Hands over what there is and takes a slab for `rows` more; rows of the running tick move along,
  // so that a tick lies in one slab. False, and the rows counted as lost, when there is no slab.
  bool NextSlab(int64_t time_ns, uint32_t rows);
  void HandOver();

  TableSpec table_;
  SlabExchange& exchange_;
  int64_t batch_ns_;       // oldest age of a row at hand-over
  int64_t utc_offset_ns_;  // UtcOffsetNs() of core/clock.h: one per process, so times never step
  Slab* slab_ = nullptr;
  const SlabLayout::Column* columns_ = nullptr;
  uint32_t row_ = 0;
  uint32_t tick_begin_ = 0;
  int64_t tick_ns_ = 0;
  uint64_t ticks_ = 0;           // whole ones
  uint64_t missed_ = 0;          // before the last whole one
  uint64_t missed_in_tick_ = 0;  // before the running one
  bool in_tick_ = false;
  bool tick_lost_ = false;  // BeginTick found no slab and counted the rows of this tick
  const Slab* published_ = nullptr;
  std::vector<NameList*> names_;  // by column; nullptr where the column is no name
  bool owns_ids_;                 // the list of the kNameId columns is ours; those of kName are
  EventCounts event_counts_;
};

}  // namespace warpgauge
