#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/lane.h"
#include "core/name_list.h"
#include "core/slab_depot.h"
#include "core/source.h"
#include "core/table_outlet.h"
#include "core/thread.h"

namespace warpgauge {

struct SamplerSource {
  SourceRequest request;
  SourceFactory factory = nullptr;
  // A source that cannot be opened for any reason is a state, not a failure.
  bool optional = false;
};

struct SamplerOptions {
  int64_t batch_ns = 100'000'000;
  int64_t max_undelivered_bytes = 64 << 20;
  // Whether it opens although none of its sources can be had, because the caller has others.
  bool may_lack_all = false;
};

// A row of the `state` table.
struct StateRecord {
  std::string source;
  StateChange change;
};

struct TableStatistics {
  uint64_t rows = 0;
  uint64_t ticks = 0;
  uint64_t missed = 0;
  uint64_t dropped_slabs = 0;
  uint64_t dropped_rows = 0;
  std::vector<Source::Cost> costs;
};

struct SamplerStatistics {
  std::vector<TableStatistics> tables;
  int64_t cpu_ns = 0;
  int64_t undelivered_bytes = 0;
  // Of slabs in every state before they are taken, of queues, and of what sources have mapped.
  int64_t memory_bytes = 0;
  // Of slabs that were taken and are still referred to: the consumer's.
  int64_t delivered_bytes = 0;
  int64_t elapsed_ns = 0;
};

// The engine behind one monitor.sample(): opens sources on a thread of its own, measures what they
// cost, plans lanes, runs them, and holds what they wrote until it is taken.
//
// One consumer thread calls everything but Report. It never waits for a driver: what hangs is left
// behind (core/patience.h), with a reference to this object.
class SamplerCore final : public Shared {
 public:
  SamplerCore(std::vector<SamplerSource> sources, const SamplerOptions& options);

  // Opens the sources in the background. `on_ready(argument)` is called on the keeper's thread when
  // that has ended, when there are slabs to take and when a state changed; never after Stop.
  Status Open(void (*on_ready)(void*), void* argument);
  // kCancelled: stopped while sources were being opened; the tables are the opener's, not to be
  // looked at.
  enum class Phase : uint8_t { kOpening, kOpened, kFailed, kRunning, kStopped, kCancelled };
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_acquire); }
  // Why opening failed.
  [[nodiscard]] const Status& failure() const { return failure_; }

  // `duration_ns` 0: until Stop. Each table has floor(duration / interval) deadlines.
  Status Start(int64_t duration_ns);
  void SetPaused(bool paused);
  void Flush();
  // Ends all threads within a second, also when several samplers that hang are stopped one after
  // the other; what was measured waits to be taken. Idempotent.
  void Stop();

  // A table of an opened source.
  struct Table {
    std::string name;  // "gpu.pcie"
    size_t source = 0;
    size_t index = 0;  // in the source's tables()
    TableSpec spec;
    // Full name of the table of names that its ids point into; "" where it has none.
    std::string names_table;
    std::unique_ptr<TableOutlet> outlet;
    std::unique_ptr<TableWriter> writer;
    TickCounts counts;
    int64_t longest_ns = 0;  // of the measured calls
    int64_t typical_ns = 0;
    // Set when the lane was left behind: its thread may count on, nobody looks.
    bool abandoned = false;
    uint64_t final_ticks = 0;
    uint64_t final_missed = 0;
  };
  // True once tables() are fixed: neither while sources are being opened nor if that was cancelled.
  [[nodiscard]] bool has_tables() const {
    const Phase now = phase();
    return now != Phase::kOpening && now != Phase::kCancelled;
  }
  // Fixed once opened.
  [[nodiscard]] const std::vector<std::unique_ptr<Table>>& tables() const { return tables_; }
  [[nodiscard]] const std::string& SourceOf(const Table& table) const {
    return sources_[table.source]->asked.request.instance;
  }

  // The oldest ready slab of all tables; `table` is its index. slab is nullptr when there is none.
  DeliveredSlab Take(size_t* table);
  // The rows of the last tick as a slab of their own, with one reference; nullptr before the first.
  Slab* Latest(size_t table);
  // States [from, ...); those before are forgotten.
  [[nodiscard]] std::vector<StateRecord> StatesSince(size_t from);
  [[nodiscard]] SamplerStatistics Statistics() const;
  // CLOCK_MONOTONIC of tick 0; 0 before Start.
  [[nodiscard]] int64_t start_ns() const { return start_ns_; }

 private:
  struct OpenedSource final : public StateSink {
    SamplerCore* core = nullptr;
    SamplerSource asked;
    std::unique_ptr<Source> source;
    std::vector<size_t> tables;
    // Lists that several of its tables share, by TableSpec::names.
    std::map<std::string, std::unique_ptr<NameList>> names;
    std::vector<Source::Cost> final_costs;
    std::vector<Source::Ticks> final_ticks;
    int64_t final_cpu_ns = 0;
    bool threaded = false;
    void Report(StateChange change) override;
  };

  ~SamplerCore() override;
  static void RunOpener(void* self);
  Status OpenAll();
  Status OpenOne(size_t index);
  void Measure(Table& table, Source& source);
  [[nodiscard]] std::vector<std::unique_ptr<Lane>> MakeLanes();
  Status StartThreaded(int64_t end_ns);
  void AddState(const std::string& source, StateChange change);
  // Counts what a lane that was left behind did not get to, and says so.
  void Abandon(const Lane& lane);
  // What is asked of a source with threads of its own, kept when it is destroyed.
  static void Conclude(OpenedSource& opened);
  void StopThreads();

  const SamplerOptions options_;
  std::vector<std::unique_ptr<OpenedSource>> sources_;
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  SlabDepot depot_;
  Thread opener_;
  Status failure_;
  std::atomic<Phase> phase_{Phase::kOpening};
  std::atomic<bool> cancelled_{false};
  int64_t start_ns_ = 0;
  int64_t stop_ns_ = 0;
  mutable std::mutex states_mutex_;
  std::vector<StateRecord> states_;  // those that were not taken yet
  size_t states_before_ = 0;         // how many were forgotten
};

}  // namespace warpgauge
