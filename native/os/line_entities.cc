#include "os/line_entities.h"

#include <algorithm>

namespace warpgauge {

size_t LineEntities::Locate(std::string_view name, TableWriter& rows, StateSink& states) {
  for (size_t i = 0; i < entities_.size(); i++) {
    if (entities_[i].name == name) return i;
  }
  Entity entity{std::string(name), -1, 0, CounterWatch(columns_)};
  if (key_column_ != 0) entity.code = rows.names(key_column_).Code(name);
  if (!is_first_) ReportAppeared(states, table_, entity.name);
  // Where the line stands in the file, so that the next tick finds the same order.
  const size_t at = std::min(next_, entities_.size());
  entities_.insert(entities_.begin() + static_cast<std::ptrdiff_t>(at), std::move(entity));
  return at;
}

void LineEntities::ForgetUnseen(StateSink& states) {
  const auto is_unseen = [&](const Entity& entity) { return entity.tick != tick_; };
  for (const Entity& entity : entities_) {
    if (is_unseen(entity)) ReportGone(states, table_, entity.name);
  }
  entities_.erase(std::remove_if(entities_.begin(), entities_.end(), is_unseen), entities_.end());
}

}  // namespace warpgauge
