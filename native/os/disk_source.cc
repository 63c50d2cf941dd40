#include "os/disk_source.h"

#include <utility>

#include "os/line_table_source.h"
#include "os/system_text.h"

namespace warpgauge {
namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kNsPerMs = 1'000'000;
constexpr ColumnKind kCounter = ColumnKind::kCounter;
constexpr ColumnKind kGauge = ColumnKind::kGauge;

// The kernel's Documentation/admin-guide/iostats.rst numbers them so.
LineTable DiskTable() {
  return {"device",
          "one row per tick and block device",
          "/proc/diskstats",
          {
              {"reads", kCounter, "1", 1, "field 1"},
              {"reads_merged", kCounter, "1", 1, "field 2"},
              {"read_bytes", kCounter, "bytes", kSectorBytes, "field 3"},
              {"read_ns", kCounter, "ns", kNsPerMs, "field 4"},
              {"writes", kCounter, "1", 1, "field 5"},
              {"writes_merged", kCounter, "1", 1, "field 6"},
              {"write_bytes", kCounter, "bytes", kSectorBytes, "field 7"},
              {"write_ns", kCounter, "ns", kNsPerMs, "field 8"},
              {"in_flight", kGauge, "1", 1, "field 9"},
              {"io_ns", kCounter, "ns", kNsPerMs, "field 10"},
              {"weighted_io_ns", kCounter, "ns", kNsPerMs, "field 11"},
              {"discards", kCounter, "1", 1, "field 12"},
              {"discards_merged", kCounter, "1", 1, "field 13"},
              {"discard_bytes", kCounter, "bytes", kSectorBytes, "field 14"},
              {"discard_ns", kCounter, "ns", kNsPerMs, "field 15"},
              {"flushes", kCounter, "1", 1, "field 16"},
              {"flush_ns", kCounter, "ns", kNsPerMs, "field 17"},
          }};
}

}  // namespace

Result<std::unique_ptr<Source>> MakeDiskSource(const SourceRequest& request, StateSink& states) {
  PreadFile file(request.root + "/proc/diskstats", PreadFile::Shape::kRecords, 16384);
  return OpenLineTableSource(request, states, std::move(file), DiskTable(), ParseDiskLine);
}

}  // namespace warpgauge
