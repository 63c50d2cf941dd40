#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

namespace warpgauge {

// The memory regions that this process made on pages of a known kind (memory/region.h), now and a
// while ago: who reads page faults (os/page_faults_source.h) names the region behind an address at
// the time of the fault. One per process, never destroyed; any thread.
class RegionRegistry {
 public:
  struct Entry {
    uint64_t id = 0;  // from 1, never reused in this process
    uint64_t start = 0;
    uint64_t end = 0;
    int64_t made_ns = 0;          // CLOCK_MONOTONIC
    int64_t gone_ns = INT64_MAX;  // INT64_MAX while it lives
    const char* page_kind = "";   // "4k", "thp", "2m", "1g", "4k-split": static text
  };

  static RegionRegistry& OfThisProcess();

  // To be called between the mapping and the first touch.
  uint64_t Add(uint64_t start, uint64_t bytes, const char* page_kind);
  void SetPageKind(uint64_t id, const char* page_kind);
  // To be called before the memory goes. An id that is not known is ignored.
  void Remove(uint64_t id);

  // The region that `address` was in at `time_ns`; false when it was in none.
  bool Find(uint64_t address, int64_t time_ns, Entry* entry) const;

 private:
  // Regions that are gone are kept for faults that are still unread: a reader comes by every few
  // milliseconds.
  static constexpr size_t kKeptGone = 1024;

  mutable std::mutex mutex_;
  uint64_t last_id_ = 0;
  std::deque<Entry> live_;
  std::deque<Entry> gone_;
};

}  // namespace warpgauge
