#include "core/sampler_core.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/clock.h"
#include "core/lane_plan.h"
#include "core/patience.h"

namespace warpgauge {
namespace {

// From Start to tick 0, so that all threads exist by then.
constexpr int64_t kLeadNs = 2'000'000;
// Measuring a table ends after this many calls or this time, whichever comes first.
constexpr int kMeasuredCalls = 5;
constexpr int64_t kMeasuredNs = 20'000'000;
// States that wait for a consumer who does not come; what follows is not kept.
constexpr size_t kMostStates = 65'536;

bool IsLack(const Status& status) {
  for (const char* code :
       {"ERR_UNAVAILABLE", "ERR_NO_DRIVER", "ERR_LIBRARY_MISSING", "ERR_NO_DEVICE", "ERR_BUSY"}) {
    if (std::strcmp(status.code(), code) == 0) return true;
  }
  return false;
}

bool HasNameIds(const TableSpec& table) {
  return std::any_of(table.columns.begin(), table.columns.end(), [](const ColumnSpec& column) {
    return column.type == ColumnType::kNameId;
  });
}

// The fixed word of the `state` table for a source that could not be opened.
const char* ReasonOf(const Status& status) {
  constexpr std::pair<const char*, const char*> kReasons[] = {
      {"ERR_UNAVAILABLE", "not_supported"},
      {"ERR_NO_DRIVER", "no_driver"},
      {"ERR_LIBRARY_MISSING", "no_library"},
      {"ERR_NO_DEVICE", "no_device"},
      {"ERR_PERMISSION", "no_permission"},
      {"ERR_GONE", "gone"},
      {"ERR_BUSY", "busy"},
  };
  for (const auto& [code, reason] : kReasons) {
    if (std::strcmp(status.code(), code) == 0) return reason;
  }
  return "open_failed";
}

}  // namespace

SamplerCore::SamplerCore(std::vector<SamplerSource> sources, const SamplerOptions& options)
    : options_(options), depot_(options.max_undelivered_bytes) {
  for (SamplerSource& asked : sources) {
    auto opened = std::make_unique<OpenedSource>();
    opened->core = this;
    opened->asked = std::move(asked);
    sources_.push_back(std::move(opened));
  }
}

// Sources first: one with threads of its own reports states until it is destroyed.
SamplerCore::~SamplerCore() {
  for (const auto& opened : sources_) opened->source.reset();
}

Status SamplerCore::Open(void (*on_ready)(void*), void* argument) {
  Status status = depot_.StartKeeper(this, on_ready, argument);
  if (!status.ok()) return status;
  status = opener_.Start(this, "warpgauge-open", RunOpener, this);
  if (!status.ok()) depot_.StopKeeper();
  return status;
}

void SamplerCore::RunOpener(void* self) {
  auto* core = static_cast<SamplerCore*>(self);
  Status status = core->OpenAll();
  if (core->cancelled_.load(std::memory_order_acquire)) return;
  core->failure_ = std::move(status);
  const Phase next = core->failure_.ok() ? Phase::kOpened : Phase::kFailed;
  Phase opening = Phase::kOpening;
  core->phase_.compare_exchange_strong(opening, next, std::memory_order_acq_rel);
  core->depot_.PokeReady();
}

Status SamplerCore::OpenAll() {
  Status first;
  size_t working = 0;
  for (size_t i = 0; i < sources_.size(); i++) {
    if (cancelled_.load(std::memory_order_acquire)) return Status::Ok();
    Status status = OpenOne(i);
    if (status.ok()) {
      working++;
      continue;
    }
    if (!sources_[i]->asked.optional && !IsLack(status)) return status;
    const SourceRequest& request = sources_[i]->asked.request;
    AddState(request.instance,
             {.table = request.instance,
              .key = "",
              .field = "",
              .state = "unavailable",
              .reason = ReasonOf(status),
              .code = status.number()});
    if (first.ok()) first = std::move(status);
  }
  if (working == 0 && !first.ok() && !options_.may_lack_all) return first;
  if (cancelled_.load(std::memory_order_acquire)) return Status::Ok();
  for (const auto& table : tables_) table->outlet->Prepare();
  lanes_ = MakeLanes();
  return Status::Ok();
}

Status SamplerCore::OpenOne(size_t index) {
  OpenedSource& opened = *sources_[index];
  const SourceRequest& request = opened.asked.request;
  Result<std::unique_ptr<Source>> made = opened.asked.factory(request, opened);
  if (!made.ok()) return std::move(made.status);
  opened.source = std::move(made.value);
  opened.threaded = opened.source->has_own_threads();
  const std::vector<TableSpec>& specs = opened.source->tables();
  for (size_t i = 0; i < specs.size(); i++) {
    auto table = std::make_unique<Table>();
    table->spec = specs[i];
    if (table->spec.interval_ns == 0) table->spec.interval_ns = request.interval_ns;
    table->name = request.instance;
    if (!table->spec.suffix.empty()) table->name += "." + table->spec.suffix;
    table->index = i;
    table->source = index;
    table->outlet = std::make_unique<TableOutlet>(table->spec, options_.batch_ns, depot_);
    NameList* shared = nullptr;
    if (HasNameIds(table->spec)) {
      const std::string& names = table->spec.names;
      table->names_table = names.empty() ? table->name + ".name" : request.instance + "." + names;
      if (!names.empty()) {
        std::unique_ptr<NameList>& list = opened.names[names];
        if (list == nullptr) list = std::make_unique<NameList>();
        shared = list.get();
      }
    }
    table->writer =
        std::make_unique<TableWriter>(table->spec, *table->outlet, options_.batch_ns, shared);
    if (!opened.threaded) Measure(*table, *opened.source);
    opened.tables.push_back(tables_.size());
    tables_.push_back(std::move(table));
  }
  return Status::Ok();
}

// Calls the source as the lane will, with the same writer, because sources remember the codes of
// names. The first call opens files and finds entities: it is not counted.
void SamplerCore::Measure(Table& table, Source& source) {
  table.outlet->SetDiscarding(true);
  source.Sample(table.index, MonotonicNs(), *table.writer);
  std::vector<int64_t> costs;
  const int64_t begin_ns = MonotonicNs();
  int64_t now_ns = begin_ns;
  while (costs.size() < kMeasuredCalls && now_ns - begin_ns < kMeasuredNs) {
    source.Sample(table.index, now_ns, *table.writer);
    const int64_t end_ns = MonotonicNs();
    costs.push_back(end_ns - now_ns);
    now_ns = end_ns;
  }
  table.writer->Restart();
  table.outlet->SetDiscarding(false);
  std::sort(costs.begin(), costs.end());
  table.typical_ns = costs[costs.size() / 2];
  table.longest_ns = costs.back();
  if (table.typical_ns <= table.spec.interval_ns) return;
  // The rate it can do: the shortest interval that leaves a fifth of the time to others.
  AddState(sources_[table.source]->asked.request.instance,
           {.table = table.name,
            .key = "",
            .field = "",
            .state = "degraded",
            .reason = "too_slow",
            .code = table.typical_ns + table.typical_ns / 4});
}

std::vector<std::unique_ptr<Lane>> SamplerCore::MakeLanes() {
  std::vector<size_t> ticked;
  std::vector<LaneLoad> loads;
  for (size_t i = 0; i < sources_.size(); i++) {
    const OpenedSource& opened = *sources_[i];
    if (opened.source == nullptr || opened.threaded || opened.tables.empty()) continue;
    LaneLoad load{.interval_ns = INT64_MAX};
    for (const size_t index : opened.tables) {
      const Table& table = *tables_[index];
      load.interval_ns = std::min(load.interval_ns, table.spec.interval_ns);
      load.longest_ns = std::max(load.longest_ns, table.longest_ns);
      load.busy_ratio +=
          static_cast<double>(table.typical_ns) / static_cast<double>(table.spec.interval_ns);
    }
    ticked.push_back(i);
    loads.push_back(load);
  }
  std::vector<std::unique_ptr<Lane>> lanes;
  for (const std::vector<size_t>& group : PlanLanes(loads)) {
    auto lane = std::make_unique<Lane>(options_.batch_ns);
    for (const size_t member : group) {
      const OpenedSource& opened = *sources_[ticked[member]];
      for (const size_t index : opened.tables) {
        Table& table = *tables_[index];
        lane->Add({.source = opened.source.get(),
                   .table = table.index,
                   .writer = table.writer.get(),
                   .counts = &table.counts,
                   .interval_ns = table.spec.interval_ns});
      }
    }
    lanes.push_back(std::move(lane));
  }
  return lanes;
}

Status SamplerCore::Start(int64_t duration_ns) {
  std::vector<TableOutlet*> outlets;
  for (const auto& table : tables_) outlets.push_back(table->outlet.get());
  depot_.Serve(std::move(outlets));
  start_ns_ = MonotonicNs() + kLeadNs;
  phase_.store(Phase::kRunning, std::memory_order_release);
  for (const auto& lane : lanes_) {
    Status status = lane->Start(this, start_ns_, duration_ns);
    if (status.ok()) continue;
    Stop();
    return status;
  }
  Status status = StartThreaded(duration_ns == 0 ? 0 : start_ns_ + duration_ns);
  if (!status.ok()) Stop();
  return status;
}

Status SamplerCore::StartThreaded(int64_t end_ns) {
  for (const auto& opened : sources_) {
    if (!opened->threaded) continue;
    std::vector<TableWriter*> writers;
    for (const size_t index : opened->tables) writers.push_back(tables_[index]->writer.get());
    Status status = opened->source->Start(writers, start_ns_, end_ns);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

void SamplerCore::SetPaused(bool paused) {
  for (const auto& lane : lanes_) lane->SetPaused(paused);
  for (const auto& opened : sources_) {
    if (opened->threaded && opened->source != nullptr) opened->source->SetPaused(paused);
  }
}

void SamplerCore::Flush() {
  for (const auto& lane : lanes_) lane->RequestFlush();
}

void SamplerCore::Stop() {
  if (phase_.load(std::memory_order_acquire) == Phase::kCancelled) return;
  const Phase phase = phase_.exchange(Phase::kStopped, std::memory_order_acq_rel);
  if (phase == Phase::kStopped) return;
  cancelled_.store(true, std::memory_order_release);
  stop_ns_ = MonotonicNs();
  if (phase == Phase::kRunning) StopThreads();
  depot_.StopKeeper();
  if (phase == Phase::kOpening) {  // the opener may be making sources and tables still
    phase_.store(Phase::kCancelled, std::memory_order_release);
    return;
  }
  // Destroyed here, and not with the last batch, so that files and counters are closed; but what a
  // thread that was left behind may be using lives until that thread ends.
  for (const auto& opened : sources_) {
    const bool in_use = std::any_of(opened->tables.begin(), opened->tables.end(), [&](size_t i) {
      return tables_[i]->abandoned;
    });
    if (!in_use) opened->source.reset();
  }
  for (const auto& table : tables_) table->outlet->FreeEmpty();
  depot_.FreeDiscarded();
}

void SamplerCore::StopThreads() {
  for (const auto& lane : lanes_) lane->RequestStop();
  for (const auto& opened : sources_) {
    if (!opened->threaded) continue;
    opened->source->Stop();
    for (const size_t index : opened->tables) tables_[index]->writer->Flush();
    Conclude(*opened);
  }
  for (const auto& lane : lanes_) {
    if (lane->WaitEnded(StopDeadlineNs(stop_ns_, lane->call_since_ns()))) continue;
    NoteLeftBehind(MonotonicNs());
    Abandon(*lane);
  }
}

void SamplerCore::Conclude(OpenedSource& opened) {
  opened.final_costs = opened.source->costs();
  opened.final_ticks = opened.source->ticks();
  opened.final_cpu_ns = opened.source->cpu_ns();
}

void SamplerCore::Abandon(const Lane& lane) {
  for (const LaneTable& ticked : lane.tables()) {
    for (const auto& table : tables_) {
      if (&table->counts != ticked.counts) continue;
      table->abandoned = true;
      table->final_ticks = table->counts.ticks.load(std::memory_order_relaxed);
      table->final_missed = static_cast<uint64_t>(lane.Passed(ticked, stop_ns_)) -
                            table->final_ticks -
                            table->counts.paused.load(std::memory_order_relaxed);
      AddState(SourceOf(*table),
               {.table = table->name,
                .key = "",
                .field = "",
                .state = "hung",
                .reason = "hung",
                .code = 0});
    }
  }
}

DeliveredSlab SamplerCore::Take(size_t* table) {
  for (;;) {
    size_t oldest = tables_.size();
    int64_t oldest_ns = INT64_MAX;
    for (size_t i = 0; i < tables_.size(); i++) {
      const int64_t ready_ns = tables_[i]->outlet->OldestReadyNs();
      if (ready_ns >= oldest_ns) continue;
      oldest_ns = ready_ns;
      oldest = i;
    }
    if (oldest == tables_.size()) return {};
    *table = oldest;
    const DeliveredSlab delivered = tables_[oldest]->outlet->Take();
    // The bound may have dropped it meanwhile.
    if (delivered.slab != nullptr) return delivered;
  }
}

Slab* SamplerCore::Latest(size_t table) {
  TableOutlet& outlet = *tables_[table]->outlet;
  Slab* slab = outlet.TakePublished();
  if (slab == nullptr) return nullptr;
  const uint64_t tick = slab->last_tick_.load(std::memory_order_acquire);
  const auto begin = static_cast<uint32_t>(tick >> 32);
  const uint32_t rows = static_cast<uint32_t>(tick) - begin;
  Slab* copy = Slab::Make(SlabLayout::For(outlet.table(), std::max(rows, 1U)));
  if (copy != nullptr) CopyRows(*slab, begin, rows, copy);
  depot_.Discard(slab);
  return copy;
}

void SamplerCore::OpenedSource::Report(StateChange change) {
  core->AddState(asked.request.instance, std::move(change));
}

void SamplerCore::AddState(const std::string& source, StateChange change) {
  if (change.time_ns == 0) change.time_ns = MonotonicNs();
  {
    const std::scoped_lock lock(states_mutex_);
    if (states_.size() > kMostStates) return;
    if (states_.size() == kMostStates) {
      change = {.table = source,
                .key = "",
                .field = "",
                .state = "degraded",
                .reason = "too_many_states",
                .code = 0,
                .time_ns = change.time_ns};
    }
    states_.push_back({source, std::move(change)});
  }
  depot_.PokeReady();
}

std::vector<StateRecord> SamplerCore::StatesSince(size_t from) {
  const std::scoped_lock lock(states_mutex_);
  const size_t known = from < states_before_ ? 0 : from - states_before_;
  const size_t taken = std::min(known, states_.size());
  states_.erase(states_.begin(), states_.begin() + static_cast<std::ptrdiff_t>(taken));
  states_before_ += taken;
  return states_;
}

SamplerStatistics SamplerCore::Statistics() const {
  SamplerStatistics statistics;
  for (const auto& table : tables_) {
    const OpenedSource& opened = *sources_[table->source];
    TableStatistics one;
    one.rows = table->outlet->rows();
    one.dropped_slabs = table->outlet->dropped_slabs();
    one.dropped_rows = table->outlet->dropped_rows();
    const bool concluded = opened.source == nullptr;
    if (opened.threaded) {
      const std::vector<Source::Ticks> ticks =
          concluded ? opened.final_ticks : opened.source->ticks();
      if (table->index < ticks.size()) {
        one.ticks = ticks[table->index].ticks;
        one.missed = ticks[table->index].missed;
      }
      if (table->index == 0) one.costs = concluded ? opened.final_costs : opened.source->costs();
    } else {
      one.ticks = table->abandoned ? table->final_ticks
                                   : table->counts.ticks.load(std::memory_order_relaxed);
      one.missed = table->abandoned ? table->final_missed
                                    : table->counts.missed.load(std::memory_order_relaxed);
      one.costs.push_back(table->counts.cost.Summary(table->name));
    }
    statistics.tables.push_back(std::move(one));
  }
  statistics.cpu_ns = depot_.KeeperCpuNs();
  for (const auto& lane : lanes_) statistics.cpu_ns += lane->CpuNs();
  for (const auto& opened : sources_) {
    if (!opened->threaded) continue;
    statistics.cpu_ns +=
        opened->source == nullptr ? opened->final_cpu_ns : opened->source->cpu_ns();
  }
  statistics.undelivered_bytes = depot_.ready_bytes();
  statistics.delivered_bytes = depot_.account()->delivered_bytes();
  statistics.memory_bytes = depot_.account()->own_bytes();
  for (const auto& table : tables_) {
    statistics.memory_bytes +=
        static_cast<int64_t>(sizeof(*table) + sizeof(*table->outlet) + sizeof(*table->writer));
  }
  for (const auto& opened : sources_) {
    if (opened->source != nullptr) statistics.memory_bytes += opened->source->memory_bytes();
  }
  if (start_ns_ != 0) {
    const int64_t end_ns = stop_ns_ != 0 ? stop_ns_ : MonotonicNs();
    statistics.elapsed_ns = std::max<int64_t>(end_ns - start_ns_, 0);
  }
  return statistics;
}

}  // namespace warpgauge
