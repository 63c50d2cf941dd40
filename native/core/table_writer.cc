#include "core/table_writer.h"

#include <utility>

#include "core/clock.h"

namespace warpgauge {
TableWriter::TableWriter(TableSpec table,
                         SlabExchange& exchange,
                         int64_t batch_ns,
                         NameList* shared_ids)
    : table_(std::move(table)),
      exchange_(exchange),
      batch_ns_(batch_ns),
      utc_offset_ns_(UtcOffsetNs()),
      owns_ids_(shared_ids == nullptr) {
  NameList* ids = shared_ids;
  for (const ColumnSpec& column : table_.columns) {
    NameList* list = nullptr;
    if (column.type == ColumnType::kName) list = new NameList;
    if (column.type == ColumnType::kNameId) {
      if (ids == nullptr) ids = new NameList;
      list = ids;
    }
    names_.push_back(list);
  }
}

TableWriter::~TableWriter() {
  if (slab_ != nullptr) slab_->Unref();
  NameList* ids = nullptr;
  for (size_t i = 0; i < names_.size(); i++) {
    if (table_.columns[i].type == ColumnType::kNameId) {
      ids = names_[i];
    } else {
      delete names_[i];
    }
  }
  if (owns_ids_) delete ids;
}

NameList& TableWriter::names(uint32_t column) { return *names_[column]; }

bool TableWriter::BeginTick(int64_t time_ns, uint32_t rows) {
  in_tick_ = false;
  tick_lost_ = false;
  tick_ns_ = time_ns;
  if (slab_ == nullptr || slab_->room() < rows) {
    if (!NextSlab(time_ns, rows)) {
      tick_lost_ = true;
      return false;
    }
  }
  tick_begin_ = slab_->rows_;
  in_tick_ = true;
  return true;
}

bool TableWriter::NextSlab(int64_t time_ns, uint32_t rows) {
  if (tick_lost_) return false;  // its rows were counted in BeginTick
  // A tick that wrote more rows than it announced takes what it has along; twice the room, so that
  // a source that announces nothing does not move at every row.
  const uint32_t moved = in_tick_ && slab_ != nullptr ? slab_->rows_ - tick_begin_ : 0;
  Slab* next = exchange_.TakeEmpty(moved == 0 ? rows : 2 * (moved + rows));
  if (next == nullptr) {
    exchange_.CountLostRows(rows);
    return false;
  }
  if (moved != 0) {
    CopyRows(*slab_, tick_begin_, moved, next);
    next->first_row_ns_ = time_ns;
    next->opened_ns_ = tick_ns_;
    slab_->rows_ = tick_begin_;
  }
  if (slab_ != nullptr) HandOver();
  slab_ = next;
  columns_ = slab_->layout().columns.data();
  tick_begin_ = 0;
  return true;
}

void TableWriter::EndTick() {
  if (!in_tick_ || slab_ == nullptr) return;
  in_tick_ = false;
  ticks_++;
  missed_ = missed_in_tick_;
  slab_->last_tick_.store(uint64_t{tick_begin_} << 32 | slab_->rows_, std::memory_order_release);
  if (slab_ != published_) {
    exchange_.Publish(slab_);
    published_ = slab_;
  }
  if (slab_->rows_ == 0) return;
  // Where the next tick would make the first row too old, this one is the last of the slab.
  const bool is_old = tick_ns_ - slab_->opened_ns_ + table_.interval_ns >= batch_ns_;
  if (is_old || slab_->room() == 0) HandOver();
}

void TableWriter::HandOver() {
  if (slab_->rows_ == 0) {
    slab_->Unref();
  } else {
    slab_->ticks_ = ticks_;
    slab_->missed_ = missed_;
    exchange_.HandOver(slab_);
  }
  slab_ = nullptr;
}

void TableWriter::CountEvent(int32_t key_code, uint64_t n) { event_counts_.Add(key_code, n); }

void TableWriter::Flush() {
  if (slab_ != nullptr && slab_->rows_ != 0) HandOver();
}

void TableWriter::Restart() {
  if (slab_ != nullptr) slab_->Unref();
  slab_ = nullptr;
  published_ = nullptr;
  in_tick_ = false;
  ticks_ = missed_ = missed_in_tick_ = 0;
  event_counts_.Clear();
}

void TableWriter::FlushIfOld(int64_t now_ns) {
  if (slab_ == nullptr || slab_->rows_ == 0) return;
  if (now_ns - slab_->opened_ns_ >= batch_ns_) HandOver();
}

}  // namespace warpgauge
