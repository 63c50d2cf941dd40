#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/status.h"
#include "os/fault_ring_record.h"

namespace warpgauge {

// The reader's side of one perf ring: the mapping of an event's descriptor, peeked and consumed
// record by record. Move-only; one thread at a time. The descriptor stays the caller's.
class FaultRing {
 public:
  FaultRing() = default;
  FaultRing(FaultRing&& other) noexcept;
  FaultRing& operator=(FaultRing&& other) noexcept;
  FaultRing(const FaultRing&) = delete;
  FaultRing& operator=(const FaultRing&) = delete;
  ~FaultRing();

  // Maps `bytes` (a power of two of at least a page) of ring behind `fd`. errno as the status
  // number; EPERM: beyond kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK.
  static Result<FaultRing> Map(int fd, size_t bytes);

  // Looks how far the kernel has written; records beyond it wait for the next call.
  void Begin();
  // The next record, which stays valid until Consume. Skips what is no record, counted in torn().
  bool Peek(RingRecord* record);
  // Gives the room of the record that was peeked back to the kernel.
  void Consume();
  // True when more than half of the ring is waiting.
  [[nodiscard]] bool is_pressed() const { return (head_ - tail_) * 2 > bytes_; }
  [[nodiscard]] uint64_t torn() const { return torn_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  uint8_t* mapping_ = nullptr;  // one page of perf_event_mmap_page, then the ring
  size_t page_ = 0;
  size_t bytes_ = 0;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
  uint32_t peeked_ = 0;
  uint64_t torn_ = 0;
  std::unique_ptr<uint8_t[]> scratch_;
};

}  // namespace warpgauge
