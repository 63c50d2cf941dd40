#pragma once

#include <cstdint>
#include <string_view>

// Lines of /proc/stat, diskstats, net/dev and pressure, and the small files of PCI and thermal
// devices. Pure functions on text: no allocation, any bytes as input, and a value that does not fit
// or is not there is told, never guessed.

namespace warpgauge {

// Fields of a "cpu" or "cpu<N>" line of /proc/stat, in clock ticks since boot.
struct CpuTimes {
  static constexpr uint32_t kMaxFields = 10;
  bool is_total = false;  // the line "cpu"
  uint32_t cpu = 0;
  // user nice system idle iowait irq softirq steal guest guest_nice; old kernels have fewer.
  uint32_t fields = 0;
  uint64_t ticks[kMaxFields] = {};
};
// False for every other line. Fields from the first unreadable one on are missing.
bool ParseCpuLine(std::string_view line, CpuTimes* times);

// The steal column of the "cpu<N>" line of /proc/stat, in clock ticks; -1 when the line or column
// is missing (kernels before 2.6.11 have seven columns).
int64_t ParseStealTicks(std::string_view text, int cpu);

// A line that is about one entity: its name and its numbers, up to the first that is unreadable.
struct LineValues {
  static constexpr uint32_t kMaxFields = 17;
  std::string_view name;
  uint32_t fields = 0;
  uint64_t values[kMaxFields] = {};
};

// A line of /proc/diskstats: "8 0 sda" and 11 (Linux < 4.18), 15 or 17 (>= 5.5) numbers.
bool ParseDiskLine(std::string_view line, LineValues* disk);

// A line of /proc/net/dev: "eth0: " and 16 numbers; its two heading lines are none.
bool ParseNetLine(std::string_view line, LineValues* interface);

// "some avg10=0.12 avg60=0.00 avg300=0.00 total=1234" of /proc/pressure/* and cgroup *.pressure.
struct PressureLine {
  bool is_full = false;
  double avg10_ratio = 0;
  double avg60_ratio = 0;
  double avg300_ratio = 0;
  uint64_t total_us = 0;
};
// False unless all four are there.
bool ParsePressureLine(std::string_view line, PressureLine* pressure);

// A decimal number with at most nine decimals, in 1e-9: "2.5" is 2500000000. Returns where it ends,
// nullptr when there is none or it is too large.
const char* ParseDecimalNano(const char* at, const char* end, uint64_t* nano);

// A PCIe link speed as sysfs tells it ("16.0 GT/s PCIe", "8 GT/s"): transfers per second and lane.
// False for "Unknown" and all else.
bool ParseLinkSpeed(std::string_view text, uint64_t* transfers_per_second);

// A whole file that is one number which may be negative (temperatures): "-12500\n".
bool ParseSignedNumberFile(std::string_view text, int64_t* value);

}  // namespace warpgauge
