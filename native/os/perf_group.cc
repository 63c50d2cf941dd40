#include "os/perf_group.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace warpgauge {
namespace {

constexpr size_t kHeadWords = 3;   // number of events, time enabled, time running
constexpr size_t kEventWords = 2;  // value, id

}  // namespace

bool ParsePerfGroup(const void* buffer,
                    size_t bytes,
                    const uint64_t* ids,
                    size_t count,
                    uint64_t* values,
                    PerfGroupTimes* times) {
  if (bytes != (kHeadWords + kEventWords * count) * sizeof(uint64_t)) return false;
  const auto* at = static_cast<const unsigned char*>(buffer);
  const auto word = [&](size_t index) {
    uint64_t value = 0;
    std::memcpy(&value, at + index * sizeof(uint64_t), sizeof(value));
    return value;
  };
  if (word(0) != count) return false;
  for (size_t i = 0; i < count; i++) {
    // The kernel answers in the order of opening; the search is for the day when it does not.
    size_t found = i;
    if (word(kHeadWords + kEventWords * i + 1) != ids[i]) {
      for (found = 0; found < count; found++) {
        if (word(kHeadWords + kEventWords * found + 1) == ids[i]) break;
      }
      if (found == count) return false;
    }
    values[i] = word(kHeadWords + kEventWords * found);
  }
  times->enabled_ns = word(1);
  times->running_ns = word(2);
  return true;
}

Status PerfGroup::Add(perf_event_attr attr, const PerfEventTarget& target, bool enable_on_exec) {
  const bool leads = fds_.empty();
  attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED |
                     PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_ID;
  // The members of a disabled leader do not count either.
  attr.disabled = leads ? 1 : 0;
  attr.enable_on_exec = leads && enable_on_exec ? 1 : 0;
  if (!leads) attr.pinned = 0;  // EINVAL for members: the leader's pin holds the group
  Result<PerfEventFd> fd = OpenPerfEvent(attr, target, leads ? -1 : fds_[0].get());
  if (!fd.ok()) return fd.status;
  uint64_t id = 0;
  if (ioctl(fd.value.get(), PERF_EVENT_IOC_ID, &id) != 0) {
    return Status("ERR_SYSCALL", std::string("PERF_EVENT_IOC_ID: ") + std::strerror(errno))
        .WithSource("ioctl", errno);
  }
  fds_.push_back(std::move(fd.value));
  ids_.push_back(id);
  buffer_.resize(kHeadWords + kEventWords * fds_.size());
  enable_on_exec_ = enable_on_exec;
  return Status::Ok();
}

void PerfGroup::Enable() {
  if (!fds_.empty() && !enable_on_exec_) {
    ioctl(fds_[0].get(), PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP);
  }
}

bool PerfGroup::Read(uint64_t* values, PerfGroupTimes* times) {
  if (fds_.empty()) return false;
  const ssize_t bytes = read(fds_[0].get(), buffer_.data(), buffer_.size() * sizeof(uint64_t));
  if (bytes < 0) return false;
  return ParsePerfGroup(
      buffer_.data(), static_cast<size_t>(bytes), ids_.data(), ids_.size(), values, times);
}

}  // namespace warpgauge
