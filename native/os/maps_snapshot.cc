#include "os/maps_snapshot.h"

#include <charconv>

namespace warpgauge {
namespace {

// A hexadecimal number that ends at `stop`, which is taken off too.
template <typename T>
bool TakeHex(std::string_view* line, char stop, T* value) {
  const char* end = line->data() + line->size();
  const auto [at, error] = std::from_chars(line->data(), end, *value, 16);
  if (error != std::errc() || at == end || *at != stop) return false;
  line->remove_prefix(static_cast<size_t>(at - line->data()) + 1);
  return true;
}

// start-end perms offset major:minor inode [blanks name]
bool ParseLine(std::string_view line, MapsEntry* entry) {
  uint64_t offset = 0;
  if (!TakeHex(&line, '-', &entry->start) || !TakeHex(&line, ' ', &entry->end)) return false;
  const size_t perms = line.find(' ');
  if (perms == std::string_view::npos) return false;
  line.remove_prefix(perms + 1);
  if (!TakeHex(&line, ' ', &offset) || !TakeHex(&line, ':', &entry->device_major) ||
      !TakeHex(&line, ' ', &entry->device_minor)) {
    return false;
  }
  const char* end = line.data() + line.size();
  const auto [at, error] = std::from_chars(line.data(), end, entry->inode);
  if (error != std::errc() || entry->start >= entry->end) return false;
  line.remove_prefix(static_cast<size_t>(at - line.data()));
  const size_t name = line.find_first_not_of(' ');
  entry->name = name == std::string_view::npos ? std::string_view() : line.substr(name);
  return true;
}

}  // namespace

bool NextMapping(std::string_view* text, MapsEntry* entry) {
  while (true) {
    const size_t end = text->find('\n');
    if (end == std::string_view::npos) return false;
    const std::string_view line = text->substr(0, end);
    text->remove_prefix(end + 1);
    if (ParseLine(line, entry)) return true;
  }
}

}  // namespace warpgauge
