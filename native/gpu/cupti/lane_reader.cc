#include "gpu/cupti/lane_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace warpgauge {
namespace {

wg_lane_state StateOf(uint32_t word) {
  return word <= WG_LANE_ENDED ? static_cast<wg_lane_state>(word) : WG_LANE_ENDED;
}

bool IsPowerOfTwo(uint32_t number) { return number != 0 && (number & (number - 1)) == 0; }

// The words of a lane that its writer changes while we copy: one by one, so that none is torn.
void CopyCounts(const wg_lane& from, wg_lane* to) {
  constexpr uint64_t wg_lane::*kCounts[] = {&wg_lane::head,
                                            &wg_lane::without_time,
                                            &wg_lane::dropped,
                                            &wg_lane::dropped_cupti,
                                            &wg_lane::dropped_names,
                                            &wg_lane::unknown,
                                            &wg_lane::waits,
                                            &wg_lane::buffers,
                                            &wg_lane::flushes,
                                            &wg_lane::last_flush_ns,
                                            &wg_lane::cpu_ns};
  for (const auto count : kCounts) {
    to->*count = __atomic_load_n(&(from.*count), __ATOMIC_RELAXED);
  }
}

}  // namespace

void TidyLane(wg_lane* lane) {
  lane->state = StateOf(lane->state);
  lane->command[sizeof lane->command - 1] = '\0';
  lane->cupti_path[sizeof lane->cupti_path - 1] = '\0';
  lane->detail[sizeof lane->detail - 1] = '\0';
  lane->simulated = lane->simulated != 0 ? 1 : 0;
}

wg_lane_state MemoryLaneReader::State() {
  return StateOf(__atomic_load_n(&lane_->state, __ATOMIC_ACQUIRE));
}

bool MemoryLaneReader::Look(wg_lane* lane) {
  const uint32_t state = __atomic_load_n(&lane_->state, __ATOMIC_ACQUIRE);
  const uint32_t reason = __atomic_load_n(&lane_->reason, __ATOMIC_ACQUIRE);
  *lane = wg_lane{};
  // Up to the counts the writer writes before it says the state that they belong to.
  constexpr size_t kIdentity = offsetof(wg_lane, head);
  std::memcpy(lane, static_cast<const void*>(lane_), kIdentity);
  lane->state = state;
  lane->reason = reason;
  CopyCounts(*lane_, lane);
  TidyLane(lane);
  return true;
}

size_t MemoryLaneReader::Take(wg_record* records, size_t most) {
  if (broken_ != nullptr) return 0;
  const uint64_t head = __atomic_load_n(&lane_->head, __ATOMIC_ACQUIRE);
  // Also a head that went back: the difference wraps to a huge number.
  const uint64_t ready = head - tail_;
  if (ready == 0) return 0;
  if (ready > capacity_) {
    broken_ = "torn";
    return 0;
  }
  const uint64_t at = tail_ & (capacity_ - 1);
  const size_t count = std::min({static_cast<size_t>(ready), most, size_t{capacity_ - at}});
  const auto* first = reinterpret_cast<const uint8_t*>(lane_) + WG_TRACE_PAGE;
  std::memcpy(records, first + at * WG_RECORD_BYTES, count * WG_RECORD_BYTES);
  tail_ += count;
  taken_ += count;
  __atomic_store_n(&lane_->tail, tail_, __ATOMIC_RELEASE);
  return count;
}

void MemoryLaneReader::Free() {
  auto* bytes = reinterpret_cast<uint8_t*>(lane_);
  constexpr size_t kClaim = sizeof lane_->claim;
  std::memset(bytes + kClaim, 0, sizeof(wg_lane) - kClaim);
  tail_ = taken_ = overwritten_ = 0;
  broken_ = nullptr;
  __atomic_store_n(&lane_->claim, wg_lane_claim(WG_LANE_FREE, 0), __ATOMIC_RELEASE);
}

bool MemoryLaneReader::IsClaimed(uint32_t* pid) const {
  const uint64_t claim = __atomic_load_n(&lane_->claim, __ATOMIC_ACQUIRE);
  *pid = static_cast<uint32_t>(claim >> 32);
  return static_cast<uint32_t>(claim) == WG_LANE_CLAIMED;
}

bool MemoryLaneReader::TakeBack(uint32_t pid) {
  uint64_t claim = wg_lane_claim(WG_LANE_CLAIMED, pid);
  // Claimed by nobody, until it is clean.
  const uint64_t nobody = wg_lane_claim(WG_LANE_CLAIMED, 0);
  if (!__atomic_compare_exchange_n(
          &lane_->claim, &claim, nobody, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    return false;
  }
  Free();
  return true;
}

Result<std::unique_ptr<FileLaneReader>> FileLaneReader::Open(int dir,
                                                             const std::string& name,
                                                             uint32_t most_capacity) {
  const auto refuse = [&](const char* why) {
    return Status("ERR_UNAVAILABLE", name + " is no lane: " + why);
  };
  // Not blocking: a pipe of that name must not hold us.
  const int fd = openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    return refuse(std::strerror(error)).WithSource("open", error);
  }
  struct statx about {};
  const auto give_up = [&](const char* why) {
    close(fd);
    return refuse(why);
  };
  // statx, because stat of this glibc would raise the glibc that the addon needs.
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &about) != 0) {
    return give_up("statx failed");
  }
  if (!S_ISREG(about.stx_mode)) return give_up("it is no regular file");
  wg_lane lane{};
  if (pread(fd, &lane, sizeof lane, 0) != static_cast<ssize_t>(sizeof lane)) {
    return give_up("it is too short");
  }
  if (lane.magic != WG_TRACE_MAGIC) return give_up("it is not complete");
  if (!IsPowerOfTwo(lane.capacity) || lane.capacity > most_capacity) {
    return give_up("its capacity cannot be");
  }
  if (about.stx_size < WG_TRACE_PAGE + uint64_t{lane.capacity} * WG_RECORD_BYTES) {
    return give_up("it is shorter than it says");
  }
  return std::unique_ptr<FileLaneReader>(new FileLaneReader(fd, lane.capacity, about.stx_uid));
}

FileLaneReader::~FileLaneReader() { close(fd_); }

bool FileLaneReader::Read(void* to, size_t bytes, uint64_t at) {
  if (broken_ != nullptr) return false;
  const ssize_t got = pread(fd_, to, bytes, static_cast<off_t>(at));
  if (got == static_cast<ssize_t>(bytes)) return true;
  broken_ = got < 0 ? "unreadable" : "cut_short";
  return false;
}

wg_lane_state FileLaneReader::State() {
  uint32_t word = WG_LANE_ENDED;
  if (!Read(&word, sizeof word, offsetof(wg_lane, state))) return WG_LANE_ENDED;
  return StateOf(word);
}

bool FileLaneReader::Look(wg_lane* lane) {
  *lane = wg_lane{};
  if (!Read(lane, sizeof *lane, 0)) return false;
  TidyLane(lane);
  return true;
}

bool FileLaneReader::Head(uint64_t* head) {
  if (!Read(head, sizeof *head, offsetof(wg_lane, head))) return false;
  // No writer is so far ahead: a head that went back, or one that was made up.
  constexpr uint64_t kFar = uint64_t{1} << 40;
  if (*head >= tail_ && *head - tail_ < kFar) return true;
  broken_ = "torn";
  return false;
}

size_t FileLaneReader::Take(wg_record* records, size_t most) {
  uint64_t head = 0;
  if (!Head(&head) || head == tail_) return 0;
  // What lies less than this before the oldest record may be written over at this moment.
  const uint64_t safe = capacity_ - std::min<uint64_t>(WG_FILE_AHEAD, capacity_ / 2);
  const auto skip_lost = [&](uint64_t now) {
    const uint64_t lost = now - tail_ > safe ? now - tail_ - safe : 0;
    overwritten_ += lost;
    tail_ += lost;
    return lost;
  };
  skip_lost(head);
  const uint64_t at = tail_ & (capacity_ - 1);
  const size_t count = std::min({static_cast<size_t>(head - tail_), most, size_t{capacity_ - at}});
  if (!Read(records, count * WG_RECORD_BYTES, WG_TRACE_PAGE + at * WG_RECORD_BYTES)) return 0;
  // The writer went on meanwhile: what it may have reached is not what we read.
  if (!Head(&head)) return 0;
  const auto lost = static_cast<size_t>(std::min<uint64_t>(skip_lost(head), count));
  const size_t good = count - lost;
  if (lost != 0) std::memmove(records, records + lost, good * WG_RECORD_BYTES);
  tail_ += good;
  taken_ += good;
  return good;
}

}  // namespace warpgauge
