#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "core/clock.h"
#include "os/perf_event.h"
#include "os/perf_source.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

SourceRequest Request(std::map<std::string, std::string> options) {
  SourceRequest request;
  request.name = request.instance = "perf";
  request.interval_ns = 1'000'000;
  request.options = std::move(options);
  return request;
}

std::string Number(int64_t value) { return std::to_string(value); }

// A process that runs `body` in steps: Step() lets it go on to its next Wait().
class Child {
 public:
  using Body = std::function<void(Child&)>;
  explicit Child(const Body& body) {
    REQUIRE(pipe(go_) == 0);
    REQUIRE(pipe(done_) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      // A parent that crashes must not leave its child behind, waiting.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(go_[1]);
      close(done_[0]);
      body(*this);
      _exit(0);
    }
    Settle();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (!is_reaped_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    for (const int fd : {go_[0], go_[1], done_[0], done_[1]}) close(fd);
  }
  // In the child: says that a step is done, waits for the next.
  void Wait() {
    char byte = 1;
    if (write(done_[1], &byte, 1) != 1 || read(go_[0], &byte, 1) != 1) _exit(9);
  }
  // In the parent.
  void Step() {
    char byte = 1;
    REQUIRE(write(go_[1], &byte, 1) == 1);
    Settle();
  }
  void LastStep() {
    char byte = 1;
    REQUIRE(write(go_[1], &byte, 1) == 1);
    waitpid(pid_, nullptr, 0);
    is_reaped_ = true;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  void Settle() {
    char byte = 0;
    pollfd waits{done_[0], POLLIN, 0};
    REQUIRE(poll(&waits, 1, 20000) == 1);
    REQUIRE(read(done_[0], &byte, 1) == 1);
  }
  int go_[2] = {};
  int done_[2] = {};
  pid_t pid_ = -1;
  bool is_reaped_ = false;
};

void Touch(size_t pages) {
  if (pages == 0) return;
  const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* map =
      mmap(nullptr, pages * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) _exit(8);
  madvise(map, pages * size, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < pages; i++) static_cast<volatile char*>(map)[i * size] = 1;
}

// Three threads that are there before step 1 and touch in it, then three new ones that do.
void OldAndNewThreads(Child& child, size_t pages) {
  int gate[2];
  if (pipe(gate) != 0) _exit(7);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) {
    threads.emplace_back([&] {
      char byte = 0;
      if (read(gate[0], &byte, 1) != 1) _exit(6);
      Touch(pages);
    });
  }
  child.Wait();
  if (write(gate[1], "abc", 3) != 3) _exit(5);
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 3; i++) {
    std::thread([&] { Touch(pages); }).join();
  }
  child.Wait();
}

std::unique_ptr<Source> Make(const SourceRequest& request, StateSink& states) {
  Result<std::unique_ptr<Source>> source = MakePerfSource(request, states);
  REQUIRE_MESSAGE(source.ok(), source.status.message());
  return std::move(source.value);
}

std::string Code(std::map<std::string, std::string> options, std::string* fix = nullptr) {
  RecordedStates states;
  const Result<std::unique_ptr<Source>> source =
      MakePerfSource(Request(std::move(options)), states);
  if (fix != nullptr) *fix = source.status.fix();
  return source.status.code();
}

bool HasState(const RecordedStates& states, const std::string& state, const std::string& reason) {
  const std::vector<StateChange> all = states.changes();
  return std::any_of(all.begin(), all.end(), [&](const StateChange& each) {
    return each.state == state && each.reason == reason;
  });
}

bool HasPerfEvents() {
  return OpenPerfEvent(MakePerfEventAttr(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY), {}).ok();
}

#define NEEDS_PERF_EVENTS()                                             \
  if (!HasPerfEvents()) {                                               \
    MESSAGE("perf source: skipped: perf_event_open is forbidden here"); \
    return;                                                             \
  }

uint64_t FaultsOfThreads(size_t pages) {
  Child child([pages](Child& self) { OldAndNewThreads(self, pages); });
  RecordedStates states;
  auto source = Make(Request({{"events", "page-faults"}, {"pid", Number(child.pid())}}), states);
  SourceRecorder rows(*source);
  child.Step();
  rows.Sample();
  REQUIRE(rows.table()->size() == 1);
  CHECK(rows.table()->Bool(0, "scaled") == false);
  CHECK(rows.table()->U64(0, "time_enabled_ns") == rows.table()->U64(0, "time_running_ns"));
  return rows.table()->U64(0, "page_faults").value_or(0);
}

}  // namespace

TEST_CASE("perf source: a process is all its threads, those that come later too") {
  NEEDS_PERF_EVENTS();
  constexpr size_t kPages = 200;
  const uint64_t faults = FaultsOfThreads(kPages) - FaultsOfThreads(0);
  if (kSanitized) {
    CHECK(faults >= 6 * kPages);  // shadow memory comes on top
  } else {
    CHECK(faults >= 6 * kPages - 3);
    CHECK(faults <= 6 * kPages + 3);
  }
}

TEST_CASE("perf source: per=thread has a row for each thread, for one found later too") {
  NEEDS_PERF_EVENTS();
#if defined(__SANITIZE_THREAD__)
  MESSAGE("skipped: ThreadSanitizer has threads of its own, which are counted too");
  return;
#endif
  constexpr size_t kPages = 300;
  Child child([](Child& self) {
    int gate[2];
    if (pipe(gate) != 0) _exit(7);
    const auto run = [&] {
      char byte = 0;
      while (read(gate[0], &byte, 1) == 1 && byte != 'q') Touch(kPages);
    };
    std::thread first(run);
    self.Wait();
    if (write(gate[1], "a", 1) != 1) _exit(6);
    self.Wait();
    std::thread second(run);
    self.Wait();
    if (write(gate[1], "qq", 2) != 2) _exit(5);
    first.join();
    second.join();
    self.Wait();
  });
  RecordedStates states;
  auto source =
      Make(Request({{"events", "page-faults"}, {"pid", Number(child.pid())}, {"per", "thread"}}),
           states);
  CHECK(source->tables()[0].columns[1].kind == ColumnKind::kKey);
  SourceRecorder rows(*source);
  child.Step();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  rows.Sample();
  REQUIRE(rows.table()->size() == 2);
  const auto tid = rows.table()->I32(1, "tid").value_or(0);
  CHECK(rows.table()->I32(0, "tid") == child.pid());
  CHECK(tid > 0);
  CHECK(rows.table()->U64(1, "page_faults").value_or(0) >= kPages);
  CHECK(rows.table()->U64(0, "page_faults").value_or(kPages) < kPages);
  CHECK(rows.table()->U64(1, "thread_start_ns").value_or(0) > 0);
  // The new one is found by the look after a tick, once 100 ms have passed.
  child.Step();
  rows.Sample(MonotonicNs() + 1'000'000'000);
  CHECK(rows.table()->size() > 0);  // hands the open slab over
  rows.table()->Clear();
  rows.Sample();
  CHECK(rows.table()->size() == 3);
  // Ended threads are absent.
  child.Step();
  rows.Sample(MonotonicNs() + 10'000'000'000);
  CHECK(rows.table()->size() > 0);  // hands the open slab over
  rows.table()->Clear();
  rows.Sample();
  CHECK(rows.table()->size() == 1);
}

TEST_CASE("perf source: tree counts children, pid does not, tid is one thread") {
  NEEDS_PERF_EVENTS();
  constexpr size_t kPages = 400;
  const auto fork_and_touch = [](size_t pages) {
    const pid_t pid = fork();
    if (pid == 0) {
      Touch(pages);
      _exit(0);
    }
    waitpid(pid, nullptr, 0);
  };
  const auto count = [&](const char* target) {
    uint64_t counts[2] = {};
    for (const size_t pages : {kPages, size_t{0}}) {
      Child child([&, pages](Child& self) {
        self.Wait();
        fork_and_touch(pages);
        std::thread([&] { Touch(pages); }).join();
        self.Wait();
      });
      RecordedStates states;
      auto source =
          Make(Request({{"events", "page-faults"}, {target, Number(child.pid())}}), states);
      SourceRecorder rows(*source);
      child.Step();
      rows.Sample();
      counts[pages == 0 ? 1 : 0] = rows.table()->U64(0, "page_faults").value_or(0);
      if (HasState(states, "degraded", "counts_children")) counts[0] = UINT64_MAX;
    }
    return static_cast<int64_t>(counts[0] - counts[1]);
  };
  // Which process breaks a page shared over fork first is chance: some tens of faults.
  const auto is_near = [](int64_t faults, int64_t expected) {
    return faults >= expected - 30 && (faults <= expected + 30 || kSanitized);
  };
  CHECK(is_near(count("tree"), 2 * kPages));
  if (const int64_t faults = count("pid"); faults != -1) CHECK(is_near(faults, kPages));
  CHECK(is_near(count("tid"), 0));
}

TEST_CASE("perf source: a command is counted from its exec on") {
  NEEDS_PERF_EVENTS();
  Child child([](Child& self) {
    self.Wait();
    Touch(500);
    self.Wait();
    execl("/bin/true", "true", static_cast<char*>(nullptr));
    _exit(4);
  });
  RecordedStates states;
  auto source = Make(
      Request({{"events", "page-faults+task-clock"}, {"command", Number(child.pid())}}), states);
  SourceRecorder rows(*source);
  child.Step();
  rows.Sample();
  CHECK(rows.table()->U64(0, "page_faults") == 0);
  CHECK(rows.table()->U64(0, "time_enabled_ns") == 0);
  child.LastStep();
  rows.Sample();
  CHECK(rows.table()->U64(1, "page_faults").value_or(0) > 5);
  CHECK(rows.table()->U64(1, "task_clock_ns").value_or(0) > 1000);
}

TEST_CASE("perf source: a process that ends is told once, and its last counts stay") {
  NEEDS_PERF_EVENTS();
  Child child([](Child& self) {
    self.Wait();
    Touch(100);
  });
  RecordedStates states;
  auto source = Make(Request({{"events", "page-faults"}, {"pid", Number(child.pid())}}), states);
  SourceRecorder rows(*source);
  child.LastStep();
  rows.Sample(MonotonicNs() + 1'000'000'000);
  rows.Sample(MonotonicNs() + 2'000'000'000);
  CHECK(rows.table()->U64(1, "page_faults").value_or(0) >= 100);
  CHECK(rows.table()->U64(1, "page_faults") == rows.table()->U64(0, "page_faults"));
  REQUIRE(states.changes().size() == 1);
  CHECK(states.changes()[0].state == "gone");
  CHECK(states.changes()[0].key == "process " + Number(child.pid()));
  CHECK(Code({{"events", "page-faults"}, {"pid", Number(child.pid())}}) == "ERR_GONE");
}

TEST_CASE("perf source: a row has the time of its readings, not that of the tick before them") {
  NEEDS_PERF_EVENTS();
  if (geteuid() != 0) {
    MESSAGE("perf source: skipped: counting whole CPUs needs root");
    return;
  }
  RecordedStates states;
  auto source = Make(Request({{"events", "cpu-clock"}, {"system", "true"}}), states);
  SourceRecorder rows(*source);
  rows.Sample();
  // As when the thread is scheduled away between the two.
  const int64_t tick_ns = MonotonicNs();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  rows.Sample(tick_ns);
  const int64_t end_ns = MonotonicNs();
  const int64_t time_ns = rows.table()->I64(1, "time").value_or(0) - UtcOffsetNs();
  // Half of the delay with one CPU, less with more: the clock is looked at after each.
  CHECK(time_ns >= tick_ns + 10'000'000);
  CHECK(time_ns <= end_ns);
}

TEST_CASE("perf source: the system, in one row or one per CPU") {
  NEEDS_PERF_EVENTS();
  if (geteuid() != 0) {
    MESSAGE("perf source: skipped: counting whole CPUs needs root");
    return;
  }
  RecordedStates states;
  auto whole =
      Make(Request({{"events", "cpu-clock+context-switches"}, {"system", "true"}}), states);
  auto each = Make(Request({{"events", "cpu-clock"}, {"system", "true"}, {"per", "cpu"}}), states);
  auto first = Make(Request({{"events", "cpu-clock"}, {"cpu", "0"}}), states);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  SourceRecorder whole_rows(*whole);
  SourceRecorder each_rows(*each);
  SourceRecorder first_rows(*first);
  whole_rows.Sample();
  each_rows.Sample();
  first_rows.Sample();
  const auto cpus = static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN));
  REQUIRE(whole_rows.table()->size() == 1);
  REQUIRE(each_rows.table()->size() == cpus);
  REQUIRE(first_rows.table()->size() == 1);
  CHECK(each_rows.table()->I32(0, "cpu") == 0);
  CHECK(whole_rows.table()->U64(0, "cpu_clock_ns").value_or(0) >= cpus * 40'000'000);
  CHECK(first_rows.table()->U64(0, "cpu_clock_ns").value_or(0) >= 40'000'000);
  CHECK(whole_rows.table()->U64(0, "context_switches").value_or(0) > 0);
}

TEST_CASE("perf source: per=cpu splits what a process does by CPU") {
  NEEDS_PERF_EVENTS();
  RecordedStates states;
  auto source = Make(Request({{"events", "task-clock"}, {"per", "cpu"}}), states);
  SourceRecorder rows(*source);
  const int64_t until = MonotonicNs() + 30'000'000;
  while (MonotonicNs() < until) {
  }
  rows.Sample();
  uint64_t sum = 0;
  for (size_t row = 0; row < rows.table()->size(); row++) {
    sum += rows.table()->U64(row, "task_clock_ns").value_or(0);
  }
  CHECK(rows.table()->size() == static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  CHECK(sum > 1'000'000);
}

TEST_CASE("perf source: a cgroup") {
  NEEDS_PERF_EVENTS();
  std::string mount;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, at, type, rest; mounts >> device >> at >> type;
       std::getline(mounts, rest)) {
    if (type == "cgroup2") mount = at;
  }
  const std::string name = "/warpgauge-perf-test-" + Number(getpid());
  if (mount.empty() || mkdir((mount + name).c_str(), 0755) != 0) {
    MESSAGE("perf source: skipped: no cgroup v2 folder can be made here");
    return;
  }
  {
    Child child([](Child& self) {
      self.Wait();
      Touch(250);
      self.Wait();
    });
    std::ofstream(mount + name + "/cgroup.procs") << child.pid();
    RecordedStates states;
    auto source = Make(Request({{"events", "page-faults"}, {"cgroup", name}}), states);
    auto given = Make(Request({{"events", "page-faults"}, {"cgroup", mount + name}}), states);
    SourceRecorder rows(*source);
    child.Step();
    rows.Sample();
    const uint64_t faults = rows.table()->U64(0, "page_faults").value_or(0);
    CHECK(faults >= 250);
    CHECK(faults <= (kSanitized ? 10000 : 270));
  }
  rmdir((mount + name).c_str());
  CHECK(Code({{"events", "page-faults"}, {"cgroup", name}}) == "ERR_GONE");
}

TEST_CASE("perf source: an event this machine lacks is null with its reason, the rest goes on") {
  NEEDS_PERF_EVENTS();
  if (OpenPerfEvent(MakePerfEventAttr(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES), {}).ok()) {
    MESSAGE("perf source: skipped: this machine has hardware counters");
    return;
  }
  RecordedStates states;
  auto source = Make(Request({{"events", "cycles+page-faults"}}), states);
  const TableSpec& table = source->tables()[0];
  CHECK(table.columns[1].name == "cycles");
  CHECK(table.columns[1].reason == "not_supported");
  CHECK(table.columns[2].reason.empty());
  CHECK(table.columns[2].source.starts_with("perf page-faults (type=1 config=0x2"));
  CHECK(HasState(states, "unavailable", "not_supported"));
  SourceRecorder rows(*source);
  rows.Sample();
  CHECK(rows.table()->IsNull(0, "cycles"));
  CHECK_FALSE(rows.table()->IsNull(0, "page_faults"));
  CHECK(Code({{"events", "cycles+instructions"}}) == "ERR_UNAVAILABLE");
}

TEST_CASE("perf source: a tracepoint without tracefs is a null column, alone an error") {
  NEEDS_PERF_EVENTS();
  RecordedStates states;
  SourceRequest request = Request({{"events", "sched:sched_switch+page-faults"}});
  request.root = "test/fixtures/perf/intel-tsx-4-cpus-linux-5.10";
  auto source = Make(request, states);
  CHECK(source->tables()[0].columns[1].reason == "tracefs_not_mounted");
  request.options["events"] = "sched:sched_switch";
  const Result<std::unique_ptr<Source>> alone = MakePerfSource(request, states);
  CHECK(std::string(alone.status.code()) == "ERR_UNAVAILABLE");
  CHECK(alone.status.fix() == "sudo mount -t tracefs nodev /sys/kernel/tracing");
}

TEST_CASE("perf source: bad options have their codes") {
  CHECK(Code({}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults+"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"pid", "x"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"pid", "0"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"pid", "1"}, {"tid", "1"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"cpu", "9999"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"cpu", "0"}, {"per", "thread"}}) ==
        "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"per", "node"}}) == "ERR_INVALID_ARGUMENT");
  CHECK(Code({{"events", "page-faults"}, {"cgroup", "relative"}}) == "ERR_INVALID_ARGUMENT");
  std::string fix;
  CHECK(Code({{"events", "page-falts"}}, &fix) == "ERR_UNKNOWN_EVENT");
  CHECK(fix == "events=page-faults");
  CHECK(Code({{"events", "page-faults"}, {"pid", "4194304"}}) == "ERR_GONE");
}

// Runs `check` in a process of its own, which may give up its rights; true when it returned true.
bool InChild(const std::function<bool()>& check) {
  const pid_t pid = fork();
  if (pid == 0) _exit(check() ? 0 : 1);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_CASE("perf source: without permission for the kernel it counts the user part and says so") {
  NEEDS_PERF_EVENTS();
  std::ifstream file("/proc/sys/kernel/perf_event_paranoid");
  int level = -1;
  file >> level;
  if (geteuid() != 0 || level != 2) {
    MESSAGE("perf source: skipped: needs root and kernel.perf_event_paranoid=2");
    return;
  }
  CHECK(InChild([] {
    if (syscall(SYS_setresuid, 65534, 65534, 65534) != 0) return false;
    RecordedStates states;
    const Result<std::unique_ptr<Source>> source =
        MakePerfSource(Request({{"events", "page-faults"}}), states);
    return source.ok() && HasState(states, "degraded", "no_permission") &&
           source.value->tables()[0].columns[1].source.ends_with(", user only");
  }));
  CHECK(InChild([] {
    if (syscall(SYS_setresuid, 65534, 65534, 65534) != 0) return false;
    std::string fix;
    return Code({{"events", "page-faults"}, {"system", "true"}}, &fix) == "ERR_PERMISSION" &&
           fix == "sudo sysctl kernel.perf_event_paranoid=0";
  }));
}

TEST_CASE("perf source: too few descriptors names ulimit") {
  NEEDS_PERF_EVENTS();
  CHECK(InChild([] {
    const rlimit limit{12, 12};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    std::string fix;
    const std::string code = Code({{"events",
                                    "page-faults+cs+minor-faults+major-faults+dummy+cpu-clock+"
                                    "task-clock+migrations+alignment-faults+emulation-faults"}},
                                  &fix);
    return code == "ERR_SYSCALL" && fix.starts_with("ulimit -n ");
  }));
}
