#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/source.h"
#include "core/thread.h"
#include "gpu/cuda/table.h"
#include "gpu/cupti/pm_gpu.h"

namespace warpgauge {

// What one sampler wants of the hardware counters.
struct PmRequest {
  std::string cuda_library, cupti_library;  // override paths, or empty
  std::string root;                         // before /proc and /sys
  std::string table = "pm-sampling";        // instance of the source, for `state` rows
  std::vector<std::string> devices;         // UUIDs; empty: all that CUDA shows
  PmSettings settings;
};

// PM sampling of some GPUs for one sampler: a thread per GPU that decodes and evaluates, and a
// supervisor that never calls a driver; it tells when a call hangs and writes pm-sampling.stat. A
// hanging thread is left behind with all it owns.
//
// The counters of a GPU have one user: from Open on they are taken, until the thread of the GPU has
// given them back.
class PmSession final : public Shared {
 public:
  // Takes the counters of all wanted GPUs; on a thread that may hang. GPUs that cannot be had are
  // rows of `state`; the first reason is the failure if there is none left.
  Status Open(const PmRequest& request, StateSink& states);
  // Threads begin; rows go to `rows` and `stats` until Stop returns.
  Status Start(TableWriter* rows, TableWriter* stats, int64_t start_ns, int64_t end_ns);
  // From its return on nothing is written. Within 450 ms, whatever hangs. Gives the counters back,
  // also when it was never started. Idempotent.
  void Stop();
  void SetPaused(bool paused);

  [[nodiscard]] std::vector<TableSpec> Tables() const;
  [[nodiscard]] std::vector<Source::Ticks> Ticks() const;
  [[nodiscard]] std::vector<Source::Cost> Costs() const;
  [[nodiscard]] int64_t CpuNs() const;

 private:
  ~PmSession() override = default;
  static void RunGpu(void* gpu);
  static void RunSupervisor(void* self);

  // ---- opening (pm_session.cc) ----
  Status FindGpus();
  Status TakeCounters(PmGpu& gpu) const;
  void ReportNulls();

  // ---- the thread of a GPU (pm_session_gpu.cc) ----
  void GpuLoop(PmGpu& gpu);
  void GiveBack(PmGpu& gpu);
  bool StartSampling(PmGpu& gpu);
  void StopSampling(PmGpu& gpu);
  // One decoding with its rows; false when the GPU is to be left.
  bool DecodeOnce(PmGpu& gpu, bool is_last);
  // After an overflow the hardware gives nothing more until it is set up anew.
  bool Restart(PmGpu& gpu);
  // While another process changes how the GPU is divided: gives the counters back and waits, then
  // samples again. False when the GPU is to be left.
  bool LetGo(PmGpu& gpu, bool is_sampling);
  [[nodiscard]] bool IsChangeAnnounced(PmGpu& gpu) const;
  void ConvertTimes(PmGpu& gpu, bool drained, int64_t now_ns);
  [[nodiscard]] bool ShouldEnd() const;
  // Until the deadline or until `wake_` is no longer `seen`.
  void WaitUntil(uint32_t seen, int64_t deadline_ns) const;

  // ---- rows (pm_session_rows.cc); mutex_ held ----
  void WriteRows(PmGpu& gpu, int64_t now_ns);
  void WriteRow(PmGpu& gpu, const PmGpu::Row& row);
  void WriteHeld(int64_t now_ns);
  void WriteStats(int64_t now_ns);
  [[nodiscard]] bool IsInTime(const PmGpu::Row& row) const;

  void Report(
      const PmGpu& gpu, const char* field, const char* state, const char* reason, int64_t code);
  void Supervise();
  void Wake();

  PmRequest request_;
  StateSink* states_ = nullptr;  // until Stop; states_mutex_
  std::mutex states_mutex_;
  CudaTable cuda_;
  PmTable table_;
  bool simulated_ = false;
  std::vector<std::unique_ptr<PmGpu>> gpus_;  // fixed after Open
  std::vector<std::string> lock_folders_;     // fixed after Open
  std::atomic<size_t> holders_{0};            // GPUs whose counters are taken
  Thread supervisor_;
  bool started_ = false, stopped_ = false;  // of the caller's thread

  std::atomic<uint32_t> wake_{0};
  std::atomic<bool> run_{false}, stop_{false}, paused_{false};
  int64_t start_ns_ = 0, end_ns_ = 0;  // fixed before run_

  // Guards the writers and what follows.
  mutable std::mutex mutex_;
  TableWriter *rows_ = nullptr, *stats_ = nullptr;
  uint64_t stat_ticks_ = 0, stat_missed_ = 0;
};

}  // namespace warpgauge
