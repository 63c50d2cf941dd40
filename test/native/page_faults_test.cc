#include <linux/perf_event.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/clock.h"
#include "core/region_registry.h"
#include "faulting_child.h"
#include "memory/region.h"
#include "memory_support.h"
#include "os/fault_ring_record.h"
#include "os/maps_snapshot.h"
#include "os/page_faults_events.h"
#include "os/page_faults_source.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
using warpgauge_test::FaultingChild;

using Options = std::map<std::string, std::string>;

SourceRequest Request(const Options& options) {
  SourceRequest request;
  request.name = "page-faults";
  request.instance = "page-faults";
  request.interval_ns = 10'000'000;
  request.options = options;
  return request;
}

// An open source on one target with what it reported; `why` where the machine forbids it.
struct Watch {
  RecordedStates states;
  std::unique_ptr<Source> source;
  std::unique_ptr<SourceRecorder> recorder;
  std::string code;

  explicit Watch(const Options& options, bool may_query = true) {
    auto opened = PageFaultsSource::Open(Request(options), states);
    code = opened.status.code();
    if (!opened.ok()) return;
    source = std::move(opened.value);
    static_cast<PageFaultsSource&>(*source).set_may_query(may_query);
    recorder = std::make_unique<SourceRecorder>(*source, 4096);
    recorder->Sample();
  }
  // Takes the rows since the last look, and only those. Whole readings of the maps may take a part
  // of the time only: it waits until one is allowed, however long the last one took.
  void Look() {
    static_cast<void>(rows().size());
    rows().Clear();
    const int64_t next_ns = static_cast<PageFaultsSource&>(*source).next_read_ns();
    while (MonotonicNs() <= next_ns) usleep(1000);
    recorder->Sample();
  }
  RowRecorder& rows() { return *recorder->table(""); }
  // Rows with an address in [start, start + bytes).
  std::vector<size_t> In(uint64_t start, uint64_t bytes) {
    std::vector<size_t> found;
    for (size_t row = 0; row < rows().size(); row++) {
      const uint64_t address = rows().U64(row, "address").value();
      if (address >= start && address < start + bytes) found.push_back(row);
    }
    return found;
  }
};

bool MaySample() {
  Watch watch({{"pid", std::to_string(getpid())}});
  if (watch.code.empty()) return true;
  std::cout << "page_faults_test: skipped: " << watch.code << " from perf_event_open\n";
  return false;
}

// A ring as the kernel writes it.
class Ring {
 public:
  explicit Ring(size_t bytes, uint64_t start) : bytes_(bytes), head_(start), tail_(start) {}

  void Put(uint32_t type, uint16_t misc, const std::string& body) {
    perf_event_header header{};
    header.type = type;
    header.misc = misc;
    header.size = static_cast<uint16_t>(sizeof(header) + body.size());
    Append(&header, sizeof(header));
    Append(body.data(), body.size());
  }
  void Append(const void* data, size_t size) {
    for (size_t i = 0; i < size; i++) {
      bytes_[head_++ & (bytes_.size() - 1)] = static_cast<const uint8_t*>(data)[i];
    }
  }
  RingRead Read(RingRecord* record) {
    const RingRead read =
        ReadRingRecord(bytes_.data(), bytes_.size(), tail_, head_, scratch_.data(), record);
    if (read == RingRead::kRecord) tail_ += record->bytes;
    return read;
  }

 private:
  std::vector<uint8_t> bytes_;
  std::vector<uint8_t> scratch_ = std::vector<uint8_t>(kRingScratchBytes);
  uint64_t head_;
  uint64_t tail_;
};

template <typename... Values>
std::string Pack(Values... values) {
  std::string packed;
  (packed.append(reinterpret_cast<const char*>(&values), sizeof(values)), ...);
  return packed;
}

std::string Sample(uint64_t id, uint64_t address, uint64_t time) {
  return Pack(id, uint64_t{0x1234}, 7U, 8U, time, address, 3U, 0U);
}
std::string Trailer(uint64_t time) { return Pack(7U, 8U, time, 3U, 0U, uint64_t{99}); }

}  // namespace

TEST_CASE("ring: records are decoded at every place of the ring, also across its end") {
  for (uint64_t start = 0; start < 512; start += 8) {
    Ring ring(512, start);
    ring.Put(PERF_RECORD_SAMPLE, 0, Sample(42, 0xdeadb000, 1000));
    ring.Put(PERF_RECORD_MMAP2,
             0,
             Pack(7U,
                  8U,
                  uint64_t{0x5000},
                  uint64_t{0x2000},
                  uint64_t{0},
                  8U,
                  1U,
                  uint64_t{77},
                  uint64_t{1},
                  3U,
                  2U) +
                 std::string("/a b\0\0\0\0", 8) + Trailer(2000));
    ring.Put(PERF_RECORD_LOST, 0, Pack(uint64_t{1}, uint64_t{55}) + Trailer(3000));
    RingRecord record;
    REQUIRE(ring.Read(&record) == RingRead::kRecord);
    CHECK(record.type == RingRecordType::kFault);
    CHECK(record.id == 42);
    CHECK(record.ip == 0x1234);
    CHECK(record.pid == 7);
    CHECK(record.tid == 8);
    CHECK(record.cpu == 3);
    CHECK(record.time_ns == 1000);
    CHECK(record.address == 0xdeadb000);
    REQUIRE(ring.Read(&record) == RingRead::kRecord);
    CHECK(record.type == RingRecordType::kMmap);
    CHECK(record.start == 0x5000);
    CHECK(record.end == 0x7000);
    CHECK(record.inode == 77);
    CHECK(record.device_major == 8);
    CHECK(record.device_minor == 1);
    CHECK(record.name == "/a b");
    CHECK(record.time_ns == 2000);
    REQUIRE(ring.Read(&record) == RingRead::kRecord);
    CHECK(record.type == RingRecordType::kLost);
    CHECK(record.lost == 55);
    CHECK(record.time_ns == 3000);
    CHECK(ring.Read(&record) == RingRead::kEmpty);
  }
}

TEST_CASE("ring: exec, fork and exit; records of other kinds are passed over") {
  Ring ring(4096, 0);
  ring.Put(PERF_RECORD_COMM,
           PERF_RECORD_MISC_COMM_EXEC,
           Pack(7U, 8U) + std::string("ls\0\0\0\0\0\0", 8) + Trailer(1));
  ring.Put(PERF_RECORD_FORK, 0, Pack(9U, 7U, 9U, 8U, uint64_t{5}) + Trailer(2));
  ring.Put(PERF_RECORD_EXIT, 0, Pack(9U, 7U, 9U, 8U, uint64_t{5}) + Trailer(3));
  ring.Put(PERF_RECORD_THROTTLE, 0, Pack(uint64_t{1}, uint64_t{2}, uint64_t{3}) + Trailer(4));
  RingRecord record;
  REQUIRE(ring.Read(&record) == RingRead::kRecord);
  CHECK(record.type == RingRecordType::kComm);
  CHECK(record.is_exec);
  CHECK(record.name == "ls");
  REQUIRE(ring.Read(&record) == RingRead::kRecord);
  CHECK(record.type == RingRecordType::kFork);
  CHECK(record.pid == 9);
  CHECK(record.parent_pid == 7);
  REQUIRE(ring.Read(&record) == RingRead::kRecord);
  CHECK(record.type == RingRecordType::kExit);
  REQUIRE(ring.Read(&record) == RingRead::kRecord);
  CHECK(record.type == RingRecordType::kOther);
  CHECK(record.time_ns == 4);
  CHECK(ring.Read(&record) == RingRead::kEmpty);
}

TEST_CASE("ring: torn bytes are told, never read past") {
  RingRecord record;
  Ring zero_size(64, 0);
  zero_size.Append(std::string(16, '\0').data(), 16);
  CHECK(zero_size.Read(&record) == RingRead::kTorn);

  Ring too_long(64, 0);
  const perf_event_header header{PERF_RECORD_SAMPLE, 0, 4096};
  too_long.Append(&header, sizeof(header));
  CHECK(too_long.Read(&record) == RingRead::kTorn);

  Ring short_sample(64, 0);
  short_sample.Put(PERF_RECORD_SAMPLE, 0, Pack(uint64_t{1}));
  CHECK(short_sample.Read(&record) == RingRead::kTorn);

  Ring no_trailer(64, 0);
  no_trailer.Put(PERF_RECORD_MMAP2, 0, Pack(uint64_t{1}, uint64_t{2}));
  CHECK(no_trailer.Read(&record) == RingRead::kTorn);
}

TEST_CASE("maps: every line of this process, as an independent reader sees it") {
  std::ifstream file("/proc/self/maps");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string_view rest = text;
  std::istringstream lines(text);
  std::string line;
  MapsEntry entry;
  size_t count = 0;
  while (std::getline(lines, line)) {
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t inode = 0;
    unsigned major = 0;
    unsigned minor = 0;
    int name_at = 0;
    REQUIRE(sscanf(line.c_str(),
                   "%lx-%lx %*s %*x %x:%x %lu %n",
                   &start,
                   &end,
                   &major,
                   &minor,
                   &inode,
                   &name_at) == 5);
    REQUIRE(NextMapping(&rest, &entry));
    CHECK(entry.start == start);
    CHECK(entry.end == end);
    CHECK(entry.device_major == major);
    CHECK(entry.device_minor == minor);
    CHECK(entry.inode == inode);
    CHECK(entry.name == line.substr(static_cast<size_t>(name_at)));
    count++;
  }
  CHECK(count > 5);
  CHECK_FALSE(NextMapping(&rest, &entry));
}

TEST_CASE("maps: names with blanks, odd and torn lines") {
  std::string_view text =
      "rubbish\n"
      "1000-2000 rw-p 00000000 08:01 12   /tmp/a b (deleted)\n"
      "3000-2000 rw-p 00000000 00:00 0\n"
      "4000-5000 rw-p 00000000 00:00 0 \n"
      "6000-7000 rw-p 00000000 00:00 0  [he";
  MapsEntry entry;
  REQUIRE(NextMapping(&text, &entry));
  CHECK(entry.name == "/tmp/a b (deleted)");
  CHECK(entry.device_major == 8);
  REQUIRE(NextMapping(&text, &entry));
  CHECK(entry.start == 0x4000);
  CHECK(entry.name.empty());
  CHECK_FALSE(NextMapping(&text, &entry));
}

TEST_CASE("cpu lists") {
  CHECK(ParseCpuList("0-3,8,10-11\n") == std::vector<int>{0, 1, 2, 3, 8, 10, 11});
  CHECK(ParseCpuList("0\n") == std::vector<int>{0});
  CHECK(ParseCpuList("").empty());
  CHECK(ParseCpuList("a").empty());
  CHECK(ParseCpuList("3-1").empty());
}

TEST_CASE("region registry: the region an address was in at a time") {
  RegionRegistry registry;
  const uint64_t first = registry.Add(0x10000, 0x1000, "4k");
  const int64_t lived_ns = MonotonicNs();
  registry.SetPageKind(first, "4k-split");
  registry.Remove(first);
  const uint64_t second = registry.Add(0x10000, 0x2000, "2m");
  RegionRegistry::Entry entry;
  REQUIRE(registry.Find(0x10fff, lived_ns, &entry));
  CHECK(entry.id == first);
  CHECK(std::string(entry.page_kind) == "4k-split");
  REQUIRE(registry.Find(0x11000, MonotonicNs(), &entry));
  CHECK(entry.id == second);
  CHECK_FALSE(registry.Find(0x11000, lived_ns, &entry));
  CHECK_FALSE(registry.Find(0x12000, MonotonicNs(), &entry));
}

TEST_CASE("page-faults: bad options and processes that are not there") {
  CHECK(Watch(Options{{"pid", "x"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"pid", "1"}, {"system", "true"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"ring_bytes", "5000"}}).code == "ERR_INVALID_ARGUMENT");
  CHECK(Watch(Options{{"ring_bytes", "1024"}}).code == "ERR_INVALID_ARGUMENT");
  if (!MaySample()) return;
  CHECK(Watch(Options{{"pid", "2147483647"}}).code == "ERR_GONE");
  CHECK(Watch(Options{{"tree", "2147483647"}}).code == "ERR_GONE");
}

TEST_CASE("page-faults: first touches are rows with address and mapping, population is none") {
  if (!MaySample()) return;
  for (const bool may_query : {true, false}) {
    CAPTURE(may_query);
    constexpr uint64_t kPages = 300;  // more than one tick of rows
    FaultingChild child;
    const uint64_t touched = child.Map(kPages);
    const uint64_t populated = child.Map(kPages);
    Watch watch({{"pid", std::to_string(child.pid())}}, may_query);
    REQUIRE(watch.code.empty());
    child.Touch(touched, kPages * 4096);
    child.Touch(touched, kPages * 4096);
    CHECK(child.Populate(populated, kPages * 4096) == 0);
    child.Touch(populated, kPages * 4096);
    watch.Look();
    const auto rows = watch.In(touched, kPages * 4096);
    REQUIRE(rows.size() == kPages);
    CHECK(watch.In(populated, kPages * 4096).empty());
    RowRecorder& recorded = watch.rows();
    for (size_t i = 0; i < rows.size(); i++) {
      CHECK(recorded.U64(rows[i], "address") == touched + i * 4096);
      CHECK(recorded.Text(rows[i], "kind") == "minor");
      CHECK(recorded.U32(rows[i], "pid") == static_cast<uint32_t>(child.pid()));
      CHECK(recorded.U32(rows[i], "tid") == static_cast<uint32_t>(child.pid()));
      CHECK(recorded.Text(rows[i], "mapping") == "//anon");
      CHECK(recorded.IsNull(rows[i], "region"));
      CHECK(recorded.IsNull(rows[i], "page_kind"));
      if (i > 0) CHECK(recorded.Time(rows[i]) >= recorded.Time(rows[i - 1]));
    }
    RowRecorder& statistics = *watch.recorder->table("stat");
    const size_t last = statistics.size() - 1;
    CHECK(statistics.U64(last, "minor") >= kPages);
    CHECK(statistics.U64(last, "lost") == 0);
    CHECK(statistics.U64(last, "rings") >= 1);
  }
}

TEST_CASE("page-faults: threads that come later are seen, children of fork by `tree` alone") {
  if (!MaySample()) return;
  FaultingChild child;
  Watch process({{"pid", std::to_string(child.pid())}});
  Watch tree({{"tree", std::to_string(child.pid())}});
  REQUIRE(tree.code.empty());
  const uint64_t in_thread = child.Map(10);
  const uint64_t in_child = child.Map(10);
  child.TouchInThread(in_thread, 10 * 4096);
  const pid_t grandchild = child.TouchInChild(in_child, 10 * 4096);
  process.recorder->Sample();
  tree.recorder->Sample();
  for (Watch* watch : {&process, &tree}) {
    const auto rows = watch->In(in_thread, 10 * 4096);
    REQUIRE(rows.size() == 10);
    CHECK(watch->rows().U32(rows[0], "tid") != static_cast<uint32_t>(child.pid()));
    // Mapped while it was watched: the record and the kernel agree.
    CHECK(watch->rows().Text(rows[0], "mapping") == "//anon");
  }
  CHECK(process.In(in_child, 10 * 4096).empty());
  const auto rows = tree.In(in_child, 10 * 4096);
  REQUIRE(rows.size() == 10);
  CHECK(tree.rows().U32(rows[0], "pid") == static_cast<uint32_t>(grandchild));
}

TEST_CASE("page-faults: no mapping is named where the two witnesses disagree") {
  if (!MaySample()) return;
  for (const bool may_query : {true, false}) {
    CAPTURE(may_query);
    constexpr uint64_t kBytes = uint64_t{16} * 4096;
    FaultingChild child;
    const uint64_t place = child.Map(16);
    const uint64_t spare = child.Map(16);
    Watch watch({{"pid", std::to_string(child.pid())}}, may_query);
    // A file in the place of anonymous memory, by a record: both witnesses know it.
    REQUIRE(child.MapFileAt(place, kBytes) == place);
    child.Touch(place, kBytes);
    watch.Look();
    auto rows = watch.In(place, kBytes);
    REQUIRE(rows.size() == 16);
    CHECK(watch.rows().Text(rows[0], "mapping") == "/memfd:faulting");

    // Moved away and other memory moved there: mremap leaves no record, so the older witness is
    // wrong.
    REQUIRE(child.Move(spare, kBytes, place) == place);
    child.Touch(place, kBytes);
    watch.Look();
    rows = watch.In(place, kBytes);
    REQUIRE(rows.size() == 16);
    CHECK(watch.rows().IsNull(rows[0], "mapping"));
    RowRecorder& statistics = *watch.recorder->table("stat");
    CHECK(statistics.U64(statistics.size() - 1, "unattributed") >= 16);

    // Touched and gone again before the look, without a record in between: the newer witness is
    // silent, and the older one may be stale.
    const uint64_t known = child.Map(32);
    child.Touch(known, 4096);
    watch.Look();
    child.Touch(known + 4096, 4096);
    child.Unmap(known, 32 * 4096);
    watch.Look();
    rows = watch.In(known, 32 * 4096);
    REQUIRE(rows.size() == 1);
    CHECK(watch.rows().IsNull(rows[0], "mapping"));

    // Mapped, touched and gone between two looks: the record alone names it, nothing contradicts.
    const uint64_t brief = child.Map(4);
    child.Touch(brief, 4 * 4096);
    child.Unmap(brief, 4 * 4096);
    watch.Look();
    rows = watch.In(brief, 4 * 4096);
    REQUIRE(rows.size() == 4);
    CHECK(watch.rows().Text(rows[0], "mapping") == "//anon");
  }
}

TEST_CASE("page-faults: hugetlb pages fault once each, and their size is known") {
  if (!MaySample()) return;
  const warpgauge_test::PoolPages pool(2048, 8);
  if (!pool.granted()) {
    std::cout << "page_faults_test: skipped: " << pool.why() << "\n";
    return;
  }
  constexpr uint64_t kPage = uint64_t{2} << 20;
  FaultingChild child;
  const uint64_t touched = child.MapHuge(4);
  const uint64_t populated = child.MapHuge(4);
  REQUIRE(touched != 0);
  REQUIRE(populated != 0);
  Watch watch({{"pid", std::to_string(child.pid())}});
  child.Touch(touched, 4 * kPage, kPage);
  CHECK(child.Populate(populated, 4 * kPage) == 0);
  watch.recorder->Sample();
  const auto rows = watch.In(touched, 4 * kPage);
  REQUIRE(rows.size() == 4);
  CHECK(watch.In(populated, 4 * kPage).empty());
  CHECK(watch.rows().Text(rows[0], "mapping") == "/anon_hugepage");
  CHECK(watch.rows().Text(rows[0], "page_kind") == "2m");
}

TEST_CASE("page-faults: a ring that is too small loses records, and says how many") {
  if (!MaySample()) return;
  constexpr uint64_t kPages = 4000;
  FaultingChild child;
  // Each processor has a ring, and the kernel tells of a loss in the ring that had it.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  REQUIRE(sched_setaffinity(child.pid(), sizeof(one), &one) == 0);
  const uint64_t first = child.Map(kPages);
  Watch watch({{"pid", std::to_string(child.pid())}, {"ring_bytes", "4096"}});
  REQUIRE(watch.code.empty());
  child.Touch(first, kPages * 4096);
  watch.recorder->Sample();  // makes room
  const uint64_t second = child.Map(1);
  child.Touch(second, 4096);  // the kernel tells of the loss when it next has something to write
  watch.recorder->Sample();
  const size_t seen = watch.In(first, kPages * 4096).size();
  CHECK(seen > 0);
  CHECK(seen < kPages);
  RowRecorder& statistics = *watch.recorder->table("stat");
  const uint64_t lost = statistics.U64(statistics.size() - 1, "lost").value();
  CHECK(lost + seen >= kPages);
  CHECK((kSanitized || lost + seen <= kPages + 100));  // shadow memory faults too
  bool is_told = false;
  for (const StateChange& change : watch.states.changes()) {
    is_told = is_told || change.reason == "ring_overrun";
  }
  CHECK(is_told);
}

TEST_CASE("page-faults: the end of the process is a state") {
  if (!MaySample()) return;
  FaultingChild child;
  Watch watch({{"pid", std::to_string(child.pid())}});
  child.End();
  watch.recorder->Sample();
  const auto changes = watch.states.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].state == "gone");
}

TEST_CASE(
    "page-faults: without privileges the own user faults are seen, in a ring that is allowed") {
  if (!MaySample()) return;
  if (getuid() != 0) {
    std::cout << "page_faults_test: skipped: giving privileges up needs root\n";
    return;
  }
  int paranoid = 0;
  std::ifstream("/proc/sys/kernel/perf_event_paranoid") >> paranoid;
  if (paranoid != 2) {
    std::cout << "page_faults_test: skipped: kernel.perf_event_paranoid is not 2\n";
    return;
  }
  const int ended = warpgauge_test::RunChild([] {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_MEMLOCK, &none);  // leaves kernel.perf_event_mlock_kb for each CPU
    if (setgid(65534) != 0 || setuid(65534) != 0) return 1;
    prctl(PR_SET_DUMPABLE, 1);  // or the kernel hides this process from itself
    if (Watch(Options{{"system", "true"}}).code != "ERR_PERMISSION") return 2;
    if (Watch(Options{{"pid", std::to_string(getppid())}}).code != "ERR_PERMISSION") return 3;
    if (Watch(Options{{"ring_bytes", "8388608"}}).code != "ERR_PERMISSION") return 4;
    Watch watch(Options{{"pid", std::to_string(getpid())}});
    if (!watch.code.empty()) return 5;
    const auto changes = watch.states.changes();
    if (changes.size() != 1 || changes[0].reason != "user_only") return 6;
    void* memory =
        mmap(nullptr, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, 8 * 4096, MADV_NOHUGEPAGE);
    for (int i = 0; i < 8; i++) static_cast<volatile uint8_t*>(memory)[i * 4096] = 1;
    watch.recorder->Sample();
    if (watch.In(reinterpret_cast<uintptr_t>(memory), 8 * 4096).size() != 8) return 7;
    RowRecorder& statistics = *watch.recorder->table("stat");
    const uint64_t ring = statistics.U64(0, "ring_bytes").value();
    return ring >= 4096 && ring <= 512 * 1024 ? 0 : 8;
  });
  CHECK(ended == 0);
}

TEST_CASE("page-faults: faults in a region of this process name it and its page kind") {
  if (!MaySample()) return;
  RegionOptions options;
  options.bytes = 10 * 4096;
  Watch watch(Options{});
  REQUIRE(watch.code.empty());
  Result<Region> region = Region::Map(options);
  REQUIRE(region.ok());
  const auto start = reinterpret_cast<uintptr_t>(region.value.data());
  const uint64_t id = region.value.id();
  CHECK(id > 0);
  for (size_t i = 0; i < 10; i++) region.value.data()[i * 4096] = 1;
  region.value.Unmap();  // before the look: what was there is remembered
  CHECK(region.value.id() == 0);
  watch.recorder->Sample();
  const auto rows = watch.In(start, options.bytes);
  REQUIRE(rows.size() == 10);
  CHECK(watch.rows().U64(rows[0], "region") == id);
  CHECK(watch.rows().Text(rows[0], "page_kind") == "4k");
}

TEST_CASE("page-faults: mmap records cut what they cover, compared with a page-by-page model") {
  constexpr uint64_t kPages = 64;
  NameList names;
  const std::string paths[] = {"/a", "/b", "/c", "//anon"};
  uint32_t random = 12345;
  const auto next = [&random](uint32_t below) {
    random = random * 1664525U + 1013904223U;
    return (random >> 8) % below;
  };
  for (int round = 0; round < 50; round++) {
    // No such process: the records are the only witness.
    ProcessMaps maps(INT32_MAX, names, /*may_query=*/true);
    std::vector<std::string> model(kPages);
    maps.BeginLook(1);
    for (int step = 0; step < 30; step++) {
      RingRecord record;
      record.type = RingRecordType::kMmap;
      const uint64_t first = next(kPages);
      const uint64_t count = 1 + next(static_cast<uint32_t>(kPages - first));
      record.start = (first + 1) * 4096;
      record.end = record.start + count * 4096;
      record.name = paths[next(4)];
      maps.OnMmap(record);
      for (uint64_t page = first; page < first + count; page++) model[page] = record.name;
    }
    for (uint64_t page = 0; page < kPages; page++) {
      for (const uint64_t address : {(page + 1) * 4096, (page + 2) * 4096 - 1}) {
        const ProcessMaps::Answer answer = maps.Find(address);
        if (model[page].empty()) {
          CHECK(answer.name == -1);
        } else {
          REQUIRE(answer.name >= 0);
          CHECK(names.Since(static_cast<uint32_t>(answer.name))[0] == model[page]);
        }
      }
    }
    CHECK(maps.Find(0).name == -1);
    CHECK(maps.Find((kPages + 1) * 4096).name == -1);
  }
}
