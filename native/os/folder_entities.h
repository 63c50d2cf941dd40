#pragma once

#include <dirent.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/source.h"
#include "os/source_support.h"

namespace warpgauge {

// A folder that stays open and is listed again and again: no allocation after the first listing.
class FolderList {
 public:
  explicit FolderList(std::string path) : path_(std::move(path)) {}
  ~FolderList();
  FolderList(FolderList&& other) noexcept;
  FolderList& operator=(FolderList&&) = delete;
  FolderList(const FolderList&) = delete;
  FolderList& operator=(const FolderList&) = delete;

  // Starts over; false when the folder cannot be read.
  bool Begin();
  // The next name (valid until the next call), empty at the end; never "." or "..".
  std::string_view Next();

 private:
  std::string path_;
  DIR* folder_ = nullptr;
};

// Names of a folder, read once; sorted by length and then by text, so that node2 stands before
// node10. For opening.
std::vector<std::string> NamesIn(const std::string& path);

// Parses "node12" after "node"; false for other names ("node", "nodeX", "node1x").
bool NumberAfter(std::string_view name, std::string_view prefix, uint32_t* number);

// How many files a source may keep open: a server has hundreds of PCI devices and CPUs with several
// files each, and the process has other uses for its descriptors (1024 by default).
class OpenFiles {
 public:
  static constexpr uint32_t kMost = 256;
  // True: keep it open; false: open it for each read. Files of entities that went are not given
  // back: those that come after the bound are opened for each read, nothing worse.
  bool Take() { return taken_ < kMost && ++taken_ > 0; }

 private:
  uint32_t taken_ = 0;
};

// The entities of a table, one per entry of a folder (NUMA nodes, PCI devices, thermal zones), kept
// in step with the folder: it is listed at most once a second, and what appeared or vanished is a
// row of the `state` table. `Entity` has a `std::string key`.
template <typename Entity>
class FolderEntities {
 public:
  static constexpr int64_t kListEveryNs = 1'000'000'000;

  FolderEntities(std::string table, std::string folder)
      : table_(std::move(table)), folder_(std::move(folder)) {}

  // make(name) gives a std::unique_ptr<Entity>, nullptr for a name that is none (asked once).
  template <typename Make>
  void Update(int64_t now_ns, StateSink& states, Make&& make) {
    if (is_listed_ && now_ns - listed_at_ns_ < kListEveryNs) return;
    const bool is_first = !is_listed_;
    is_listed_ = true;
    listed_at_ns_ = now_ns;
    // A folder that cannot be read just now says nothing about what is in it.
    if (!folder_.Begin()) return;
    pass_++;
    for (std::string_view name = folder_.Next(); !name.empty(); name = folder_.Next()) {
      Entry* entry = Find(name);
      if (entry == nullptr) {
        entries_.push_back({std::string(name), make(name), 0});
        entry = &entries_.back();
        if (entry->entity != nullptr && !is_first) {
          ReportAppeared(states, table_, entry->entity->key);
        }
      }
      entry->pass = pass_;
    }
    for (const Entry& entry : entries_) {
      if (entry.pass != pass_ && entry.entity != nullptr) {
        ReportGone(states, table_, entry.entity->key);
      }
    }
    std::erase_if(entries_, [this](const Entry& entry) { return entry.pass != pass_; });
    count_ = 0;
    for (const Entry& entry : entries_) count_ += entry.entity != nullptr ? 1 : 0;
  }

  template <typename Visit>
  void ForEach(Visit&& visit) {
    for (Entry& entry : entries_) {
      if (entry.entity != nullptr) visit(*entry.entity);
    }
  }
  [[nodiscard]] uint32_t size() const { return count_; }

 private:
  struct Entry {
    std::string name;
    std::unique_ptr<Entity> entity;
    uint64_t pass;
  };
  Entry* Find(std::string_view name) {
    for (Entry& entry : entries_) {
      if (entry.name == name) return &entry;
    }
    return nullptr;
  }

  std::string table_;
  FolderList folder_;
  std::vector<Entry> entries_;
  uint32_t count_ = 0;
  uint64_t pass_ = 0;
  int64_t listed_at_ns_ = 0;
  bool is_listed_ = false;
};

}  // namespace warpgauge
