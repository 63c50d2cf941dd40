#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <new>

namespace warpgauge {

// Cumulative counts by a small integer key, written by one thread and read by any: what latest()
// reports of an event table. A chunk is allocated when its first key appears and stays.
class EventCounts {
 public:
  EventCounts() = default;
  EventCounts(const EventCounts&) = delete;
  EventCounts& operator=(const EventCounts&) = delete;
  ~EventCounts() {
    for (auto& chunk : chunks_) delete chunk.load(std::memory_order_relaxed);
  }

  // The writer alone. A key out of range is not counted.
  void Add(int32_t key, uint64_t n) {
    if (key < 0 || key >= kChunks * kChunkKeys) return;
    std::atomic<Chunk*>& slot = chunks_[static_cast<size_t>(key / kChunkKeys)];
    Chunk* chunk = slot.load(std::memory_order_relaxed);
    if (chunk == nullptr) {
      chunk = new (std::nothrow) Chunk();
      if (chunk == nullptr) return;
      slot.store(chunk, std::memory_order_release);
    }
    auto& count = chunk->counts[static_cast<size_t>(key % kChunkKeys)];
    count.store(count.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // Only while no writer is running.
  void Clear() {
    for (auto& slot : chunks_) {
      delete slot.load(std::memory_order_relaxed);
      slot.store(nullptr, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] uint64_t Count(int32_t key) const {
    if (key < 0 || key >= kChunks * kChunkKeys) return 0;
    const Chunk* chunk =
        chunks_[static_cast<size_t>(key / kChunkKeys)].load(std::memory_order_acquire);
    if (chunk == nullptr) return 0;
    return chunk->counts[static_cast<size_t>(key % kChunkKeys)].load(std::memory_order_relaxed);
  }

 private:
  static constexpr int32_t kChunkKeys = 1024;
  static constexpr int32_t kChunks = 1024;  // together NameList::kMaxNames
  struct Chunk {
    std::array<std::atomic<uint64_t>, kChunkKeys> counts{};
  };
  std::array<std::atomic<Chunk*>, kChunks> chunks_{};
};

}  // namespace warpgauge
