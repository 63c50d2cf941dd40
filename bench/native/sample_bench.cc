// Times Source::Sample in a closed loop against the bare calls in C that get the same text or
// counts out of the kernel, in turn. One JSON line per round, read by bench/cases/sample.ts:
//   {"source":"vmstat","round":0,"subject_ns":...,"floor_ns":...,"again_ns":...}
// Times are per call; `again` is the floor once more, so that floor / again shows what this machine
// makes of two loops that are the same.
#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "core/clock.h"
#include "core/source.h"
#include "floor.h"
#include "os/cpu_source.h"
#include "os/disk_source.h"
#include "os/hugepages_source.h"
#include "os/meminfo_source.h"
#include "os/net_source.h"
#include "os/perf_source.h"
#include "os/pressure_source.h"
#include "os/process_source.h"
#include "os/vmstat_source.h"

namespace warpgauge {
namespace {

// Two slabs in turn: making and zeroing them is the keeper's work, not that of Sample.
class RecycledSlabs : public SlabExchange {
 public:
  static constexpr uint32_t kRows = 1024;

  explicit RecycledSlabs(const TableSpec& table) : layout_(SlabLayout::For(table, kRows)) {
    for (Slab*& slab : slabs_) slab = Slab::Make(layout_);
  }
  ~RecycledSlabs() override {
    for (Slab* slab : slabs_) slab->Unref();
  }
  RecycledSlabs(const RecycledSlabs&) = delete;
  RecycledSlabs& operator=(const RecycledSlabs&) = delete;

  Slab* TakeEmpty(uint32_t rows) override {
    if (rows > kRows) return nullptr;
    Slab* slab = slabs_[next_++ % 2];
    slab->rows_ = 0;
    slab->last_tick_.store(0, std::memory_order_relaxed);
    slab->Ref();
    return slab;
  }
  void HandOver(Slab* slab) override {
    rows_ += slab->rows_;
    slab->Unref();
  }
  void Publish(Slab* /*slab*/) override {}
  void CountLostRows(uint64_t rows) override { lost_rows_ += rows; }

  [[nodiscard]] uint64_t rows() const { return rows_; }
  [[nodiscard]] uint64_t lost_rows() const { return lost_rows_; }

 private:
  SlabLayout layout_;
  Slab* slabs_[2] = {};
  size_t next_ = 0;
  uint64_t rows_ = 0;
  uint64_t lost_rows_ = 0;
};

class NoStates : public StateSink {
  void Report(StateChange /*change*/) override {}
};

// The bare calls: descriptors that stay open to the end of the process.
struct Floor {
  std::vector<floor_file> files;

  void Add(const std::string& path, size_t bytes, bool to_end) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) files.push_back({fd, bytes, to_end ? 1 : 0});
  }
};

constexpr size_t kOneMiB = size_t{1} << 20;

std::vector<std::string> FolderNames(const std::string& path, const char* prefix) {
  std::vector<std::string> names;
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    if (std::strncmp(entry->d_name, prefix, std::strlen(prefix)) == 0) {
      names.emplace_back(entry->d_name);
    }
  }
  closedir(folder);
  return names;
}

void AddPools(const std::string& folder, size_t fields, Floor* floor) {
  constexpr const char* kFields[] = {"nr_hugepages",
                                     "free_hugepages",
                                     "surplus_hugepages",
                                     "resv_hugepages",
                                     "nr_overcommit_hugepages"};
  for (const std::string& size : FolderNames(folder, "hugepages-")) {
    for (size_t i = 0; i < fields; i++) {
      std::string path = folder;
      path.append("/").append(size).append("/").append(kFields[i]);
      floor->Add(path, 64, false);
    }
  }
}

void AddGroup(const std::vector<uint64_t>& configs, Floor* floor) {
  const int fd = floor_open_group(configs.data(), configs.size(), 0);
  if (fd < 0) {
    Unavailable("perf_event_open", Status("ERR_SYSCALL", std::strerror(-fd)));
  }
  floor->files.push_back({fd, (3 + 2 * configs.size()) * sizeof(uint64_t), -1});
}

Floor FloorOf(const std::string& name) {
  Floor floor;
  const std::string self = "/proc/" + std::to_string(getpid());
  if (name == "perf") {
    AddGroup({PERF_COUNT_SW_TASK_CLOCK,
              PERF_COUNT_SW_PAGE_FAULTS,
              PERF_COUNT_SW_CONTEXT_SWITCHES,
              PERF_COUNT_SW_CPU_MIGRATIONS,
              PERF_COUNT_SW_PAGE_FAULTS_MIN,
              PERF_COUNT_SW_PAGE_FAULTS_MAJ},
             &floor);
  }
  if (name == "vmstat") floor.Add("/proc/vmstat", 16384, true);
  if (name == "meminfo") floor.Add("/proc/meminfo", 16384, false);
  if (name == "cpu") floor.Add("/proc/stat", size_t{64} * 1024, false);
  if (name == "disk") floor.Add("/proc/diskstats", 16384, true);
  if (name == "net") floor.Add("/proc/net/dev", 16384, true);
  if (name == "pressure") {
    for (const char* resource : {"cpu", "memory", "io", "irq"}) {
      floor.Add(std::string("/proc/pressure/") + resource, 256, false);
    }
  }
  if (name == "hugepages") {
    const std::string nodes = "/sys/devices/system/node";
    for (const std::string& node : FolderNames(nodes, "node")) {
      std::string path = nodes;
      path.append("/").append(node).append("/hugepages");
      AddPools(path, 3, &floor);
    }
    AddPools("/sys/kernel/mm/hugepages", 5, &floor);
  }
  if (name == "process") {
    floor.Add(self + "/status", 4096, false);
    floor.Add(self + "/io", 512, false);
    floor.Add(self + "/stat", 1024, false);
    AddGroup({PERF_COUNT_SW_PAGE_FAULTS_MIN, PERF_COUNT_SW_PAGE_FAULTS_MAJ}, &floor);
  }
  return floor;
}

struct Subject {
  const char* name;
  SourceFactory factory;
  int64_t interval_ns;  // between two ticks, as the sources are told
  size_t tables;        // the first ones; those of one cadence
};

constexpr Subject kSubjects[] = {
    {"perf", MakePerfSource, 100'000, 1},
    {"vmstat", MakeVmstatSource, 10'000'000, 1},
    {"meminfo", MakeMeminfoSource, 10'000'000, 1},
    {"cpu", MakeCpuSource, 10'000'000, 2},
    {"disk", MakeDiskSource, 10'000'000, 1},
    {"net", MakeNetSource, 10'000'000, 1},
    {"pressure", MakePressureSource, 10'000'000, 1},
    {"hugepages", MakeHugepagesSource, 10'000'000, 2},
    {"process", MakeProcessSource, 10'000'000, 1},
};

class SampleBench {
 public:
  SampleBench(const Subject& subject, size_t calls)
      : subject_(subject), calls_(calls), floor_(FloorOf(subject.name)), buffer_(kOneMiB) {
    SourceRequest request;
    request.name = request.instance = subject.name;
    request.interval_ns = subject.interval_ns;
    if (std::strcmp(subject.name, "perf") == 0) {
      request.options["events"] =
          "task-clock+page-faults+context-switches+cpu-migrations+minor-faults+major-faults";
      request.options["tid"] = std::to_string(getpid());
    }
    Result<std::unique_ptr<Source>> opened = subject.factory(request, states_);
    if (!opened.ok()) Unavailable(subject.name, opened.status);
    source_ = std::move(opened.value);
    if (floor_.files.empty()) Unavailable(subject.name, Status("ERR_UNAVAILABLE", "no file"));
    constexpr int64_t kBatchNs = 100'000'000;
    for (size_t i = 0; i < subject.tables; i++) {
      TableSpec table = source_->tables()[i];
      table.interval_ns = subject.interval_ns;
      slabs_.push_back(std::make_unique<RecycledSlabs>(table));
      writers_.push_back(std::make_unique<TableWriter>(table, *slabs_.back(), kBatchNs));
    }
    tick_ns_ = MonotonicNs();
  }

  // ns per call.
  double Sample() {
    const int64_t start = MonotonicRawNs();
    for (size_t call = 0; call < calls_; call++) {
      tick_ns_ += subject_.interval_ns;
      for (size_t i = 0; i < subject_.tables; i++) source_->Sample(i, tick_ns_, *writers_[i]);
    }
    const double ns = static_cast<double>(MonotonicRawNs() - start);
    return ns / static_cast<double>(calls_);
  }

  double Bare() {
    const int64_t start = MonotonicRawNs();
    for (size_t call = 0; call < calls_; call++) {
      if (floor_read_files(floor_.files.data(), floor_.files.size(), buffer_.data()) <= 0) {
        Fail("the bare loop", Status("ERR_SYSCALL", std::strerror(errno)));
      }
    }
    const double ns = static_cast<double>(MonotonicRawNs() - start);
    return ns / static_cast<double>(calls_);
  }

  // A source that wrote nothing would be the fastest.
  void Check() {
    for (size_t i = 0; i < subject_.tables; i++) {
      writers_[i]->Flush();
      if (slabs_[i]->rows() < calls_ || slabs_[i]->lost_rows() != 0) {
        Fail(subject_.name, Status("ERR_DATA_MISMATCH", "wrote fewer rows than it was asked for"));
      }
    }
  }

 private:
  const Subject& subject_;
  size_t calls_;
  Floor floor_;
  std::vector<char> buffer_;
  NoStates states_;
  std::unique_ptr<Source> source_;
  std::vector<std::unique_ptr<RecycledSlabs>> slabs_;
  std::vector<std::unique_ptr<TableWriter>> writers_;
  int64_t tick_ns_ = 0;
};

int Main(int argc, char** argv) {
  const char* name = Argument(argc, argv, "--source", "");
  const size_t rounds = NumberArgument(argc, argv, "--rounds", 1);
  const size_t calls = NumberArgument(argc, argv, "--calls", 1000);
  const Subject* subject = nullptr;
  for (const Subject& each : kSubjects) {
    if (std::strcmp(each.name, name) == 0) subject = &each;
  }
  if (subject == nullptr || calls == 0) {
    std::fprintf(stderr, "Expected --source (perf, vmstat, ...) and --calls (1 or more)\n");
    return 2;
  }
  SampleBench bench(*subject, calls);
  constexpr size_t kWarmUp = 1;
  for (size_t round = 0; round < kWarmUp + rounds; round++) {
    // Forwards and backwards in turn, the subject between the two floors.
    double first = bench.Bare();
    const double sample = bench.Sample();
    double second = bench.Bare();
    if (round % 2 == 1) std::swap(first, second);
    if (round < kWarmUp) continue;
    std::printf(
        "{\"source\":\"%s\",\"round\":%zu,\"subject_ns\":%.1f,\"floor_ns\":%.1f,"
        "\"again_ns\":%.1f}\n",
        name,
        round - kWarmUp,
        sample,
        first,
        second);
  }
  bench.Check();
  return 0;
}

}  // namespace
}  // namespace warpgauge

int main(int argc, char** argv) { return warpgauge::Main(argc, argv); }
