#include "gpu/cupti/trace_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/clock.h"
#include "core/futex.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
// What is looked at more rarely than the records: ends of processes, words of their state.
constexpr int64_t kSlowNs = 20 * kMs;
constexpr int64_t kFolderNs = 100 * kMs;
constexpr int64_t kProcessNs = 1000 * kMs;
// How long Stop waits for processes that still run to hand over what they have, and then for the
// thread.
constexpr int64_t kLastRecordsNs = 250 * kMs;
constexpr int64_t kStopNs = 500 * kMs;
constexpr size_t kBatch = 256;
// Of one lane in one look: the others wait no longer than this takes, about 1 ms.
constexpr size_t kMostPerLook = 8192;
constexpr size_t kMostFileLanes = WG_TRACE_MOST_LANES;

const char* CountField(size_t count) {
  static constexpr const char* kFields[kTraceCounts] = {nullptr,
                                                        "dropped",
                                                        "dropped_cupti",
                                                        "without_time",
                                                        "dropped_names",
                                                        "unknown",
                                                        "rejected",
                                                        "lost_overwritten",
                                                        nullptr,
                                                        nullptr,
                                                        nullptr,
                                                        nullptr};
  return kFields[count];
}

}  // namespace

TraceReader::TraceReader(TraceBuffer* trace, Options options, StateSink& states)
    : trace_(trace), options_(std::move(options)), states_(&states), lanes_(trace->layout().lanes) {
  for (uint32_t i = 0; i < lanes_.size(); i++) {
    auto reader = std::make_unique<MemoryLaneReader>(trace->lane(i), trace->layout().capacity);
    lanes_[i].memory = reader.get();
    lanes_[i].reader = std::move(reader);
  }
  batch_.resize(kBatch);
}

TraceReader::~TraceReader() {
  if (folder_ >= 0) close(folder_);
  trace_->Unref();
}

Status TraceReader::Start(const std::array<TableWriter*, kTraceTables>& writers,
                          int64_t start_ns,
                          int64_t end_ns) {
  writers_ = writers;
  rows_.Attach(writers, end_ns);
  start_ns_ = start_ns;
  end_ns_ = end_ns == 0 ? INT64_MAX : end_ns;
  const std::string& dir = trace_->options().dir;
  if (!dir.empty()) folder_ = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return thread_.Start(this, "warpgauge-cuda", Run, this);
}

void TraceReader::Stop() {
  stop_.store(true, std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_acq_rel);
  FutexWakeAll(signal_);
  if (!thread_.WaitEnded(MonotonicNs() + kStopNs)) {
    const std::scoped_lock lock(mutex_);
    is_abandoned_ = true;
    states_ = nullptr;
  }
  trace_->End();
}

void TraceReader::SetPaused(bool paused) { trace_->SetPaused(paused); }

Source::Ticks TraceReader::LookTicks() const {
  return {look_ticks_.load(std::memory_order_relaxed),
          look_missed_.load(std::memory_order_relaxed)};
}

Source::Ticks TraceReader::ProcessTicks() const {
  return {process_ticks_.load(std::memory_order_relaxed),
          process_missed_.load(std::memory_order_relaxed)};
}

void TraceReader::Run(void* self) { static_cast<TraceReader*>(self)->Loop(); }

void TraceReader::Loop() {
  const int64_t interval = options_.interval_ns;
  int64_t next = 0;
  next_slow_ns_ = next_folder_ns_ = next_process_ns_ = start_ns_;
  for (;;) {
    const uint32_t seen = signal_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) break;
    const int64_t due_ns = start_ns_ + next * interval;
    if (due_ns >= end_ns_) break;
    int64_t now_ns = MonotonicNs();
    if (now_ns < due_ns) {
      FutexWait(signal_, seen, due_ns);
      continue;
    }
    const int64_t passed = (now_ns - start_ns_) / interval;
    look_missed_.fetch_add(static_cast<uint64_t>(passed - next), std::memory_order_relaxed);
    next = passed + 1;
    LookAround(now_ns);
    // What a lane has beyond its share of a look must not wait for the next one: it may be full by
    // then.
    while (is_behind_ && !stop_.load(std::memory_order_acquire)) {
      const int64_t again_ns = MonotonicNs();
      if (again_ns >= end_ns_) break;
      LookAround(again_ns);
    }
    look_ticks_.fetch_add(1, std::memory_order_relaxed);
    looks_.Record(MonotonicNs() - now_ns);
  }
  const int64_t begin_ns = MonotonicNs();
  while (!DrainToTheEnd() && MonotonicNs() - begin_ns < kLastRecordsNs) {
    if (is_behind_) continue;
    const timespec pause{0, kMs};
    nanosleep(&pause, nullptr);
  }
  trace_->End();
  const std::scoped_lock lock(mutex_);
  if (is_abandoned_) return;
  const int64_t now_ns = MonotonicNs();
  rows_.BeginLook(now_ns);
  SeeLeftOut(true);
  SeeClaims(now_ns, true);
  ForEachLane([&](Lane& lane) {
    SeeFacts(lane);
    if (lane.decoder != nullptr) lane.decoder->Finish();
    SeeClock(lane);
    SeeCounts(lane, true);
    WriteProcess(lane, now_ns);
  });
  rows_.EndLook();
  for (TableWriter* rows : writers_) {
    if (rows != nullptr) rows->Flush();
  }
}

void TraceReader::LookAround(int64_t now_ns) {
  if (now_ns >= next_folder_ns_) {
    next_folder_ns_ = now_ns + kFolderNs;
    ScanFolder();
  }
  ReadFiles();
  {
    const std::scoped_lock lock(mutex_);
    if (is_abandoned_) return;
    WriteRows(now_ns);
  }
  RemoveFiles();
}

void TraceReader::WriteRows(int64_t now_ns) {
  rows_.BeginLook(now_ns);
  if (now_ns >= next_slow_ns_) {
    next_slow_ns_ = now_ns + kSlowNs;
    LookSlowly(now_ns);
  }
  DrainAll();
  if (now_ns >= next_process_ns_) {
    const int64_t late = (now_ns - next_process_ns_) / kProcessNs;
    process_missed_.fetch_add(static_cast<uint64_t>(late), std::memory_order_relaxed);
    process_ticks_.fetch_add(1, std::memory_order_relaxed);
    next_process_ns_ += (late + 1) * kProcessNs;
    WriteProcesses(now_ns);
  }
  rows_.EndLook();
  for (TableWriter* rows : writers_) {
    if (rows != nullptr) rows->FlushIfOld(now_ns);
  }
}

void TraceReader::ReadFiles() {
  for (const auto& lane : files_) {
    // In this order: who has ended now writes nothing after this.
    lane->had_ended = lane->process.HasEnded();
    lane->reader->Look(&lane->facts);
    lane->has_more = true;
    while (lane->has_more && lane->staged.size() < kMostPerLook) {
      const size_t count = lane->reader->Take(batch_.data(), batch_.size());
      lane->has_more = count != 0;
      lane->staged.insert(lane->staged.end(), batch_.data(), batch_.data() + count);
    }
  }
}

void TraceReader::RemoveFiles() {
  for (const std::string& name : to_remove_) unlinkat(folder_, name.c_str(), 0);
  to_remove_.clear();
}

void TraceReader::DrainAll() {
  is_behind_ = false;
  for (Lane& lane : lanes_) {
    if (!lane.in_use) {
      if (lane.reader->State() < WG_LANE_ATTACHED) continue;
      Adopt(lane);
    }
    is_behind_ = DrainOne(lane, kMostPerLook) || is_behind_;
  }
  for (const auto& lane : files_) is_behind_ = DrainOne(*lane, kMostPerLook) || is_behind_;
}

// False when there is nothing left.
bool TraceReader::DrainOne(Lane& lane, size_t most) {
  if (lane.memory == nullptr) {
    lane.decoder->Take(lane.staged.data(), lane.staged.size());
    lane.staged.clear();
    return lane.has_more;
  }
  for (size_t done = 0; done < most;) {
    const size_t count = lane.reader->Take(batch_.data(), batch_.size());
    if (count == 0) return false;
    // Somebody goes on writing for a writer that has ended: that could go on for ever.
    if (lane.reader->taken() > lane.most_taken) lane.reader->Break();
    lane.decoder->Take(batch_.data(), count);
    done += count;
  }
  return true;
}

void TraceReader::Adopt(Lane& lane) {
  lane.in_use = true;
  lane.is_over = false;
  lane.number = ++lanes_so_far_;
  lane.told_reason = WG_REASON_NONE;
  lane.told_counts.fill(false);
  lane.told_simulated = lane.told_broken = false;
  lane.command_code = lane.cupti_code = lane.detail_code = -1;
  lane.flushes_seen = lane.most_taken = UINT64_MAX;
  lane.decoder = std::make_unique<TraceDecoder>(rows_);
  if (lane.memory != nullptr) lane.reader->Look(&lane.facts);
  lane.process.Find(lane.facts.pid, lane.facts.start_ticks, lane.facts.pid_namespace);
  lane.decoder->set_pid(lane.process.pid());
  lane.key = KeyOf(lane.process.pid(), lane.facts.command);
  // A process that has two lanes became another program: nobody writes into the older one. Of two
  // that are new to us the one with the lower index was claimed first.
  ForEachLane([&](Lane& other) {
    const bool is_same = other.facts.pid == lane.facts.pid &&
                         other.facts.start_ticks == lane.facts.start_ticks &&
                         other.facts.pid_namespace == lane.facts.pid_namespace &&
                         other.process.pid() == lane.process.pid();
    if (&other != &lane && is_same && other.number < lane.number) other.is_over = true;
  });
  SeeFacts(lane);
}

// Whether nobody writes into the lane any more. What broke the rules keeps its lane until its
// process has ended.
bool TraceReader::HasEnded(Lane& lane) {
  if (lane.memory == nullptr ? lane.had_ended : lane.process.HasEnded()) return true;
  if (lane.reader->broken() != nullptr) return false;
  if (lane.is_over) return true;
  if (lane.memory == nullptr) return lane.facts.state == WG_LANE_ENDED;
  return lane.reader->State() == WG_LANE_ENDED;
}

void TraceReader::LookSlowly(int64_t now_ns) {
  SeeLeftOut(false);
  SeeClaims(now_ns, false);
  std::vector<Lane*> over;
  ForEachLane([&](Lane& lane) {
    const bool has_ended = HasEnded(lane);
    if (has_ended && lane.most_taken == UINT64_MAX) {
      lane.most_taken = lane.reader->taken() + trace_->layout().capacity;
    }
    SeeFacts(lane);
    SeeClock(lane);
    SeeCounts(lane, false);
    // Once more: draining may have shown that the rules were broken.
    if (has_ended && !DrainOne(lane, kMostPerLook) && HasEnded(lane)) over.push_back(&lane);
  });
  for (Lane* lane : over) {
    lane->is_over = true;
    Conclude(*lane);
    WriteProcess(*lane, now_ns);
    lane->decoder.reset();
    lane->in_use = false;
    if (lane->memory != nullptr) {
      lane->memory->Free();
    } else {
      to_remove_.push_back(lane->file);
      known_files_.erase(lane->known_as);
    }
  }
  std::erase_if(files_, [](const auto& lane) { return lane->is_over && !lane->in_use; });
}

// The last words on a lane whose process is over.
void TraceReader::Conclude(Lane& lane) {
  SeeFacts(lane);
  lane.decoder->Finish();
  SeeClock(lane);
  SeeCounts(lane, true);
  const auto state = static_cast<wg_lane_state>(lane.facts.state);
  if (state == WG_LANE_TRACING || state == WG_LANE_ATTACHED) {
    // Killed, left by _exit, or replaced by exec: what CUPTI had not yet given us is lost.
    Report(lane.key, "", "gone", "not_flushed", 0);
  }
}

void TraceReader::SeeFacts(Lane& lane) {
  if (lane.memory != nullptr && lane.reader->broken() == nullptr) lane.reader->Look(&lane.facts);
  if (lane.reader->broken() != nullptr && !lane.told_broken) {
    lane.told_broken = true;
    Report(lane.key, "", "lost", lane.reader->broken(), 0);
  }
  const auto reason = static_cast<wg_reason>(lane.facts.reason);
  if (reason != WG_REASON_NONE && reason != lane.told_reason) {
    lane.told_reason = reason;
    const char* name = TraceReasonName(reason);
    const bool is_traced = reason == WG_REASON_FOREIGN_CLOCK;
    Report(lane.key, "", is_traced ? "degraded" : "unavailable", name, lane.facts.code);
  }
  if (lane.facts.simulated != 0 && !options_.simulated && !lane.told_simulated) {
    lane.told_simulated = true;
    Report(lane.key, "", "degraded", "simulated", 0);
  }
}

std::array<uint64_t, kTraceCounts> TraceReader::CountsOf(const Lane& lane) {
  const wg_lane& facts = lane.facts;
  return {lane.decoder->events(),
          facts.dropped,
          facts.dropped_cupti,
          facts.without_time,
          facts.dropped_names,
          facts.unknown,
          lane.decoder->rejected(),
          lane.reader->overwritten(),
          facts.waits,
          facts.buffers,
          facts.flushes,
          facts.cpu_ns};
}

// Losses are told when they begin and, with their number, at the end.
void TraceReader::SeeCounts(Lane& lane, bool is_last) {
  if (lane.decoder == nullptr) return;
  const std::array<uint64_t, kTraceCounts> counts = CountsOf(lane);
  for (size_t i = 0; i < kTraceCounts; i++) {
    const char* field = CountField(i);
    if (field == nullptr || counts[i] == 0 || (lane.told_counts[i] && !is_last)) continue;
    lane.told_counts[i] = true;
    Report(lane.key, field, "degraded", "lost", static_cast<int64_t>(counts[i]));
  }
}

void TraceReader::SeeClock(Lane& lane) {
  if (lane.decoder == nullptr) return;
  const TraceDecoder::ClockNews news = lane.decoder->TakeClockNews();
  if (news.step_ns != 0) Report(lane.key, "time", "degraded", "clock_step", news.step_ns);
  if (news.is_foreign && lane.told_reason != WG_REASON_FOREIGN_CLOCK) {
    lane.told_reason = WG_REASON_FOREIGN_CLOCK;
    Report(lane.key, "time", "degraded", "foreign_clock", 0);
  }
  if (news.is_missing) Report(lane.key, "time", "degraded", "no_clock_pairs", 0);
}

// Not under the mutex but for what it tells: a folder may be on a file system that hangs.
void TraceReader::ScanFolder() {
  if (folder_ < 0) return;
  // A descriptor of its own: closedir closes it, and reading begins at the front.
  const int fd = openat(folder_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  DIR* folder = fdopendir(fd);
  if (folder == nullptr) {
    close(fd);
    return;
  }
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    const bool is_lane = name.rfind("lane.", 0) == 0;
    if (!is_lane && name.rfind("untraceable.", 0) != 0) continue;
    // The inode too: a program that replaces itself by exec makes its file anew.
    const std::string known = name + ' ' + std::to_string(entry->d_ino);
    if (known_files_.contains(known)) continue;
    if (!is_lane) {
      if (known_files_.size() >= kMostKnownFiles) continue;
      known_files_.insert(known);
      const std::scoped_lock lock(mutex_);
      SeeUntraceable(name);
      continue;
    }
    const bool is_full = files_.size() >= kMostFileLanes;
    if (is_full && waiting_files_.contains(known)) continue;
    auto opened = FileLaneReader::Open(folder_, name, trace_->layout().capacity);
    if (!opened.ok()) continue;  // not complete yet; looked at again next time
    auto lane = std::make_unique<Lane>();
    lane->reader = std::move(opened.value);
    if (!lane->reader->Look(&lane->facts) || lane->facts.state < WG_LANE_ATTACHED) continue;
    const std::scoped_lock lock(mutex_);
    if (is_full) {
      SeeWaiting(*lane, known);
      continue;
    }
    known_files_.insert(known);
    lane->file = name;
    lane->known_as = known;
    Adopt(*lane);
    if (waiting_files_.erase(known) != 0) Report(lane->key, "", "ok", "", 0);
    files_.push_back(std::move(lane));
  }
  closedir(folder);
}

void TraceReader::WriteProcesses(int64_t now_ns) {
  ForEachLane([&](Lane& lane) { WriteProcess(lane, now_ns); });
}

void TraceReader::WriteProcess(Lane& lane, int64_t now_ns) {
  using namespace trace_column;  // NOLINT(google-build-using-namespace)
  if (lane.decoder == nullptr) return;
  TableWriter* row = rows_[TraceTable::kProcess].Begin(now_ns);
  if (row == nullptr) return;
  const wg_lane& facts = lane.facts;
  const auto code_of = [&](int32_t& code, const char* text) {
    if (code < 0 && text[0] != '\0') code = rows_.NameCode(text);
    return code;
  };
  if (lane.process.pid() != 0) row->SetU32(kProcessPid, lane.process.pid());
  if (facts.start_ticks != 0) row->SetU64(kProcessStart, facts.start_ticks);
  row->SetU32(kProcessParent, facts.parent_pid);
  row->SetCode(kProcessCommand, code_of(lane.command_code, facts.command));
  constexpr uint32_t kGone = 6;
  const bool said_it = facts.state == WG_LANE_ENDED || facts.state == WG_LANE_REFUSED;
  row->SetCode(kProcessState, rows_.state[lane.is_over && !said_it ? kGone : facts.state]);
  row->SetCode(kProcessReason, rows_.reason[facts.reason]);
  if (facts.reason != WG_REASON_NONE) row->SetI32(kProcessCode, facts.code);
  row->SetCode(kProcessDetail, code_of(lane.detail_code, facts.detail));
  row->SetCode(kProcessCupti, code_of(lane.cupti_code, facts.cupti_path));
  row->SetBool(kProcessSimulated, facts.simulated != 0);
  if (facts.cupti_version != 0) row->SetU32(kProcessCuptiVersion, facts.cupti_version);
  if (facts.driver_version != 0) row->SetU32(kProcessDriverVersion, facts.driver_version);
  const std::array<uint64_t, kTraceCounts> counts = CountsOf(lane);
  for (uint32_t i = 0; i < kTraceCounts; i++) row->SetU64(kProcessCounts + i, counts[i]);
  rows_.End(TraceTable::kProcess);
}

// True once nobody can write any more and all is read.
bool TraceReader::DrainToTheEnd() {
  trace_->SetPaused(true);  // those that run hand over what they have
  ScanFolder();
  ReadFiles();
  bool is_done = true;
  {
    const std::scoped_lock lock(mutex_);
    if (is_abandoned_) return true;
    const int64_t now_ns = MonotonicNs();
    rows_.BeginLook(now_ns);
    LookSlowly(now_ns);
    DrainAll();
    ForEachLane([&](Lane& lane) { is_done = IsQuiet(lane, now_ns) && is_done; });
    rows_.EndLook();
  }
  RemoveFiles();
  // A file that waits has its turn where there is a place now.
  return is_done && (waiting_files_.empty() || files_.size() >= kMostFileLanes);
}

// Whether a process that was asked to stop has nothing more to give: it flushes once when it has
// switched off, and a flush that had begun before may come first.
bool TraceReader::IsQuiet(Lane& lane, int64_t now_ns) {
  if (lane.facts.state == WG_LANE_REFUSED || lane.reader->broken() != nullptr) return true;
  if (lane.memory != nullptr) lane.reader->Look(&lane.facts);
  if (lane.flushes_seen != lane.facts.flushes) {
    lane.flush_ns = lane.flushes_seen == UINT64_MAX ? INT64_MAX : now_ns;
    lane.flushes_seen = lane.facts.flushes;
  }
  const bool is_empty = !DrainOne(lane, kMostPerLook);
  const int64_t quiet_ns = (int64_t{trace_->options().flush_ms} + 10) * kMs;
  return is_empty && lane.flush_ns != INT64_MAX && now_ns - lane.flush_ns > quiet_ns;
}

void TraceReader::Report(const std::string& key,
                         const char* field,
                         const char* state,
                         const char* reason,
                         int64_t code) {
  if (states_ == nullptr) return;
  StateChange change;
  change.table = options_.instance + ".process";
  change.key = key;
  change.field = field;
  change.state = state;
  change.reason = reason;
  change.code = code;
  states_->Report(std::move(change));
}

}  // namespace warpgauge
