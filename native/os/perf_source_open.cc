#include "os/perf_source_open.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace warpgauge {
namespace {

constexpr const char* kSoftware = "software";

bool IsSoftware(const PerfPart& part) {
  return part.attr.type == PERF_TYPE_SOFTWARE || part.attr.type == PERF_TYPE_TRACEPOINT;
}

// uncore_imc of uncore_imc_11: PMUs that differ in a number share their time columns.
std::string ClockName(const std::string& pmu) {
  size_t end = pmu.size();
  while (end > 0 && pmu[end - 1] >= '0' && pmu[end - 1] <= '9') end--;
  if (end == pmu.size() || end == 0) return pmu;
  return pmu.substr(0, pmu[end - 1] == '_' ? end - 1 : end);
}

std::string Described(const perf_event_attr& attr) {
  char text[160];
  std::snprintf(text,
                sizeof(text),
                "type=%u config=0x%llx",
                attr.type,
                static_cast<unsigned long long>(attr.config));  // NOLINT(google-runtime-int)
  std::string all = text;
  const std::pair<const char*, uint64_t> others[] = {{"config1", attr.config1},
                                                     {"config2", attr.config2},
                                                     {"exclude_user", attr.exclude_user},
                                                     {"exclude_kernel", attr.exclude_kernel},
                                                     {"exclude_hv", attr.exclude_hv},
                                                     {"exclude_idle", attr.exclude_idle},
                                                     {"exclude_host", attr.exclude_host},
                                                     {"exclude_guest", attr.exclude_guest},
                                                     {"precise_ip", attr.precise_ip},
                                                     {"pinned", attr.pinned},
                                                     {"exclusive", attr.exclusive}};
  for (const auto& [name, value] : others) {
    if (value == 0) continue;
    std::snprintf(text,
                  sizeof(text),
                  value > 9 ? " %s=0x%llx" : " %s=%llu",
                  name,
                  static_cast<unsigned long long>(value));  // NOLINT(google-runtime-int)
    all += text;
  }
  return all;
}

bool HasCpu(const std::vector<int>& cpus, int cpu) {
  return std::find(cpus.begin(), cpus.end(), cpu) != cpus.end();
}

}  // namespace

PerfOpener::PerfOpener(std::vector<PerfEvent> events, Options options)
    : events_(std::move(events)), options_(std::move(options)), outcomes_(events_.size()) {
  for (PerfEvent& event : events_) {
    for (PerfPart& part : event.parts) {
      part.attr.inherit = options_.inherit ? 1 : 0;
      part.attr.inherit_thread = options_.inherit && !options_.inherit_children ? 1 : 0;
    }
  }
}

bool PerfOpener::PlaceFor(const PerfPart& part,
                          const PerfEventTarget& first,
                          PerfEventTarget* place) const {
  *place = first;
  if (part.package_cpus.empty()) return true;
  if (!options_.is_machine) return false;
  for (const int cpu : options_.cpus) {
    if (!HasCpu(part.package_cpus, cpu)) continue;
    place->cpu = cpu;
    return true;
  }
  return false;
}

Status PerfOpener::Try(const PerfEventTarget& place, perf_event_attr* attr, Outcome* outcome) {
  constexpr unsigned kGuests = 1;   // not every PMU can tell guests apart (msr)
  constexpr unsigned kThreads = 2;  // Linux 5.13
  const perf_event_attr asked = *attr;
  Status status;
  for (unsigned less = 0; less <= (kGuests | kThreads); less++) {
    if ((less & kGuests) != 0 && asked.exclude_guest == 0 && asked.exclude_host == 0) continue;
    if ((less & kThreads) != 0 && asked.inherit_thread == 0) continue;
    perf_event_attr given = asked;
    if ((less & kGuests) != 0) given.exclude_guest = given.exclude_host = 0;
    if ((less & kThreads) != 0) given.inherit_thread = 0;
    status = OpenPerfEvent(given, place).status;
    const bool is_refused = status.number() == EACCES || status.number() == EPERM;
    bool is_user_only = false;
    if (is_refused && given.exclude_kernel == 0 && given.exclude_user == 0) {
      given.exclude_kernel = given.exclude_hv = 1;
      is_user_only = true;
      status = OpenPerfEvent(given, place).status;
    }
    if (status.ok()) {
      *attr = given;
      outcome->has_guests = outcome->has_guests || (less & kGuests) != 0;
      outcome->has_children = outcome->has_children || (less & kThreads) != 0;
      outcome->is_user_only = outcome->is_user_only || is_user_only;
      return status;
    }
    if (status.number() != EINVAL) return status;
  }
  return status;
}

uint32_t PerfOpener::ClockFor(const std::string& name) {
  for (uint32_t clock = 0; clock < clocks_.size(); clock++) {
    if (clocks_[clock] == name) return clock;
  }
  clocks_.push_back(name);
  return static_cast<uint32_t>(clocks_.size() - 1);
}

void PerfOpener::AddToGroups(const PerfPart& part,
                             const Member& member,
                             const PerfEventTarget& place) {
  const std::string key = IsSoftware(part) ? kSoftware : part.pmu;
  // :D pins the leader and :e wants the PMU for itself: each gets a group of its own.
  const bool alone = member.attr.pinned != 0 || member.attr.exclusive != 0;
  for (GroupPlan& plan : groups_) {
    if (alone || plan.is_closed || plan.key != key) continue;
    PerfGroup trial;
    bool fits = true;
    for (const Member& each : plan.members) fits = fits && trial.Add(each.attr, place, false).ok();
    if (fits && trial.Add(member.attr, place, false).ok()) {
      plan.members.push_back(member);
      return;
    }
  }
  GroupPlan plan;
  plan.key = key;
  plan.clock = ClockFor(IsSoftware(part) ? kSoftware : ClockName(part.pmu));
  plan.is_closed = alone;
  plan.package_cpus = part.package_cpus;
  plan.members.push_back(member);
  groups_.push_back(std::move(plan));
}

Status PerfOpener::Plan(const PerfEventTarget& first) {
  groups_.clear();
  clocks_.clear();
  outcomes_.assign(events_.size(), {});
  size_t first_failure = 0;
  bool any = false;
  for (uint32_t i = 0; i < events_.size(); i++) {
    Outcome& outcome = outcomes_[i];
    outcome.why = events_[i].unavailable;
    for (PerfPart& part : events_[i].parts) {
      PerfEventTarget place;
      if (PlaceFor(part, first, &place)) {
        outcome.why = Try(place, &part.attr, &outcome);
      } else {
        outcome.why =
            Status("ERR_UNAVAILABLE",
                   "\"" + events_[i].text + "\" counts what a whole package does, not a task")
                .WithFix("perf:system=true,events=" + events_[i].text);
      }
      if (!outcome.why.ok()) break;
      outcome.attributes += (outcome.attributes.empty() ? "" : "; ") + Described(part.attr);
    }
    if (outcome.why.ok()) {
      any = true;
      continue;
    }
    if (std::string_view(outcome.why.code()) == "ERR_GONE") return outcome.why;
    if (outcomes_[first_failure].why.ok()) first_failure = i;
  }
  if (!any) {
    const Status& why = outcomes_[first_failure].why;
    // EINVAL: the event exists and this PMU cannot count it so.
    return Status(why.number() == EINVAL ? "ERR_UNAVAILABLE" : why.code(),
                  (events_.size() == 1 ? "" : "None of the events can be counted here: ") +
                      events_[first_failure].text + ": " + why.message())
        .WithFix(why.fix())
        .WithSource(why.source(), why.number());
  }
  for (const bool software : {true, false}) {
    for (uint32_t i = 0; i < events_.size(); i++) {
      if (!outcomes_[i].why.ok()) continue;
      for (const PerfPart& part : events_[i].parts) {
        if (IsSoftware(part) != software) continue;
        PerfEventTarget place;
        PlaceFor(part, first, &place);
        AddToGroups(part, {i, part.attr}, place);
      }
    }
  }
  return Status::Ok();
}

Status PerfOpener::Open(const PerfEventTarget& target,
                        uint32_t row,
                        bool enable_on_exec,
                        std::vector<OpenPerfGroup>* groups) const {
  for (const GroupPlan& plan : groups_) {
    if (!plan.package_cpus.empty() && !HasCpu(plan.package_cpus, target.cpu)) continue;
    OpenPerfGroup open;
    open.clock = plan.clock;
    open.row = row;
    for (const Member& member : plan.members) {
      Status added = open.group.Add(member.attr, target, enable_on_exec);
      if (!added.ok()) return added;
      open.events.push_back(member.event);
    }
    groups->push_back(std::move(open));
  }
  return Status::Ok();
}

size_t PerfOpener::descriptors() const {
  size_t count = 0;
  for (const GroupPlan& plan : groups_) count += plan.members.size();
  return count;
}

}  // namespace warpgauge
