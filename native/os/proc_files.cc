#include "os/proc_files.h"

#include <cstddef>
#include <iterator>

#include "os/text_scanner.h"

namespace warpgauge {
namespace {

template <typename T>
struct Field {
  std::string_view name;  // with its colon
  uint64_t T::*value;
  bool is_kb = false;
};

// Fills the fields of "Name:  123 kB" lines. The kernel keeps their order, so the search goes on
// from the last hit: one comparison a line for files of which most lines are wanted.
template <typename T, size_t kCount>
void ParseFields(std::string_view text, const Field<T> (&fields)[kCount], T* result) {
  LineScanner lines(text);
  std::string_view line;
  size_t next = 0;
  while (lines.Next(&line)) {
    for (size_t i = 0; i < kCount; i++) {
      const Field<T>& field = fields[(next + i) % kCount];
      if (line.size() <= field.name.size() || line.substr(0, field.name.size()) != field.name) {
        continue;
      }
      WordScanner words(line.substr(field.name.size()));
      uint64_t value = 0;
      if (words.U64(&value) &&
          (!field.is_kb || (words.Word() == "kB" && value <= kMissing >> 10))) {
        result->*field.value = field.is_kb ? value << 10 : value;
      }
      next = (next + i + 1) % kCount;
      break;
    }
  }
}

constexpr Field<ProcStatus> kStatusFields[] = {
    {"VmLck:", &ProcStatus::locked_bytes, true},
    {"VmPin:", &ProcStatus::pinned_bytes, true},
    {"VmHWM:", &ProcStatus::peak_rss_bytes, true},
    {"RssAnon:", &ProcStatus::rss_anon_bytes, true},
    {"RssFile:", &ProcStatus::rss_file_bytes, true},
    {"RssShmem:", &ProcStatus::rss_shmem_bytes, true},
    {"VmPTE:", &ProcStatus::page_table_bytes, true},
    {"VmSwap:", &ProcStatus::swap_bytes, true},
    {"HugetlbPages:", &ProcStatus::hugetlb_bytes, true},
    {"voluntary_ctxt_switches:", &ProcStatus::voluntary_switches},
    {"nonvoluntary_ctxt_switches:", &ProcStatus::involuntary_switches},
};

constexpr Field<ProcIo> kIoFields[] = {
    {"rchar:", &ProcIo::read_chars},
    {"wchar:", &ProcIo::written_chars},
    {"read_bytes:", &ProcIo::read_bytes},
    {"write_bytes:", &ProcIo::written_bytes},
};

constexpr Field<SmapsRollup> kRollupFields[] = {
    {"Rss:", &SmapsRollup::rss_bytes, true},
    {"Pss:", &SmapsRollup::pss_bytes, true},
    {"Private_Clean:", &SmapsRollup::private_clean_bytes, true},
    {"Private_Dirty:", &SmapsRollup::private_dirty_bytes, true},
    {"AnonHugePages:", &SmapsRollup::anon_huge_bytes, true},
    {"ShmemPmdMapped:", &SmapsRollup::shmem_huge_bytes, true},
    {"FilePmdMapped:", &SmapsRollup::file_huge_bytes, true},
    {"Shared_Hugetlb:", &SmapsRollup::shared_hugetlb_bytes, true},
    {"Private_Hugetlb:", &SmapsRollup::private_hugetlb_bytes, true},
    {"Swap:", &SmapsRollup::swap_bytes, true},
    {"Locked:", &SmapsRollup::locked_bytes, true},
};

}  // namespace

bool ParseProcStat(std::string_view text, ProcStat* stat) {
  // The name stands in brackets and may hold brackets itself: it ends at the last one.
  const size_t open = text.find(" (");
  const size_t close = text.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open + 2) {
    return false;
  }
  *stat = {};
  WordScanner first(text.substr(0, open));
  if (!first.U64(&stat->pid)) return false;
  stat->comm = text.substr(open + 2, close - open - 2);
  std::string_view line;
  if (!LineScanner(text.substr(close + 2)).Next(&line)) return false;  // torn
  WordScanner words(line);
  const std::string_view state = words.Word();
  if (state.size() != 1) return false;
  stat->state = state[0];

  constexpr int kFirstField = 4;  // as counted in proc(5)
  uint64_t* const wanted[] = {
      &stat->parent_pid,  // 4
      nullptr,
      nullptr,
      nullptr,
      nullptr,
      nullptr,  // 5-9
      &stat->minor_faults,
      nullptr,
      &stat->major_faults,
      nullptr,  // 10-13
      &stat->user_ticks,
      &stat->system_ticks,  // 14, 15
      nullptr,
      nullptr,
      nullptr,
      nullptr,  // 16-19
      &stat->threads,
      nullptr,
      &stat->start_ticks,  // 20-22
  };
  static_assert(std::size(wanted) == 22 - kFirstField + 1);
  for (uint64_t* const field : wanted) {
    // Fields that are not wanted may be negative (tty_nr, priority): taken as words.
    if (field == nullptr) {
      if (words.Word().empty()) break;
    } else if (!words.U64(field)) {
      break;
    }
  }
  return true;
}

ProcStatus ParseProcStatus(std::string_view text) {
  ProcStatus status;
  ParseFields(text, kStatusFields, &status);
  return status;
}

ProcIo ParseProcIo(std::string_view text) {
  ProcIo io;
  ParseFields(text, kIoFields, &io);
  return io;
}

SmapsRollup ParseSmapsRollup(std::string_view text) {
  SmapsRollup rollup;
  ParseFields(text, kRollupFields, &rollup);
  return rollup;
}

}  // namespace warpgauge
