#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/source.h"
#include "core/table_writer.h"

namespace warpgauge {

// What a table writer wrote, for unit tests of sources: rows are kept, and their cells are read by
// row and column name. Reading flushes, so it belongs to the thread that writes.
//
//   RowRecorder rows(source->tables()[0]);
//   source->Sample(0, MonotonicNs(), rows.writer());
//   CHECK(rows.size() == 1);
//   CHECK(rows.U64(0, "pgfault") == 123);
//   CHECK(rows.IsNull(0, "oom_kill"));
class RowRecorder : public SlabExchange {
 public:
  // `capacity`: rows of one slab; small values test what happens at slab ends.
  explicit RowRecorder(const TableSpec& table,
                       uint32_t capacity = 64,
                       NameList* shared_ids = nullptr)
      : table_(table), capacity_(capacity), writer_(table, *this, INT64_MAX / 2, shared_ids) {}
  ~RowRecorder() override {
    Clear();
    if (published_ != nullptr) published_->Unref();
  }
  RowRecorder(const RowRecorder&) = delete;
  RowRecorder& operator=(const RowRecorder&) = delete;

  TableWriter& writer() { return writer_; }
  [[nodiscard]] const TableSpec& table() const { return table_; }

  [[nodiscard]] size_t size() {
    writer_.Flush();
    size_t rows = 0;
    for (const Slab* slab : slabs_) rows += slab->rows_;
    return rows;
  }
  [[nodiscard]] size_t slabs() const { return slabs_.size(); }
  [[nodiscard]] uint64_t lost_rows() const { return lost_rows_; }
  // Rows of the last whole tick, as latest() would see them: [first, last) of the published slab.
  [[nodiscard]] std::pair<uint32_t, uint32_t> last_tick() const {
    if (published_ == nullptr) return {0, 0};
    const uint64_t tick = published_->last_tick_.load(std::memory_order_acquire);
    return {static_cast<uint32_t>(tick >> 32), static_cast<uint32_t>(tick)};
  }
  // Makes TakeEmpty answer nullptr, as when nobody takes batches and memory is at its bound.
  void refuse_slabs(bool refuse) { refuse_ = refuse; }
  void Clear() {
    for (Slab* slab : slabs_) slab->Unref();
    slabs_.clear();
  }

  [[nodiscard]] bool HasColumn(const std::string& name) const { return Find(name).has_value(); }
  [[nodiscard]] bool IsNull(size_t row, const std::string& column) {
    const Cell cell = At(row, column);
    return cell.slab == nullptr || !cell.valid;
  }
  // Null or a missing row or column reads as nullopt.
  [[nodiscard]] std::optional<uint64_t> U64(size_t row, const std::string& column) {
    return Read<uint64_t>(row, column);
  }
  [[nodiscard]] std::optional<int64_t> I64(size_t row, const std::string& column) {
    return Read<int64_t>(row, column);
  }
  [[nodiscard]] std::optional<double> F64(size_t row, const std::string& column) {
    return Read<double>(row, column);
  }
  [[nodiscard]] std::optional<uint32_t> U32(size_t row, const std::string& column) {
    return Read<uint32_t>(row, column);
  }
  [[nodiscard]] std::optional<int32_t> I32(size_t row, const std::string& column) {
    return Read<int32_t>(row, column);
  }
  [[nodiscard]] std::optional<uint8_t> U8(size_t row, const std::string& column) {
    return Read<uint8_t>(row, column);
  }
  [[nodiscard]] std::optional<bool> Bool(size_t row, const std::string& column) {
    const Cell cell = At(row, column);
    if (cell.slab == nullptr || !cell.valid) return std::nullopt;
    const uint8_t* bits = cell.slab->base() + cell.column->data;
    return (bits[cell.row >> 3] >> (cell.row & 7) & 1) != 0;
  }
  // CLOCK_MONOTONIC ns, as the source gave it.
  [[nodiscard]] std::optional<int64_t> Time(size_t row, const std::string& column = "time") {
    const std::optional<int64_t> utc = Read<int64_t>(row, column);
    if (!utc) return std::nullopt;
    return *utc - UtcOffsetNs();
  }
  // The name behind a kName or kNameId cell.
  [[nodiscard]] std::optional<std::string> Text(size_t row, const std::string& column) {
    const std::optional<uint32_t> code = Read<uint32_t>(row, column);
    const std::optional<uint32_t> index = Find(column);
    if (!code || !index) return std::nullopt;
    const std::vector<std::string> names = writer_.names(*index).Since(*code);
    if (names.empty()) return std::nullopt;
    return names[0];
  }
  // The first row whose kName or kNameId cell reads `name`; nullopt when there is none.
  [[nodiscard]] std::optional<size_t> RowWhere(const std::string& column, const std::string& name) {
    const size_t rows = size();
    for (size_t row = 0; row < rows; row++) {
      if (Text(row, column) == name) return row;
    }
    return std::nullopt;
  }

  // SlabExchange
  Slab* TakeEmpty(uint32_t rows) override {
    if (refuse_) return nullptr;
    return Slab::Make(SlabLayout::For(table_, rows > capacity_ ? rows : capacity_));
  }
  void HandOver(Slab* slab) override { slabs_.push_back(slab); }
  void Publish(Slab* slab) override {
    slab->Ref();
    if (published_ != nullptr) published_->Unref();
    published_ = slab;
  }
  void CountLostRows(uint64_t rows) override { lost_rows_ += rows; }

 private:
  struct Cell {
    const Slab* slab = nullptr;
    const SlabLayout::Column* column = nullptr;
    uint32_t row = 0;
    bool valid = true;
  };

  [[nodiscard]] std::optional<uint32_t> Find(const std::string& name) const {
    for (size_t i = 0; i < table_.columns.size(); i++) {
      if (table_.columns[i].name == name) return static_cast<uint32_t>(i);
    }
    return std::nullopt;
  }
  Cell At(size_t row, const std::string& name) {
    const std::optional<uint32_t> index = Find(name);
    writer_.Flush();
    if (!index) return {};
    for (const Slab* slab : slabs_) {
      if (row >= slab->rows_) {
        row -= slab->rows_;
        continue;
      }
      Cell cell{slab, &slab->layout().columns[*index], static_cast<uint32_t>(row)};
      if (cell.column->validity != SlabLayout::kNone) {
        const uint8_t* bits = slab->base() + cell.column->validity;
        cell.valid = (bits[row >> 3] >> (row & 7) & 1) != 0;
      }
      return cell;
    }
    return {};
  }
  // A type of another width than the column's reads as nullopt, never as a part of a cell.
  template <typename T>
  std::optional<T> Read(size_t row, const std::string& column) {
    const Cell cell = At(row, column);
    if (cell.slab == nullptr || !cell.valid || CellBytes(cell.column->type) != sizeof(T)) {
      return std::nullopt;
    }
    T value{};
    std::memcpy(
        &value, cell.slab->base() + cell.column->data + size_t{cell.row} * sizeof(T), sizeof(T));
    return value;
  }

  TableSpec table_;
  uint32_t capacity_;
  bool refuse_ = false;
  uint64_t lost_rows_ = 0;
  Slab* published_ = nullptr;
  std::vector<Slab*> slabs_;
  TableWriter writer_;
};

// All tables of one source, recorded.
class SourceRecorder {
 public:
  explicit SourceRecorder(Source& source, uint32_t capacity = 64) : source_(source) {
    for (const TableSpec& table : source.tables()) {
      NameList* shared = nullptr;
      if (!table.names.empty()) {
        std::unique_ptr<NameList>& list = names_[table.names];
        if (list == nullptr) list = std::make_unique<NameList>();
        shared = list.get();
      }
      tables_.push_back(std::make_unique<RowRecorder>(table, capacity, shared));
    }
  }
  // One tick of every table.
  void Sample(int64_t tick_ns = MonotonicNs()) {
    for (size_t i = 0; i < tables_.size(); i++) source_.Sample(i, tick_ns, tables_[i]->writer());
  }
  // By suffix: "" is the main table. nullptr when the source has no such table.
  RowRecorder* table(const std::string& suffix = "") {
    for (const auto& table : tables_) {
      if (table->table().suffix == suffix) return table.get();
    }
    return nullptr;
  }
  // For Source::Start of a source with threads of its own.
  std::vector<TableWriter*> writers() {
    std::vector<TableWriter*> all;
    for (const auto& table : tables_) all.push_back(&table->writer());
    return all;
  }

 private:
  Source& source_;
  std::map<std::string, std::unique_ptr<NameList>> names_;  // those that tables share
  std::vector<std::unique_ptr<RowRecorder>> tables_;
};

// Keeps the state changes that a source reports. Any thread may report; read when they are done.
class RecordedStates : public StateSink {
 public:
  void Report(StateChange change) override {
    const std::scoped_lock lock(mutex_);
    changes_.push_back(std::move(change));
  }
  [[nodiscard]] std::vector<StateChange> changes() const {
    const std::scoped_lock lock(mutex_);
    return changes_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<StateChange> changes_;
};

}  // namespace warpgauge
