#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <vector>

#include "gpu/cupti/lane_reader.h"
#include "gpu/cupti/process_watch.h"
#include "gpu/cupti/trace_buffer.h"
#include "lane_writer.h"
#include "sanitized.h"

namespace warpgauge {
namespace {

struct TempFolder {
  TempFolder() {
    char name[] = "/tmp/warpgauge-trace-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempFolder() { (void)!std::system(("rm -rf " + path).c_str()); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::string path;
};

TraceBuffer* Make(uint64_t bytes, const std::string& dir = "") {
  TraceOptions options;
  options.bytes = bytes;
  options.kinds = 1U << WG_RECORD_MEMCPY;
  options.dir = dir;
  const Result<TraceBuffer*> made = TraceBuffer::Create(options);
  REQUIRE(made.ok());
  return made.value;
}

bool IsWhole(const wg_record& record) {
  const uint64_t number = record.of.memcpy.bytes;
  return record.correlation == static_cast<uint32_t>(number) &&
         record.of.memcpy.copies == ~number && record.start == 1'000'000'000 + number;
}

TEST_CASE("a buffer of any size is laid out within it") {
  for (const uint64_t bytes : {uint64_t{1} << 20,
                               uint64_t{3} << 20,
                               uint64_t{64} << 20,
                               uint64_t{100'000'000},
                               uint64_t{1} << 30}) {
    const TraceLayout layout = TraceLayout::For(bytes, WG_TRACE_MOST_LANES);
    CHECK(layout.bytes <= bytes);
    CHECK(layout.bytes > bytes / 3);
    CHECK(layout.lanes >= 16);
    CHECK(layout.lanes <= WG_TRACE_MOST_LANES);
    CHECK((layout.capacity & (layout.capacity - 1)) == 0);
    CHECK(layout.stride == WG_TRACE_PAGE + uint64_t{layout.capacity} * WG_RECORD_BYTES);
  }
  CHECK(TraceLayout::For(uint64_t{64} << 20, WG_TRACE_MOST_LANES).lanes == 63);
  CHECK(TraceLayout::For(uint64_t{64} << 20, WG_TRACE_MOST_LANES).capacity == 8192);
  CHECK(TraceLayout::For(uint64_t{1} << 20, 1).capacity == 4096);
}

TEST_CASE("the memory is sealed, allocated and says how it is laid out") {
  TempFolder folder;
  TraceBuffer* trace = Make(1 << 20, folder.path);
  CHECK(ftruncate(trace->fd(), 4096) == -1);
  CHECK(errno == EPERM);
  CHECK(ftruncate(trace->fd(), 1 << 24) == -1);
  struct stat about {};
  REQUIRE(fstat(trace->fd(), &about) == 0);
  CHECK(static_cast<uint64_t>(about.st_size) == trace->layout().bytes);
  CHECK(static_cast<uint64_t>(about.st_blocks) * 512 >= trace->layout().bytes);

  wg_trace_header* header = LaneWriter::Map("/proc/self/fd/" + std::to_string(trace->fd()));
  REQUIRE(header != nullptr);
  CHECK(header->magic == WG_TRACE_MAGIC);
  CHECK(header->lane_count == trace->layout().lanes);
  CHECK(header->run == WG_RUN_TRACING);
  const auto control_run = [&] {
    wg_trace_header control{};
    const int fd = open((folder.path + "/control").c_str(), O_RDONLY);
    CHECK(read(fd, &control, sizeof control) == sizeof control);
    close(fd);
    CHECK(control.magic == WG_TRACE_MAGIC);
    CHECK(control.lane_capacity == trace->layout().capacity);
    return control.run;
  };
  CHECK(control_run() == WG_RUN_TRACING);
  trace->SetPaused(true);
  CHECK(header->run == WG_RUN_PAUSED);
  CHECK(control_run() == WG_RUN_PAUSED);
  trace->SetTracing(false);
  trace->SetPaused(false);
  CHECK(control_run() == WG_RUN_PAUSED);
  trace->SetTracing(true);
  CHECK(control_run() == WG_RUN_TRACING);
  trace->End();
  trace->SetTracing(true);
  CHECK(header->run == WG_RUN_ENDED);
  CHECK(control_run() == WG_RUN_ENDED);
  munmap(header, trace->layout().bytes);
  trace->Unref();
}

TEST_CASE("what a fast writer puts into a small ring comes out whole and in order") {
  TraceBuffer* trace = Make(TraceBuffer::kLeastBytes);
  constexpr uint64_t kRecords = 300'000;
  std::thread writer([&] {
    LaneWriter lane(trace->header(), "writer");
    for (uint64_t i = 0; i < kRecords; i++) lane.Write(NumberedCopy(i));
    lane.SetState(WG_LANE_ENDED);
  });
  MemoryLaneReader reader(trace->lane(0), trace->layout().capacity);
  std::vector<wg_record> records(100);
  uint64_t next = 0;
  uint64_t wrong = 0;
  for (;;) {
    const bool ended = reader.State() == WG_LANE_ENDED;
    const size_t count = reader.Take(records.data(), records.size());
    for (size_t i = 0; i < count; i++) {
      if (!IsWhole(records[i]) || records[i].of.memcpy.bytes != next) wrong++;
      next++;
    }
    if (count == 0 && ended) break;
  }
  writer.join();
  CHECK(next == kRecords);
  CHECK(wrong == 0);
  CHECK(reader.taken() == kRecords);
  wg_lane facts{};
  REQUIRE(reader.Look(&facts));
  CHECK(facts.pid == static_cast<uint32_t>(getpid()));
  CHECK(facts.start_ticks == OwnStartTicks());
  reader.Free();
  LaneWriter again(trace->header(), "again");
  CHECK(again.lane() == trace->lane(0));
  CHECK(again.lane()->head == 0);
  again.Write(NumberedCopy(5));
  REQUIRE(reader.Take(records.data(), records.size()) == 1);
  CHECK(records[0].of.memcpy.bytes == 5);
  trace->Unref();
}

TEST_CASE("a head that cannot be breaks the lane and nothing else") {
  TraceBuffer* trace = Make(TraceBuffer::kLeastBytes);
  std::vector<wg_record> records(1000);
  for (const uint64_t head : {uint64_t{trace->layout().capacity} + 11, UINT64_MAX, uint64_t{3}}) {
    wg_lane* lane = trace->lane(1);
    lane->head = lane->tail = 0;
    MemoryLaneReader reader(lane, trace->layout().capacity);
    lane->head = 10;
    CHECK(reader.Take(records.data(), records.size()) == 10);
    lane->head = head;
    // The writer's tail is not ours: what it writes there changes nothing.
    lane->tail = 12345;
    CHECK(reader.Take(records.data(), records.size()) == 0);
    REQUIRE(reader.broken() != nullptr);
    CHECK(std::string(reader.broken()) == "torn");
    lane->head = 20;
    CHECK(reader.Take(records.data(), records.size()) == 0);
  }
  wg_lane facts{};
  trace->lane(2)->state = 77;
  std::memset(trace->lane(2)->command, 'x', sizeof facts.command);
  MemoryLaneReader odd(trace->lane(2), trace->layout().capacity);
  CHECK(odd.State() == WG_LANE_ENDED);
  REQUIRE(odd.Look(&facts));
  CHECK(std::strlen(facts.command) == sizeof facts.command - 1);
  trace->Unref();
}

TEST_CASE("a file that is overwritten gives whole records and counts the others") {
  TempFolder folder;
  const int dir = open(folder.path.c_str(), O_RDONLY | O_DIRECTORY);
  constexpr uint32_t kCapacity = 1024;
  const uint64_t total = kSanitized ? 30'000 : 100'000;
  FileLaneWriter writer(folder.path + "/lane.1.2", kCapacity, "writer");
  auto opened = FileLaneReader::Open(dir, "lane.1.2", kCapacity);
  REQUIRE(opened.ok());
  CHECK(opened.value->owner() == getuid());
  std::atomic<bool> done{false};
  std::thread thread([&] {
    for (uint64_t i = 0; i < total; i++) writer.Write(NumberedCopy(i));
    done.store(true);
  });
  std::vector<wg_record> records(512);
  uint64_t next = 0;
  uint64_t wrong = 0;
  for (;;) {
    const bool was_done = done.load();
    const size_t count = opened.value->Take(records.data(), records.size());
    for (size_t i = 0; i < count; i++) {
      const uint64_t number = records[i].of.memcpy.bytes;
      if (!IsWhole(records[i]) || number < next) wrong++;
      next = number + 1;
    }
    if (was_done && count == 0 && next == total) break;
    // Late enough for the writer to come round.
    const timespec pause{0, 200'000};
    if (!was_done) nanosleep(&pause, nullptr);
  }
  thread.join();
  CHECK(wrong == 0);
  CHECK(opened.value->taken() + opened.value->overwritten() == total);
  CHECK(opened.value->broken() == nullptr);

  REQUIRE(ftruncate(writer.fd(), WG_TRACE_PAGE + 128) == 0);
  for (uint64_t i = 0; i < 3; i++) {
    const uint64_t head = total + 100 + i;
    REQUIRE(pwrite(writer.fd(), &head, sizeof head, offsetof(wg_lane, head)) == sizeof head);
    CHECK(opened.value->Take(records.data(), records.size()) == 0);
  }
  REQUIRE(opened.value->broken() != nullptr);
  CHECK(std::string(opened.value->broken()) == "cut_short");
  close(dir);
}

TEST_CASE("what is no lane is not opened") {
  TempFolder folder;
  const int dir = open(folder.path.c_str(), O_RDONLY | O_DIRECTORY);
  const auto refused = [&](const char* name) {
    return !FileLaneReader::Open(dir, name, 1024).ok();
  };
  FileLaneWriter good(folder.path + "/good", 1024, "good");
  CHECK_FALSE(refused("good"));
  CHECK(refused("missing"));
  REQUIRE(mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
  CHECK(refused("pipe"));  // and does not wait for its other end
  REQUIRE(symlink((folder.path + "/good").c_str(), (folder.path + "/link").c_str()) == 0);
  CHECK(refused("link"));
  REQUIRE(mkdir((folder.path + "/folder").c_str(), 0700) == 0);
  CHECK(refused("folder"));
  FileLaneWriter large(folder.path + "/large", 2048, "large");
  CHECK(refused("large"));
  FileLaneWriter odd(folder.path + "/odd", 1000, "odd");
  CHECK(refused("odd"));
  FileLaneWriter cut(folder.path + "/cut", 1024, "cut");
  REQUIRE(ftruncate(cut.fd(), 8192) == 0);
  CHECK(refused("cut"));
  FileLaneWriter young(folder.path + "/young", 1024, "young");
  const uint64_t no_magic = 0;
  REQUIRE(pwrite(young.fd(), &no_magic, 8, offsetof(wg_lane, magic)) == 8);
  CHECK(refused("young"));
  close(dir);
}

TEST_CASE("a process is found by pid and start, and its end is seen") {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  char text[4096];
  const std::string path = "/proc/" + std::to_string(child) + "/stat";
  const int fd = open(path.c_str(), O_RDONLY);
  const ssize_t got = read(fd, text, sizeof text);
  close(fd);
  const uint64_t ticks = StartTicksOf({text, static_cast<size_t>(got)});
  CHECK(ticks != 0);
  ProcessWatch watch;
  watch.Find(static_cast<uint32_t>(child), ticks, OwnPidNamespace());
  CHECK(watch.pid() == static_cast<uint32_t>(child));
  CHECK_FALSE(watch.HasEnded());
  ProcessWatch other;
  other.Find(static_cast<uint32_t>(child), ticks + 1, 0);  // an earlier process of that pid
  CHECK(other.HasEnded());
  ProcessWatch unknown;
  unknown.Find(static_cast<uint32_t>(child), ticks, 0);
  CHECK(unknown.pid() == static_cast<uint32_t>(child));
  ProcessWatch elsewhere;  // the same numbers in another pid namespace
  elsewhere.Find(static_cast<uint32_t>(child), ticks, OwnPidNamespace() + 1);
  CHECK(elsewhere.HasEnded());
  kill(child, SIGKILL);
  for (int i = 0; i < 2000 && !watch.HasEnded(); i++) usleep(1000);
  CHECK(watch.HasEnded());  // a zombie has ended too
  waitpid(child, nullptr, 0);
  ProcessWatch late;
  late.Find(static_cast<uint32_t>(child), ticks, OwnPidNamespace());
  CHECK(late.HasEnded());
  CHECK(late.pid() == static_cast<uint32_t>(child));

  CHECK(StartTicksOf("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 0") == 4242);
  CHECK(StartTicksOf("7 (a) S 1 2 3") == 0);
  CHECK(StartTicksOf("") == 0);
  CHECK(InnermostPidOf("Name:\tx\nNSpid:\t4711\t12\t3\nVmPeak: 5") == 3);
  CHECK(InnermostPidOf("Name:\tx\n") == 0);
}

}  // namespace
}  // namespace warpgauge
