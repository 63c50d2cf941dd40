#pragma once

#include <memory>
#include <string>

#include "core/status.h"
#include "gpu/cupti/trace_buffer.h"

namespace warpgauge {

// Tracing of this process by the code that the injected library runs in others (activity.h), into
// memory of our own. CUPTI has one subscriber, so a process has one of it at a time.
class SelfTrace {
 public:
  // Opens CUPTI and subscribes, with nothing switched on yet; `paths`: more files to try, joined by
  // ':'. Takes milliseconds, and a hanging driver hangs it. ERR_NO_DRIVER without opening anything,
  // ERR_BUSY, ERR_LIBRARY_MISSING, ERR_PERMISSION, ERR_UNAVAILABLE.
  static Result<std::unique_ptr<SelfTrace>> Open(const TraceOptions& options,
                                                 const std::string& root,
                                                 const std::string& paths);
  // Stops, and where that did not work in time leaves the memory to the thread that hangs.
  ~SelfTrace();
  SelfTrace(const SelfTrace&) = delete;
  SelfTrace& operator=(const SelfTrace&) = delete;

  [[nodiscard]] TraceBuffer* buffer() const { return buffer_; }
  // Ends tracing while somebody still reads the buffer. Idempotent.
  void Stop();

 private:
  explicit SelfTrace(TraceBuffer* buffer) : buffer_(buffer) {}

  TraceBuffer* buffer_;
  bool is_stopped_ = false;
};

}  // namespace warpgauge
