#include "os/vmstat.h"

#include <unistd.h>

#include <limits>

#include "os/named_columns.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {

VmCounters ParseVmStat(std::string_view text) {
  constexpr std::string_view kAllocStall = "allocstall";
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  VmCounters counters;
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number)) continue;
    const std::string_view name = number.name;
    if (number.value > kLargest) continue;
    const auto value = static_cast<int64_t>(number.value);
    if (name == "compact_stall") {
      counters.compact_stall = value;
    } else if (name.substr(0, kAllocStall.size()) == kAllocStall) {
      // "allocstall" alone before Linux 4.10, one line per zone since.
      const uint64_t others =
          counters.allocstall < 0 ? 0 : static_cast<uint64_t>(counters.allocstall);
      if (others <= kLargest - number.value) {
        counters.allocstall = static_cast<int64_t>(others + number.value);
      }
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

VmStat::VmStat(const std::string& root)
    : vmstat_(root + "/proc/vmstat", PreadFile::Shape::kRecords, 16384),
      // The CPU lines of /proc/stat are 15 KB on a server with 192 CPUs.
      stat_(root + "/proc/stat", PreadFile::Shape::kOneRead, size_t{64} * 1024) {
  const int64_t ticks_per_second = sysconf(_SC_CLK_TCK);
  tick_ns_ = ticks_per_second > 0 ? 1'000'000'000 / ticks_per_second : 0;
}

VmCounters VmStat::Read() {
  std::string_view text;
  return vmstat_.Read(&text) ? ParseVmStat(text) : VmCounters();
}

int64_t VmStat::StealNs(int cpu) {
  std::string_view text;
  const int64_t ticks = stat_.Read(&text) ? ParseStealTicks(text, cpu) : -1;
  int64_t ns = -1;
  if (ticks < 0 || tick_ns_ == 0 || __builtin_mul_overflow(ticks, tick_ns_, &ns)) return -1;
  return ns;
}

}  // namespace warpgauge
