// Groups that a PMU has too few counters for. No machine of ours has a PMU that says so, so the
// system call is answered here: this program's own `syscall` stands before libc's.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <map>
#include <string>

#include "os/perf_source.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace {

struct SimulatedPmu {
  size_t counters = SIZE_MAX;    // of one group
  std::map<int, size_t> groups;  // members by the leader's descriptor
  size_t largest = 0;
  size_t refused = 0;
};

SimulatedPmu& Pmu() {
  static auto& pmu = *new SimulatedPmu;
  return pmu;
}

}  // namespace

// NOLINTNEXTLINE(google-runtime-int, cert-dcl50-cpp): the signature of libc
extern "C" long syscall(long number, ...) noexcept {
  using Real = long (*)(long, ...);  // NOLINT(google-runtime-int)
  static const auto real = reinterpret_cast<Real>(dlsym(RTLD_NEXT, "syscall"));
  long given[6];  // NOLINT(google-runtime-int)
  va_list list;
  va_start(list, number);
  for (long& one : given) one = va_arg(list, long);  // NOLINT(google-runtime-int)
  va_end(list);
  const auto pass = [&] {
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
  };
  if (number != SYS_perf_event_open) return pass();
  const int group = static_cast<int>(given[3]);
  SimulatedPmu& pmu = Pmu();
  if (group >= 0 && pmu.groups[group] >= pmu.counters) {
    pmu.refused++;
    errno = EINVAL;  // as the kernel does when a group can never be scheduled
    return -1;
  }
  const long fd = pass();  // NOLINT(google-runtime-int)
  if (fd < 0) return fd;
  const int leader = group >= 0 ? group : static_cast<int>(fd);
  if (group < 0) pmu.groups[leader] = 0;  // the number is used again
  pmu.largest = std::max(pmu.largest, ++pmu.groups[leader]);
  return fd;
}

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

TEST_CASE("perf groups: what does not fit goes into further groups, and every event is counted") {
  for (const size_t counters : {SIZE_MAX, size_t{2}, size_t{1}}) {
    CAPTURE(counters);
    Pmu() = {.counters = counters, .groups = {}};
    SourceRequest request;
    request.name = request.instance = "perf";
    request.interval_ns = 1'000'000;
    request.options = {
        {"events", "page-faults+minor-faults+task-clock+context-switches+cpu-migrations"},
        {"tid", std::to_string(syscall(SYS_gettid))}};
    RecordedStates states;
    Result<std::unique_ptr<Source>> source = MakePerfSource(request, states);
    if (!source.ok() && std::string(source.status.code()) == "ERR_PERMISSION") {
      MESSAGE("perf groups: skipped: " << source.status.message());
      return;
    }
    REQUIRE_MESSAGE(source.ok(), source.status.message());
    CHECK(Pmu().largest == std::min<size_t>(counters, 5));
    CHECK((Pmu().refused > 0) == (counters < 5));
    SourceRecorder rows(*source.value);
    rows.Sample();
    constexpr size_t kPages = 64;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* memory =
        mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    madvise(memory, kPages * page, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < kPages; i++) static_cast<volatile char*>(memory)[i * page] = 1;
    rows.Sample();
    munmap(memory, kPages * page);
    RowRecorder& table = *rows.table();
    REQUIRE(table.size() == 2);
    for (const char* name : {"page_faults", "minor_faults"}) {
      CAPTURE(name);
      const uint64_t faults = *table.U64(1, name) - *table.U64(0, name);
      CHECK(faults >= kPages);
      if (!kSanitized) CHECK(faults < kPages + 64);  // shadow memory comes on top
    }
    for (const char* name : {"task_clock_ns", "context_switches", "cpu_migrations"}) {
      CAPTURE(name);
      CHECK(table.U64(1, name).has_value());
    }
  }
}

}  // namespace
