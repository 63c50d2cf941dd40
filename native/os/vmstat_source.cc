#include "os/vmstat_source.h"

#include <string>
#include <string_view>
#include <utility>

#include "os/named_row_source.h"
#include "os/source_support.h"

namespace warpgauge {
namespace {

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

template <size_t N>
bool IsOneOf(std::string_view text, const std::string_view (&names)[N]) {
  for (const std::string_view name : names) {
    if (text == name) return true;
  }
  return false;
}

// nr_* lines that count events since boot (include/linux/mmzone.h, mm/vmstat.c); all other nr_* are
// states.
constexpr std::string_view kCountingNr[] = {
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_foll_pin_acquired",
    "nr_foll_pin_released",
    "nr_tlb_remote_flush",
    "nr_tlb_remote_flush_received",
    "nr_tlb_local_flush_all",
    "nr_tlb_local_flush_one",
};

// States that are not called nr_*.
constexpr std::string_view kOtherGauges[] = {"workingset_nodes"};

// The kernel prints these in KiB, not in pages.
constexpr std::string_view kKibibytes[] = {
    "nr_kernel_stack", "nr_shadow_call_stack", "pgpgin", "pgpgout"};

// Counted in transparent huge pages (vmstat_item_print_in_thp).
constexpr std::string_view kHugePages[] = {"nr_shmem_hugepages",
                                           "nr_shmem_pmdmapped",
                                           "nr_file_hugepages",
                                           "nr_file_pmdmapped",
                                           "nr_anon_transparent_hugepages"};

// nr_* lines that are no number of pages.
constexpr std::string_view kOtherNr[] = {"nr_unstable",
                                         "nr_tlb_remote_flush",
                                         "nr_tlb_remote_flush_received",
                                         "nr_tlb_local_flush_all",
                                         "nr_tlb_local_flush_one"};

bool IsGauge(std::string_view name) {
  return (StartsWith(name, "nr_") && !IsOneOf(name, kCountingNr)) || IsOneOf(name, kOtherGauges);
}

const char* UnitOf(std::string_view name) {
  if (IsOneOf(name, kKibibytes)) return "KiB";
  if (IsOneOf(name, kHugePages)) return "huge pages";
  if (StartsWith(name, "nr_")) return IsOneOf(name, kOtherNr) ? "1" : "pages";
  const bool counts_pages = StartsWith(name, "pgalloc_") || name == "pgfree" ||
                            StartsWith(name, "pgsteal_") || StartsWith(name, "pswp") ||
                            (StartsWith(name, "pgscan_") && name != "pgscan_direct_throttle");
  return counts_pages ? "pages" : "1";
}

ColumnSpec Describe(const NamedNumber& number) {
  const std::string name(number.name);
  ColumnSpec column = GaugeColumn(name, UnitOf(name), "/proc/vmstat " + name);
  if (!IsGauge(name)) column.kind = ColumnKind::kCounter;
  return column;
}

}  // namespace

Result<std::unique_ptr<Source>> MakeVmstatSource(const SourceRequest& request, StateSink& states) {
  return OpenNamedRowSource(request, states, "/proc/vmstat", PreadFile::Shape::kRecords, Describe);
}

}  // namespace warpgauge
