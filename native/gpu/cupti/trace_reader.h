#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/cost_histogram.h"
#include "core/source.h"
#include "core/thread.h"
#include "gpu/cupti/lane_reader.h"
#include "gpu/cupti/process_watch.h"
#include "gpu/cupti/trace_buffer.h"
#include "gpu/cupti/trace_rows.h"

namespace warpgauge {

// The thread of source `cuda`: looks at all lanes at every tick, writes what is in them as rows,
// and frees the lanes of processes that have ended. Also finds the lane files of the folder.
//
// Threads: everything below `Loop` is the reader's thread. It may be left behind by Stop where a
// foreign file system hangs; what it would write to then (writers, states) is taken away under
// `mutex_`, which it holds while it writes, but never while it reads files.
class TraceReader final : public Shared {
 public:
  struct Options {
    std::string instance;
    int64_t interval_ns = 2'000'000;
    // The tables say that a simulated driver is behind them.
    bool simulated = false;
  };

  // Takes over a reference to `trace`; `states` outlives Stop.
  TraceReader(TraceBuffer* trace, Options options, StateSink& states);

  Status Start(const std::array<TableWriter*, kTraceTables>& writers,
               int64_t start_ns,
               int64_t end_ns);
  // Asks all processes to stop, takes what they still give, at most for half a second. Idempotent.
  void Stop();
  void SetPaused(bool paused);

  [[nodiscard]] Source::Ticks LookTicks() const;
  [[nodiscard]] Source::Ticks ProcessTicks() const;
  [[nodiscard]] std::vector<Source::Cost> Costs() const { return {looks_.Summary("look")}; }
  [[nodiscard]] int64_t CpuNs() const { return thread_.CpuNs(); }

 private:
  // Names in the folder are anybody's to make.
  static constexpr size_t kMostKnownFiles = 4096;

  // A lane that a process has: in memory, or a file.
  struct Lane {
    std::unique_ptr<LaneReader> reader;
    MemoryLaneReader* memory = nullptr;  // `reader`, where the lane is one in memory
    std::string file;                    // else its name in the folder
    std::string known_as;                // and what known_files_ calls it
    // Of a file: what was read of it before mutex_ was taken.
    std::vector<wg_record> staged;
    bool has_more = false;
    bool had_ended = false;
    bool in_use = false;
    // Its process has ended, or runs another program: once empty the lane is free.
    bool is_over = false;
    uint64_t number = 0;  // of the process, counted from 1
    // Records that may come still once its writer was seen to have ended: no more than fit.
    uint64_t most_taken = UINT64_MAX;
    wg_lane facts{};
    ProcessWatch process;
    std::unique_ptr<TraceDecoder> decoder;
    std::string key;  // of its rows in `state`
    wg_reason told_reason = WG_REASON_NONE;
    std::array<bool, kTraceCounts> told_counts{};
    bool told_simulated = false;
    bool told_broken = false;
    int32_t command_code = -1;
    int32_t cupti_code = -1;
    int32_t detail_code = -1;
    // Of a lane in memory that is not in use: who claims it, and when that was first seen.
    uint32_t claimant = 0;
    int64_t claimed_ns = 0;
    // Since it was asked to stop: flushes that it had made, and when their number last rose.
    uint64_t flushes_seen = UINT64_MAX;
    int64_t flush_ns = INT64_MAX;
  };

  ~TraceReader() override;
  static void Run(void* self);
  void Loop();
  void LookAround(int64_t now_ns);
  void ReadFiles();
  void WriteRows(int64_t now_ns);
  void DrainAll();
  bool DrainOne(Lane& lane, size_t most);
  [[nodiscard]] static bool HasEnded(Lane& lane);
  void LookSlowly(int64_t now_ns);
  void RemoveFiles();
  void Adopt(Lane& lane);
  void Conclude(Lane& lane);
  void SeeFacts(Lane& lane);
  void SeeCounts(Lane& lane, bool is_last);
  void SeeClock(Lane& lane);
  void ScanFolder();
  // "4711 python3", as the key of rows of `state`.
  static std::string KeyOf(uint32_t pid, const std::string& command);
  void SeeUntraceable(const std::string& name);
  void SeeClaims(int64_t now_ns, bool is_last);
  void SeeWaiting(Lane& lane, const std::string& known);
  void SeeLeftOut(bool is_last);
  void WriteProcesses(int64_t now_ns);
  void WriteProcess(Lane& lane, int64_t now_ns);
  bool DrainToTheEnd();
  bool IsQuiet(Lane& lane, int64_t now_ns);
  [[nodiscard]] static std::array<uint64_t, kTraceCounts> CountsOf(const Lane& lane);
  void Report(const std::string& key,
              const char* field,
              const char* state,
              const char* reason,
              int64_t code);
  template <typename Do>
  void ForEachLane(Do&& act) {
    for (Lane& lane : lanes_) {
      if (lane.in_use) act(lane);
    }
    for (const auto& lane : files_) act(*lane);
  }

  TraceBuffer* const trace_;
  const Options options_;
  // Both null once Stop has given the thread up; under mutex_.
  StateSink* states_;
  std::mutex mutex_;
  bool is_abandoned_ = false;
  bool is_behind_ = false;  // the last look left something in a lane

  TraceRows rows_;
  std::array<TableWriter*, kTraceTables> writers_{};
  std::vector<Lane> lanes_;                   // by index in memory
  std::vector<std::unique_ptr<Lane>> files_;  // those in use
  std::set<std::string> known_files_;         // name and inode
  // Lanes that there was no place for, as known_files_ has them, and whether they were named.
  std::map<std::string, bool> waiting_files_;
  uint32_t named_files_ = 0;
  std::vector<std::string> to_remove_;  // files of lanes that are over
  std::vector<wg_record> batch_;
  int folder_ = -1;
  uint64_t lanes_so_far_ = 0;
  std::bitset<WG_TRACE_NAMED_LEFT_OUT> told_left_out_;  // by place in the header
  int64_t told_unnamed_ = 0;
  uint32_t told_untraceable_ = 0;

  int64_t start_ns_ = 0;
  int64_t end_ns_ = 0;
  int64_t next_slow_ns_ = 0;
  int64_t next_folder_ns_ = 0;
  int64_t next_process_ns_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<uint32_t> signal_{0};
  std::atomic<uint64_t> look_ticks_{0}, look_missed_{0}, process_ticks_{0}, process_missed_{0};
  CostHistogram looks_;
  Thread thread_;
};

}  // namespace warpgauge
