#include "os/fault_ring.h"

#include <linux/perf_event.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace warpgauge {
namespace {

perf_event_mmap_page* ControlPage(uint8_t* mapping) {
  return reinterpret_cast<perf_event_mmap_page*>(mapping);
}

}  // namespace

FaultRing::FaultRing(FaultRing&& other) noexcept { *this = std::move(other); }

FaultRing& FaultRing::operator=(FaultRing&& other) noexcept {
  if (this == &other) return *this;
  if (mapping_ != nullptr) munmap(mapping_, page_ + bytes_);
  mapping_ = std::exchange(other.mapping_, nullptr);
  page_ = other.page_;
  bytes_ = other.bytes_;
  head_ = other.head_;
  tail_ = other.tail_;
  peeked_ = other.peeked_;
  torn_ = other.torn_;
  scratch_ = std::move(other.scratch_);
  return *this;
}

FaultRing::~FaultRing() {
  if (mapping_ != nullptr) munmap(mapping_, page_ + bytes_);
}

Result<FaultRing> FaultRing::Map(int fd, size_t bytes) {
  FaultRing ring;
  ring.page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* mapping =
      mmap(nullptr, ring.page_ + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, /*offset=*/0);
  if (mapping == MAP_FAILED) {
    const int error = errno;
    return Status("ERR_SYSCALL", std::string("mmap of a perf ring: ") + std::strerror(error))
        .WithSource("mmap", error);
  }
  ring.mapping_ = static_cast<uint8_t*>(mapping);
  ring.bytes_ = bytes;
  ring.scratch_ = std::make_unique<uint8_t[]>(kRingScratchBytes);
  ring.tail_ = ControlPage(ring.mapping_)->data_tail;
  ring.head_ = ring.tail_;
  return ring;
}

void FaultRing::Begin() {
  // Pairs with the kernel's barrier: what lies below the head has been written whole.
  head_ = __atomic_load_n(&ControlPage(mapping_)->data_head, __ATOMIC_ACQUIRE);
}

bool FaultRing::Peek(RingRecord* record) {
  const RingRead read =
      ReadRingRecord(mapping_ + page_, bytes_, tail_, head_, scratch_.get(), record);
  if (read == RingRead::kRecord) {
    peeked_ = record->bytes;
    return true;
  }
  if (read == RingRead::kTorn) {
    torn_++;
    peeked_ = 0;
    tail_ = head_;
    __atomic_store_n(&ControlPage(mapping_)->data_tail, tail_, __ATOMIC_RELEASE);
  }
  return false;
}

void FaultRing::Consume() {
  tail_ += peeked_;
  peeked_ = 0;
  // After all reads of the record: the kernel may overwrite it from here on.
  __atomic_store_n(&ControlPage(mapping_)->data_tail, tail_, __ATOMIC_RELEASE);
}

}  // namespace warpgauge
