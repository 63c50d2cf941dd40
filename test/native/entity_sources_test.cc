#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/cpu_source.h"
#include "os/disk_source.h"
#include "os/hugepages_source.h"
#include "os/net_source.h"
#include "os/numa_source.h"
#include "os/pressure_source.h"
#include "row_recorder.h"
#include "system_source_support.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

constexpr int64_t kSecond = 1'000'000'000;

// Column names of the numbers after the key.
std::vector<std::string> FieldNames(const Source& source, size_t table, size_t first) {
  std::vector<std::string> names;
  for (size_t i = first; i < source.tables()[table].columns.size(); i++) {
    names.push_back(source.tables()[table].columns[i].name);
  }
  return names;
}

std::string Brief(const std::vector<StateChange>& changes) {
  std::string text;
  for (const StateChange& change : changes) {
    text += change.table + " " + change.key + " " + change.field + " " + change.state + " " +
            change.reason + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("disk: every line and field of two recorded machines") {
  for (const std::string& root : {kRecordedGuest, kRecordedH200}) {
    RecordedStates states;
    auto opened = MakeDiskSource(Request("disk", root), states);
    REQUIRE(opened.ok());
    SourceRecorder recorder(*opened.value);
    recorder.Sample();
    recorder.Sample();
    RowRecorder& rows = *recorder.table();
    const auto lines = ReadWords(root + "/proc/diskstats");
    REQUIRE(rows.size() == 2 * lines.size());
    const auto names = FieldNames(*opened.value, 0, 2);
    REQUIRE(names.size() == 17);
    for (size_t line = 0; line < lines.size(); line++) {
      for (const size_t row : {line, line + lines.size()}) {
        CHECK(rows.Text(row, "device") == lines[line][2]);
        for (size_t i = 0; i < names.size(); i++) {
          CAPTURE(names[i]);
          uint64_t factor = 1;
          if (names[i].find("_bytes") != std::string::npos) factor = 512;
          if (names[i].find("_ns") != std::string::npos) factor = 1'000'000;
          CHECK(rows.U64(row, names[i]) == std::stoull(lines[line][3 + i]) * factor);
        }
      }
    }
    CHECK(states.changes().empty());
    CHECK(FindColumn(*opened.value, 0, "in_flight")->kind == ColumnKind::kGauge);
    CHECK(FindColumn(*opened.value, 0, "reads")->kind == ColumnKind::kCounter);
  }
}

TEST_CASE("disk: devices that come, go, come back, change places and start over") {
  const Tree tree;
  const auto line = [](const char* name, int reads) {
    return "8 0 " + std::string(name) + " " + std::to_string(reads) + " 0 0 0 0 0 0 0 0 0 0\n";
  };
  tree.Write("/proc/diskstats", line("sda", 5) + line("sdb", 6));
  RecordedStates states;
  auto opened = MakeDiskSource(Request("disk", tree.root()), states);
  REQUIRE(opened.ok());
  CHECK(FindColumn(*opened.value, 0, "flushes")->reason == "not_supported");
  CHECK(FindColumn(*opened.value, 0, "reads")->reason.empty());
  SourceRecorder recorder(*opened.value);
  RowRecorder& rows = *recorder.table();
  recorder.Sample();  // rows 0, 1
  tree.Write("/proc/diskstats", line("sda", 5) + line("sdc", 1) + line("sdb", 6));
  recorder.Sample();  // rows 2, 3, 4
  CHECK(rows.Text(3, "device") == "sdc");
  CHECK(rows.U64(4, "reads") == 6);
  CHECK(rows.IsNull(4, "flushes"));
  tree.Write("/proc/diskstats", line("sdb", 6) + line("sdc", 2) + line("sdc", 9));
  recorder.Sample();  // rows 5, 6: sda gone, the others in another order, a repeated line left out
  REQUIRE(rows.size() == 7);
  CHECK(rows.Text(5, "device") == "sdb");
  CHECK(rows.U64(6, "reads") == 2);
  tree.Write("/proc/diskstats", line("sda", 1) + line("sdb", 6) + line("sdc", 0));
  recorder.Sample();  // rows 7, 8, 9
  CHECK(rows.Text(7, "device") == "sda");
  CHECK(rows.U64(9, "reads") == 0);
  tree.Remove("/proc/diskstats");
  recorder.Sample();  // no rows, and nobody is said to be gone
  REQUIRE(rows.size() == 10);
  tree.Write("/proc/diskstats", line("sda", 1) + line("sdb", 6) + line("sdc", 0));
  recorder.Sample();
  CHECK(rows.size() == 13);
  CHECK(Brief(states.changes()) ==
        "disk sdc  ok appeared\n"
        "disk sda  gone gone\n"
        "disk sda  ok appeared\n"
        "disk sdc reads ok counter_decreased\n"
        "disk   unavailable gone\n"
        "disk   ok \n");
}

TEST_CASE("disk: hostile text gives rows or nulls, never wrong numbers") {
  const Tree tree;
  tree.Write("/proc/diskstats",
             "8 0 sda 18446744073709551615 2 18446744073709551615 4\r\n" + std::string(5000, '9') +
                 "\n8 0 " + std::string(5000, 'd') + " 7\n\n8 0 sdt 1");
  RecordedStates states;
  auto opened = MakeDiskSource(Request("disk", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 2);
  CHECK(rows.U64(0, "reads") == kMax);
  CHECK(rows.IsNull(0, "read_bytes"));  // sectors times 512 do not fit
  CHECK(rows.U64(0, "read_ns") == 4'000'000);
  CHECK(rows.Text(1, "device") == std::string(5000, 'd'));
  CHECK(rows.U64(1, "reads") == 7);
  CHECK(rows.IsNull(1, "writes"));
}

TEST_CASE("net: every interface and field of two recorded machines") {
  for (const std::string& root : {kRecordedGuest, kRecordedH200}) {
    RecordedStates states;
    auto opened = MakeNetSource(Request("net", root), states);
    REQUIRE(opened.ok());
    SourceRecorder recorder(*opened.value);
    recorder.Sample();
    RowRecorder& rows = *recorder.table();
    const auto lines = ReadWords(root + "/proc/net/dev");
    REQUIRE(rows.size() == lines.size() - 2);
    const auto names = FieldNames(*opened.value, 0, 2);
    REQUIRE(names.size() == 16);
    for (size_t row = 0; row < rows.size(); row++) {
      CHECK(rows.Text(row, "interface") == lines[row + 2][0]);
      for (size_t i = 0; i < names.size(); i++) {
        CHECK(rows.U64(row, names[i]) == std::stoull(lines[row + 2][1 + i]));
      }
    }
  }
}

TEST_CASE("net: under a root prefix the namespace is that of process 1") {
  const Tree tree;
  const std::string head = "Inter-| Receive\n face |bytes\n";
  tree.Write("/proc/net/dev", head + "  own0: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n");
  tree.Write("/proc/1/net/dev", head + " host0: 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2\n");
  RecordedStates states;
  auto opened = MakeNetSource(Request("net", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  REQUIRE(recorder.table()->size() == 1);
  CHECK(recorder.table()->Text(0, "interface") == "host0");
}

TEST_CASE("cpu: every CPU and time, and the counts of the system, of two recorded machines") {
  const auto tick_ns = static_cast<uint64_t>(kSecond / sysconf(_SC_CLK_TCK));
  for (const std::string& root : {kRecordedGuest, kRecordedH200}) {
    RecordedStates states;
    auto opened = MakeCpuSource(Request("cpu", root), states);
    REQUIRE(opened.ok());
    SourceRecorder recorder(*opened.value);
    recorder.Sample(1000);
    RowRecorder& rows = *recorder.table();
    RowRecorder& system = *recorder.table("system");
    const auto names = FieldNames(*opened.value, 0, 2);
    REQUIRE(names.size() == 10);
    size_t row = 0;
    REQUIRE(system.size() == 1);
    for (const auto& words : ReadWords(root + "/proc/stat")) {
      if (words[0].rfind("cpu", 0) == 0) {
        if (words[0] == "cpu") continue;
        CHECK(rows.U32(row, "cpu") == std::stoul(words[0].substr(3)));
        for (size_t i = 0; i < names.size(); i++) {
          CHECK(rows.U64(row, names[i]) == std::stoull(words[1 + i]) * tick_ns);
        }
        row++;
      } else if (words[0] != "btime") {
        CAPTURE(words[0]);
        CHECK(system.U64(0, words[0]) == std::stoull(words[1]));
      }
    }
    CHECK(rows.size() == row);
    CHECK(row >= 2);
  }
}

TEST_CASE("cpu: one row for all, CPUs that go offline, and idle that goes back") {
  const Tree tree;
  tree.Write("/proc/stat", "cpu  3 0 0 30\ncpu0 1 0 0 10\ncpu1 2 0 0 20\nctxt 5\n");
  RecordedStates states;
  SourceRequest request = Request("cpu", tree.root());
  auto opened = MakeCpuSource(request, states);
  REQUIRE(opened.ok());
  CHECK(FindColumn(*opened.value, 0, "steal_ns")->reason == "not_supported");
  SourceRecorder recorder(*opened.value);
  recorder.Sample(1);
  tree.Write("/proc/stat", "cpu  3 0 0 9\ncpu0 1 0 0 9\nctxt 4\n");
  recorder.Sample(2);
  tree.Write("/proc/stat", "cpu  3 0 0 9\ncpu0 1 0 0 9\ncpu1 1 0 0 20\nctxt 4\n");
  recorder.Sample(3);
  CHECK(recorder.table()->size() == 5);
  CHECK(recorder.table()->U32(4, "cpu") == 1);
  CHECK(recorder.table()->IsNull(4, "steal_ns"));
  CHECK(Brief(states.changes()) ==
        "cpu 1  gone gone\n"
        "cpu.system  ctxt ok counter_decreased\n"
        "cpu 1  ok appeared\n");

  request.options["per"] = "total";
  auto total = MakeCpuSource(request, states);
  REQUIRE(total.ok());
  SourceRecorder total_recorder(*total.value);
  total_recorder.Sample();
  REQUIRE(total_recorder.table()->size() == 1);
  CHECK_FALSE(total_recorder.table()->HasColumn("cpu"));
  CHECK(total_recorder.table()->U64(0, "user_ns") ==
        3 * static_cast<uint64_t>(kSecond / sysconf(_SC_CLK_TCK)));

  request.options["per"] = "core";
  CHECK(MakeCpuSource(request, states).status.code() == std::string("ERR_INVALID_ARGUMENT"));
}

TEST_CASE("cpu: both tables of a tick come from one reading") {
  const Tree tree;
  tree.Write("/proc/stat", "cpu  1 1 1 1\ncpu0 1 1 1 1\nctxt 1\n");
  RecordedStates states;
  auto opened = MakeCpuSource(Request("cpu", tree.root()), states);
  REQUIRE(opened.ok());
  RowRecorder cpus(opened.value->tables()[0]);
  RowRecorder system(opened.value->tables()[1]);
  opened.value->Sample(0, 100, cpus.writer());
  tree.Write("/proc/stat", "cpu  2 2 2 2\ncpu0 2 2 2 2\nctxt 2\n");
  opened.value->Sample(1, 100, system.writer());
  opened.value->Sample(1, 200, system.writer());
  CHECK(system.U64(0, "ctxt") == 1);
  CHECK(system.U64(1, "ctxt") == 2);
}

TEST_CASE("pressure: recorded files, ratios and nanoseconds") {
  RecordedStates states;
  auto opened = MakePressureSource(Request("pressure", kRecordedGuest), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 3);
  for (const char* const resource : {"cpu", "memory", "io"}) {
    const auto row = rows.RowWhere("resource", resource);
    REQUIRE(row.has_value());
    for (const auto& words : ReadWords(kRecordedGuest + "/proc/pressure/" + resource)) {
      const std::string& kind = words[0];
      for (size_t i = 1; i < words.size(); i++) {
        const size_t equals = words[i].find('=');
        const std::string name = words[i].substr(0, equals);
        const std::string value = words[i].substr(equals + 1);
        if (name == "total") {
          CHECK(rows.U64(*row, kind + "_total_ns") == std::stoull(value) * 1000);
        } else {
          CHECK(rows.F64(*row, kind + "_" + name + "_ratio").value_or(-1) ==
                doctest::Approx(std::stod(value) / 100));
        }
      }
    }
  }
}

TEST_CASE("pressure: a resource without some is null and told; none at all is unavailable") {
  const Tree tree;
  RecordedStates states;
  auto none = MakePressureSource(Request("pressure", tree.root()), states);
  CHECK(none.status.code() == std::string("ERR_UNAVAILABLE"));
  CHECK(none.status.fix() == "boot with psi=1");
  tree.Write("/proc/pressure/irq", "full avg10=50.00 avg60=0.00 avg300=0.00 total=7\n");
  auto opened = MakePressureSource(Request("pressure", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 1);
  CHECK(rows.IsNull(0, "some_avg10_ratio"));
  CHECK(rows.IsNull(0, "some_total_ns"));
  CHECK(rows.F64(0, "full_avg10_ratio") == doctest::Approx(0.5));
  CHECK(rows.U64(0, "full_total_ns") == 7000);
  CHECK(states.changes().size() == 4);
  CHECK(states.changes()[0].reason == "not_supported");
  tree.Remove("/proc/pressure/irq");
  recorder.Sample();
  CHECK(rows.size() == 1);
  CHECK(Brief({states.changes().back()}) == "pressure irq  unavailable gone\n");
}

TEST_CASE("hugepages: every size and node of two recorded machines") {
  for (const std::string& root : {kRecordedGuest, kRecordedH200}) {
    RecordedStates states;
    auto opened = MakeHugepagesSource(Request("hugepages", root), states);
    REQUIRE(opened.ok());
    SourceRecorder recorder(*opened.value);
    recorder.Sample();
    const auto check = [](RowRecorder& rows, size_t row, const std::string& folder) {
      for (const ColumnSpec& column : rows.table().columns) {
        if (column.name.find("_hugepages") == std::string::npos) continue;
        CAPTURE(folder + column.name);
        CHECK(rows.U64(row, column.name) == std::stoull(ReadText(folder + column.name)));
      }
    };
    RowRecorder& rows = *recorder.table();
    RowRecorder& pools = *recorder.table("pool");
    REQUIRE(rows.size() == 2);
    REQUIRE(pools.size() == 2);
    for (const auto& [name, bytes] : {std::pair("2m", 2048), std::pair("1g", 1048576)}) {
      const std::string folder = "/hugepages-" + std::to_string(bytes) + "kB/";
      const auto row = rows.RowWhere("page_size", name);
      const auto pool = pools.RowWhere("page_size", name);
      REQUIRE(row.has_value());
      REQUIRE(pool.has_value());
      CHECK(rows.U32(*row, "node") == 0);
      CHECK(rows.U64(*row, "page_size_bytes") == uint64_t{1024} * static_cast<uint64_t>(bytes));
      check(rows, *row, root + "/sys/devices/system/node/node0/hugepages" + folder);
      check(pools, *pool, root + "/sys/kernel/mm/hugepages" + folder);
    }
    CHECK(pools.table().columns.size() == 8);
    CHECK(states.changes().empty());
  }
}

TEST_CASE("hugepages: nodes that come and go, broken files, no pools") {
  const Tree tree;
  RecordedStates states;
  CHECK(MakeHugepagesSource(Request("hugepages", tree.root()), states).status.code() ==
        std::string("ERR_UNAVAILABLE"));
  const auto write = [&](const std::string& pool, const std::string& free) {
    tree.Write(pool + "/hugepages-64kB/nr_hugepages", "18446744073709551615\n");
    tree.Write(pool + "/hugepages-64kB/free_hugepages", free);
    tree.Write(pool + "/hugepages-64kB/surplus_hugepages", "0\n");
  };
  const std::string nodes = "/sys/devices/system/node/";
  write("/sys/kernel/mm/hugepages", "1\n");
  write(nodes + "node1/hugepages", "x\n");
  tree.Write(nodes + "has_cpu", "1\n");
  auto opened = MakeHugepagesSource(Request("hugepages", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  RowRecorder& rows = *recorder.table();
  recorder.Sample(kSecond);
  REQUIRE(rows.size() == 1);
  CHECK(rows.Text(0, "page_size") == "64k");
  CHECK(rows.U32(0, "node") == 1);
  CHECK(rows.U64(0, "nr_hugepages") == kMax);
  CHECK(rows.IsNull(0, "free_hugepages"));
  CHECK(recorder.table("pool")->IsNull(0, "resv_hugepages"));
  write(nodes + "node2/hugepages", "2\n");
  recorder.Sample(kSecond + 1);
  CHECK(rows.size() == 2);  // folders are listed once a second
  recorder.Sample(2 * kSecond + 1);
  CHECK(rows.size() == 4);
  tree.Remove(nodes + "node1");
  recorder.Sample(3 * kSecond + 1);
  REQUIRE(rows.size() == 5);
  CHECK(rows.U32(4, "node") == 2);
  CHECK(rows.U64(4, "free_hugepages") == 2);
  CHECK(Brief(states.changes()) ==
        "hugepages 64k/1 free_hugepages unavailable read_failed\n"
        "hugepages.pool 64k resv_hugepages unavailable gone\n"
        "hugepages.pool 64k nr_overcommit_hugepages unavailable gone\n"
        "hugepages 2  ok appeared\n"
        "hugepages 1  gone gone\n");
}

TEST_CASE("numa: numastat and meminfo of every node of two recorded machines") {
  for (const std::string& root : {kRecordedGuest, kRecordedH200}) {
    RecordedStates states;
    auto opened = MakeNumaSource(Request("numa", root), states);
    REQUIRE(opened.ok());
    SourceRecorder recorder(*opened.value);
    recorder.Sample();
    RowRecorder& rows = *recorder.table();
    REQUIRE(rows.size() == 1);
    CHECK(rows.U32(0, "node") == 0);
    const std::string folder = root + "/sys/devices/system/node/node0";
    size_t columns = 2;
    for (const auto& [name, value] : ReadPairs(folder + "/numastat")) {
      CHECK(rows.U64(0, name) == value);
      columns++;
    }
    for (const auto& words : ReadWords(folder + "/meminfo")) {
      const std::string source = "/sys/devices/system/node/node*/meminfo " + words[2];
      columns++;
      for (const ColumnSpec& column : opened.value->tables()[0].columns) {
        if (column.source != source) continue;
        CAPTURE(source);
        CHECK(rows.U64(0, column.name) == std::stoull(words[3]) * (words.size() == 5 ? 1024 : 1));
      }
    }
    CHECK(opened.value->tables()[0].columns.size() == columns);
    CHECK(columns > 30);
    CHECK(states.changes().empty());
  }
}

TEST_CASE("numa: a node that appears, and a kernel without nodes") {
  const Tree tree;
  RecordedStates states;
  CHECK(MakeNumaSource(Request("numa", tree.root()), states).status.code() ==
        std::string("ERR_UNAVAILABLE"));
  const std::string nodes = "/sys/devices/system/node/";
  tree.Write(nodes + "node0/numastat", "numa_hit 5\n");
  tree.Write(nodes + "node0/meminfo", "Node 0 MemTotal: 4 kB\n");
  auto opened = MakeNumaSource(Request("numa", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample(kSecond);
  tree.Write(nodes + "node10/numastat", "numa_hit 6\n");
  tree.Write(nodes + "node10/meminfo", "Node 1 MemTotal: 9 kB\nNode 10 MemTotal: 8 kB\n");
  recorder.Sample(3 * kSecond);
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 3);
  CHECK(rows.U32(2, "node") == 10);
  CHECK(rows.U64(2, "numa_hit") == 6);
  CHECK(rows.U64(2, "mem_total_bytes") == 8192);
  CHECK(Brief(states.changes()) == "numa 10  ok appeared\n");
}
