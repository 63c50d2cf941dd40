#include <doctest/doctest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gpu/cupti/trace_source.h"
#include "lane_writer.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;

// A source over a trace, with processes that write into it.
class Traced {
 public:
  explicit Traced(uint64_t bytes = TraceBuffer::kLeastBytes, bool with_folder = false) {
    TraceOptions options;
    options.bytes = bytes;
    options.kinds = 1U << WG_RECORD_MEMCPY | 1U << WG_RECORD_KERNEL;
    if (with_folder) {
      char name[] = "/tmp/warpgauge-trace-test-XXXXXX";
      folder_ = options.dir = mkdtemp(name);
    }
    const Result<TraceBuffer*> made = TraceBuffer::Create(options);
    REQUIRE(made.ok());
    trace_ = made.value;
    path_ = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(trace_->fd());
    trace_->Ref();
    SourceRequest request;
    request.name = request.instance = "cuda";
    request.interval_ns = 1 * kMs;
    source_ = MakeTraceSource(trace_, request, true, states_);
    recorder_ = std::make_unique<SourceRecorder>(*source_, 4096);
  }
  ~Traced() {
    source_.reset();
    trace_->Unref();
    if (!folder_.empty()) (void)!std::system(("rm -rf " + folder_).c_str());
  }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;

  void Start(int64_t for_ns = 0) {
    const int64_t now = MonotonicNs();
    REQUIRE(source_->Start(recorder_->writers(), now, for_ns == 0 ? 0 : now + for_ns).ok());
  }
  // After it the tables and states may be read.
  void Stop() { source_->Stop(); }
  TraceBuffer& trace() { return *trace_; }
  Source& source() { return *source_; }
  RowRecorder& copies() { return *recorder_->table("memcpy"); }
  RowRecorder& processes() { return *recorder_->table("process"); }
  const std::string& folder() { return folder_; }

  // Runs `act` in a child that maps the memory as an injected library does, and leaves by _exit.
  pid_t Child(const std::function<void(wg_trace_header*)>& act) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    wg_trace_header* header = LaneWriter::Map(path_);
    if (header == nullptr) _exit(1);
    act(header);
    _exit(0);
  }
  // How often the states said this.
  int Told(const std::string& state, const std::string& reason, const std::string& key = "") {
    int told = 0;
    for (const StateChange& change : states_.changes()) {
      const bool is_key = key.empty() || change.key == key;
      if (change.state == state && change.reason == reason && is_key) told++;
    }
    return told;
  }
  [[nodiscard]] std::vector<StateChange> states() const { return states_.changes(); }
  [[nodiscard]] uint32_t LanesInUse() const {
    uint32_t in_use = 0;
    for (uint32_t i = 0; i < trace_->layout().lanes; i++) {
      if (__atomic_load_n(&trace_->lane(i)->state, __ATOMIC_ACQUIRE) != WG_LANE_FREE) in_use++;
    }
    return in_use;
  }
  uint64_t BytesOf(uint32_t pid) {
    uint64_t bytes = 0;
    for (size_t row = 0; row < copies().size(); row++) {
      if (copies().U32(row, "pid") == pid) bytes += copies().U64(row, "bytes").value_or(0);
    }
    return bytes;
  }
  // The last row of a process.
  std::optional<size_t> LastOf(uint32_t pid) {
    std::optional<size_t> last;
    for (size_t row = 0; row < processes().size(); row++) {
      if (processes().U32(row, "pid") == pid) last = row;
    }
    return last;
  }

 private:
  std::string folder_;
  std::string path_;
  TraceBuffer* trace_ = nullptr;
  RecordedStates states_;
  std::unique_ptr<Source> source_;
  std::unique_ptr<SourceRecorder> recorder_;
};

// The word is written by the reader's thread too.
uint32_t RunWord(Traced& traced) {
  return __atomic_load_n(&traced.trace().header()->run, __ATOMIC_ACQUIRE);
}

template <typename Condition>
bool Until(Condition&& condition) {
  for (int i = 0; i < 5000; i++) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

int WaitFor(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

void WriteCopies(LaneWriter& lane, uint64_t from, uint64_t count) {
  const uint64_t now = static_cast<uint64_t>(RealtimeNs());
  for (uint64_t i = from; i < from + count; i++) lane.Write(NumberedCopy(i, now + i));
}

TEST_CASE("two processes at once: every record of each, on our clock") {
  Traced traced;
  traced.Start();
  const int64_t begin = MonotonicNs();
  constexpr uint64_t kEach = 5000;
  const auto work = [](wg_trace_header* header) {
    LaneWriter lane(header, "python3 serve.py");
    lane.Write(ClockNow());
    lane.Write(DeviceIs(0, 0x40));
    WriteCopies(lane, 1, kEach);
    lane.SetState(WG_LANE_ENDED);
  };
  const pid_t first = traced.Child(work);
  const pid_t second = traced.Child(work);
  CHECK(WaitFor(first) == 0);
  CHECK(WaitFor(second) == 0);
  traced.Stop();
  REQUIRE(traced.copies().size() == 2 * kEach);
  for (const pid_t pid : {first, second}) {
    const auto number = static_cast<uint32_t>(pid);
    CHECK(traced.BytesOf(number) == kEach * (kEach + 1) / 2);
    const std::optional<size_t> row = traced.LastOf(number);
    REQUIRE(row.has_value());
    CHECK(traced.processes().Text(*row, "state") == "ended");
    CHECK(traced.processes().Text(*row, "command") == "python3 serve.py");
    CHECK(traced.processes().U64(*row, "records") == kEach);
    CHECK(traced.processes().U64(*row, "rejected") == 0);
    CHECK(traced.processes().U32(*row, "parent_pid") == static_cast<uint32_t>(getpid()));
  }
  CHECK(traced.copies().Text(0, "gpu") == "GPU-40414243-4445-4647-4849-4a4b4c4d4e4f");
  CHECK(*traced.copies().Time(0) >= begin);
  CHECK(*traced.copies().Time(0) <= MonotonicNs());
  CHECK(traced.states().empty());
  CHECK(RunWord(traced) == WG_RUN_ENDED);
  const std::vector<Source::Ticks> ticks = traced.source().ticks();
  CHECK(ticks.front().ticks > 0);
  CHECK(ticks.back().ticks >= 1);
}

TEST_CASE("a killed process loses nothing that it had written, and its lane serves the next one") {
  Traced traced;
  traced.Start();
  const uint32_t lanes = traced.trace().layout().lanes;
  std::vector<uint32_t> pids;
  for (uint32_t i = 0; i < lanes + 3; i++) {
    const pid_t pid = traced.Child([](wg_trace_header* header) {
      LaneWriter lane(header, "worker");
      if (!lane.ok()) _exit(3);
      lane.Write(ClockNow());
      WriteCopies(lane, 1, 10);
      kill(getpid(), SIGKILL);
    });
    const int status = WaitFor(pid);
    REQUIRE(WIFSIGNALED(status));
    pids.push_back(static_cast<uint32_t>(pid));
    // Some are looked for when they are long dead, some at once.
    if (i % 8 == 0) {
      REQUIRE(Until([&] { return traced.LanesInUse() == 0; }));
    }
  }
  traced.Stop();
  CHECK(traced.copies().size() == (lanes + 3) * 10);
  for (const uint32_t pid : pids) {
    CHECK(traced.BytesOf(pid) == 55);
    const std::optional<size_t> row = traced.LastOf(pid);
    REQUIRE(row.has_value());
    CHECK(traced.processes().Text(*row, "state") == "gone");
    CHECK(traced.Told("gone", "not_flushed", std::to_string(pid) + " worker") == 1);
  }
  CHECK(traced.trace().header()->left_out == 0);
}

TEST_CASE("more processes at once than lanes: the others are counted and named") {
  Traced traced;
  traced.Start();
  const uint32_t lanes = traced.trace().layout().lanes;
  std::vector<pid_t> pids;
  int go[2];
  REQUIRE(pipe(go) == 0);
  constexpr uint32_t kProcesses = 65;
  for (uint32_t i = 0; i < kProcesses; i++) {
    pids.push_back(traced.Child([&](wg_trace_header* header) {
      close(go[1]);
      LaneWriter lane(header, "rank");
      if (lane.ok()) {
        lane.Write(ClockNow());
        WriteCopies(lane, 7, 1);
      }
      char byte = 0;
      (void)!read(go[0], &byte, 1);  // until all have come
      if (lane.ok()) lane.SetState(WG_LANE_ENDED);
    }));
  }
  CHECK(Until([&] {
    return __atomic_load_n(&traced.trace().header()->left_out, __ATOMIC_ACQUIRE) +
                   traced.source().ticks().size() !=
               0 &&
           __atomic_load_n(&traced.trace().header()->left_out, __ATOMIC_ACQUIRE) ==
               kProcesses - lanes;
  }));
  close(go[1]);
  for (const pid_t pid : pids) WaitFor(pid);
  close(go[0]);
  traced.Stop();
  CHECK(traced.copies().size() == lanes);
  const uint32_t left_out = kProcesses - lanes;
  REQUIRE(left_out > WG_TRACE_NAMED_LEFT_OUT);
  int named = 0;
  int64_t counted = 0;
  for (const StateChange& change : traced.states()) {
    if (change.reason != "no_free_lane") continue;
    if (change.key.empty()) {
      counted = change.code;
    } else {
      CHECK(change.key.find(" rank") != std::string::npos);
      named++;
    }
  }
  CHECK(named == WG_TRACE_NAMED_LEFT_OUT);
  CHECK(counted == left_out - WG_TRACE_NAMED_LEFT_OUT);
}

TEST_CASE("a process that is killed while it says that there was no lane hides no other") {
  Traced traced;
  wg_trace_header* const header = traced.trace().header();
  for (uint32_t i = 1; i < 3; i++) {
    std::strcpy(header->left_out_names[i].command, "rank");
    header->left_out_names[i].pid = 4'000'000 + i;
  }
  header->left_out = 3;
  traced.Start();
  CHECK(Until([&] { return traced.Told("unavailable", "no_free_lane") == 2; }));
  CHECK(traced.Told("unavailable", "no_free_lane", "4000001 rank") == 1);
  CHECK(traced.Told("unavailable", "no_free_lane", "4000002 rank") == 1);
  traced.Stop();
  REQUIRE(traced.states().size() == 3);
  CHECK(traced.states()[2].key.empty());
  CHECK(traced.states()[2].code == 1);
}

TEST_CASE(
    "a process that is killed while it takes a lane is named, and the lane serves the next one") {
  Traced traced;
  traced.Start();
  const pid_t killed = traced.Child([](wg_trace_header*) { kill(getpid(), SIGKILL); });
  WaitFor(killed);
  const auto pid = static_cast<uint32_t>(killed);
  const std::string key = std::to_string(pid);
  wg_lane* const lane = traced.trace().lane(0);
  __atomic_store_n(&lane->claim, wg_lane_claim(WG_LANE_CLAIMED, pid), __ATOMIC_RELEASE);
  CHECK(Until([&] { return traced.Told("unavailable", "not_attached", key) == 1; }));
  CHECK(traced.LanesInUse() == 0);
  // One that was killed just before the end.
  __atomic_store_n(&lane->claim, wg_lane_claim(WG_LANE_CLAIMED, pid), __ATOMIC_RELEASE);
  traced.Stop();
  CHECK(traced.Told("unavailable", "not_attached", key) == 2);
}

TEST_CASE("a program that execs another one: the lane of the first is drained and freed") {
  Traced traced;
  traced.Start();
  const pid_t pid = traced.Child([](wg_trace_header* header) {
    LaneWriter before(header, "sh -c python3");
    before.Write(ClockNow());
    WriteCopies(before, 1, 3);
    LaneWriter after(header, "python3");
    after.Write(ClockNow());
    WriteCopies(after, 4, 3);
    // The first lane is free while we are alive still.
    for (int i = 0; i < 5000; i++) {
      if (__atomic_load_n(&before.lane()->state, __ATOMIC_ACQUIRE) == WG_LANE_FREE) break;
      usleep(1000);
    }
    WriteCopies(after, 7, 3);
    after.SetState(WG_LANE_ENDED);
    if (__atomic_load_n(&before.lane()->state, __ATOMIC_ACQUIRE) != WG_LANE_FREE) _exit(9);
  });
  CHECK(WaitFor(pid) == 0);
  traced.Stop();
  CHECK(traced.BytesOf(static_cast<uint32_t>(pid)) == 45);
  CHECK(traced.Told("gone", "not_flushed") == 1);
}

TEST_CASE("two processes with one pid and one start, in pid namespaces of their own, are two") {
  Traced traced;
  traced.Start();
  int go[2];
  int end[2];
  int told[2];
  for (int* ends : {go, end, told}) REQUIRE(pipe(ends) == 0);
  const auto work = [&](wg_trace_header* header) {
    char byte = 0;
    if (read(go[0], &byte, 1) != 1) _exit(1);
    LaneWriter lane(header, "rank");
    lane.Write(ClockNow());
    WriteCopies(lane, 7, 1);
    (void)!read(end[0], &byte, 1);  // until it is closed
    WriteCopies(lane, 9, 1);
    lane.SetState(WG_LANE_ENDED);
    _exit(getpid() == 1 ? 0 : 1);
  };
  const pid_t both = traced.Child([&](wg_trace_header* header) {
    close(end[1]);
    pid_t pids[2] = {};
    for (bool is_equal = false; !is_equal;) {
      uint64_t starts[2] = {};
      for (int i = 0; i < 2; i++) {
        pids[i] = static_cast<pid_t>(
            syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, nullptr, nullptr, nullptr, 0));
        if (pids[i] < 0) _exit(77);
        if (pids[i] == 0) work(header);
        starts[i] = StartTicks("/proc/" + std::to_string(pids[i]) + "/stat");
      }
      is_equal = starts[0] == starts[1];
      for (int i = 0; i < 2 && !is_equal; i++) {
        kill(pids[i], SIGKILL);
        WaitFor(pids[i]);
      }
    }
    if (write(told[1], pids, sizeof pids) != sizeof pids || write(go[1], "go", 2) != 2) _exit(1);
    const int status = WaitFor(pids[0]) | WaitFor(pids[1]);
    _exit(status == 0 ? 0 : 1);
  });
  close(told[1]);
  pid_t pids[2] = {};
  if (read(told[0], pids, sizeof pids) != sizeof pids) {
    std::printf("pid namespaces: skipped: they need root\n");
    CHECK(WEXITSTATUS(WaitFor(both)) == 77);
    return;
  }
  const auto are_read = [&] {
    for (uint32_t i = 0; i < 2; i++) {
      const wg_lane& lane = *traced.trace().lane(i);
      if (__atomic_load_n(&lane.tail, __ATOMIC_ACQUIRE) != 2) return false;
    }
    return true;
  };
  CHECK(Until(are_read));
  // Some of the looks that find out who has ended.
  const uint64_t looks = traced.source().ticks().front().ticks;
  CHECK(Until([&] { return traced.source().ticks().front().ticks > looks + 60; }));
  CHECK(traced.LanesInUse() == 2);
  CHECK(traced.states().empty());
  close(end[1]);
  CHECK(WaitFor(both) == 0);
  traced.Stop();
  for (const pid_t pid : pids) CHECK(traced.BytesOf(static_cast<uint32_t>(pid)) == 16);
  CHECK(traced.states().empty());
  for (const int fd : {go[0], go[1], end[0], told[0]}) close(fd);
}

TEST_CASE("a writer faster than the reader waits, and nothing is lost") {
  Traced traced;
  traced.Start();
  constexpr uint64_t kRecords = 60'000;
  const pid_t pid = traced.Child([](wg_trace_header* header) {
    LaneWriter lane(header, "flood");
    lane.Write(ClockNow());
    WriteCopies(lane, 0, kRecords);
    lane.SetState(WG_LANE_ENDED);
  });
  CHECK(WaitFor(pid) == 0);
  traced.Stop();
  CHECK(traced.copies().size() == kRecords);
  CHECK(traced.copies().lost_rows() == 0);
  CHECK(traced.BytesOf(static_cast<uint32_t>(pid)) == kRecords * (kRecords - 1) / 2);
  CHECK(traced.processes().U64(*traced.LastOf(static_cast<uint32_t>(pid)), "waits") > 0);
}

TEST_CASE(
    "what a process says of itself and of its losses is told once, and its end with numbers") {
  Traced traced;
  traced.Start();
  const pid_t refused = traced.Child([](wg_trace_header* header) {
    LaneWriter lane(header, "train");
    lane.lane()->code = 39;
    std::snprintf(lane.lane()->detail, sizeof lane.lane()->detail, "kineto came first");
    lane.lane()->reason = WG_REASON_BUSY;
    lane.SetState(WG_LANE_REFUSED);
    usleep(60'000);
  });
  int go[2];
  REQUIRE(pipe(go) == 0);
  const pid_t lossy = traced.Child([&](wg_trace_header* header) {
    close(go[1]);
    LaneWriter lane(header, "infer");
    lane.Write(ClockNow());
    lane.lane()->dropped = 3;
    char byte = 0;
    (void)!read(go[0], &byte, 1);  // until that was told
    lane.lane()->dropped = 30;
    lane.lane()->without_time = 1;
    lane.Write(ClockPair(-5, 1));
    lane.SetState(WG_LANE_ENDED);
  });
  CHECK(Until([&] { return traced.Told("degraded", "lost") == 1; }));
  close(go[1]);
  WaitFor(refused);
  WaitFor(lossy);
  close(go[0]);
  traced.Stop();
  const std::string busy = std::to_string(refused) + " train";
  CHECK(traced.Told("unavailable", "busy", busy) == 1);
  CHECK(traced.Told("gone", "not_flushed") == 0);
  const size_t row = *traced.LastOf(static_cast<uint32_t>(refused));
  CHECK(traced.processes().Text(row, "state") == "refused");
  CHECK(traced.processes().Text(row, "reason") == "busy");
  CHECK(traced.processes().I32(row, "code") == 39);
  CHECK(traced.processes().Text(row, "detail") == "kineto came first");
  std::vector<int64_t> dropped;
  for (const StateChange& change : traced.states()) {
    if (change.field == "dropped") dropped.push_back(change.code);
  }
  CHECK(dropped == std::vector<int64_t>{3, 30});
  const size_t last = *traced.LastOf(static_cast<uint32_t>(lossy));
  CHECK(traced.processes().U64(last, "dropped") == 30);
  CHECK(traced.processes().U64(last, "without_time") == 1);
  CHECK(traced.processes().U64(last, "rejected") == 1);
  CHECK(traced.processes().IsNull(last, "reason"));
}

TEST_CASE("a process that breaks the rules loses its lane until it ends, and others go on") {
  Traced traced;
  traced.Start();
  const pid_t bad = traced.Child([](wg_trace_header* header) {
    LaneWriter lane(header, "hostile");
    lane.Write(ClockNow());
    usleep(20'000);
    __atomic_store_n(&lane.lane()->head, uint64_t{1} << 60, __ATOMIC_RELEASE);
    lane.SetState(WG_LANE_ENDED);
    usleep(100'000);
    if (__atomic_load_n(&lane.lane()->state, __ATOMIC_ACQUIRE) == WG_LANE_FREE) _exit(9);
    // The header is the reader's: what stands there is not read back.
    header->lane_count = 1;
    header->lane_stride = 1;
    header->lane_capacity = 1U << 31;
  });
  CHECK(WaitFor(bad) == 0);
  const pid_t good = traced.Child([](wg_trace_header* header) {
    header->lane_count = 2;
    header->lane_capacity = 256;
    header->lane_stride = WG_TRACE_PAGE + 256 * 128;
    LaneWriter lane(header, "good");
    lane.Write(ClockNow());
    WriteCopies(lane, 1, 3);
    lane.SetState(WG_LANE_ENDED);
  });
  WaitFor(good);
  traced.Stop();
  CHECK(traced.Told("lost", "torn", std::to_string(bad) + " hostile") == 1);
  CHECK(traced.BytesOf(static_cast<uint32_t>(good)) == 6);
}

TEST_CASE("a process that writes on after its end can not hold up the end of the trace") {
  Traced traced(16 << 20);
  traced.Start();
  const pid_t hostile = traced.Child([](wg_trace_header* header) {
    LaneWriter lane(header, "hostile");
    lane.Write(ClockNow());
    while (lane.TryWrite(NumberedCopy(1, static_cast<uint64_t>(RealtimeNs())))) {
    }
    // Its ring is full for ever, and for as long as the trace goes on.
    const uint64_t capacity = header->lane_capacity;
    for (const int64_t begin = MonotonicNs(); MonotonicNs() - begin < 5000 * kMs;) {
      for (int i = 0; i < 1000; i++) {
        const uint64_t tail = __atomic_load_n(&lane.lane()->tail, __ATOMIC_ACQUIRE);
        __atomic_store_n(&lane.lane()->head, tail + capacity, __ATOMIC_RELEASE);
        lane.SetState(WG_LANE_ENDED);
      }
    }
  });
  CHECK(Until([&] { return traced.Told("lost", "torn") > 0; }));
  const int64_t begin = MonotonicNs();
  traced.Stop();
  CHECK(MonotonicNs() - begin < 2000 * kMs);
  kill(hostile, SIGKILL);
  WaitFor(hostile);
}

TEST_CASE("lane files are found, read, removed when their process is over; others are named") {
  Traced traced(TraceBuffer::kLeastBytes, true);
  traced.Start();
  const std::string folder = traced.folder();
  const uint32_t capacity = traced.trace().layout().capacity;
  const auto file_of = [&] {
    return folder + "/lane." + std::to_string(getpid()) + "." + std::to_string(OwnStartTicks());
  };
  const pid_t other = traced.Child([&](wg_trace_header* /*header*/) {
    FileLaneWriter lane(file_of(), capacity, "nobody");
    lane.Write(ClockNow());
    const auto now = static_cast<uint64_t>(RealtimeNs());
    for (uint64_t i = 1; i <= 100; i++) lane.Write(NumberedCopy(i, now + i));
    lane.SetState(WG_LANE_ENDED);
  });
  const pid_t cutting = traced.Child([&](wg_trace_header* /*header*/) {
    FileLaneWriter lane(file_of(), capacity, "cutting");
    lane.Write(ClockNow());
    usleep(250'000);
    (void)!ftruncate(lane.fd(), 100);
    usleep(100'000);
  });
  close(open((folder + "/untraceable.4242424.ENOSPC").c_str(), O_CREAT | O_WRONLY, 0644));
  close(open((folder + "/untraceable.x\ny").c_str(), O_CREAT | O_WRONLY, 0644));
  close(open((folder + "/lane.1.1").c_str(), O_CREAT | O_WRONLY, 0644));  // never complete
  WaitFor(other);
  WaitFor(cutting);
  traced.Stop();
  CHECK(traced.BytesOf(static_cast<uint32_t>(other)) == 5050);
  CHECK(traced.processes().Text(*traced.LastOf(static_cast<uint32_t>(other)), "state") == "ended");
  CHECK(traced.Told("lost", "cut_short", std::to_string(cutting) + " cutting") == 1);
  CHECK(traced.Told("unavailable", "untraceable_ENOSPC", "4242424") == 1);
  CHECK(access((folder + "/lane." + std::to_string(other)).c_str(), F_OK) != 0);
  int lanes = 0;
  FILE* list = popen(("ls " + folder).c_str(), "r");
  char line[256];
  while (fgets(line, sizeof line, list) != nullptr) lanes += std::strncmp(line, "lane.", 5) == 0;
  pclose(list);
  CHECK(lanes == 1);  // the one that was none
}

TEST_CASE(
    "more files than places: the others are counted and named, and read when their turn comes") {
  Traced traced(TraceBuffer::kLeastBytes, true);
  const uint32_t capacity = traced.trace().layout().capacity;
  constexpr uint32_t kProcesses = WG_TRACE_MOST_LANES + WG_TRACE_NAMED_LEFT_OUT + 2;
  int go[2];
  REQUIRE(pipe(go) == 0);
  std::vector<pid_t> pids;
  for (uint32_t i = 0; i < kProcesses; i++) {
    pids.push_back(traced.Child([&](wg_trace_header* /*header*/) {
      close(go[1]);
      const std::string name = std::to_string(getpid()) + "." + std::to_string(OwnStartTicks());
      FileLaneWriter lane(traced.folder() + "/lane." + name, capacity, "rank");
      lane.Write(ClockNow());
      lane.Write(NumberedCopy(7, static_cast<uint64_t>(RealtimeNs())));
      char byte = 0;
      (void)!read(go[0], &byte, 1);  // until all have come
      lane.SetState(WG_LANE_ENDED);
    }));
  }
  traced.Start();
  CHECK(Until(
      [&] { return traced.Told("unavailable", "no_free_lane") == WG_TRACE_NAMED_LEFT_OUT + 1; }));
  close(go[1]);
  for (const pid_t pid : pids) WaitFor(pid);
  close(go[0]);
  traced.Stop();
  int named = 0;
  for (const StateChange& change : traced.states()) {
    if (change.reason != "no_free_lane") continue;
    if (change.key.empty()) {
      CHECK(change.code >= 1);
      CHECK(change.code <= 2);
    } else {
      CHECK(change.key.find(" rank") != std::string::npos);
      CHECK(traced.Told("ok", "", change.key) == 1);
      named++;
    }
  }
  CHECK(named == WG_TRACE_NAMED_LEFT_OUT);
  CHECK(traced.copies().size() == kProcesses);
}

TEST_CASE("files that never had their turn are counted at the end") {
  Traced traced(TraceBuffer::kLeastBytes, true);
  const uint32_t capacity = traced.trace().layout().capacity;
  constexpr uint32_t kUnnamed = 3;
  constexpr uint32_t kProcesses = WG_TRACE_MOST_LANES + WG_TRACE_NAMED_LEFT_OUT + kUnnamed;
  // Of processes that nobody can find, so that none is over.
  std::vector<std::unique_ptr<FileLaneWriter>> files;
  for (uint32_t i = 0; i < kProcesses; i++) {
    const std::string name = "/lane.1." + std::to_string(i);
    files.push_back(std::make_unique<FileLaneWriter>(traced.folder() + name, capacity, "rank"));
    const uint64_t start_ticks = 0;
    const uint32_t pid = 4'000'000 + i;
    REQUIRE(pwrite(files[i]->fd(), &start_ticks, 8, offsetof(wg_lane, start_ticks)) == 8);
    REQUIRE(pwrite(files[i]->fd(), &pid, 4, offsetof(wg_lane, pid)) == 4);
  }
  traced.Start();
  CHECK(Until(
      [&] { return traced.Told("unavailable", "no_free_lane") == WG_TRACE_NAMED_LEFT_OUT + 1; }));
  traced.Stop();
  int64_t counted = 0;
  for (const StateChange& change : traced.states()) {
    if (change.reason == "no_free_lane" && change.key.empty()) counted = change.code;
  }
  CHECK(counted == kUnnamed);
}

TEST_CASE("what begins at or after the end is no row; a pause is told to the processes") {
  Traced traced;
  traced.Start(150 * kMs);
  const auto end = static_cast<uint64_t>(RealtimeNs() + 150 * kMs);
  LaneWriter lane(traced.trace().header(), "self");
  lane.Write(ClockNow());
  lane.Write(NumberedCopy(1, end - 10 * kMs));
  lane.Write(NumberedCopy(2, end + 10 * kMs));
  traced.source().SetPaused(true);
  CHECK(RunWord(traced) == WG_RUN_PAUSED);
  traced.source().SetPaused(false);
  CHECK(RunWord(traced) == WG_RUN_TRACING);
  lane.SetState(WG_LANE_ENDED);
  CHECK(Until([&] { return RunWord(traced) == WG_RUN_ENDED; }));
  traced.Stop();
  REQUIRE(traced.copies().size() == 1);
  CHECK(traced.copies().U64(0, "bytes") == 1);
}

TEST_CASE("stopping waits for a living process no longer than it takes to flush") {
  Traced traced;
  traced.Start();
  LaneWriter lane(traced.trace().header(), "alive");
  lane.Write(ClockNow());
  std::thread writer([&] {
    // As the library does: asked to pause it flushes once more.
    while (__atomic_load_n(&traced.trace().header()->run, __ATOMIC_ACQUIRE) == WG_RUN_TRACING) {
      usleep(1000);
    }
    WriteCopies(lane, 1, 4);
    __atomic_fetch_add(&lane.lane()->flushes, 1, __ATOMIC_RELEASE);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const int64_t begin = MonotonicNs();
  traced.Stop();
  CHECK(MonotonicNs() - begin < 200 * kMs);
  writer.join();
  CHECK(traced.copies().size() == 4);
  const std::optional<size_t> row = traced.LastOf(static_cast<uint32_t>(getpid()));
  REQUIRE(row.has_value());
  CHECK(traced.processes().Text(*row, "state") == "tracing");
}

}  // namespace
}  // namespace warpgauge
