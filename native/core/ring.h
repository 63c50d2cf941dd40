#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace warpgauge {

// A bounded queue of pointers with their times: one thread pushes, any thread pops. Lock-free: a
// popping thread that is scheduled away holds nobody up.
//
// A pop reads the slot of the head and then claims it by moving the head. The producer reuses a
// slot only after the head has moved past it, so a claim that succeeds read what was pushed there;
// one that fails may have read anything and throws it away.
template <typename T, size_t kSlots>
class Ring {
 public:
  // The producer alone. False when full.
  bool Push(T* item, int64_t time_ns) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == kSlots) return false;
    Slot& slot = slots_[tail % kSlots];
    slot.item.store(item, std::memory_order_relaxed);
    slot.time_ns.store(time_ns, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  // The producer alone, for whom the answer cannot change to true by itself.
  [[nodiscard]] bool full() const {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire) == kSlots;
  }
  // Any thread. nullptr when empty.
  T* Pop() {
    uint64_t head = head_.load(std::memory_order_acquire);
    while (head != tail_.load(std::memory_order_acquire)) {
      T* item = slots_[head % kSlots].item.load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(
              head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return item;
      }
    }
    return nullptr;
  }
  // Time of the oldest item, INT64_MAX when empty. Any thread; it may be gone by the time the
  // caller acts on it.
  [[nodiscard]] int64_t OldestNs() const {
    for (;;) {
      const uint64_t head = head_.load(std::memory_order_acquire);
      if (head == tail_.load(std::memory_order_acquire)) return INT64_MAX;
      const int64_t time_ns = slots_[head % kSlots].time_ns.load(std::memory_order_relaxed);
      if (head_.load(std::memory_order_acquire) == head) return time_ns;
    }
  }

 private:
  struct Slot {
    std::atomic<T*> item{nullptr};
    std::atomic<int64_t> time_ns{0};
  };
  // Ends on lines of their own: they are written by different threads.
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) std::array<Slot, kSlots> slots_{};
};

}  // namespace warpgauge
