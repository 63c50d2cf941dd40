#include "core/slab.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace warpgauge {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

constexpr size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

// Large slabs lie on transparent huge pages where the kernel's policy lets a process ask for them:
// one page fault in the place of 512. Under virtualization a fault may cost microseconds, and a
// table of a million rows a second takes 25,000 pages a second.
void* Allocate(size_t bytes) {
  if (bytes < kHugePage) return std::aligned_alloc(kAlignment, bytes);
  const size_t whole = (bytes + kHugePage - 1) & ~(kHugePage - 1);
  void* memory = std::aligned_alloc(kHugePage, whole);
  if (memory != nullptr) static_cast<void>(madvise(memory, whole, MADV_HUGEPAGE));
  return memory;
}

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
  slab->base_ = static_cast<uint8_t*>(Allocate(layout.bytes));
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

void Slab::GiveBack() {
  if (!Release()) return;
  if (account_ == nullptr || !account_->Keep(this)) delete this;
}

void Slab::Reset() {
  std::memset(base_, 0, layout_.bytes);
  references_.store(1, std::memory_order_relaxed);
  rows_ = 0;
  first_row_ns_ = opened_ns_ = 0;
  slabs_before_ = rows_before_ = ticks_ = missed_ = 0;
  next_ = nullptr;
  last_tick_.store(0, std::memory_order_relaxed);
  if (!delivered_) return;
  delivered_ = false;
  if (account_ == nullptr) return;
  const auto bytes = static_cast<int64_t>(layout_.bytes);
  account_->delivered_.fetch_sub(bytes, std::memory_order_relaxed);
  account_->own_.fetch_add(bytes, std::memory_order_relaxed);
}

bool SlabAccount::Keep(Slab* slab) {
  const std::scoped_lock lock(mutex_);
  if (is_closed_ || given_back_.size() == kMostGivenBack) return false;
  given_back_.push_back(slab);
  return true;
}

std::vector<Slab*> SlabAccount::TakeGivenBack() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(given_back_, {});
}

void SlabAccount::Close() {
  {
    const std::scoped_lock lock(mutex_);
    is_closed_ = true;
  }
  for (Slab* slab : TakeGivenBack()) Slab::Free(slab);
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
