#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/source.h"
#include "os/source_support.h"

namespace warpgauge {

// The entities of a file with one line per entity (disks, interfaces, CPUs), from tick to tick.
//
// Lines are expected in the order of the tick before, so that the steady state compares each name
// once and looks nothing up. One that appears gets a new entry (allocates) and, after the first
// tick, a row of the `state` table; one that is missing at the end of a tick is forgotten and told
// as gone, so that churning interfaces cost no memory here.
class LineEntities {
 public:
  struct Entity {
    std::string name;
    // Of the key column, where that is a name; -1 for a name beyond the bound: skip the row.
    int32_t code = -1;
    uint64_t tick = 0;
    CounterWatch watch;
  };

  // `columns`: of the table. `key_column` 0: the key is no name, and has no code.
  LineEntities(std::string table, size_t columns, uint32_t key_column)
      : table_(std::move(table)), columns_(columns), key_column_(key_column) {}

  void BeginTick() {
    tick_++;
    next_ = 0;
    seen_ = 0;
  }
  // The entity of this line, valid until the next Find; nullptr when this tick had it already.
  Entity* Find(std::string_view name, TableWriter& rows, StateSink& states) {
    if (next_ >= entities_.size() || entities_[next_].name != name) [[unlikely]] {
      next_ = Locate(name, rows, states);
    }
    Entity& entity = entities_[next_++];
    if (entity.tick == tick_) [[unlikely]]
      return nullptr;
    entity.tick = tick_;
    seen_++;
    return &entity;
  }
  // `is_complete` false (the file could not be read): nobody is gone.
  void EndTick(bool is_complete, StateSink& states) {
    if (!is_complete) return;
    if (seen_ != entities_.size()) [[unlikely]]
      ForgetUnseen(states);
    is_first_ = false;
  }
  // Rows that this tick will probably have.
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(entities_.size()); }

 private:
  size_t Locate(std::string_view name, TableWriter& rows, StateSink& states);
  void ForgetUnseen(StateSink& states);

  std::string table_;
  size_t columns_;
  uint32_t key_column_;
  std::vector<Entity> entities_;
  uint64_t tick_ = 0;
  size_t next_ = 0;
  size_t seen_ = 0;
  bool is_first_ = true;
};

}  // namespace warpgauge
