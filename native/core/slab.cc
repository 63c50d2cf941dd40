#include "core/slab.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace warpgauge {
namespace {

constexpr size_t kAlignment = 64;

constexpr size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

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

Slab* Slab::Make(const SlabLayout& layout) {
  auto* slab = new (std::nothrow) Slab();
  if (slab == nullptr) return nullptr;
  slab->layout_ = layout;
  slab->base_ = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, layout.bytes));
  if (slab->base_ == nullptr) {
    delete slab;
    return nullptr;
  }
  std::memset(slab->base_, 0, layout.bytes);
  return slab;
}

Slab::~Slab() { std::free(base_); }

}  // namespace warpgauge
