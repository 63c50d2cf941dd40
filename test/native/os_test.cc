#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "os/cpu_cache.h"
#include "os/kernel_probe.h"
#include "os/perf_event.h"
#include "os/system_text.h"
#include "os/vmstat.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

// Linux 6.18, KVM guest, 2 CPUs: lines around those that are read.
const char* const kVmStat =
    "nr_free_pages 997066\n"
    "nr_foll_pin_acquired 16384\n"
    "nr_foll_pin_released 16000\n"
    "allocstall_dma 0\n"
    "allocstall_dma32 3\n"
    "allocstall_normal 40\n"
    "allocstall_movable 0\n"
    "compact_stall 12\n"
    "thp_fault_alloc 512\n"
    "thp_fault_fallback 7\n"
    "thp_fault_fallback_charge 99\n"
    "ksm_swpin_copy 0\n";

}  // namespace

TEST_CASE("vmstat: the lines that the benchmark needs, summed over zones") {
  const VmCounters counters = ParseVmStat(kVmStat);
  CHECK(counters.compact_stall == 12);
  CHECK(counters.allocstall == 43);
  CHECK(counters.thp_fault_alloc == 512);
  CHECK(counters.thp_fault_fallback == 7);
  CHECK(counters.nr_foll_pin_acquired == 16384);
}

TEST_CASE("vmstat: what the kernel lacks is -1, never 0") {
  const VmCounters counters = ParseVmStat("nr_free_pages 1\nallocstall 5\n");
  CHECK(counters.allocstall == 5);  // before Linux 4.10
  CHECK(counters.compact_stall == -1);
  CHECK(counters.thp_fault_alloc == -1);
  CHECK(counters.thp_fault_fallback == -1);
  CHECK(counters.nr_foll_pin_acquired == -1);
}

TEST_CASE("vmstat: broken and torn lines are skipped") {
  const VmCounters counters = ParseVmStat(
      "\n \ncompact_stall\ncompact_stall x\nthp_fault_alloc 12junk\nthp_fault_fallback 1");
  CHECK(counters.compact_stall == -1);
  CHECK(counters.thp_fault_alloc == -1);
  CHECK(counters.thp_fault_fallback == -1);
  CHECK(ParseVmStat("").allocstall == -1);
}

TEST_CASE("stat: steal of the CPU asked for") {
  const std::string text =
      "cpu  4664 0 3504 184470 616 0 74 15 0 0\n"
      "cpu0 2017 0 1183 93384 44 0 13 6 0 0\n"
      "cpu1 2647 0 2321 91085 572 0 61 9 0 0\n"
      "cpu10 1 2 3 4 5 6 7 8 9 10\n"
      "intr 323172 0\n";
  CHECK(ParseStealTicks(text, 0) == 6);
  CHECK(ParseStealTicks(text, 1) == 9);
  CHECK(ParseStealTicks(text, 10) == 8);
  CHECK(ParseStealTicks(text, 2) == -1);
  CHECK(ParseStealTicks("cpu0 1 2 3 4\n", 0) == -1);
  CHECK(ParseStealTicks("", 0) == -1);
}

TEST_CASE("VmStat reads a recorded tree, again and again") {
  const Tree tree;
  // More than one page, so that a single pread would stop before the lines that count.
  std::string text;
  for (int i = 0; i < 500; i++) text += "unknown_counter_" + std::to_string(i) + " 1\n";
  tree.Write("/proc/vmstat", text + kVmStat);
  tree.Write("/proc/stat", "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 25 0 0\n");
  VmStat vmstat(tree.root());
  for (int i = 0; i < 3; i++) {
    CHECK(vmstat.Read().compact_stall == 12);
    CHECK(vmstat.StealNs(0) == 25 * (1'000'000'000 / sysconf(_SC_CLK_TCK)));
  }
  CHECK(vmstat.StealNs(1) == -1);
}

TEST_CASE("VmStat without files says -1") {
  const Tree tree;
  VmStat vmstat(tree.root());
  CHECK(vmstat.Read().allocstall == -1);
  CHECK(vmstat.StealNs(0) == -1);
}

TEST_CASE("VmStat on this machine") {
  VmStat vmstat;
  CHECK(vmstat.Read().allocstall >= 0);
  CHECK(vmstat.StealNs(0) >= 0);
}

TEST_CASE("cache: sizes as the kernel writes them") {
  CHECK(ParseCacheSize("32768K") == 32768ULL << 10);
  CHECK(ParseCacheSize("32M") == 32ULL << 20);
  CHECK(ParseCacheSize("1G") == 1ULL << 30);
  CHECK(ParseCacheSize("3") == 3);
  CHECK(ParseCacheSize("") == 0);
  CHECK(ParseCacheSize("K") == 0);
  CHECK(ParseCacheSize("32KB") == 0);
}

TEST_CASE("cache: the highest data level wins") {
  const Tree tree;
  const std::string base = "/sys/devices/system/cpu/cpu0/cache/index";
  const auto add = [&](int index, const char* level, const char* type, const char* size) {
    tree.Write(base + std::to_string(index) + "/level", level);
    tree.Write(base + std::to_string(index) + "/type", type);
    tree.Write(base + std::to_string(index) + "/size", size);
  };
  CHECK(LastLevelCacheBytes(tree.root()) == 0);
  add(0, "1\n", "Data\n", "32K\n");
  add(1, "1\n", "Instruction\n", "64K\n");
  CHECK(LastLevelCacheBytes(tree.root()) == 32ULL << 10);
  add(2, "3\n", "Unified\n", "32768K\n");
  add(3, "2\n", "Unified\n", "1024K\n");
  CHECK(LastLevelCacheBytes(tree.root()) == 32ULL << 20);
}

TEST_CASE(
    "perf: a page-fault counter counts the touches of a fresh mapping, and nothing once warm") {
  const char* scope = nullptr;
  Result<PerfCounter> opened = OpenPageFaults(&scope);
  if (!opened.ok()) {
    MESSAGE("skipped: " << opened.status.message());
    CHECK(scope == nullptr);
    CHECK(opened.status.number() != 0);
    return;
  }
  REQUIRE(scope != nullptr);
  PerfCounter counter = std::move(opened.value);
  CHECK_FALSE(opened.value.is_open());

  constexpr size_t kPages = 256;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* map =
      mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED);
  madvise(map, kPages * page, MADV_NOHUGEPAGE);
  auto* bytes = static_cast<volatile char*>(map);
  const auto touch = [&] {
    uint64_t before = 0;
    uint64_t after = 0;
    REQUIRE(counter.Read(&before));
    for (size_t i = 0; i < kPages; i++) bytes[i * page] = 1;
    REQUIRE(counter.Read(&after));
    return after - before;
  };
  const uint64_t cold = touch();
  const uint64_t warm = touch();
  munmap(map, kPages * page);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr size_t kSlack = 8 * kPages;  // the sanitizer faults its own shadow memory in
#else
  constexpr size_t kSlack = 2;
#endif
  CHECK(cold >= kPages);
  CHECK(cold <= kPages + kSlack);
  CHECK(warm <= 4);
  CHECK(counter.time_enabled_ns() > 0);
  CHECK(counter.time_running_ns() == counter.time_enabled_ns());
}

TEST_CASE("perf: an event that does not exist gives its errno, a closed counter reads nothing") {
  Result<PerfCounter> opened = PerfCounter::OpenForThread(PERF_TYPE_SOFTWARE, 9999, true);
  CHECK_FALSE(opened.ok());
  CHECK(opened.status.source() == "perf_event_open");
  CHECK(opened.status.number() != 0);
  uint64_t value = 42;
  CHECK_FALSE(opened.value.Read(&value));
  CHECK(value == 42);
}

TEST_CASE("perf: dTLB misses open with a scope, or say why not") {
  const char* scope = nullptr;
  Result<PerfCounter> opened = OpenDtlbLoadMisses(&scope);
  CHECK(opened.ok() == (scope != nullptr));
  if (opened.ok()) {
    uint64_t value = 0;
    CHECK(opened.value.Read(&value));
  } else {
    MESSAGE("no dTLB counter here: " << opened.status.message());
    CHECK(opened.status.number() != 0);
  }
}

TEST_CASE("probes: each works or says why, and leaves no descriptor behind") {
  const auto descriptors = [] {
    int count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      count++;
    }
    return count;
  };
  const int before = descriptors();
  const std::pair<const char*, int> probes[] = {
      {"io_uring", ProbeIoUring()},
      {"PAGEMAP_SCAN", ProbePagemapScan()},
      {"MADV_POPULATE_WRITE", ProbePopulateWrite()},
  };
  for (const auto& [name, error] : probes) {
    CHECK(error >= 0);
    CHECK(error != ENODATA);
    CHECK(error != EBADF);
    CHECK(error != EFAULT);
    if (error != 0) MESSAGE(name << ": " << std::strerror(error));
  }
  CHECK(descriptors() == before);
}

TEST_CASE("probes: what prctl set is what is told") {
  const int before = ThpDisabled();
  REQUIRE(before >= 0);
  REQUIRE(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
  CHECK(ThpDisabled() == 1);
  REQUIRE(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0);
  CHECK(ThpDisabled() == 0);
}
