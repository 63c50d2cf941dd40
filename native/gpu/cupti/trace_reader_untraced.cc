// Processes of the trace's reach that give no records, or not yet: named where they can be, else
// counted.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gpu/cupti/trace_reader.h"

namespace warpgauge {
namespace {

// Who claimed a lane attaches long before this, even on a machine that swaps.
constexpr int64_t kClaimNs = 500'000'000;
constexpr uint32_t kMostUntraceable = 256;
constexpr size_t kLongestCommand = 40;

// /proc/PID/comm, for what left nothing but its pid; empty when it has ended.
std::string CommandOf(uint32_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/comm";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char text[64];
  const ssize_t got = read(fd, text, sizeof text);
  close(fd);
  std::string name(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

}  // namespace

std::string TraceReader::KeyOf(uint32_t pid, const std::string& command) {
  const std::string name = command.substr(0, std::min(command.find(' '), kLongestCommand));
  const std::string number = pid == 0 ? "pid unknown" : std::to_string(pid);
  return name.empty() ? number : number + " " + name;
}

// "untraceable.<pid>.<errno name>"
void TraceReader::SeeUntraceable(const std::string& name) {
  if (told_untraceable_ >= kMostUntraceable) return;
  told_untraceable_++;
  const size_t first = name.find('.');
  const size_t second = name.find('.', first + 1);
  const auto pid = static_cast<uint32_t>(std::strtoul(name.c_str() + first + 1, nullptr, 10));
  std::string reason = second == std::string::npos ? "" : name.substr(second + 1, 24);
  for (char& letter : reason) {
    const bool is_plain = (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9');
    if (!is_plain) letter = '_';
  }
  Report(KeyOf(pid, CommandOf(pid)), "", "unavailable", ("untraceable_" + reason).c_str(), 0);
}

// A claim lasts for nanoseconds, unless its process was killed in it: nothing else tells of that.
void TraceReader::SeeClaims(int64_t now_ns, bool is_last) {
  for (Lane& lane : lanes_) {
    uint32_t pid = 0;
    if (lane.in_use || !lane.memory->IsClaimed(&pid)) {
      lane.claimed_ns = 0;
      continue;
    }
    if (lane.claimed_ns == 0 || lane.claimant != pid) {
      lane.claimed_ns = now_ns;
      lane.claimant = pid;
    } else if ((is_last || now_ns - lane.claimed_ns > kClaimNs) && lane.memory->TakeBack(pid)) {
      lane.claimed_ns = 0;
      Report(KeyOf(pid, CommandOf(pid)), "", "unavailable", "not_attached", 0);
    }
  }
}

// A file that there is no place for: it is read once another one is over.
void TraceReader::SeeWaiting(Lane& lane, const std::string& known) {
  if (waiting_files_.size() >= kMostKnownFiles) return;
  const bool is_named = named_files_ < WG_TRACE_NAMED_LEFT_OUT;
  waiting_files_.emplace(known, is_named);
  if (!is_named) return;
  named_files_++;
  lane.process.Find(lane.facts.pid, lane.facts.start_ticks, lane.facts.pid_namespace);
  const std::string key = KeyOf(lane.process.pid(), lane.facts.command);
  Report(key, "", "unavailable", "no_free_lane", 0);
}

// The first are named; of the others their number is told when there is one, and at the end.
void TraceReader::SeeLeftOut(bool is_last) {
  wg_trace_header* header = trace_->header();
  const uint32_t count = __atomic_load_n(&header->left_out, __ATOMIC_ACQUIRE);
  for (uint32_t i = 0; i < std::min<uint32_t>(count, WG_TRACE_NAMED_LEFT_OUT); i++) {
    auto& entry = header->left_out_names[i];
    const uint32_t pid = __atomic_load_n(&entry.pid, __ATOMIC_ACQUIRE);
    // Of a process that was killed while it wrote this, it stays 0.
    if (told_left_out_.test(i) || pid == 0) continue;
    told_left_out_.set(i);
    char command[sizeof entry.command + 1] = {};
    std::memcpy(command, entry.command, sizeof entry.command);
    Report(KeyOf(pid, command), "", "unavailable", "no_free_lane", 0);
  }
  int64_t unnamed = int64_t{count} - static_cast<int64_t>(told_left_out_.count());
  bool is_beyond = count > WG_TRACE_NAMED_LEFT_OUT;
  for (const auto& [name, is_named] : waiting_files_) {
    if (is_named) continue;
    unnamed++;
    is_beyond = true;
  }
  if (unnamed <= 0 || unnamed == told_unnamed_) return;
  if (is_last || (is_beyond && told_unnamed_ == 0)) {
    told_unnamed_ = unnamed;
    Report("", "", "unavailable", "no_free_lane", unnamed);
  }
}

}  // namespace warpgauge
