#include "os/perf_event_name_table.h"

#include <linux/perf_event.h>

#include <algorithm>
#include <cctype>
#include <iterator>

namespace warpgauge {
namespace {

struct Event {
  std::string_view name;
  uint32_t type;
  uint64_t config;
};
constexpr uint32_t kHard = PERF_TYPE_HARDWARE;
constexpr uint32_t kSoft = PERF_TYPE_SOFTWARE;
constexpr uint64_t kCgroupSwitches = 11;  // PERF_COUNT_SW_CGROUP_SWITCHES, Linux 5.13

constexpr Event kEvents[] = {
    {"cycles", kHard, PERF_COUNT_HW_CPU_CYCLES},
    {"cpu-cycles", kHard, PERF_COUNT_HW_CPU_CYCLES},
    {"instructions", kHard, PERF_COUNT_HW_INSTRUCTIONS},
    {"cache-references", kHard, PERF_COUNT_HW_CACHE_REFERENCES},
    {"cache-misses", kHard, PERF_COUNT_HW_CACHE_MISSES},
    {"branch-instructions", kHard, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {"branches", kHard, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {"branch-misses", kHard, PERF_COUNT_HW_BRANCH_MISSES},
    {"bus-cycles", kHard, PERF_COUNT_HW_BUS_CYCLES},
    {"stalled-cycles-frontend", kHard, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND},
    {"idle-cycles-frontend", kHard, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND},
    {"stalled-cycles-backend", kHard, PERF_COUNT_HW_STALLED_CYCLES_BACKEND},
    {"idle-cycles-backend", kHard, PERF_COUNT_HW_STALLED_CYCLES_BACKEND},
    {"ref-cycles", kHard, PERF_COUNT_HW_REF_CPU_CYCLES},
    {"cpu-clock", kSoft, PERF_COUNT_SW_CPU_CLOCK},
    {"task-clock", kSoft, PERF_COUNT_SW_TASK_CLOCK},
    {"page-faults", kSoft, PERF_COUNT_SW_PAGE_FAULTS},
    {"faults", kSoft, PERF_COUNT_SW_PAGE_FAULTS},
    {"minor-faults", kSoft, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    {"major-faults", kSoft, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    {"context-switches", kSoft, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {"cs", kSoft, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {"cpu-migrations", kSoft, PERF_COUNT_SW_CPU_MIGRATIONS},
    {"migrations", kSoft, PERF_COUNT_SW_CPU_MIGRATIONS},
    {"alignment-faults", kSoft, PERF_COUNT_SW_ALIGNMENT_FAULTS},
    {"emulation-faults", kSoft, PERF_COUNT_SW_EMULATION_FAULTS},
    {"dummy", kSoft, PERF_COUNT_SW_DUMMY},
    {"bpf-output", kSoft, PERF_COUNT_SW_BPF_OUTPUT},
    {"cgroup-switches", kSoft, kCgroupSwitches},
};

struct Alias {
  std::string_view name;
  int id;
};
// The cache's index in kOperations below is its id.
constexpr Alias kCaches[] = {
    {"L1-dcache", PERF_COUNT_HW_CACHE_L1D}, {"l1-d", PERF_COUNT_HW_CACHE_L1D},
    {"l1d", PERF_COUNT_HW_CACHE_L1D},       {"L1-data", PERF_COUNT_HW_CACHE_L1D},
    {"L1-icache", PERF_COUNT_HW_CACHE_L1I}, {"l1-i", PERF_COUNT_HW_CACHE_L1I},
    {"l1i", PERF_COUNT_HW_CACHE_L1I},       {"L1-instruction", PERF_COUNT_HW_CACHE_L1I},
    {"LLC", PERF_COUNT_HW_CACHE_LL},        {"L2", PERF_COUNT_HW_CACHE_LL},
    {"dTLB", PERF_COUNT_HW_CACHE_DTLB},     {"d-tlb", PERF_COUNT_HW_CACHE_DTLB},
    {"Data-TLB", PERF_COUNT_HW_CACHE_DTLB}, {"iTLB", PERF_COUNT_HW_CACHE_ITLB},
    {"i-tlb", PERF_COUNT_HW_CACHE_ITLB},    {"Instruction-TLB", PERF_COUNT_HW_CACHE_ITLB},
    {"branch", PERF_COUNT_HW_CACHE_BPU},    {"bpu", PERF_COUNT_HW_CACHE_BPU},
    {"btb", PERF_COUNT_HW_CACHE_BPU},       {"bpc", PERF_COUNT_HW_CACHE_BPU},
    {"node", PERF_COUNT_HW_CACHE_NODE},
};
constexpr int kRead = PERF_COUNT_HW_CACHE_OP_READ;
constexpr int kWrite = PERF_COUNT_HW_CACHE_OP_WRITE;
constexpr int kPrefetch = PERF_COUNT_HW_CACHE_OP_PREFETCH;
constexpr Alias kOperations[] = {
    {"load", kRead},
    {"loads", kRead},
    {"read", kRead},
    {"store", kWrite},
    {"stores", kWrite},
    {"write", kWrite},
    {"prefetch", kPrefetch},
    {"prefetches", kPrefetch},
    {"speculative-read", kPrefetch},
    {"speculative-load", kPrefetch},
};
constexpr Alias kResults[] = {
    {"refs", PERF_COUNT_HW_CACHE_RESULT_ACCESS},
    {"Reference", PERF_COUNT_HW_CACHE_RESULT_ACCESS},
    {"ops", PERF_COUNT_HW_CACHE_RESULT_ACCESS},
    {"access", PERF_COUNT_HW_CACHE_RESULT_ACCESS},
    {"misses", PERF_COUNT_HW_CACHE_RESULT_MISS},
    {"miss", PERF_COUNT_HW_CACHE_RESULT_MISS},
};
// The operations each cache has, one bit each, by cache id: perf refuses the others.
constexpr unsigned kAll = 1U << kRead | 1U << kWrite | 1U << kPrefetch;
constexpr unsigned kHas[] = {
    kAll, 1U << kRead | 1U << kPrefetch, kAll, kAll, 1U << kRead, 1U << kRead, kAll};
static_assert(std::size(kHas) == PERF_COUNT_HW_CACHE_MAX);

// The longest alias that `*rest` begins with as a whole word; -1 for none. Moves past it.
template <size_t N>
int TakeAlias(const Alias (&aliases)[N], std::string_view* rest) {
  const Alias* best = nullptr;
  for (const Alias& alias : aliases) {
    if (!rest->starts_with(alias.name)) continue;
    if (rest->size() > alias.name.size() && (*rest)[alias.name.size()] != '-') continue;
    if (best == nullptr || alias.name.size() > best->name.size()) best = &alias;
  }
  if (best == nullptr) return -1;
  rest->remove_prefix(std::min(rest->size(), best->name.size() + 1));
  return best->id;
}

}  // namespace

bool FindPerfEventName(std::string_view name, uint32_t* type, uint64_t* config) {
  for (const Event& event : kEvents) {
    if (event.name != name) continue;
    *type = event.type;
    *config = event.config;
    return true;
  }
  return false;
}

bool FindPerfCacheName(std::string_view name, uint64_t* config) {
  if (name.ends_with('-')) return false;
  std::string_view rest = name;
  const int cache = TakeAlias(kCaches, &rest);
  if (cache < 0) return false;
  int operation = -1;
  int result = -1;
  for (int words = 0; !rest.empty(); words++) {
    if (words == 2) return false;
    if (const int id = TakeAlias(kOperations, &rest); id >= 0) {
      if (operation < 0) operation = id;  // as perf does: the first one counts
    } else if (const int outcome = TakeAlias(kResults, &rest); outcome >= 0) {
      if (result < 0) result = outcome;
    } else {
      return false;
    }
  }
  if (operation < 0) operation = kRead;
  if (result < 0) result = PERF_COUNT_HW_CACHE_RESULT_ACCESS;
  if ((kHas[cache] >> operation & 1) == 0) return false;
  *config = static_cast<uint64_t>(cache) | static_cast<uint64_t>(operation) << 8 |
            static_cast<uint64_t>(result) << 16;
  return true;
}

std::vector<std::string> PerfEventNames() {
  std::vector<std::string> names;
  for (const Event& event : kEvents) names.emplace_back(event.name);
  for (const char* cache : {"L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node"}) {
    for (const char* what :
         {"loads", "load-misses", "stores", "store-misses", "prefetches", "prefetch-misses"}) {
      const std::string name = std::string(cache) + "-" + what;
      uint64_t config = 0;
      if (FindPerfCacheName(name, &config)) names.push_back(name);
    }
  }
  return names;
}

}  // namespace warpgauge
