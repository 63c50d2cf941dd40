#pragma once

#include <cstdint>
#include <string_view>

namespace warpgauge {

// Parsers of the files of /proc/PID. All are pure, allocate nothing and take any bytes; a number
// that is missing, torn or beyond 64 bits stays kMissing, which no real counter reaches.
inline constexpr uint64_t kMissing = UINT64_MAX;

// /proc/PID/stat. Times in clock ticks.
struct ProcStat {
  uint64_t pid = kMissing;
  std::string_view comm;  // as the process set it: blanks, brackets and newlines included
  char state = '\0';
  uint64_t parent_pid = kMissing;
  uint64_t minor_faults = kMissing;
  uint64_t major_faults = kMissing;
  uint64_t user_ticks = kMissing;
  uint64_t system_ticks = kMissing;
  uint64_t threads = kMissing;
  uint64_t start_ticks = kMissing;
};
// False when the text is no stat line (a process that has just gone gives an empty one).
bool ParseProcStat(std::string_view text, ProcStat* stat);

// /proc/PID/status; memory in bytes.
struct ProcStatus {
  uint64_t rss_anon_bytes = kMissing;
  uint64_t rss_file_bytes = kMissing;
  uint64_t rss_shmem_bytes = kMissing;
  uint64_t swap_bytes = kMissing;
  uint64_t page_table_bytes = kMissing;
  uint64_t hugetlb_bytes = kMissing;
  uint64_t locked_bytes = kMissing;
  uint64_t pinned_bytes = kMissing;
  uint64_t peak_rss_bytes = kMissing;
  uint64_t voluntary_switches = kMissing;
  uint64_t involuntary_switches = kMissing;
};
ProcStatus ParseProcStatus(std::string_view text);

// /proc/PID/io.
struct ProcIo {
  uint64_t read_chars = kMissing;
  uint64_t written_chars = kMissing;
  uint64_t read_bytes = kMissing;
  uint64_t written_bytes = kMissing;
};
ProcIo ParseProcIo(std::string_view text);

// /proc/PID/smaps_rollup (Linux 4.14); bytes.
struct SmapsRollup {
  uint64_t rss_bytes = kMissing;
  uint64_t pss_bytes = kMissing;
  uint64_t private_clean_bytes = kMissing;
  uint64_t private_dirty_bytes = kMissing;
  uint64_t anon_huge_bytes = kMissing;
  uint64_t shmem_huge_bytes = kMissing;
  uint64_t file_huge_bytes = kMissing;
  uint64_t private_hugetlb_bytes = kMissing;
  uint64_t shared_hugetlb_bytes = kMissing;
  uint64_t swap_bytes = kMissing;
  uint64_t locked_bytes = kMissing;
};
SmapsRollup ParseSmapsRollup(std::string_view text);

}  // namespace warpgauge
