#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/meminfo_source.h"
#include "os/vmstat_source.h"
#include "row_recorder.h"
#include "system_source_support.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

}  // namespace

TEST_CASE("vmstat: every line of a recorded file, under its own name") {
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", kRecordedGuest), states);
  REQUIRE(opened.ok());
  Source& source = *opened.value;
  const auto expected = ReadPairs(kRecordedGuest + "/proc/vmstat");
  REQUIRE(expected.size() > 100);
  CHECK(source.tables()[0].columns.size() == expected.size() + 1);
  SourceRecorder recorder(source);
  recorder.Sample(1000);
  recorder.Sample(2000);
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 2);
  CHECK(rows.Time(1) == 2000);
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(rows.U64(0, name) == value);
    CHECK(rows.U64(1, name) == value);
    const ColumnSpec* const column = FindColumn(source, 0, name);
    REQUIRE(column != nullptr);
    CHECK(column->source == "/proc/vmstat " + name);
  }
  CHECK(states.changes().empty());
}

TEST_CASE("vmstat: kinds and units are the kernel's") {
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", kRecordedGuest), states);
  REQUIRE(opened.ok());
  const auto check = [&](const char* name, ColumnKind kind, const char* unit) {
    CAPTURE(name);
    const ColumnSpec* const column = FindColumn(*opened.value, 0, name);
    REQUIRE(column != nullptr);
    CHECK(column->kind == kind);
    CHECK(column->unit == unit);
  };
  check("nr_free_pages", ColumnKind::kGauge, "pages");
  check("nr_dirtied", ColumnKind::kCounter, "pages");
  check("nr_foll_pin_acquired", ColumnKind::kCounter, "pages");
  check("nr_anon_transparent_hugepages", ColumnKind::kGauge, "huge pages");
  check("nr_kernel_stack", ColumnKind::kGauge, "KiB");
  check("nr_unstable", ColumnKind::kGauge, "1");
  check("workingset_nodes", ColumnKind::kGauge, "1");
  check("pgfault", ColumnKind::kCounter, "1");
  check("pgpgin", ColumnKind::kCounter, "KiB");
  check("pgsteal_direct", ColumnKind::kCounter, "pages");
  check("thp_fault_alloc", ColumnKind::kCounter, "1");
}

TEST_CASE("vmstat: what changes after opening is null, never a wrong number") {
  const Tree tree;
  tree.Write("/proc/vmstat", "pgfault 1\npgmajfault 18446744073709551615\nnr_dirty 3\npgfault 9\n");
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", tree.root()), states);
  REQUIRE(opened.ok());
  REQUIRE(opened.value->tables()[0].columns.size() == 4);
  SourceRecorder recorder(*opened.value);
  RowRecorder& rows = *recorder.table();
  tree.Write("/proc/vmstat", "pgfault 1\npgmajfault 18446744073709551615\nnr_dirty 3\n");
  recorder.Sample();
  tree.Write("/proc/vmstat", "nr_dirty 4\nnew_line 9\npgmajfault 18446744073709551616\n");
  recorder.Sample();
  tree.Write("/proc/vmstat", "pgfault 2\npgmajfa");
  recorder.Sample();
  REQUIRE(rows.size() == 3);
  CHECK(rows.U64(0, "pgmajfault") == kMax);
  CHECK(rows.IsNull(1, "pgfault"));
  CHECK(rows.IsNull(1, "pgmajfault"));
  CHECK(rows.U64(1, "nr_dirty") == 4);
  CHECK(rows.U64(2, "pgfault") == 2);
  CHECK(rows.IsNull(2, "pgmajfault"));
  CHECK(rows.IsNull(2, "nr_dirty"));
}

TEST_CASE("vmstat: a file that goes makes null rows and one state, and comes back") {
  const Tree tree;
  tree.Write("/proc/vmstat", "pgfault 1\n");
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  tree.Remove("/proc/vmstat");
  recorder.Sample();
  recorder.Sample();
  tree.Write("/proc/vmstat", "pgfault 5\n");
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 4);
  CHECK(rows.IsNull(1, "pgfault"));
  CHECK(rows.IsNull(2, "pgfault"));
  CHECK(rows.U64(3, "pgfault") == 5);
  const std::vector<StateChange> changes = states.changes();
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].table == "vmstat");
  CHECK(changes[0].state == "unavailable");
  CHECK(changes[0].reason == "gone");
  CHECK(changes[1].state == "ok");
}

TEST_CASE("vmstat: a counter that went down is told, a gauge is not") {
  const Tree tree;
  tree.Write("/proc/vmstat", "pgfault 10\nnr_dirty 10\n");
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  tree.Write("/proc/vmstat", "pgfault 4\nnr_dirty 4\n");
  recorder.Sample();
  recorder.Sample();
  CHECK(recorder.table()->U64(1, "pgfault") == 4);
  const std::vector<StateChange> changes = states.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].field == "pgfault");
  CHECK(changes[0].reason == "counter_decreased");
}

TEST_CASE("vmstat: without the file, or with nothing in it, the source says so") {
  const Tree tree;
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", tree.root()), states);
  CHECK_FALSE(opened.ok());
  CHECK(opened.status.code() == std::string("ERR_UNAVAILABLE"));
  CHECK(opened.status.fix() == "mount -t proc proc /proc");
  tree.Write("/proc/vmstat", "");
  CHECK(MakeVmstatSource(Request("vmstat", tree.root()), states).status.code() ==
        std::string("ERR_UNAVAILABLE"));
}

TEST_CASE("vmstat on this machine lies between two readings of another reader") {
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat"), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  const auto before = ReadPairs("/proc/vmstat");
  recorder.Sample();
  const auto after = ReadPairs("/proc/vmstat");
  CHECK(opened.value->tables()[0].columns.size() == before.size() + 1);
  for (const char* const name : {"pgfault", "pgalloc_normal", "pgfree", "numa_hit"}) {
    if (before.count(name) == 0) continue;
    CAPTURE(name);
    const uint64_t value = recorder.table()->U64(0, name).value_or(0);
    CHECK(value >= before.at(name));
    CHECK(value <= after.at(name));
  }
}

TEST_CASE("meminfo: every line of a recorded file, in bytes where the kernel gives kB") {
  RecordedStates states;
  auto opened = MakeMeminfoSource(Request("meminfo", kRecordedGuest), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  size_t lines = 0;
  for (const auto& words : ReadWords(kRecordedGuest + "/proc/meminfo")) {
    REQUIRE(words.size() >= 2);
    lines++;
    const uint64_t factor = words.size() == 3 ? 1024 : 1;
    const std::string source = "/proc/meminfo " + words[0];
    CAPTURE(source);
    bool is_found = false;
    for (const ColumnSpec& column : opened.value->tables()[0].columns) {
      if (column.source != source) continue;
      is_found = true;
      CHECK(rows.U64(0, column.name) == std::stoull(words[1]) * factor);
      CHECK(column.unit == (factor == 1 ? "pages" : "bytes"));
      CHECK(column.kind == ColumnKind::kGauge);
    }
    CHECK(is_found);
  }
  CHECK(lines > 40);
  CHECK(opened.value->tables()[0].columns.size() == lines + 1);
  for (const char* const name : {"mem_available_bytes", "active_anon_bytes", "huge_pages_total"}) {
    CHECK_FALSE(rows.IsNull(0, name));
  }
}

TEST_CASE("meminfo on this machine, and a table of its own name") {
  RecordedStates states;
  SourceRequest request = Request("meminfo");
  request.instance = "meminfo@2";
  auto opened = MakeMeminfoSource(request, states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  const auto words = ReadWords("/proc/meminfo");
  REQUIRE(words[0][0] == "MemTotal");
  CHECK(recorder.table()->U64(0, "mem_total_bytes") == std::stoull(words[0][1]) * 1024);
  CHECK(recorder.table()->U64(0, "mem_free_bytes").value_or(kMax) <
        recorder.table()->U64(0, "mem_total_bytes").value_or(0));
}

TEST_CASE("meminfo: bytes that do not fit, and lines without their unit, are null") {
  const Tree tree;
  tree.Write("/proc/meminfo", "MemTotal: 5 kB\nMemFree: 4 kB\nmemFree: 3 kB\n");
  RecordedStates states;
  auto opened = MakeMeminfoSource(Request("meminfo", tree.root()), states);
  REQUIRE(opened.ok());
  CHECK(opened.value->tables()[0].columns.size() == 3);  // mem_free_bytes once
  SourceRecorder recorder(*opened.value);
  tree.Write("/proc/meminfo", "MemTotal: 18446744073709551615 kB\r\nMemFree: 4\r\n");
  recorder.Sample();
  CHECK(recorder.table()->IsNull(0, "mem_total_bytes"));
  CHECK(recorder.table()->IsNull(0, "mem_free_bytes"));
}
