#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/vmstat_source.h"
#include "row_recorder.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
const char* const kRecorded = "test/fixtures/proc/debian-12-kvm-linux-6.18.44-counters";

SourceRequest Request(const std::string& name, const std::string& root = "") {
  SourceRequest request;
  request.name = name;
  request.instance = name;
  request.root = root;
  request.interval_ns = 10'000'000;
  return request;
}

// The independent reader: stream extraction.
std::map<std::string, uint64_t> ReadPairs(const std::string& path) {
  std::map<std::string, uint64_t> pairs;
  std::ifstream file(path);
  std::string name;
  uint64_t value = 0;
  while (file >> name >> value) pairs[name] = value;
  return pairs;
}

const ColumnSpec* FindColumn(const Source& source, size_t table, const std::string& name) {
  for (const ColumnSpec& column : source.tables()[table].columns) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("vmstat: every line of a recorded file, under its own name") {
  RecordedStates states;
  auto opened = MakeVmstatSource(Request("vmstat", kRecorded), states);
  REQUIRE(opened.ok());
  Source& source = *opened.value;
  const auto expected = ReadPairs(std::string(kRecorded) + "/proc/vmstat");
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
  auto opened = MakeVmstatSource(Request("vmstat", kRecorded), states);
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
