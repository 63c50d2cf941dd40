#include "os/vmstat_source.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/named_columns.h"
#include "os/pread_file.h"
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

class VmstatSource : public Source {
 public:
  VmstatSource(const SourceRequest& request,
               StateSink& states,
               PreadFile file,
               NamedColumns lines,
               TableSpec table)
      : states_(states),
        name_(TableName(request, table)),
        file_(std::move(file)),
        lines_(std::move(lines)),
        watch_(table.columns.size()) {
    for (const ColumnSpec& column : table.columns) {
      is_counter_.push_back(column.kind == ColumnKind::kCounter ? 1 : 0);
    }
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    if (!rows.BeginTick(tick_ns, 1)) return;
    std::string_view text;
    file_.Read(&text);
    availability_.Update(states_, name_, "", "", file_.error());
    if (rows.BeginRow(tick_ns)) {
      lines_.Parse(text, [&](uint32_t column, uint64_t value) {
        rows.SetU64(column, value);
        if (is_counter_[column] != 0) watch_.See(column, value);
      });
      rows.EndRow();
    }
    rows.EndTick();
    watch_.Report(states_, name_, "", tables_[0].columns);
  }

 private:
  StateSink& states_;
  std::string name_;
  std::vector<TableSpec> tables_;
  PreadFile file_;
  NamedColumns lines_;
  std::vector<uint8_t> is_counter_;  // by column
  CounterWatch watch_;
  Availability availability_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeVmstatSource(const SourceRequest& request, StateSink& states) {
  PreadFile file(request.root + "/proc/vmstat", PreadFile::Shape::kRecords, 16384);
  std::string_view text;
  if (!file.Read(&text)) return CannotRead(request, file, "mount -t proc proc /proc");
  TableSpec table;
  table.grain = "one row per tick";
  table.columns.push_back(TimeColumn());
  NamedColumns columns;
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number) || columns.Has(number.name)) continue;
    columns.Add(
        std::string(number.name), static_cast<uint32_t>(table.columns.size()), number.is_bytes);
    ColumnSpec column = GaugeColumn(
        std::string(number.name), UnitOf(number.name), "/proc/vmstat " + std::string(number.name));
    if (!IsGauge(number.name)) column.kind = ColumnKind::kCounter;
    table.columns.push_back(std::move(column));
  }
  if (table.columns.size() == 1) {
    return Status("ERR_UNAVAILABLE", request.name + " found no counter in " + file.path())
        .WithSource(file.path(), 0);
  }
  return std::unique_ptr<Source>(std::make_unique<VmstatSource>(
      request, states, std::move(file), std::move(columns), std::move(table)));
}

}  // namespace warpgauge
