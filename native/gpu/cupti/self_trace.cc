#include "gpu/cupti/self_trace.h"

#include <atomic>
#include <cstdlib>
#include <utility>

#include "gpu/cuda/table.h"
#include "gpu/cupti/activity.h"
#include "gpu/cupti/lane_reader.h"
#include "gpu/driver_gate.h"

namespace warpgauge {
namespace {

// CUPTI gives back what it has within a flush; what takes longer hangs.
constexpr uint32_t kStopMs = 250;

// Set while a SelfTrace lives, and for good once its thread had to be left behind.
std::atomic<bool> g_is_traced{false};
// The writer belongs to the activity, whose memory is static too.
wg_lane_writer g_writer;

Status WhyNot(wg_reason reason, const wg_lane& lane) {
  const std::string detail = lane.detail;
  const auto status = [&](const char* code, const char* fallback) {
    return Status(code, "cuda: " + (detail.empty() ? std::string(fallback) : detail))
        .WithSource("CUPTI", lane.code);
  };
  switch (reason) {
    case WG_REASON_NO_CUPTI:
      return status("ERR_LIBRARY_MISSING", "no libcupti was found")
          .WithFix("install the CUDA toolkit, or set WARPGAUGE_CUPTI=/path/to/libcupti.so");
    case WG_REASON_BUSY:
      return status("ERR_BUSY", "another user of CUPTI (a profiler) is at work in this process")
          .WithFix("one profiler at a time: end the other one");
    case WG_REASON_PRIVILEGE:
      return status("ERR_PERMISSION", "the driver does not let this user trace")
          .WithFix(
              "run as root, or set NVreg_RestrictProfilingToAdminUsers=0 for the nvidia module");
    case WG_REASON_NO_MEMORY:
      return status("ERR_NO_MEMORY", "no memory for CUPTI's buffers");
    default:
      return status("ERR_UNAVAILABLE", "CUPTI refused");
  }
}

}  // namespace

Result<std::unique_ptr<SelfTrace>> SelfTrace::Open(const TraceOptions& options,
                                                   const std::string& root,
                                                   const std::string& paths) {
  const char* cupti = std::getenv(WG_ENV_CUPTI);
  const char* cuda = std::getenv("WARPGAUGE_CUDA");
  const std::string override_path = cupti != nullptr ? cupti : "";
  if (override_path.empty()) {
    Status gate = PassDriverGate(root, cuda != nullptr ? cuda : "");
    if (!gate.ok()) return gate;
  }
  if (g_is_traced.exchange(true, std::memory_order_acq_rel)) {
    return Status("ERR_BUSY", "cuda: this process is traced already, by another sampler")
        .WithFix("close that one first: a process has one trace");
  }
  const Result<TraceBuffer*> buffer = TraceBuffer::CreatePrivate(options);
  if (!buffer.ok()) {
    g_is_traced.store(false, std::memory_order_release);
    return buffer.status;
  }
  g_writer = wg_lane_writer{};
  wg_activity_options how{};
  how.cupti_override = override_path.empty() ? nullptr : override_path.c_str();
  how.cupti_paths = paths.empty() ? nullptr : paths.c_str();
  how.in_process = 1;
  // Opened, not initialized: by an address inside it the activity finds it, whatever its file is
  // called.
  const Result<CudaTable> driver = OpenCuda(cuda != nullptr ? cuda : "");
  if (driver.ok()) how.driver_code = reinterpret_cast<const void*>(driver.value.cuInit);
  wg_reason reason = WG_REASON_NO_MEMORY;
  if (wg_lane_attach_mapped(&g_writer, buffer.value->header()) == 0) {
    reason = wg_activity_start(&g_writer, &how);
  }
  if (reason == WG_REASON_NONE) {
    return std::unique_ptr<SelfTrace>(new SelfTrace(buffer.value));
  }
  wg_lane lane{};
  MemoryLaneReader(buffer.value->lane(0), buffer.value->layout().capacity).Look(&lane);
  Status status = WhyNot(reason, lane);
  buffer.value->Unref();
  g_is_traced.store(false, std::memory_order_release);
  return status;
}

void SelfTrace::Stop() {
  if (is_stopped_) return;
  is_stopped_ = true;
  if (wg_activity_stop(WG_STOP_UNSUBSCRIBE, kStopMs) == 0) {
    g_is_traced.store(false, std::memory_order_release);
  } else {
    // Its thread may write still: the memory stays, and so does the word that we are traced.
    buffer_->Ref();
  }
}

SelfTrace::~SelfTrace() {
  Stop();
  buffer_->Unref();
}

}  // namespace warpgauge
