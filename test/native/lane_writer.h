#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

#include "core/clock.h"
#include "gpu/cupti/process_watch.h"
#include "gpu/cupti/trace_ring.h"

namespace warpgauge {

// The writer's side of a lane as native/gpu/cupti/trace_ring.h describes it, for tests of the
// reader: in a thread, in a forked child, or in one hand.

// Of /proc/PID/stat.
inline uint64_t StartTicks(const std::string& path) {
  char text[4096];
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t got = read(fd, text, sizeof text);
  close(fd);
  return StartTicksOf({text, got > 0 ? static_cast<size_t>(got) : 0});
}

inline uint64_t OwnStartTicks() { return StartTicks("/proc/self/stat"); }

inline uint32_t OwnPidNamespace() {
  struct stat about {};
  return stat("/proc/self/ns/pid", &about) == 0 ? static_cast<uint32_t>(about.st_ino) : 0;
}

// A record whose every part tells `number`.
inline wg_record NumberedCopy(uint64_t number, uint64_t start = 0) {
  wg_record record{};
  record.kind = WG_RECORD_MEMCPY;
  record.correlation = static_cast<uint32_t>(number);
  record.start = start == 0 ? 1'000'000'000 + number : start;
  record.end = record.start + 10;
  record.device = 0;
  record.context = 1;
  record.stream = 7;
  record.name = WG_NO_ID;
  record.of.memcpy.bytes = number;
  record.of.memcpy.copies = ~number;
  record.of.memcpy.copy_kind = 1;
  record.of.memcpy.source = 1;
  record.of.memcpy.destination = 3;
  return record;
}

inline wg_record ClockPair(int64_t monotonic_ns, uint64_t cupti_ns, int64_t bracket_ns = 200) {
  wg_record record{};
  record.kind = WG_RECORD_CLOCK;
  record.start = record.end = cupti_ns;
  record.of.clock.monotonic_before_ns = monotonic_ns - bracket_ns / 2;
  record.of.clock.monotonic_after_ns = monotonic_ns + bracket_ns / 2;
  record.of.clock.realtime_ns = static_cast<int64_t>(cupti_ns);
  return record;
}

inline wg_record ClockNow() {
  const int64_t before = MonotonicNs();
  const auto now = static_cast<uint64_t>(RealtimeNs());
  const int64_t after = MonotonicNs();
  wg_record record = ClockPair(before, now);
  record.of.clock.monotonic_before_ns = before;
  record.of.clock.monotonic_after_ns = after;
  return record;
}

inline wg_record NameIs(uint32_t id, const std::string& whole, size_t offset = 0) {
  wg_record record{};
  record.kind = WG_RECORD_NAME;
  record.name = id;
  const size_t length = std::min<size_t>(whole.size() - offset, WG_NAME_CHUNK);
  record.of.text.total = static_cast<uint16_t>(whole.size());
  record.of.text.offset = static_cast<uint16_t>(offset);
  record.of.text.length = static_cast<uint16_t>(length);
  std::memcpy(record.of.text.text, whole.data() + offset, length);
  return record;
}

inline wg_record DeviceIs(uint32_t device, uint8_t first_byte, bool is_mig = false) {
  wg_record record{};
  record.kind = WG_RECORD_DEVICE;
  record.device = device;
  for (size_t i = 0; i < 16; i++) {
    record.of.device.uuid[i] = static_cast<uint8_t>(first_byte + i);
  }
  record.of.device.is_mig = is_mig ? 1 : 0;
  return record;
}

class LaneWriter {
 public:
  // Claims the first free lane of a mapped trace; ok() is false when there is none.
  LaneWriter(wg_trace_header* header, const char* command) : header_(header) {
    auto* memory = reinterpret_cast<uint8_t*>(header);
    for (uint32_t i = 0; i < header->lane_count; i++) {
      auto* lane = reinterpret_cast<wg_lane*>(memory + WG_TRACE_PAGE + i * header->lane_stride);
      uint64_t claim = __atomic_load_n(&lane->claim, __ATOMIC_RELAXED);
      if (static_cast<uint32_t>(claim) != WG_LANE_FREE ||
          !__atomic_compare_exchange_n(&lane->claim,
                                       &claim,
                                       wg_lane_claim(WG_LANE_CLAIMED, getpid()),
                                       false,
                                       __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED)) {
        continue;
      }
      lane_ = lane;
      break;
    }
    if (lane_ == nullptr) {
      const uint32_t at = __atomic_fetch_add(&header->left_out, 1, __ATOMIC_ACQ_REL);
      if (at >= WG_TRACE_NAMED_LEFT_OUT) return;
      std::snprintf(header->left_out_names[at].command,
                    sizeof header->left_out_names[at].command,
                    "%s",
                    command);
      __atomic_store_n(
          &header->left_out_names[at].pid, static_cast<uint32_t>(getpid()), __ATOMIC_RELEASE);
      return;
    }
    capacity_ = header->lane_capacity;
    lane_->start_ticks = OwnStartTicks();
    lane_->pid_namespace = OwnPidNamespace();
    lane_->parent_pid = static_cast<uint32_t>(getppid());
    lane_->capacity = capacity_;
    std::snprintf(lane_->command, sizeof lane_->command, "%s", command);
    SetState(WG_LANE_TRACING);
  }

  // In another process: the trace of the reader behind `path` (/proc/PID/fd/N).
  static wg_trace_header* Map(const std::string& path) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return nullptr;
    const off_t bytes = lseek(fd, 0, SEEK_END);
    void* memory =
        mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? nullptr : static_cast<wg_trace_header*>(memory);
  }

  [[nodiscard]] bool ok() const { return lane_ != nullptr; }
  [[nodiscard]] wg_lane* lane() const { return lane_; }
  void SetState(wg_lane_state state) {
    __atomic_store_n(&lane_->state, static_cast<uint32_t>(state), __ATOMIC_RELEASE);
  }
  // False when the ring is full.
  bool TryWrite(const wg_record& record) {
    const uint64_t tail = __atomic_load_n(&lane_->tail, __ATOMIC_ACQUIRE);
    if (head_ - tail >= capacity_) return false;
    auto* first = reinterpret_cast<uint8_t*>(lane_) + WG_TRACE_PAGE;
    std::memcpy(first + (head_ & (capacity_ - 1)) * WG_RECORD_BYTES, &record, sizeof record);
    __atomic_store_n(&lane_->head, ++head_, __ATOMIC_RELEASE);
    return true;
  }
  void Write(const wg_record& record) {
    while (!TryWrite(record)) {
      __atomic_fetch_add(&lane_->waits, 1, __ATOMIC_RELAXED);
      const timespec pause{0, 100'000};
      nanosleep(&pause, nullptr);
    }
  }

 private:
  wg_trace_header* header_;
  wg_lane* lane_ = nullptr;
  uint32_t capacity_ = 0;
  uint64_t head_ = 0;
};

// A lane file.
class FileLaneWriter {
 public:
  FileLaneWriter(const std::string& path, uint32_t capacity, const char* command)
      : capacity_(capacity) {
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    (void)!ftruncate(fd_, WG_TRACE_PAGE + off_t{capacity} * WG_RECORD_BYTES);
    lane_.state = WG_LANE_TRACING;
    lane_.pid = static_cast<uint32_t>(getpid());
    lane_.start_ticks = OwnStartTicks();
    lane_.pid_namespace = OwnPidNamespace();
    lane_.capacity = capacity;
    std::snprintf(lane_.command, sizeof lane_.command, "%s", command);
    lane_.magic = WG_TRACE_MAGIC;
    (void)!pwrite(fd_, &lane_, sizeof lane_, 0);
  }
  ~FileLaneWriter() { close(fd_); }
  FileLaneWriter(const FileLaneWriter&) = delete;
  FileLaneWriter& operator=(const FileLaneWriter&) = delete;

  void Write(const wg_record& record) {
    const uint64_t at = head_ & (capacity_ - 1);
    (void)!pwrite(fd_, &record, sizeof record, static_cast<off_t>(WG_TRACE_PAGE + at * 128));
    head_++;
    (void)!pwrite(fd_, &head_, sizeof head_, offsetof(wg_lane, head));
  }
  void SetState(uint32_t state) {
    (void)!pwrite(fd_, &state, sizeof state, offsetof(wg_lane, state));
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  uint32_t capacity_;
  uint64_t head_ = 0;
  wg_lane lane_{};
};

}  // namespace warpgauge
