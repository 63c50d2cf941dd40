#include "core/slab.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace warpgauge {
namespace {

constexpr size_t kAlignment = 64;

constexpr size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

void CopyBits(const uint8_t* from, uint32_t first, uint32_t count, uint8_t* to) {
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t bit = first + i;
    // The last byte may be getting the bits of later rows.
    const uint8_t byte = __atomic_load_n(from + (bit >> 3), __ATOMIC_RELAXED);
    if ((byte >> (bit & 7) & 1) == 0) continue;
    to[i >> 3] = static_cast<uint8_t>(to[i >> 3] | 1U << (i & 7));
  }
}

}  // namespace

SlabLayout SlabLayout::For(const TableSpec& table, uint32_t capacity) {
  SlabLayout layout;
  layout.capacity = capacity;
  const size_t bitmap = Aligned((size_t{capacity} + 7) / 8);
  size_t at = 0;
  for (const ColumnSpec& spec : table.columns) {
    Column column;
    column.type = spec.type;
    column.data = at;
    const size_t cell = CellBytes(spec.type);
    at += cell == 0 ? bitmap : Aligned(cell * capacity);
    if (spec.nullable) {
      column.validity = at;
      at += bitmap;
    }
    layout.columns.push_back(column);
  }
  layout.bytes = at;
  return layout;
}

Slab* Slab::Make(const SlabLayout& layout, SlabAccount* account) {
  auto* slab = new (std::nothrow) Slab();
  if (slab == nullptr) return nullptr;
  slab->layout_ = layout;
  slab->base_ = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, layout.bytes));
  if (slab->base_ == nullptr) {
    delete slab;
    return nullptr;
  }
  std::memset(slab->base_, 0, layout.bytes);
  if (account != nullptr) {
    account->Ref();
    account->own_.fetch_add(static_cast<int64_t>(layout.bytes), std::memory_order_relaxed);
    slab->account_ = account;
  }
  return slab;
}

void Slab::SetDelivered() {
  delivered_ = true;
  if (account_ == nullptr) return;
  const auto bytes = static_cast<int64_t>(layout_.bytes);
  account_->own_.fetch_sub(bytes, std::memory_order_relaxed);
  account_->delivered_.fetch_add(bytes, std::memory_order_relaxed);
}

Slab::~Slab() {
  std::free(base_);
  if (account_ == nullptr) return;
  std::atomic<int64_t>& sum = delivered_ ? account_->delivered_ : account_->own_;
  sum.fetch_sub(static_cast<int64_t>(layout_.bytes), std::memory_order_relaxed);
  account_->Unref();
}

void CopyRows(const Slab& old, uint32_t from, uint32_t rows, Slab* young) {
  for (size_t i = 0; i < old.layout().columns.size(); i++) {
    const SlabLayout::Column& source = old.layout().columns[i];
    const SlabLayout::Column& target = young->layout().columns[i];
    const size_t cell = CellBytes(source.type);
    const uint8_t* data = old.base() + source.data;
    if (cell == 0) {
      CopyBits(data, from, rows, young->base() + target.data);
    } else {
      std::memcpy(young->base() + target.data, data + from * cell, rows * cell);
    }
    if (source.validity == SlabLayout::kNone) continue;
    CopyBits(old.base() + source.validity, from, rows, young->base() + target.validity);
  }
  young->rows_ = rows;
}

}  // namespace warpgauge
