#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gpu/cupti/trace_ring.h"

namespace warpgauge {

// The reader's memory, as plain as can be: what it takes is checked by whoever asks.
class TestRing {
 public:
  explicit TestRing(uint32_t lanes = 2, uint32_t capacity = 4096) {
    const uint64_t stride = WG_TRACE_PAGE + uint64_t{capacity} * WG_RECORD_BYTES;
    bytes_ = WG_TRACE_PAGE + lanes * stride;
    fd_ = memfd_create("warpgauge-test-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd_ >= 0);
    REQUIRE(posix_fallocate(fd_, 0, static_cast<off_t>(bytes_)) == 0);
    REQUIRE(fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    memory_ =
        static_cast<uint8_t*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
    REQUIRE(memory_ != MAP_FAILED);
    wg_trace_header& header = *this->header();
    header.magic = WG_TRACE_MAGIC;
    header.version = WG_TRACE_VERSION;
    header.record_bytes = WG_RECORD_BYTES;
    header.lane_count = lanes;
    header.lane_capacity = capacity;
    header.lane_stride = stride;
    header.kinds = 0x7fe;  // all
    header.api = WG_API_MEMCPY;
    header.flush_ms = 5;
    header.pool_bytes = 4 << 20;
    header.reader_pid = static_cast<uint32_t>(getpid());
    header.run = WG_RUN_TRACING;
  }
  TestRing(const TestRing&) = delete;
  TestRing& operator=(const TestRing&) = delete;
  ~TestRing() {
    munmap(memory_, bytes_);
    close(fd_);
  }

  [[nodiscard]] std::string path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_);
  }
  [[nodiscard]] wg_trace_header* header() const {
    return reinterpret_cast<wg_trace_header*>(memory_);
  }
  [[nodiscard]] wg_lane* lane(uint32_t index) const {
    return reinterpret_cast<wg_lane*>(memory_ + WG_TRACE_PAGE + index * header()->lane_stride);
  }
  [[nodiscard]] uint32_t state(uint32_t index) const {
    return __atomic_load_n(&lane(index)->state, __ATOMIC_ACQUIRE);
  }
  void Run(uint32_t run) const { __atomic_store_n(&header()->run, run, __ATOMIC_RELEASE); }

  // All that is there, or at most `most`.
  std::vector<wg_record> Take(uint32_t index, size_t most = SIZE_MAX) const {
    wg_lane* const lane = this->lane(index);
    const uint64_t head = __atomic_load_n(&lane->head, __ATOMIC_ACQUIRE);
    uint64_t tail = lane->tail;
    REQUIRE(head >= tail);
    REQUIRE(head - tail <= lane->capacity);
    const auto* const records =
        reinterpret_cast<const wg_record*>(reinterpret_cast<uint8_t*>(lane) + WG_TRACE_PAGE);
    std::vector<wg_record> taken;
    for (; tail != head && taken.size() < most; tail++) {
      taken.push_back(records[tail & (lane->capacity - 1)]);
    }
    __atomic_store_n(&lane->tail, tail, __ATOMIC_RELEASE);
    return taken;
  }

 private:
  int fd_ = -1;
  uint64_t bytes_ = 0;
  uint8_t* memory_ = nullptr;
};

inline size_t CountKind(const std::vector<wg_record>& records, wg_record_kind kind) {
  size_t count = 0;
  for (const wg_record& record : records) count += record.kind == kind ? 1 : 0;
  return count;
}

// The names of a lane; checks that each record's names were told before it.
inline std::map<uint32_t, std::string> NamesOf(const std::vector<wg_record>& records) {
  std::map<uint32_t, std::string> names;
  std::string text;
  for (const wg_record& record : records) {
    if (record.kind == WG_RECORD_NAME) {
      const auto& part = record.of.text;
      REQUIRE(part.length <= WG_NAME_CHUNK);
      REQUIRE(part.offset == (part.offset == 0 ? 0 : text.size()));
      if (part.offset == 0) text.clear();
      text.append(part.text, part.length);
      REQUIRE(text.size() <= part.total);
      if (text.size() == part.total) names[record.name] = text;
    } else if (record.name != WG_NO_ID) {
      CAPTURE(record.name);
      CHECK(names.contains(record.name));
    }
    if (record.kind == WG_RECORD_MARKER && record.of.marker.domain != WG_NO_ID) {
      CHECK(names.contains(record.of.marker.domain));
    }
  }
  return names;
}

}  // namespace warpgauge
