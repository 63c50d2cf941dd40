#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/perf_event_name.h"
#include "os/perf_event_name_table.h"
#include "os/perf_events.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

const std::string kFixtures = "test/fixtures/perf/";
const std::string kOwnTree = kFixtures + "debian-12-kvm-linux-6.18.44";
const std::string kIntelTree = kFixtures + "intel-tsx-4-cpus-linux-5.10";

// The fields of perf_event_attr that a name decides, as perf prints them: fields that are 0 are
// left out. Not here: size (the header perf was built with), sample_type and read_format (we read
// groups and take no samples), disabled, inherit and enable_on_exec (the target decides them).
using Fields = std::map<std::string, uint64_t>;

Fields FieldsOf(const perf_event_attr& attr) {
  Fields all = {{"type", attr.type},
                {"config", attr.config},
                {"config1", attr.config1},
                {"config2", attr.config2},
                {"pinned", attr.pinned},
                {"exclusive", attr.exclusive},
                {"exclude_user", attr.exclude_user},
                {"exclude_kernel", attr.exclude_kernel},
                {"exclude_hv", attr.exclude_hv},
                {"exclude_idle", attr.exclude_idle},
                {"exclude_host", attr.exclude_host},
                {"exclude_guest", attr.exclude_guest},
                {"precise_ip", attr.precise_ip}};
  std::erase_if(all, [](const auto& field) { return field.second == 0; });
  return all;
}

struct Recorded {
  std::string name;
  bool rejected = false;
  std::vector<Fields> attrs;
};

void ReadField(const std::string& line, Fields* fields) {
  // "  config  0x2" and "  { bp_addr, config1 }  0x2"
  std::istringstream words(line);
  std::string word;
  std::string last;
  std::vector<std::string> before;
  while (words >> word) {
    if (!last.empty()) before.push_back(last);
    last = word;
  }
  if (before.empty()) return;
  std::string name = before[0];
  if (name == "{" && before.size() > 2) name = before[2];
  static const std::set<std::string> kCompared = {"type",
                                                  "config",
                                                  "config1",
                                                  "config2",
                                                  "pinned",
                                                  "exclusive",
                                                  "exclude_user",
                                                  "exclude_kernel",
                                                  "exclude_hv",
                                                  "exclude_idle",
                                                  "exclude_host",
                                                  "exclude_guest",
                                                  "precise_ip"};
  if (!kCompared.contains(name)) return;
  (*fields)[name] = std::stoull(last, nullptr, 0);
}

std::vector<Recorded> ParseRecording(std::istream& text) {
  std::vector<Recorded> events;
  std::string line;
  while (std::getline(text, line)) {
    if (line.starts_with("=== ")) {
      events.push_back({line.substr(4), false, {}});
    } else if (line == "rejected") {
      events.back().rejected = true;
    } else if (line == "perf_event_attr:") {
      events.back().attrs.emplace_back();
    } else if (line.starts_with("  ") && !events.empty() && !events.back().attrs.empty()) {
      ReadField(line, &events.back().attrs.back());
    }
  }
  return events;
}

std::vector<Fields> ResolvedFields(const PerfEvent& event) {
  std::vector<Fields> all;
  for (const PerfPart& part : event.parts) all.push_back(FieldsOf(part.attr));
  return all;
}

std::string Shown(const std::vector<Fields>& all) {
  std::string text;
  for (const Fields& fields : all) {
    text += "{";
    for (const auto& [name, value] : fields) text += name + "=" + std::to_string(value) + " ";
    text += "}";
  }
  return text;
}

int CompareRecording(const std::string& root) {
  std::ifstream file(root + "/perf-stat-vv.txt");
  REQUIRE(file.good());
  int same = 0;
  for (const Recorded& recorded : ParseRecording(file)) {
    CAPTURE(recorded.name);
    const Result<PerfEvent> event = ResolvePerfEvent(root, recorded.name);
    if (recorded.rejected) {
      CHECK_FALSE(event.ok());
      CHECK(std::string(event.status.code()) == "ERR_UNKNOWN_EVENT");
      continue;
    }
    CHECK_MESSAGE(event.ok(), event.status.message());
    if (!event.ok()) continue;
    CHECK(Shown(ResolvedFields(event.value)) == Shown(recorded.attrs));
    same++;
  }
  return same;
}

std::string Output(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, size);
  pclose(pipe);
  return text;
}

}  // namespace

TEST_CASE("perf names: attributes equal what perf 6.1 printed on the recorded machine") {
  CHECK(CompareRecording(kOwnTree) >= 120);
}

TEST_CASE("perf names: attributes equal what perf 6.1 made of an Intel server's recorded tree") {
  CHECK(CompareRecording(kIntelTree) >= 40);
}

TEST_CASE("perf names: attributes equal what the perf installed here prints") {
  const std::string version = Output("perf --version 2>/dev/null");
  if (!version.starts_with("perf version 6.1.")) {
    MESSAGE(
        "perf names: skipped: needs perf 6.1, later ones have other defaults; here: " << version);
    return;
  }
  int compared = 0;
  for (const char* name : {"cycles:u",
                           "page-faults",
                           "cs:k",
                           "dTLB-load-misses",
                           "node-stores",
                           "msr/tsc/",
                           "r1a8:u",
                           "software/config=4/",
                           "task-clock:D"}) {
    const Result<PerfEvent> event = ResolvePerfEvent("", name);
    if (!event.ok()) continue;  // a PMU this machine lacks
    const std::string text =
        Output("LC_ALL=C perf stat -vv -e '" + std::string(name) + "' true 2>&1");
    std::istringstream first("=== x\n" + text.substr(0, text.find("sys_perf_event_open")));
    const std::vector<Recorded> live = ParseRecording(first);
    CAPTURE(name);
    REQUIRE(live.size() == 1);
    CHECK(Shown(ResolvedFields(event.value)) == Shown(live[0].attrs));
    compared++;
  }
  CHECK(compared >= 8);
}

TEST_CASE("perf names: units and scales of sysfs become base units") {
  const Result<PerfEvent> energy = ResolvePerfEvent(kIntelTree, "power/energy-pkg/");
  REQUIRE(energy.ok());
  CHECK(energy.value.column == "power_energy_pkg_joules");
  CHECK(energy.value.unit == "joules");
  CHECK(energy.value.scale == doctest::Approx(2.3283064365386962890625e-10));
  CHECK(energy.value.parts[0].package_cpus == std::vector<int>{0, 1, 2, 3});
  const Result<PerfEvent> clock = ResolvePerfEvent(kOwnTree, "task-clock");
  REQUIRE(clock.ok());
  CHECK(clock.value.column == "task_clock_ns");
  CHECK(clock.value.scale == 1);
  const Result<PerfEvent> named = ResolvePerfEvent(kIntelTree, "cpu/event=0x3c,name=Core Clocks/");
  REQUIRE(named.ok());
  CHECK(named.value.column == "core_clocks");
}

TEST_CASE("perf names: an unknown name gets the near ones") {
  const auto fix = [](const std::string& root, const char* name) {
    const Result<PerfEvent> event = ResolvePerfEvent(root, name);
    CHECK_FALSE(event.ok());
    CHECK(std::string(event.status.code()) == "ERR_UNKNOWN_EVENT");
    return event.status.fix();
  };
  CHECK(fix(kOwnTree, "page-fault") == "events=page-faults");
  CHECK(fix(kOwnTree, "dtlb-load-misses") == "events=dTLB-load-misses");
  CHECK(fix(kOwnTree, "sched:sched_swich") == "events=sched:sched_switch");
  CHECK(fix(kOwnTree, "shed:sched_switch") == "events=sched:sched_switch");
  CHECK(fix(kIntelTree, "cpu/tx-strat/") == "events=cpu/tx-start/");
  CHECK(fix(kOwnTree, "nothing-like-it-at-all").empty());
}

TEST_CASE("perf names: tracefs that is not mounted is named and left alone") {
  const Result<PerfEvent> event = ResolvePerfEvent(kIntelTree, "sched:sched_switch");
  CHECK(std::string(event.status.code()) == "ERR_UNAVAILABLE");
  CHECK(event.status.fix() == "sudo mount -t tracefs nodev /sys/kernel/tracing");
}

TEST_CASE("perf names: bits of a format, from AMD's data fabric (config:0-7,32-35,59-60)") {
  // As a family 17h machine has it: lkml.kernel.org/r/20200921144330.6331-2-kim.phillips@amd.com
  PerfFormat format;
  REQUIRE(ParsePerfFormat("config:0-7,32-35,59-60\n", &format));
  CHECK(format.bits == 0x1800000f000000ffULL);
  perf_event_attr attr{};
  CHECK(PlacePerfValue(format, 0x3fff, &attr));
  CHECK(attr.config == 0x1800000f000000ffULL);
  attr.config = 0;
  CHECK(PlacePerfValue(format, 0x1c7, &attr));
  CHECK(attr.config == 0x1000000c7ULL);
  CHECK_FALSE(PlacePerfValue(format, 0x4000, &attr));
  for (const char* bad : {"",
                          "config",
                          "config:",
                          "config:64",
                          "config:3-1",
                          "config:a",
                          "conf:1",
                          "config3:0-3",
                          "config:1,",
                          "config:0-"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParsePerfFormat(bad, &format));
  }
}

TEST_CASE("perf names: with several types of cores a generic event says that it counts one") {
  const Tree simulated;  // no such machine has been recorded: only what the rule looks at
  simulated.Write("/sys/bus/event_source/devices/cpu_core/cpus", "0-7\n");
  simulated.Write("/sys/bus/event_source/devices/cpu_core/type", "4\n");
  simulated.Write("/sys/bus/event_source/devices/cpu_core/format/event", "config:0-7\n");
  simulated.Write("/sys/bus/event_source/devices/cpu_core/events/cpu-cycles", "event=0x3c\n");
  CHECK_FALSE(ResolvePerfEvent(simulated.root(), "cycles").value.is_one_core_type);
  simulated.Write("/sys/bus/event_source/devices/cpu_atom/cpus", "8-15\n");
  for (const char* name : {"cycles", "LLC-load-misses:u", "r3c"}) {
    CAPTURE(name);
    CHECK(ResolvePerfEvent(simulated.root(), name).value.is_one_core_type);
  }
  for (const char* name : {"page-faults", "cpu_core/cpu-cycles/"}) {
    CAPTURE(name);
    const Result<PerfEvent> event = ResolvePerfEvent(simulated.root(), name);
    CHECK(event.ok());
    CHECK_FALSE(event.value.is_one_core_type);
  }
  CHECK_FALSE(ResolvePerfEvent(kIntelTree, "cycles").value.is_one_core_type);
}

TEST_CASE("perf names: events are separated by + outside slashes") {
  CHECK(SplitPerfEvents("page-faults+cs") == std::vector<std::string>{"page-faults", "cs"});
  CHECK(SplitPerfEvents("cpu/name=a+b/u+cs") == std::vector<std::string>{"cpu/name=a+b/u", "cs"});
  CHECK(SplitPerfEvents("+") == std::vector<std::string>{"", ""});
}

TEST_CASE("perf names: lists of CPUs") {
  std::vector<int> cpus;
  REQUIRE(ParseCpuList("0-2,7", &cpus));
  CHECK(cpus == std::vector<int>{0, 1, 2, 7});
  REQUIRE(ParseCpuList("3+1+1", &cpus));
  CHECK(cpus == std::vector<int>{1, 3});
  for (const char* bad : {"", "-", "1-", "a", "0-99999999", "3-1", "1,,2"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseCpuList(bad, &cpus));
  }
}

TEST_CASE("perf names: no name reaches outside its folder") {
  for (const char* bad : {"../x/type/", "./cpu/", "sched:../id", "a:..", "..//"}) {
    CAPTURE(bad);
    CHECK_FALSE(ResolvePerfEvent(kOwnTree, bad).ok());
  }
}
