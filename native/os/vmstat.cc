#include "os/vmstat.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

namespace warpgauge {
namespace {

// /proc/vmstat is 5 KB; the CPU lines of /proc/stat are 15 KB on a server with 192 CPUs, and
// nothing that follows them is read.
constexpr size_t kBufferBytes = size_t{256} * 1024;

bool ParseInt(std::string_view text, int64_t* value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *value);
  return error == std::errc() && stop == end;
}

// Cuts the next line off `text`; false at the end. A line without its newline is
// torn and not returned.
bool NextLine(std::string_view* text, std::string_view* line) {
  const size_t end = text->find('\n');
  if (end == std::string_view::npos) return false;
  *line = text->substr(0, end);
  text->remove_prefix(end + 1);
  return true;
}

std::string_view NextWord(std::string_view* line) {
  const size_t start = line->find_first_not_of(' ');
  if (start == std::string_view::npos) return {};
  line->remove_prefix(start);
  const std::string_view word = line->substr(0, line->find(' '));
  line->remove_prefix(word.size());
  return word;
}

}  // namespace

VmCounters ParseVmStat(std::string_view text) {
  constexpr std::string_view kAllocStall = "allocstall";
  VmCounters counters;
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view name = NextWord(&line);
    int64_t value = 0;
    if (!ParseInt(NextWord(&line), &value)) continue;
    if (name == "compact_stall") {
      counters.compact_stall = value;
    } else if (name.substr(0, kAllocStall.size()) == kAllocStall) {
      // "allocstall" alone before Linux 4.10, one line per zone since.
      counters.allocstall = (counters.allocstall < 0 ? 0 : counters.allocstall) + value;
    } else if (name == "thp_fault_alloc") {
      counters.thp_fault_alloc = value;
    } else if (name == "thp_fault_fallback") {
      counters.thp_fault_fallback = value;
    } else if (name == "nr_foll_pin_acquired") {
      counters.nr_foll_pin_acquired = value;
    }
  }
  return counters;
}

int64_t ParseStealTicks(std::string_view text, int cpu) {
  constexpr int kStealColumn = 8;
  constexpr std::string_view kCpu = "cpu";
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view name = NextWord(&line);
    if (name.substr(0, kCpu.size()) != kCpu) return -1;  // the CPU lines come first
    int64_t number = -1;
    if (!ParseInt(name.substr(kCpu.size()), &number) || number != cpu) continue;
    std::string_view word;
    for (int i = 0; i < kStealColumn; i++) word = NextWord(&line);
    int64_t ticks = -1;
    return ParseInt(word, &ticks) ? ticks : -1;
  }
  return -1;
}

VmStat::VmStat(const std::string& root)
    : vmstat_fd_(open((root + "/proc/vmstat").c_str(), O_RDONLY | O_CLOEXEC)),
      stat_fd_(open((root + "/proc/stat").c_str(), O_RDONLY | O_CLOEXEC)),
      capacity_(kBufferBytes),
      buffer_(std::make_unique<char[]>(kBufferBytes)) {
  const int64_t ticks_per_second = sysconf(_SC_CLK_TCK);
  tick_ns_ = ticks_per_second > 0 ? 1'000'000'000 / ticks_per_second : 0;
}

VmStat::~VmStat() {
  if (vmstat_fd_ >= 0) close(vmstat_fd_);
  if (stat_fd_ >= 0) close(stat_fd_);
}

std::string_view VmStat::Slurp(int fd) {
  if (fd < 0) return {};
  size_t length = 0;
  // A seq_file hands out one page per call: a single pread would lose the second half of vmstat.
  while (length < capacity_) {
    const ssize_t n =
        pread(fd, buffer_.get() + length, capacity_ - length, static_cast<off_t>(length));
    if (n <= 0) break;
    length += static_cast<size_t>(n);
  }
  return {buffer_.get(), length};
}

VmCounters VmStat::Read() { return ParseVmStat(Slurp(vmstat_fd_)); }

int64_t VmStat::StealNs(int cpu) {
  const int64_t ticks = ParseStealTicks(Slurp(stat_fd_), cpu);
  return ticks < 0 || tick_ns_ == 0 ? -1 : ticks * tick_ns_;
}

}  // namespace warpgauge
