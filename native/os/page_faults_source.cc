#include "os/page_faults_source.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/region_registry.h"

namespace warpgauge {
namespace {

enum Column : uint32_t {
  kTime,
  kKind,
  kPid,
  kTid,
  kCpu,
  kAddress,
  kInstruction,
  kMapping,
  kRegion,
  kPageKind,
};

enum StatisticsColumn : uint32_t {
  kStatTime,
  kStatMinor,
  kStatMajor,
  kStatLost,
  kStatUnattributed,
  kStatTorn,
  kStatRings,
  kStatRingBytes,
};

// Rows of one tick lie in one slab; a burst of faults is written as several ticks instead. A slab
// holds several of them: one that holds a single one is handed over by every tick, and a consumer
// who sleeps for seconds then runs out of slots.
constexpr uint32_t kRowsPerTick = 256;
constexpr uint32_t kRowsPerSlab = 8 * kRowsPerTick;
constexpr size_t kMostProcesses = 4096;
// With more processes than this their maps are opened for each look: descriptors are the host's.
constexpr size_t kMostKeptOpen = 128;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStatisticsInterval = 100'000'000;

std::vector<TableSpec> MakeTables(int64_t interval_ns) {
  const std::string perf = "perf PAGE_FAULTS_MIN, PAGE_FAULTS_MAJ";
  const auto text = ColumnKind::kState;
  TableSpec faults;
  faults.kind = TableKind::kEvent;
  faults.grain = "one row per page fault";
  faults.rows_per_tick = kRowsPerSlab;
  faults.columns = {
      {"time", ColumnType::kTime, ColumnKind::kKey, "ns", perf + " time", false, "", ""},
      {"kind", ColumnType::kName, ColumnKind::kKey, "", perf, false, "", ""},
      {"pid", ColumnType::kUint32, text, "", perf + " pid", true, "", ""},
      {"tid", ColumnType::kUint32, text, "", perf + " tid", true, "", ""},
      {"cpu", ColumnType::kUint32, text, "", perf + " cpu", true, "", ""},
      {"address", ColumnType::kUint64, text, "", perf + " addr", true, "", ""},
      {"instruction", ColumnType::kUint64, text, "", perf + " ip", true, "", ""},
      {"mapping",
       ColumnType::kNameId,
       text,
       "",
       "mmap records and /proc/PID/maps; null where they disagree",
       true,
       "",
       ""},
      {"region",
       ColumnType::kUint64,
       text,
       "",
       "mitigate.allocate: id of the region",
       true,
       "",
       ""},
      {"page_kind",
       ColumnType::kName,
       text,
       "",
       "kind of the region, or the hugetlb page size of the mapping; null where unknown",
       true,
       "",
       ""},
  };
  TableSpec statistics;
  statistics.suffix = "stat";
  statistics.grain = "one row per tick";
  statistics.interval_ns = std::max(interval_ns, kStatisticsInterval);
  const auto counter = ColumnKind::kCounter;
  statistics.columns = {
      {"time", ColumnType::kTime, ColumnKind::kKey, "ns", "", false, "", ""},
      {"minor", ColumnType::kUint64, counter, "1", "rows of kind minor", true, "", ""},
      {"major", ColumnType::kUint64, counter, "1", "rows of kind major", true, "", ""},
      {"lost", ColumnType::kUint64, counter, "1", "PERF_RECORD_LOST", true, "", ""},
      {"unattributed", ColumnType::kUint64, counter, "1", "rows without a mapping", true, "", ""},
      {"torn", ColumnType::kUint64, counter, "1", "rings given up to their head", true, "", ""},
      {"rings", ColumnType::kUint64, ColumnKind::kGauge, "1", "one per CPU", true, "", ""},
      {"ring_bytes", ColumnType::kUint64, ColumnKind::kGauge, "bytes", "of one ring", true, "", ""},
  };
  return {std::move(faults), std::move(statistics)};
}

Result<uint64_t> Number(const SourceRequest& request, const char* key, uint64_t most) {
  const std::string text = request.Option(key, "0");
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value > most) {
    return Status("ERR_INVALID_ARGUMENT",
                  "page-faults: expected a number up to " + std::to_string(most) + " for " + key +
                      " but received \"" + text + "\"");
  }
  return value;
}

}  // namespace

Result<std::unique_ptr<Source>> PageFaultsSource::Open(const SourceRequest& request,
                                                       StateSink& states) {
  constexpr uint64_t kMostPid = INT32_MAX;
  constexpr uint64_t kMostRing = uint64_t{1} << 30;
  const Result<uint64_t> pid = Number(request, "pid", kMostPid);
  const Result<uint64_t> tree = Number(request, "tree", kMostPid);
  const Result<uint64_t> ring = Number(request, "ring_bytes", kMostRing);
  for (const auto* option : {&pid, &tree, &ring}) {
    if (!option->ok()) return option->status;
  }
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (ring.value != 0 && (ring.value < page || (ring.value & (ring.value - 1)) != 0)) {
    return Status("ERR_INVALID_ARGUMENT",
                  "page-faults: expected a power of two of at least " + std::to_string(page) +
                      " for ring_bytes but received " + std::to_string(ring.value));
  }
  const bool is_system = request.Option("system") == "true";
  const int targets = (pid.value != 0 ? 1 : 0) + (tree.value != 0 ? 1 : 0) + (is_system ? 1 : 0);
  if (targets > 1) {
    return Status("ERR_INVALID_ARGUMENT", "page-faults: expected one of pid, tree and system");
  }
  FaultTarget target;
  target.pid = getpid();
  if (pid.value != 0) target.pid = static_cast<pid_t>(pid.value);
  if (tree.value != 0) {
    target.scope = FaultTarget::Scope::kTree;
    target.pid = static_cast<pid_t>(tree.value);
  }
  if (is_system) target.scope = FaultTarget::Scope::kSystem;

  Result<FaultEvents> events = FaultEvents::Open(target, ring.value);
  if (!events.ok()) return events.status;
  return std::unique_ptr<Source>(
      std::make_unique<PageFaultsSource>(request, target, std::move(events.value), states));
}

PageFaultsSource::PageFaultsSource(const SourceRequest& request,
                                   const FaultTarget& target,
                                   FaultEvents events,
                                   StateSink& states)
    : instance_(request.instance),
      target_(target),
      states_(states),
      tables_(MakeTables(request.interval_ns)),
      events_(std::move(events)) {
  cursors_.reserve(events_.rings().size());
  if (events_.is_user_only()) Report("", "degraded", "user_only", 0);
  if (events_.is_unstable()) Report("", "degraded", "tasks_unstable", 0);
}

void PageFaultsSource::Report(const char* field,
                              const char* state,
                              const char* reason,
                              int64_t code) {
  StateChange change;
  change.table = instance_;
  if (target_.scope != FaultTarget::Scope::kSystem) change.key = std::to_string(target_.pid);
  change.field = field;
  change.state = state;
  change.reason = reason;
  change.code = code;
  states_.Report(std::move(change));
}

void PageFaultsSource::Sample(size_t table, int64_t tick_ns, TableWriter& rows) {
  if (table == 0) {
    Drain(tick_ns, rows);
  } else {
    WriteStatistics(tick_ns, rows);
  }
}

int64_t PageFaultsSource::next_read_ns() const {
  int64_t last_ns = 0;
  for (const auto& [pid, maps] : maps_) last_ns = std::max(last_ns, maps->next_read_ns());
  return last_ns;
}

void PageFaultsSource::Drain(int64_t tick_ns, TableWriter& rows) {
  look_ns_ = tick_ns;
  rows_in_tick_ = 0;
  has_slab_ = false;
  if (is_first_look_) {
    is_first_look_ = false;
    minor_code_ = rows.names(kKind).Code("minor");
    major_code_ = rows.names(kKind).Code("major");
    // The older witness of the first faults. A whole machine is not read beforehand.
    if (target_.scope != FaultTarget::Scope::kSystem) {
      ProcessMaps* maps = MapsOf(static_cast<uint32_t>(target_.pid), rows);
      maps->ReadAll();
      if (maps->error() != 0) Report("mapping", "unavailable", "no_permission", maps->error());
    }
  }
  // Records are taken in order of time over all rings. What happens after the tick began waits, so
  // that no ring runs ahead of the others.
  const auto later = [](const Cursor& a, const Cursor& b) {
    return a.record.time_ns > b.record.time_ns;
  };
  cursors_.clear();
  const int64_t until_ns = MonotonicNs();
  for (FaultRing& ring : events_.rings()) {
    ring.Begin();
    Cursor cursor{&ring, {}};
    if (ring.Peek(&cursor.record) && cursor.record.time_ns <= until_ns) cursors_.push_back(cursor);
  }
  std::make_heap(cursors_.begin(), cursors_.end(), later);
  while (!cursors_.empty()) {
    std::pop_heap(cursors_.begin(), cursors_.end(), later);
    Cursor& next = cursors_.back();
    Handle(next.record, rows);
    next.ring->Consume();
    if (next.ring->Peek(&next.record) && next.record.time_ns <= until_ns) {
      std::push_heap(cursors_.begin(), cursors_.end(), later);
    } else {
      cursors_.pop_back();
    }
  }
  EndLook(rows);
}

ProcessMaps* PageFaultsSource::MapsOf(uint32_t pid, TableWriter& rows) {
  auto found = maps_.find(pid);
  if (found == maps_.end()) {
    if (maps_.size() >= kMostProcesses) return nullptr;
    auto maps =
        std::make_unique<ProcessMaps>(static_cast<pid_t>(pid), rows.names(kMapping), may_query_);
    found = maps_.emplace(pid, std::move(maps)).first;
  }
  ProcessMaps* maps = found->second.get();
  if (maps->last_look_ns() != look_ns_) {
    maps->BeginLook(look_ns_);
    looked_at_.push_back(pid);
  }
  return maps;
}

void PageFaultsSource::Handle(const RingRecord& record, TableWriter& rows) {
  if (record.type == RingRecordType::kLost) {
    lost_ += record.lost;
    for (const auto& [pid, maps] : maps_) maps->OnLost();
    return;
  }
  if (record.type == RingRecordType::kOther || !events_.IsWanted(record)) return;
  switch (record.type) {
    case RingRecordType::kFault:
      WriteFault(record, rows);
      break;
    case RingRecordType::kMmap:
      if (ProcessMaps* maps = MapsOf(record.pid, rows)) maps->OnMmap(record);
      break;
    case RingRecordType::kComm:
      if (!record.is_exec) break;
      if (ProcessMaps* maps = MapsOf(record.pid, rows)) maps->OnExec();
      break;
    case RingRecordType::kFork: {
      const auto parent = maps_.find(record.parent_pid);
      if (record.pid == record.parent_pid || parent == maps_.end()) break;  // a thread
      if (ProcessMaps* maps = MapsOf(record.pid, rows)) maps->CopyFrom(*parent->second);
      break;
    }
    case RingRecordType::kExit:
      if (record.pid == record.tid) ended_.push_back(record.pid);
      break;
    default:
      break;
  }
}

void PageFaultsSource::WriteFault(const RingRecord& record, TableWriter& rows) {
  const bool is_major = events_.IsMajor(record.id);
  ProcessMaps::Answer answer;
  if (ProcessMaps* maps = MapsOf(record.pid, rows)) answer = maps->Find(record.address);
  RegionRegistry::Entry region;
  const bool is_ours =
      static_cast<pid_t>(record.pid) == getpid() &&
      RegionRegistry::OfThisProcess().Find(record.address, record.time_ns, &region);
  (is_major ? major_ : minor_)++;
  if (answer.name < 0) unattributed_++;

  const int32_t kind = is_major ? major_code_ : minor_code_;
  rows.CountEvent(kind);
  if (rows_in_tick_ == 0) has_slab_ = rows.BeginTick(look_ns_, kRowsPerTick);
  if (rows.BeginRow(record.time_ns)) {
    rows.SetCode(kKind, kind);
    rows.SetU32(kPid, record.pid);
    rows.SetU32(kTid, record.tid);
    rows.SetU32(kCpu, record.cpu);
    rows.SetU64(kAddress, record.address);
    rows.SetU64(kInstruction, record.ip);
    rows.SetCode(kMapping, answer.name);
    if (is_ours) {
      rows.SetU64(kRegion, region.id);
      rows.SetCode(kPageKind, rows.names(kPageKind).Code(region.page_kind));
    } else if (answer.page_bytes == uint64_t{2} << 20) {
      rows.SetCode(kPageKind, rows.names(kPageKind).Code("2m"));
    } else if (answer.page_bytes == uint64_t{1} << 30) {
      rows.SetCode(kPageKind, rows.names(kPageKind).Code("1g"));
    }
    rows.EndRow();
  }
  if (++rows_in_tick_ == kRowsPerTick) {
    rows.EndTick();
    rows_in_tick_ = 0;
  }
}

void PageFaultsSource::EndLook(TableWriter& rows) {
  if (rows_in_tick_ != 0) rows.EndTick();
  const bool keep_open = maps_.size() <= kMostKeptOpen;
  for (const uint32_t pid : looked_at_) maps_.at(pid)->EndLook(keep_open);
  looked_at_.clear();
  for (const uint32_t pid : ended_) {
    maps_.erase(pid);
    if (is_gone_ || target_.scope == FaultTarget::Scope::kSystem) continue;
    if (static_cast<pid_t>(pid) != target_.pid) continue;
    is_gone_ = true;
    Report("", "gone", "gone", 0);
  }
  ended_.clear();
  if (lost_ != lost_before_ && look_ns_ - lost_reported_ns_ >= kSecond) {
    Report("", "degraded", "ring_overrun", static_cast<int64_t>(lost_ - lost_before_));
    lost_before_ = lost_;
    lost_reported_ns_ = look_ns_;
  }
}

void PageFaultsSource::WriteStatistics(int64_t tick_ns, TableWriter& rows) {
  if (!rows.BeginTick(tick_ns, 1) || !rows.BeginRow(tick_ns)) return;
  uint64_t torn = 0;
  for (const FaultRing& ring : events_.rings()) torn += ring.torn();
  rows.SetU64(kStatMinor, minor_);
  rows.SetU64(kStatMajor, major_);
  rows.SetU64(kStatLost, lost_);
  rows.SetU64(kStatUnattributed, unattributed_);
  rows.SetU64(kStatTorn, torn);
  rows.SetU64(kStatRings, events_.rings().size());
  rows.SetU64(kStatRingBytes, events_.ring_bytes());
  rows.EndRow();
  rows.EndTick();
}

}  // namespace warpgauge
