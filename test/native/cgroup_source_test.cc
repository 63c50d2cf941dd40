#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/cgroup_source.h"
#include "os/cgroup_source_files.h"
#include "row_recorder.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
namespace fs = std::filesystem;

struct Watch {
  RecordedStates states;
  std::unique_ptr<Source> source;
  std::unique_ptr<SourceRecorder> recorder;
  std::string code;

  explicit Watch(const std::string& root, const std::string& path = "") {
    SourceRequest request;
    request.name = request.instance = "cgroup";
    request.root = root;
    request.interval_ns = 100'000'000;
    if (!path.empty()) request.options["path"] = path;
    auto opened = MakeCgroupSource(request, states);
    code = opened.status.code();
    if (!opened.ok()) return;
    source = std::move(opened.value);
    recorder = std::make_unique<SourceRecorder>(*source);
    recorder->Sample();
  }
  RowRecorder& rows(const std::string& table = "") { return *recorder->table(table); }
  [[nodiscard]] std::string Reason(size_t table, const std::string& name) const {
    for (const ColumnSpec& column : source->tables()[table].columns) {
      if (column.name == name) return column.reason;
    }
    return "no such column";
  }
};

// The independent reader: "name number" lines by stream extraction; a lone number has the name "".
std::map<std::string, uint64_t> ReadPairs(const fs::path& path) {
  std::map<std::string, uint64_t> pairs;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    uint64_t value = 0;
    if (words >> value) {
      pairs[""] = value;
      continue;
    }
    words.clear();
    words.seekg(0);
    if (words >> name >> value) pairs[name] = value;
  }
  return pairs;
}

struct Recorded {
  std::string root;
  std::string path;  // of the cgroup
  fs::path folder;
};

// Every cgroup of every recorded tree in which cgroup v2 is mounted at /sys/fs/cgroup.
std::vector<Recorded> RecordedGroups() {
  std::vector<Recorded> found;
  for (const auto& tree : fs::directory_iterator("test/fixtures/proc")) {
    const fs::path top = tree.path() / "sys/fs/cgroup";
    if (!fs::exists(top / "cgroup.controllers")) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top)) {
      if (entry.path().filename() != "cgroup.controllers") continue;
      const fs::path folder = entry.path().parent_path();
      const std::string path = "/" + fs::relative(folder, top).string();
      found.push_back({tree.path(), path == "/." ? "/" : path, folder});
    }
  }
  return found;
}

// column, file, line of the file ("" for the whole), factor
struct Expectation {
  const char* column;
  const char* file;
  const char* line;
  uint64_t factor;
};
constexpr Expectation kExpected[] = {
    {"cpu_usage_ns", "cpu.stat", "usage_usec", 1000},
    {"cpu_user_ns", "cpu.stat", "user_usec", 1000},
    {"cpu_system_ns", "cpu.stat", "system_usec", 1000},
    {"cpu_periods", "cpu.stat", "nr_periods", 1},
    {"cpu_throttled_periods", "cpu.stat", "nr_throttled", 1},
    {"cpu_throttled_ns", "cpu.stat", "throttled_usec", 1000},
    {"cpu_bursts", "cpu.stat", "nr_bursts", 1},
    {"memory_current_bytes", "memory.current", "", 1},
    {"memory_peak_bytes", "memory.peak", "", 1},
    {"swap_current_bytes", "memory.swap.current", "", 1},
    {"memory_anon_bytes", "memory.stat", "anon", 1},
    {"memory_file_bytes", "memory.stat", "file", 1},
    {"memory_kernel_bytes", "memory.stat", "kernel", 1},
    {"memory_kernel_stack_bytes", "memory.stat", "kernel_stack", 1},
    {"memory_page_tables_bytes", "memory.stat", "pagetables", 1},
    {"memory_shmem_bytes", "memory.stat", "shmem", 1},
    {"memory_anon_thp_bytes", "memory.stat", "anon_thp", 1},
    {"memory_slab_bytes", "memory.stat", "slab", 1},
    {"scanned", "memory.stat", "pgscan", 1},
    {"page_faults", "memory.stat", "pgfault", 1},
    {"major_faults", "memory.stat", "pgmajfault", 1},
    {"memory_events_high", "memory.events", "high", 1},
    {"memory_events_max", "memory.events", "max", 1},
    {"memory_events_oom_kill", "memory.events", "oom_kill", 1},
    {"pids_current", "pids.current", "", 1},
    {"pids_peak", "pids.peak", "", 1},
    {"pids_events_max", "pids.events", "max", 1},
};

constexpr size_t kIoTable = 1;
constexpr size_t kHugetlbTable = 3;

}  // namespace

TEST_CASE("cgroup: recorded cgroups read as an independent reader reads them") {
  const auto groups = RecordedGroups();
  REQUIRE(groups.size() >= 9);  // three kernels, the root and two cgroups each
  size_t values = 0;
  for (const Recorded& group : groups) {
    CAPTURE(group.folder);
    Watch watch(group.root, group.path);
    REQUIRE(watch.code.empty());
    RowRecorder& rows = watch.rows();
    REQUIRE(rows.size() == 1);
    CHECK(rows.Text(0, "path") == group.path);
    for (const Expectation& expected : kExpected) {
      CAPTURE(expected.column);
      const auto pairs = ReadPairs(group.folder / expected.file);
      const auto found = pairs.find(expected.line);
      if (found == pairs.end()) {
        CHECK(rows.IsNull(0, expected.column));
        CHECK(watch.Reason(0, expected.column) != "");
      } else {
        CHECK(rows.U64(0, expected.column) == found->second * expected.factor);
        CHECK(watch.Reason(0, expected.column) == "");
        values++;
      }
    }
    std::ifstream io(group.folder / "io.stat");
    std::string line;
    size_t devices = 0;
    while (std::getline(io, line)) {
      unsigned major = 0;
      unsigned minor = 0;
      unsigned long read = 0;     // NOLINT(google-runtime-int): sscanf
      unsigned long written = 0;  // NOLINT(google-runtime-int)
      unsigned long reads = 0;    // NOLINT(google-runtime-int)
      if (sscanf(line.c_str(),
                 "%u:%u rbytes=%lu wbytes=%lu rios=%lu",
                 &major,
                 &minor,
                 &read,
                 &written,
                 &reads) != 5) {
        continue;
      }
      const auto row =
          watch.rows("io").RowWhere("device", std::to_string(major) + ":" + std::to_string(minor));
      REQUIRE(row.has_value());
      CHECK(watch.rows("io").U64(*row, "read_bytes") == read);
      CHECK(watch.rows("io").U64(*row, "written_bytes") == written);
      CHECK(watch.rows("io").U64(*row, "reads") == reads);
      devices++;
    }
    values += devices;
    for (const auto& [size, name] :
         std::map<std::string, std::string>{{"2m", "2MB"}, {"1g", "1GB"}}) {
      const fs::path file = group.folder / ("hugetlb." + name + ".current");
      const auto row = watch.rows("hugetlb").RowWhere("page_size", size);
      CHECK(row.has_value() == fs::exists(file));
      if (!row) continue;
      const fs::path reserved = group.folder / ("hugetlb." + name + ".rsvd.current");
      const fs::path events = group.folder / ("hugetlb." + name + ".events");
      CHECK(watch.rows("hugetlb").U64(*row, "current_bytes") == ReadPairs(file).at(""));
      CHECK(watch.rows("hugetlb").U64(*row, "reserved_bytes") == ReadPairs(reserved).at(""));
      CHECK(watch.rows("hugetlb").U64(*row, "events_max") == ReadPairs(events).at("max"));
      values++;
    }
    for (const char* resource : {"cpu", "memory", "io"}) {
      std::ifstream pressure(group.folder / (std::string(resource) + ".pressure"));
      const auto row = watch.rows("pressure").RowWhere("resource", resource);
      double average = 0;
      unsigned long total = 0;  // NOLINT(google-runtime-int): sscanf
      const bool is_there =
          std::getline(pressure, line) &&
          sscanf(line.c_str(), "some avg10=%lf avg60=%*f avg300=%*f total=%lu", &average, &total) ==
              2;
      CHECK(row.has_value() == is_there);
      if (!row) continue;
      CHECK(watch.rows("pressure").F64(*row, "some_avg10_ratio").value() ==
            doctest::Approx(average / 100));
      CHECK(watch.rows("pressure").U64(*row, "some_total_ns") == total * 1000);
      values++;
    }
  }
  CHECK(values > 150);
}

TEST_CASE("cgroup: paths are given from the root of the hierarchy or from its mount point") {
  const std::string root = "test/fixtures/proc/debian-qemu-tcg-linux-6.1.0-50";
  Watch short_path(root, "/serve/worker/");
  Watch long_path(root, "/sys/fs/cgroup/serve/worker");
  CHECK(short_path.rows().Text(0, "path") == "/serve/worker");
  CHECK(long_path.rows().Text(0, "path") == "/serve/worker");
  CHECK(Watch(root).rows().Text(0, "path") == "/");  // that of the recording process
  CHECK(Watch(root, "/no/such").code == "ERR_GONE");
  CHECK(Watch(root, "serve").code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(root, "/serve/../serve").code == "ERR_INVALID_ARGUMENT");
}

TEST_CASE("cgroup: in the root a field says that it is not for the root") {
  Watch watch("test/fixtures/proc/debian-qemu-tcg-linux-6.1.0-50", "/");
  CHECK(watch.Reason(0, "memory_current_bytes") == "not_in_root_cgroup");
  CHECK(watch.Reason(kHugetlbTable, "current_bytes") == "not_in_root_cgroup");
}

TEST_CASE("cgroup: on a hybrid host each field names the controller that cgroup v2 would need") {
  Watch watch("test/fixtures/proc/debian-12-kvm-linux-6.18.44", "/batch/job");
  REQUIRE(watch.code.empty());
  CHECK(watch.Reason(0, "memory_current_bytes") == "needs_cgroup2:memory");
  CHECK(watch.Reason(0, "cpu_throttled_ns") == "needs_cgroup2:cpu");
  CHECK(watch.Reason(0, "pids_current") == "needs_cgroup2:pids");
  CHECK(watch.Reason(kIoTable, "read_bytes") == "needs_cgroup2:io");
  CHECK(watch.Reason(kHugetlbTable, "current_bytes") == "");
  CHECK(watch.rows("hugetlb").size() == 2);
  CHECK(watch.rows("io").size() == 0);
}

TEST_CASE("cgroup: without cgroup v2 every field is null and says so") {
  const Tree tree;
  tree.Write("/proc/self/mountinfo",
             "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
  tree.Write("/proc/self/cgroup", "4:memory:/\n");
  Watch watch(tree.root());
  REQUIRE(watch.code.empty());
  CHECK(watch.rows().size() == 1);
  CHECK(watch.rows().IsNull(0, "cpu_usage_ns"));
  CHECK(watch.Reason(0, "cpu_usage_ns") == "needs_cgroup2");
  CHECK(watch.Reason(0, "memory_peak_bytes") == "needs_cgroup2:memory");
  CHECK(watch.Reason(kIoTable, "reads") == "needs_cgroup2:io");
  const auto changes = watch.states.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].reason == "needs_cgroup2");
}

TEST_CASE("cgroup: one that goes is a state and has no row; one that comes back goes on") {
  const Tree tree;
  const auto write = [&] {
    tree.Write("/sys/fs/cgroup/a b/cgroup.controllers", "memory\n");
    tree.Write("/sys/fs/cgroup/a b/cgroup.events", "populated 0\n");
    tree.Write("/sys/fs/cgroup/a b/cpu.stat", "usage_usec 5\nuser_usec 18446744073709551615\n");
    tree.Write("/sys/fs/cgroup/a b/memory.current", "4096\n");
  };
  tree.Write("/proc/self/mountinfo", "28 25 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.Write("/proc/self/cgroup", "0::/a b\n");
  write();
  Watch watch(tree.root());
  REQUIRE(watch.rows().size() == 1);
  CHECK(watch.rows().Text(0, "path") == "/a b");
  CHECK(watch.rows().U64(0, "cpu_usage_ns") == 5000);
  CHECK(watch.rows().IsNull(0, "cpu_user_ns"));  // beyond 64 bits in ns
  CHECK(watch.rows().U64(0, "memory_current_bytes") == 4096);
  CHECK(watch.Reason(0, "memory_peak_bytes") == "not_supported");
  tree.Remove("/sys/fs/cgroup/a b");
  watch.recorder->Sample();
  watch.recorder->Sample();
  CHECK(watch.rows().size() == 1);
  write();
  watch.recorder->Sample();
  CHECK(watch.rows().size() == 2);
  const auto changes = watch.states.changes();
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].reason == "gone");
  CHECK(changes[0].key == "/a b");
  CHECK(changes[1].state == "ok");
}

TEST_CASE("cgroup: that of this process, now") {
  Watch watch("");
  REQUIRE(watch.code.empty());
  REQUIRE(watch.rows().size() == 1);
  const std::string mount = Cgroup2MountPoint([] {
    std::ifstream file("/proc/self/mountinfo");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }());
  if (mount.empty()) {
    CHECK(watch.Reason(0, "cpu_usage_ns") == "needs_cgroup2");
    return;
  }
  const uint64_t before = watch.rows().U64(0, "cpu_usage_ns").value();
  const std::string path = watch.rows().Text(0, "path").value();
  const uint64_t now = ReadPairs(fs::path(mount + path) / "cpu.stat").at("usage_usec") * 1000;
  CHECK(before > 0);
  CHECK(now >= before);
}

TEST_CASE("cgroup files: odd lines") {
  CgroupIo io;
  REQUIRE(ParseCgroupIoLine("8:0", &io));
  CHECK(io.major == 8);
  CHECK(io.read_bytes == kNoIo);
  REQUIRE(ParseCgroupIoLine("253:16 rbytes=1 cost.usage=5 rios=x wios=7", &io));
  CHECK(io.minor == 16);
  CHECK(io.read_bytes == 1);
  CHECK(io.reads == kNoIo);
  CHECK(io.writes == 7);
  for (const char* bad : {"", "8", "8:", ":0", "a:b rbytes=1", "8:99999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseCgroupIoLine(bad, &io));
  }
  CHECK(Cgroup2MountPoint("1 2 0:3 / /a\\040b rw - cgroup2 none rw\n") == "/a b");
  CHECK(Cgroup2MountPoint("1 2 0:3 / /a rw - cgroup none rw\n").empty());
  CHECK(Cgroup2Path("9:cpu:/x\n0::/y z\n") == "/y z");
  CHECK(Cgroup2Path("9:cpu:/x\n").empty());
  CHECK(HasWord("cpu io memory\n", "io"));
  CHECK_FALSE(HasWord("cpuset\n", "cpu"));
  std::string size;
  std::string prefix;
  REQUIRE(ParseHugetlbName("hugetlb.1GB.current", &size, &prefix));
  CHECK(size == "1g");
  CHECK(prefix == "hugetlb.1GB.");
  CHECK_FALSE(ParseHugetlbName("hugetlb.2MB.rsvd.current", &size, &prefix));
  CHECK_FALSE(ParseHugetlbName("memory.current", &size, &prefix));
}
