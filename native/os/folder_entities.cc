#include "os/folder_entities.h"

#include <algorithm>
#include <limits>

#include "os/text_scanner.h"

namespace warpgauge {

FolderList::~FolderList() {
  if (folder_ != nullptr) closedir(folder_);
}

FolderList::FolderList(FolderList&& other) noexcept
    : path_(std::move(other.path_)), folder_(std::exchange(other.folder_, nullptr)) {}

bool FolderList::Begin() {
  if (folder_ != nullptr) {
    rewinddir(folder_);
    return true;
  }
  folder_ = opendir(path_.c_str());
  return folder_ != nullptr;
}

std::string_view FolderList::Next() {
  while (const dirent64* const entry = readdir64(folder_)) {
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") return name;
  }
  return {};
}

std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  FolderList folder(path);
  if (!folder.Begin()) return names;
  for (std::string_view name = folder.Next(); !name.empty(); name = folder.Next()) {
    names.emplace_back(name);
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return names;
}

bool NumberAfter(std::string_view name, std::string_view prefix, uint32_t* number) {
  if (name.substr(0, prefix.size()) != prefix) return false;
  const char* const end = name.data() + name.size();
  uint64_t value = 0;
  if (ParseU64(name.data() + prefix.size(), end, &value) != end ||
      value > std::numeric_limits<uint32_t>::max()) {
    return false;
  }
  *number = static_cast<uint32_t>(value);
  return true;
}

}  // namespace warpgauge
