#include "core/name_list.h"

namespace warpgauge {

int32_t NameList::Code(std::string_view name) {
  const std::scoped_lock lock(mutex_);
  const auto found = codes_.find(name);
  if (found != codes_.end()) return found->second;
  if (names_.size() >= kMaxNames) return -1;
  const auto code = static_cast<int32_t>(names_.size());
  names_.emplace_back(name);
  codes_.emplace(name, code);
  return code;
}

uint32_t NameList::size() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<uint32_t>(names_.size());
}

std::vector<std::string> NameList::Since(uint32_t from) const {
  const std::scoped_lock lock(mutex_);
  if (from >= names_.size()) return {};
  return {names_.begin() + from, names_.end()};
}

}  // namespace warpgauge
