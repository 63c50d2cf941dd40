#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "core/table.h"
#include "core/table_writer.h"

namespace warpgauge {

// What JavaScript asked for. `options` were checked by lib/monitor/sources/<name>.ts (known keys,
// types); a source still answers a bad value with a Status, never with a crash.
struct SourceRequest {
  std::string name;      // "vmstat"
  std::string instance;  // "vmstat", or "vmstat@2" for the second one
  // Prefix of every /proc, /sys and /dev path: "" on a real machine, a recorded tree in tests.
  std::string root;
  int64_t interval_ns = 0;
  std::map<std::string, std::string> options;

  [[nodiscard]] std::string Option(const std::string& key,
                                   const std::string& otherwise = "") const {
    const auto found = options.find(key);
    return found == options.end() ? otherwise : found->second;
  }
};

// A row of the `state` table: why values of a key or field are null, or that something changed
// (a GPU lost, a cgroup gone). Rare: allocation is fine.
struct StateChange {
  std::string table;  // full name: "gpu.pcie"
  std::string key;    // identity of the entity, "" for the whole table
  std::string field;  // column, "" for the whole row
  std::string state;  // "ok", "unavailable", "gone", "lost", "hung", "degraded"
  // Fixed words: not_supported, no_permission, lost, hung, not_ready, out_of_range, gone,
  // needs_cgroup2, asleep, too_slow ...
  std::string reason;
  int64_t code = 0;     // errno or nvmlReturn_t; 0 when there is none
  int64_t time_ns = 0;  // CLOCK_MONOTONIC; 0: now
};

// Takes state changes from any thread. Outlives the source.
class StateSink {
 public:
  virtual ~StateSink() = default;
  virtual void Report(StateChange change) = 0;
};

// One way to read something: opened once, then sampled by a lane at absolute deadlines.
//
// Threads: the factory runs on a thread of its own and may take milliseconds or hang; Sample runs
// on the lane's thread and neither allocates, locks, logs nor opens files in the steady state (a
// new entity may). The destructor runs after the lane has ended, on any thread.
//
// Before the lane exists, the thread of the factory calls Sample a few times to measure it, with
// the writers of later; the rows and event counts of those calls are thrown away, names keep their
// codes.
class Source {
 public:
  virtual ~Source() = default;
  // Fixed after opening; index = the `table` of Sample.
  [[nodiscard]] virtual const std::vector<TableSpec>& tables() const = 0;
  // One tick of one table. `tick_ns` is CLOCK_MONOTONIC when the lane woke for it, not the
  // deadline: the time of the rows, unless the source knows a better one.
  virtual void Sample(size_t table, int64_t tick_ns, TableWriter& rows) = 0;
  // True for a source with threads of its own (NVML): it gets its writers in Start and no Sample
  // calls.
  [[nodiscard]] virtual bool has_own_threads() const { return false; }
  // `writers[i]` belongs to tables()[i]; until Stop returns they are the source's. `start_ns` is
  // tick 0 of every table; nothing is written at or after `end_ns` (0: no end).
  virtual Status Start(const std::vector<TableWriter*>& /*writers*/,
                       int64_t /*start_ns*/,
                       int64_t /*end_ns*/) {
    return Status::Ok();
  }
  // Returns at once even while a driver call hangs (the hanging thread is abandoned with all
  // that it owns). Idempotent.
  virtual void Stop() {}
  // For a source with own threads: ticks run and deadlines missed of each table, counted as a lane
  // counts them (ticks + missed = deadlines that have passed). Any thread.
  struct Ticks {
    uint64_t ticks = 0;
    uint64_t missed = 0;
  };
  [[nodiscard]] virtual std::vector<Ticks> ticks() const { return {}; }
  // Named cost histograms beyond the one per table that the lane keeps: "nvmlDeviceGetPowerUsage".
  struct Cost {
    std::string name;
    uint64_t calls = 0;
    uint64_t p50_ns = 0;
    uint64_t p99_ns = 0;
    uint64_t max_ns = 0;
    uint64_t total_ns = 0;
    // The histogram itself: upper bound of a bucket in ns and the calls in it, ascending, empty
    // ones left out.
    std::vector<std::pair<uint64_t, uint64_t>> buckets;
  };
  [[nodiscard]] virtual std::vector<Cost> costs() const { return {}; }
  // CPU time of its own threads, ns. Any thread.
  [[nodiscard]] virtual int64_t cpu_ns() const { return 0; }
  // Memory that it has mapped for itself beyond small buffers (perf rings), bytes. The consumer's
  // thread, while ticks run.
  [[nodiscard]] virtual int64_t memory_bytes() const { return 0; }
  // For sources with threads of their own: no rows and no ticks while paused. Any thread.
  virtual void SetPaused(bool /*paused*/) {}
};

// Opens a source or says in one sentence, with the fix, why it cannot be had.
using SourceFactory = Result<std::unique_ptr<Source>> (*)(const SourceRequest& request,
                                                          StateSink& states);

}  // namespace warpgauge
