#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "core/status.h"
#include "core/thread.h"
#include "gpu/cupti/trace_ring.h"

namespace warpgauge {

// What a trace asks of the processes that it reaches, and what it may take.
struct TraceOptions {
  // Of all lanes in memory together.
  uint64_t bytes = uint64_t{64} << 20;
  uint32_t kinds = 0;  // bits 1 << wg_record_kind
  uint32_t api = WG_API_MEMCPY;
  uint32_t flush_ms = 20;
  uint32_t pool_bytes = 32U << 20;
  // Whether processes trace from their start on, or wait to be told.
  bool tracing = true;
  // An existing folder, ours, for processes that cannot open the memory; "": there is none.
  std::string dir;
};

// How many lanes of how many records fit into so many bytes: the layout of the whole buffer.
struct TraceLayout {
  uint32_t lanes = 0;
  uint32_t capacity = 0;  // records of a lane, a power of two
  uint64_t stride = 0;    // bytes from one lane to the next
  uint64_t bytes = 0;

  // `most_lanes` 1 gives everything to one lane.
  static TraceLayout For(uint64_t bytes, uint32_t most_lanes);
};

// The reader's side of one trace: the memory that processes write their records into, and the file
// `control` that tells those the same which cannot open it (trace_ring.h). Nothing in it is
// trusted. Shared by who made it (a JavaScript environment) and by the source that reads it; any
// thread.
class TraceBuffer final : public Shared {
 public:
  static constexpr uint64_t kLeastBytes = uint64_t{1} << 20;
  static constexpr uint64_t kMostBytes = uint64_t{16} << 30;

  // A sealed, fully allocated memfd that other processes open as /proc/PID/fd/N, and the control
  // file in `options.dir`. With one reference.
  static Result<TraceBuffer*> Create(const TraceOptions& options);
  // One lane for this process in memory that nobody else sees.
  static Result<TraceBuffer*> CreatePrivate(const TraceOptions& options);

  [[nodiscard]] const TraceOptions& options() const { return options_; }
  [[nodiscard]] const TraceLayout& layout() const { return layout_; }
  // -1 for a private one.
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_private() const { return fd_ < 0; }
  [[nodiscard]] wg_trace_header* header() const {
    return reinterpret_cast<wg_trace_header*>(memory_);
  }
  [[nodiscard]] wg_lane* lane(uint32_t index) const {
    return reinterpret_cast<wg_lane*>(memory_ + WG_TRACE_PAGE + index * layout_.stride);
  }

  // The word that all writers obey. `ended` stays: nobody traces after the reader has gone.
  void SetTracing(bool tracing);
  void SetPaused(bool paused);
  void End();

 private:
  explicit TraceBuffer(TraceOptions options) : options_(std::move(options)) {}
  ~TraceBuffer() override;
  Status MakeMemory();
  Status MakeControl();
  void Announce();
  void TellRun();

  const TraceOptions options_;
  TraceLayout layout_;
  uint8_t* memory_ = nullptr;
  int fd_ = -1;
  int control_ = -1;
  std::mutex run_mutex_;
  std::atomic<bool> tracing_{true};
  std::atomic<bool> paused_{false};
  std::atomic<bool> ended_{false};
};

// Traces that JavaScript made and that a source is to read, by number; process-wide.
uint32_t RegisterTrace(TraceBuffer* trace);
// With a reference for the caller; nullptr when there is none of that number (any more).
TraceBuffer* FindTrace(uint32_t id);
// Gives up the registry's reference.
void ForgetTrace(uint32_t id);

}  // namespace warpgauge
