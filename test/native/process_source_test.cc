#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "faulting_child.h"
#include "memory_support.h"
#include "os/page_faults_source.h"
#include "os/proc_files.h"
#include "os/process_source.h"
#include "os/process_tree.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
using warpgauge_test::FaultingChild;
using Options = std::map<std::string, std::string>;

constexpr uint64_t kTick = 10'000'000;  // of every Linux on x86-64 and arm64

SourceRequest Request(const Options& options, const std::string& root = "") {
  SourceRequest request;
  request.name = "process";
  request.instance = "process";
  request.root = root;
  request.interval_ns = 100'000'000;
  request.options = options;
  return request;
}

struct Watch {
  RecordedStates states;
  std::unique_ptr<Source> source;
  std::unique_ptr<SourceRecorder> recorder;
  std::string code;

  explicit Watch(const Options& options, const std::string& root = "") {
    auto opened = MakeProcessSource(Request(options, root), states);
    code = opened.status.code();
    if (!opened.ok()) return;
    source = std::move(opened.value);
    recorder = std::make_unique<SourceRecorder>(*source);
  }
  RowRecorder& rows() { return *recorder->table(""); }
  RowRecorder& memory() { return *recorder->table("memory"); }
  // Last row of one more tick.
  size_t Look() {
    recorder->Sample();
    return rows().size() - 1;
  }
};

bool MayCount() {
  Watch watch(Options{});
  const size_t row = watch.Look();
  if (!watch.rows().IsNull(row, "faults_perf")) return true;
  std::cout << "process_source_test: skipped: perf counts no faults here\n";
  return false;
}

// The independent reader: "Name: number" lines by stream extraction, kB in bytes.
std::map<std::string, uint64_t> ReadPairs(const std::string& path) {
  std::map<std::string, uint64_t> pairs;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    std::string unit;
    uint64_t value = 0;
    if (!(words >> name >> value)) continue;
    words >> unit;
    pairs[name] = unit == "kB" ? value * 1024 : value;
  }
  return pairs;
}

std::vector<std::string> StatFields(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  std::vector<std::string> fields = {"", ""};
  std::istringstream words(line.substr(line.rfind(')') + 1));
  std::string word;
  while (words >> word) fields.push_back(word);
  fields.insert(fields.begin(), "");  // counted from 1 as in proc(5)
  return fields;
}

// Folder and pid of every process that was recorded.
std::vector<std::pair<std::string, std::string>> RecordedProcesses() {
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& tree : std::filesystem::directory_iterator("test/fixtures/proc")) {
    const std::filesystem::path proc = tree.path() / "proc";
    if (!std::filesystem::is_directory(proc)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(proc)) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      if (std::filesystem::exists(entry.path() / "stat")) found.emplace_back(tree.path(), name);
    }
  }
  return found;
}

}  // namespace

TEST_CASE("stat: a name may hold blanks, brackets and newlines") {
  ProcStat stat;
  const std::string text =
      "77 (a) S 1 (b\n) R 5 77 77 -1 -1 4194304 11 0 12 0 13 14 0 0 20 0 3 0 999 1000 2 3\n";
  REQUIRE(ParseProcStat(text, &stat));
  CHECK(stat.pid == 77);
  CHECK(stat.comm == "a) S 1 (b\n");
  CHECK(stat.state == 'R');
  CHECK(stat.parent_pid == 5);
  CHECK(stat.minor_faults == 11);
  CHECK(stat.major_faults == 12);
  CHECK(stat.user_ticks == 13);
  CHECK(stat.system_ticks == 14);
  CHECK(stat.threads == 3);
  CHECK(stat.start_ticks == 999);
  CHECK_FALSE(ParseProcStat(text.substr(0, text.size() - 1), &stat));
  CHECK_FALSE(ParseProcStat("", &stat));
  CHECK_FALSE(ParseProcStat("77 (a", &stat));
  CHECK_FALSE(ParseProcStat(") (", &stat));
}

TEST_CASE("status, io, smaps_rollup: missing, odd and torn lines are null, never 0") {
  const ProcStatus status = ParseProcStatus(
      "Name:\tVmSwap: 7 kB\nRssAnon:\t    12 kB\nRssFile:\tx kB\nRssShmem:\t5\n"
      "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t8\nVmPTE:\t  40 k");
  CHECK(status.rss_anon_bytes == 12 * 1024);
  CHECK(status.rss_file_bytes == kMissing);
  CHECK(status.rss_shmem_bytes == kMissing);  // without its unit it could be anything
  CHECK(status.swap_bytes == kMissing);
  CHECK(status.page_table_bytes == kMissing);
  CHECK(status.involuntary_switches == 9);
  CHECK(status.voluntary_switches == 8);
  const ProcIo io = ParseProcIo("wchar: 5\nrchar: 18446744073709551616\n");
  CHECK(io.written_chars == 5);
  CHECK(io.read_chars == kMissing);
  CHECK(ParseSmapsRollup("Rss: 18446744073709551615 kB\n").rss_bytes == kMissing);
}

TEST_CASE("process: recorded processes read as an independent reader reads them") {
  const auto processes = RecordedProcesses();
  REQUIRE(processes.size() >= 3);
  for (const auto& [root, pid] : processes) {
    CAPTURE(root);
    Watch watch(Options{{"pid", pid}}, root);
    REQUIRE(watch.code.empty());
    const size_t row = watch.Look();
    const std::string folder = root + "/proc/" + pid + "/";
    RowRecorder& rows = watch.rows();
    const auto stat = StatFields(folder + "stat");
    CHECK(rows.U32(row, "pid") == std::stoul(pid));
    CHECK(rows.U64(row, "parent_pid") == std::stoull(stat[4]));
    CHECK(rows.U64(row, "minor_faults") == std::stoull(stat[10]));
    CHECK(rows.U64(row, "major_faults") == std::stoull(stat[12]));
    CHECK(rows.U64(row, "cpu_user_ns") == std::stoull(stat[14]) * kTick);
    CHECK(rows.U64(row, "cpu_system_ns") == std::stoull(stat[15]) * kTick);
    CHECK(rows.U64(row, "threads") == std::stoull(stat[20]));
    auto status = ReadPairs(folder + "status");
    for (const auto& [column, name] : std::map<std::string, std::string>{
             {"rss_anon_bytes", "RssAnon:"},
             {"rss_file_bytes", "RssFile:"},
             {"rss_shmem_bytes", "RssShmem:"},
             {"rss_peak_bytes", "VmHWM:"},
             {"swap_bytes", "VmSwap:"},
             {"hugetlb_bytes", "HugetlbPages:"},
             {"page_table_bytes", "VmPTE:"},
             {"locked_bytes", "VmLck:"},
             {"pinned_bytes", "VmPin:"},
             {"main_thread_voluntary_switches", "voluntary_ctxt_switches:"},
             {"main_thread_involuntary_switches", "nonvoluntary_ctxt_switches:"}}) {
      CAPTURE(column);
      REQUIRE(status.count(name) == 1);
      CHECK(rows.U64(row, column) == status[name]);
    }
    auto io = ReadPairs(folder + "io");
    CHECK(rows.U64(row, "rchar_bytes") == io.at("rchar:"));
    CHECK(rows.U64(row, "wchar_bytes") == io.at("wchar:"));
    CHECK(rows.U64(row, "read_bytes") == io.at("read_bytes:"));
    CHECK(rows.U64(row, "written_bytes") == io.at("write_bytes:"));
    auto rollup = ReadPairs(folder + "smaps_rollup");
    for (const auto& [column, name] :
         std::map<std::string, std::string>{{"rss_bytes", "Rss:"},
                                            {"pss_bytes", "Pss:"},
                                            {"anon_huge_bytes", "AnonHugePages:"},
                                            {"private_dirty_bytes", "Private_Dirty:"},
                                            {"private_hugetlb_bytes", "Private_Hugetlb:"},
                                            {"locked_bytes", "Locked:"}}) {
      CAPTURE(column);
      CHECK(watch.memory().U64(row, column) == rollup.at(name));
    }
    // perf counts this machine, not the recorded one.
    CHECK(rows.IsNull(row, "faults_perf"));
    CHECK(rows.IsNull(row, "faults_unseen"));
  }
}

TEST_CASE("process: this process, as it sees itself") {
  Watch watch(Options{});
  REQUIRE(watch.code.empty());
  const size_t row = watch.Look();
  RowRecorder& rows = watch.rows();
  CHECK(rows.U32(row, "pid") == static_cast<uint32_t>(getpid()));
  CHECK(rows.U64(row, "parent_pid") == static_cast<uint64_t>(getppid()));
  std::string comm;
  std::getline(std::ifstream("/proc/self/comm"), comm);
  CHECK(rows.Text(row, "comm") == comm);
  CHECK(rows.Text(row, "state") == "running");
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto minor = static_cast<int64_t>(rows.U64(row, "minor_faults").value());
  CHECK(std::abs(minor - usage.ru_minflt) < 200);
  CHECK(rows.U64(row, "rss_anon_bytes").value() > 0);
  CHECK(rows.U64(row, "page_table_bytes").value() > 0);
  // Started before now, and not long ago: a test that runs longer is killed.
  const int64_t age_ns = MonotonicNs() - rows.Time(row, "start_time").value();
  CHECK(age_ns > -20'000'000);
  CHECK(age_ns < int64_t{600} * 1'000'000'000);
  CHECK(watch.memory().U64(0, "rss_bytes").value() > 0);
}

TEST_CASE("process: bad options and processes that are not there") {
  CHECK(Watch(Options{{"pid", "x"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"pid", "-1"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"pid", "1"}, {"tree", "1"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"pid", "2147483647"}}).code == "ERR_GONE");
  CHECK(Watch(Options{{"tree", "2147483647"}}).code == "ERR_GONE");
}

TEST_CASE("process: the end of a process is a state, its row is absent") {
  FaultingChild child;
  Watch watch(Options{{"pid", std::to_string(child.pid())}});
  watch.Look();
  CHECK(watch.rows().size() == 1);
  const std::string pid = std::to_string(child.pid());
  child.End();
  watch.recorder->Sample();
  CHECK(watch.rows().size() == 1);
  const auto changes = watch.states.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].state == "gone");
  CHECK(changes[0].key == pid);
}

// The counts of one child, by three witnesses, over whatever `act` does.
struct Counts {
  int64_t perf = 0;
  int64_t rusage = 0;
  int64_t unseen = 0;
  int64_t sampled = 0;
};

template <typename Act>
Counts Count(bool huge, uint64_t pages, const Act& act) {
  FaultingChild child;
  const uint64_t address = huge ? child.MapHuge(pages) : child.Map(pages);
  REQUIRE(address != 0);
  const std::string pid = std::to_string(child.pid());
  Watch watch(Options{{"pid", pid}});
  SourceRequest request = Request(Options{{"pid", pid}});
  request.name = request.instance = "page-faults";
  RecordedStates states;
  auto faults = PageFaultsSource::Open(request, states);
  REQUIRE(faults.ok());
  SourceRecorder recorder(*faults.value, 4096);
  recorder.Sample();
  const size_t first = watch.Look();
  act(child, address);
  const size_t last = watch.Look();
  recorder.Sample();
  RowRecorder& rows = watch.rows();
  const auto difference = [&](const char* column) {
    return static_cast<int64_t>(rows.U64(last, column).value() - rows.U64(first, column).value());
  };
  Counts counts;
  counts.perf = difference("faults_perf");
  counts.rusage = difference("minor_faults") + difference("major_faults");
  counts.unseen = difference("faults_unseen");
  counts.sampled = static_cast<int64_t>(recorder.table("")->size());
  return counts;
}

void ComparePages(bool huge, uint64_t pages) {
  const uint64_t page = huge ? uint64_t{2} << 20 : 4096;
  const auto n = static_cast<int64_t>(pages);
  const Counts idle = Count(huge, pages, [](FaultingChild& child, uint64_t) { child.Nothing(); });
  const Counts touched = Count(huge, pages, [&](FaultingChild& child, uint64_t address) {
    child.Touch(address, pages * page, page);
  });
  const Counts populated = Count(huge, pages, [&](FaultingChild& child, uint64_t address) {
    CHECK(child.Populate(address, pages * page) == 0);
  });
  CHECK(IsFaultCount(touched.perf - idle.perf, n));
  CHECK(IsFaultCount(touched.rusage - idle.rusage, n));
  CHECK(IsFaultCount(touched.sampled - idle.sampled, n));
  CHECK(touched.unseen == idle.unseen);
  CHECK(IsFaultCount(populated.perf - idle.perf, 0));
  CHECK(IsFaultCount(populated.rusage - idle.rusage, n));
  CHECK(IsFaultCount(populated.sampled - idle.sampled, 0));
  CHECK(populated.unseen - idle.unseen == n);
}

TEST_CASE("process: N first touches are N for perf, getrusage and samples; population is 0, N, 0") {
  if (!MayCount()) return;
  ComparePages(/*huge=*/false, 1);
  ComparePages(/*huge=*/false, 1000);
}

TEST_CASE("process: the same on hugetlb pages") {
  if (!MayCount()) return;
  const warpgauge_test::PoolPages pool(2048, 8);
  if (!pool.granted()) {
    std::cout << "process_source_test: skipped: " << pool.why() << "\n";
    return;
  }
  ComparePages(/*huge=*/true, 8);
}

TEST_CASE("process: faults of threads that come later are counted, those of children are not") {
  if (!MayCount()) return;
  FaultingChild child;
  const uint64_t in_thread = child.Map(500);
  const uint64_t in_child = child.Map(500);
  Watch watch(Options{{"pid", std::to_string(child.pid())}});
  const size_t first = watch.Look();
  child.TouchInThread(in_thread, 500 * 4096);
  const size_t second = watch.Look();
  child.TouchInChild(in_child, 500 * 4096);
  const size_t third = watch.Look();
  RowRecorder& rows = watch.rows();
  const auto perf = [&](size_t row) { return rows.U64(row, "faults_perf").value(); };
  CHECK(perf(second) - perf(first) >= 500);
  CHECK(perf(third) - perf(second) < 500);
  CHECK(rows.U64(third, "faults_unseen") == rows.U64(first, "faults_unseen"));
}

TEST_CASE("process: a tree is the process and its descendants, those that come later too") {
  FaultingChild child;
  Watch watch(Options{{"tree", std::to_string(getpid())}});
  REQUIRE(watch.code.empty());
  watch.recorder->Sample();
  RowRecorder& rows = watch.rows();
  const auto has = [&](pid_t pid) {
    for (size_t row = 0; row < rows.size(); row++) {
      if (rows.U32(row, "pid") == static_cast<uint32_t>(pid)) return true;
    }
    return false;
  };
  CHECK(has(getpid()));
  CHECK(has(child.pid()));
  FaultingChild second;
  rows.Clear();
  const pid_t ended = child.pid();
  child.End();
  // Listing takes a bounded part of the time only, so the next one may be due later: on a busy
  // machine much later.
  for (int look = 0; look < 500 && !has(second.pid()); look++) {
    usleep(10'000);
    rows.Clear();
    watch.recorder->Sample();
  }
  CHECK(has(second.pid()));
  CHECK_FALSE(has(ended));
  const auto changes = watch.states.changes();
  bool is_told = false;
  for (const StateChange& change : changes) {
    is_told = is_told || (change.state == "gone" && change.key == std::to_string(ended));
  }
  CHECK(is_told);
}

TEST_CASE("process: children are found by scanning where the kernel does not list them") {
  FaultingChild child;
  ProcessTree tree("", getpid());
  const std::vector<pid_t> listed = tree.List();
  tree.set_must_scan(true);
  CHECK(tree.List() == listed);
  CHECK(std::find(listed.begin(), listed.end(), child.pid()) != listed.end());
}

TEST_CASE("process: what a stranger may not read is null, and the column says why") {
  if (getuid() != 0) {
    std::cout << "process_source_test: skipped: giving privileges up needs root\n";
    return;
  }
  const int ended = warpgauge_test::RunChild([] {
    const std::string parent = std::to_string(getppid());
    if (setgid(65534) != 0 || setuid(65534) != 0) return 1;
    Watch watch(Options{{"pid", parent}});
    if (!watch.code.empty()) return 2;
    const size_t row = watch.Look();
    RowRecorder& rows = watch.rows();
    if (!rows.U64(row, "minor_faults")) return 3;
    for (const char* name : {"read_bytes", "faults_unseen"}) {
      if (!rows.IsNull(row, name)) return 4;
      for (const ColumnSpec& column : watch.source->tables()[0].columns) {
        if (column.name == name && column.reason != "no_permission") return 5;
      }
    }
    if (!watch.memory().IsNull(0, "pss_bytes")) return 6;
    return watch.source->tables()[1].columns[3].reason == "no_permission" ? 0 : 7;
  });
  CHECK(ended == 0);
}
