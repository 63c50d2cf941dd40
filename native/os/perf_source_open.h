#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "os/perf_events.h"
#include "os/perf_group.h"

namespace warpgauge {

// A group that is open for one task or CPU, and where its counts go.
struct OpenPerfGroup {
  PerfGroup group;
  std::vector<uint32_t> events;  // of each member
  uint32_t clock = 0;
  uint32_t row = 0;
};

// Decides once, on the first task or CPU, which events can be had, with what attributes and in
// what groups, and then opens the same for every other one.
//
// Groups: software events and tracepoints share one, so that a shortage of hardware counters never
// costs them; the events of each PMU share one, split where the kernel says (EINVAL) that the CPU
// cannot count them together. Groups of one kind share a clock: the two time columns.
class PerfOpener {
 public:
  struct Options {
    bool inherit = false;           // threads to come
    bool inherit_children = false;  // and processes to come

    // The target is whole CPUs: only there can events be counted that belong to a package.
    bool is_machine = false;
    std::vector<int> cpus;  // of that machine
  };
  // What became of an event.
  struct Outcome {
    Status why;                 // ok where it counts
    bool is_user_only = false;  // the kernel may not be counted by this user
    bool has_guests = false;    // the PMU cannot leave out what guests do
    bool has_children = false;  // Linux before 5.13: processes to come are counted too
    std::string attributes;     // "type=1 config=0x2 exclude_guest=1"
  };

  PerfOpener(std::vector<PerfEvent> events, Options options);

  // Opens each event once and closes it again. Fails with ERR_GONE when the task has ended (ask
  // again with another), and where no event at all can be had, with the reason of the first.
  Status Plan(const PerfEventTarget& first);

  // Opens all groups for one target, disabled. ERR_GONE when the task has ended meanwhile.
  Status Open(const PerfEventTarget& target,
              uint32_t row,
              bool enable_on_exec,
              std::vector<OpenPerfGroup>* groups) const;

  [[nodiscard]] const std::vector<PerfEvent>& events() const { return events_; }
  [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }
  // Of each clock: "software", "cpu", "uncore_imc".
  [[nodiscard]] const std::vector<std::string>& clocks() const { return clocks_; }
  // Descriptors that one target needs.
  [[nodiscard]] size_t descriptors() const;

 private:
  struct Member {
    uint32_t event = 0;
    perf_event_attr attr;
  };
  struct GroupPlan {
    std::string key;
    uint32_t clock = 0;
    bool is_closed = false;         // takes no further member
    std::vector<int> package_cpus;  // empty: every CPU and task
    std::vector<Member> members;
  };

  // Where a part is tried: the first target, or the first CPU of its package. False: nowhere.
  bool PlaceFor(const PerfPart& part, const PerfEventTarget& first, PerfEventTarget* place) const;
  // Tries lesser attributes as perf does; notes in `outcome` what was given up.
  static Status Try(const PerfEventTarget& place, perf_event_attr* attr, Outcome* outcome);
  void AddToGroups(const PerfPart& part, const Member& member, const PerfEventTarget& place);
  uint32_t ClockFor(const std::string& name);

  std::vector<PerfEvent> events_;
  Options options_;
  std::vector<Outcome> outcomes_;
  std::vector<GroupPlan> groups_;
  std::vector<std::string> clocks_;
};

}  // namespace warpgauge
