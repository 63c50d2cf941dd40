#include "core/region_registry.h"

#include <algorithm>

#include "core/clock.h"

namespace warpgauge {

RegionRegistry& RegionRegistry::OfThisProcess() {
  static auto& registry = *new RegionRegistry;
  return registry;
}

uint64_t RegionRegistry::Add(uint64_t start, uint64_t bytes, const char* page_kind) {
  const std::scoped_lock lock(mutex_);
  Entry entry;
  entry.id = ++last_id_;
  entry.start = start;
  entry.end = start + bytes;
  entry.made_ns = MonotonicNs();
  entry.page_kind = page_kind;
  live_.push_back(entry);
  return entry.id;
}

void RegionRegistry::SetPageKind(uint64_t id, const char* page_kind) {
  const std::scoped_lock lock(mutex_);
  for (Entry& entry : live_) {
    if (entry.id == id) entry.page_kind = page_kind;
  }
}

void RegionRegistry::Remove(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  const auto found =
      std::find_if(live_.begin(), live_.end(), [id](const Entry& e) { return e.id == id; });
  if (found == live_.end()) return;
  found->gone_ns = MonotonicNs();
  gone_.push_back(*found);
  if (gone_.size() > kKeptGone) gone_.pop_front();
  live_.erase(found);
}

bool RegionRegistry::Find(uint64_t address, int64_t time_ns, Entry* entry) const {
  const std::scoped_lock lock(mutex_);
  for (const auto* list : {&live_, &gone_}) {
    for (const Entry& one : *list) {
      if (address < one.start || address >= one.end) continue;
      if (time_ns < one.made_ns || time_ns >= one.gone_ns) continue;
      *entry = one;
      return true;
    }
  }
  return false;
}

}  // namespace warpgauge
