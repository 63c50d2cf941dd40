#include "gpu/cupti/trace_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace warpgauge {
namespace {

// Fewer would fill between two looks of the reader.
constexpr uint32_t kLeastCapacity = 256;

// glibc has memfd_create from 2.27 on; the addon's floor is below what some builds give.
int MakeMemfd(const char* name, unsigned flags) {
  return static_cast<int>(syscall(SYS_memfd_create, name, flags));
}

Status Failed(const char* call, const char* what) {
  const int error = errno;
  Status status("ERR_SYSCALL",
                std::string(what) + ": " + call + " failed: " + std::strerror(error));
  if (error == ENOSPC || error == ENOMEM) {
    return Status("ERR_NO_MEMORY", status.message())
        .WithSource(call, error)
        .WithFix("a smaller buffer (--buffer, bufferBytes)");
  }
  return std::move(status).WithSource(call, error);
}

struct Registry {
  std::mutex mutex;
  std::map<uint32_t, TraceBuffer*> traces;
  uint32_t last = 0;
};

Registry& TheRegistry() {
  static auto& registry = *new Registry;
  return registry;
}

}  // namespace

TraceLayout TraceLayout::For(uint64_t bytes, uint32_t most_lanes) {
  TraceLayout layout;
  const uint64_t records = bytes / most_lanes / WG_RECORD_BYTES;
  layout.capacity = kLeastCapacity;
  while (layout.capacity < (1U << 24) && uint64_t{2} * layout.capacity <= records) {
    layout.capacity *= 2;
  }
  const auto stride_of = [](uint64_t capacity) {
    return WG_TRACE_PAGE + capacity * WG_RECORD_BYTES;
  };
  // Of many lanes one less is no loss; the only one must fit.
  if (most_lanes == 1 && WG_TRACE_PAGE + stride_of(layout.capacity) > bytes) layout.capacity /= 2;
  layout.stride = stride_of(layout.capacity);
  const uint64_t room = bytes > WG_TRACE_PAGE ? bytes - WG_TRACE_PAGE : 0;
  layout.lanes = static_cast<uint32_t>(std::clamp<uint64_t>(room / layout.stride, 1, most_lanes));
  layout.bytes = WG_TRACE_PAGE + layout.lanes * layout.stride;
  return layout;
}

Result<TraceBuffer*> TraceBuffer::Create(const TraceOptions& options) {
  auto* trace = new TraceBuffer(options);
  trace->layout_ = TraceLayout::For(options.bytes, WG_TRACE_MOST_LANES);
  Status status = trace->MakeMemory();
  if (status.ok()) {
    trace->Announce();
    if (!options.dir.empty()) status = trace->MakeControl();
  }
  if (status.ok()) return trace;
  trace->Unref();
  return status;
}

Result<TraceBuffer*> TraceBuffer::CreatePrivate(const TraceOptions& options) {
  auto* trace = new TraceBuffer(options);
  trace->layout_ = TraceLayout::For(options.bytes, 1);
  void* memory = mmap(
      nullptr, trace->layout_.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    Status status = Failed("mmap", "Cannot get memory for the trace");
    trace->Unref();
    return status;
  }
  trace->memory_ = static_cast<uint8_t*>(memory);
  trace->Announce();
  return trace;
}

Status TraceBuffer::MakeMemory() {
  constexpr const char* kWhat = "Cannot make the memory that traced processes write into";
  fd_ = MakeMemfd("warpgauge-trace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd_ < 0) return Failed("memfd_create", kWhat);
  if (ftruncate(fd_, static_cast<off_t>(layout_.bytes)) != 0) return Failed("ftruncate", kWhat);
  // Every page now: a page that cannot be had later would be a SIGBUS of whoever touches it.
  if (fallocate(fd_, 0, 0, static_cast<off_t>(layout_.bytes)) != 0) {
    return Failed("fallocate", kWhat);
  }
  if (fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Failed("fcntl F_ADD_SEALS", kWhat);
  }
  void* memory = mmap(nullptr, layout_.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (memory == MAP_FAILED) return Failed("mmap", kWhat);
  memory_ = static_cast<uint8_t*>(memory);
  return Status::Ok();
}

void TraceBuffer::Announce() {
  tracing_.store(options_.tracing, std::memory_order_relaxed);
  wg_trace_header* out = header();
  out->version = WG_TRACE_VERSION;
  out->record_bytes = WG_RECORD_BYTES;
  out->lane_count = layout_.lanes;
  out->lane_capacity = layout_.capacity;
  out->lane_stride = layout_.stride;
  out->kinds = options_.kinds;
  out->api = options_.api;
  out->flush_ms = options_.flush_ms;
  out->pool_bytes = options_.pool_bytes;
  out->reader_pid = static_cast<uint32_t>(getpid());
  out->run = options_.tracing ? WG_RUN_TRACING : WG_RUN_PAUSED;
  out->magic = WG_TRACE_MAGIC;
}

Status TraceBuffer::MakeControl() {
  const std::string path = options_.dir + "/control";
  // Readable by all: those who need it are other users.
  control_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (control_ < 0) return Failed("open", ("Cannot make " + path).c_str());
  // Whatever the umask of this process is.
  if (fchmod(control_, 0644) != 0) return Failed("fchmod", path.c_str());
  if (pwrite(control_, memory_, WG_TRACE_PAGE, 0) != WG_TRACE_PAGE) {
    return Failed("pwrite", ("Cannot write " + path).c_str());
  }
  return Status::Ok();
}

void TraceBuffer::TellRun() {
  // Two who change the word at once must not leave the older one in it.
  const std::scoped_lock lock(run_mutex_);
  uint32_t run = WG_RUN_PAUSED;
  if (tracing_.load(std::memory_order_acquire) && !paused_.load(std::memory_order_acquire)) {
    run = WG_RUN_TRACING;
  }
  if (ended_.load(std::memory_order_acquire)) run = WG_RUN_ENDED;
  __atomic_store_n(&header()->run, run, __ATOMIC_RELEASE);
  if (control_ < 0) return;
  // Four aligned bytes: a reader of the file never sees half of them. Nothing can be done about a
  // folder that was taken away; its writers find that out themselves.
  [[maybe_unused]] const ssize_t written =
      pwrite(control_, &run, sizeof run, offsetof(wg_trace_header, run));
}

void TraceBuffer::SetTracing(bool tracing) {
  tracing_.store(tracing, std::memory_order_release);
  TellRun();
}

void TraceBuffer::SetPaused(bool paused) {
  paused_.store(paused, std::memory_order_release);
  TellRun();
}

void TraceBuffer::End() {
  ended_.store(true, std::memory_order_release);
  TellRun();
}

TraceBuffer::~TraceBuffer() {
  if (memory_ != nullptr) munmap(memory_, layout_.bytes);
  if (fd_ >= 0) close(fd_);
  if (control_ >= 0) close(control_);
}

uint32_t RegisterTrace(TraceBuffer* trace) {
  Registry& registry = TheRegistry();
  const std::scoped_lock lock(registry.mutex);
  registry.traces[++registry.last] = trace;
  return registry.last;
}

TraceBuffer* FindTrace(uint32_t id) {
  Registry& registry = TheRegistry();
  const std::scoped_lock lock(registry.mutex);
  const auto found = registry.traces.find(id);
  if (found == registry.traces.end()) return nullptr;
  found->second->Ref();
  return found->second;
}

void ForgetTrace(uint32_t id) {
  Registry& registry = TheRegistry();
  TraceBuffer* trace = nullptr;
  {
    const std::scoped_lock lock(registry.mutex);
    const auto found = registry.traces.find(id);
    if (found == registry.traces.end()) return;
    trace = found->second;
    registry.traces.erase(found);
  }
  trace->Unref();
}

}  // namespace warpgauge
