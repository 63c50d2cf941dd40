#include "core/lane.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>

#include "core/clock.h"
#include "core/futex.h"

namespace warpgauge {
namespace {

// Sleeps up to this long cannot be interrupted: how long a request may wait for an idle lane.
constexpr int64_t kDeafSleepNs = 20'000'000;

}  // namespace

Status Lane::Start(Shared* owner, int64_t start_ns, int64_t duration_ns) {
  start_ns_ = start_ns;
  for (LaneTable& table : tables_) {
    if (duration_ns > 0) table.last = duration_ns / table.interval_ns;
  }
  return thread_.Start(owner, "warpgauge-lane", Run, this);
}

void Lane::Signal() {
  signal_.fetch_add(1, std::memory_order_release);
  FutexWakeAll(signal_);
}

void Lane::RequestStop() {
  stop_.store(true, std::memory_order_release);
  Signal();
}

void Lane::SetPaused(bool paused) {
  paused_.store(paused, std::memory_order_release);
  Signal();
}

void Lane::RequestFlush() {
  flush_.store(true, std::memory_order_release);
  Signal();
}

void Lane::Run(void* self) {
  // The kernel rounds wake-ups by this: 50 us by default, half a period at 10 kHz.
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  static_cast<Lane*>(self)->Loop();
}

void Lane::Loop() {
  int64_t now_ns = MonotonicNs();
  for (;;) {
    const uint32_t seen = signal_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) break;
    if (flush_.exchange(false, std::memory_order_acq_rel)) FlushAll();
    if (paused_.load(std::memory_order_acquire)) {
      now_ns = MonotonicNs();
      for (LaneTable& table : tables_) SkipTo(table, now_ns, &TickCounts::missed);
      FlushAll();
      FutexWait(signal_, seen, kNoDeadline);
      now_ns = MonotonicNs();
      for (LaneTable& table : tables_) SkipTo(table, now_ns, &TickCounts::paused);
      continue;
    }
    LaneTable* due = nullptr;
    int64_t due_ns = INT64_MAX;
    for (LaneTable& table : tables_) {
      if (table.next >= table.last || DeadlineNs(table) >= due_ns) continue;
      due_ns = DeadlineNs(table);
      due = &table;
    }
    if (due == nullptr) break;
    if (now_ns < due_ns) {
      WaitUntil(due_ns, now_ns, seen);
      now_ns = MonotonicNs();
      if (now_ns < due_ns) continue;
    }
    now_ns = Tick(*due, now_ns);
  }
  now_ns = MonotonicNs();
  for (LaneTable& table : tables_) SkipTo(table, now_ns, &TickCounts::missed);
  FlushAll();
}

void Lane::WaitUntil(int64_t deadline_ns, int64_t now_ns, uint32_t seen) {
  if (deadline_ns - now_ns > kDeafSleepNs) {
    FutexWait(signal_, seen, deadline_ns);
    return;
  }
  timespec until{};
  until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  until.tv_nsec = static_cast<decltype(until.tv_nsec)>(deadline_ns % 1'000'000'000);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

int64_t Lane::Tick(LaneTable& table, int64_t now_ns) const {
  // Woken so late that further deadlines have passed: this tick is the last of them.
  const int64_t passed = (now_ns - start_ns_) / table.interval_ns;
  if (passed > table.next) {
    const int64_t reached = std::min(passed, table.last);
    table.counts->missed.store(table.counts->missed.load(std::memory_order_relaxed) +
                                   static_cast<uint64_t>(reached - table.next),
                               std::memory_order_relaxed);
    table.next = reached;
    if (reached == table.last) return now_ns;
  }
  table.writer->NoteTick(table.counts->ticks.load(std::memory_order_relaxed),
                         table.counts->missed.load(std::memory_order_relaxed));
  call_since_ns_.store(now_ns, std::memory_order_relaxed);
  table.source->Sample(table.table, now_ns, *table.writer);
  const int64_t end_ns = MonotonicNs();
  call_since_ns_.store(0, std::memory_order_relaxed);
  table.counts->cost.Record(end_ns - now_ns);
  table.next++;
  table.counts->ticks.store(table.counts->ticks.load(std::memory_order_relaxed) + 1,
                            std::memory_order_relaxed);
  // A row never waits for a tick that comes later than a batch may be old.
  if (table.interval_ns >= batch_ns_) {
    table.writer->Flush();
  } else {
    table.writer->FlushIfOld(end_ns);
  }
  return end_ns;
}

int64_t Lane::Passed(const LaneTable& table, int64_t now_ns) const {
  if (now_ns < start_ns_) return 0;
  return std::min((now_ns - start_ns_) / table.interval_ns + 1, table.last);
}

void Lane::SkipTo(LaneTable& table,
                  int64_t now_ns,
                  std::atomic<uint64_t> TickCounts::*count) const {
  const int64_t passed = Passed(table, now_ns);
  if (passed <= table.next) return;
  std::atomic<uint64_t>& sum = table.counts->*count;
  sum.store(sum.load(std::memory_order_relaxed) + static_cast<uint64_t>(passed - table.next),
            std::memory_order_relaxed);
  table.next = passed;
}

void Lane::FlushAll() {
  for (const LaneTable& table : tables_) table.writer->Flush();
}

}  // namespace warpgauge
