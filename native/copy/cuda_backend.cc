#include "copy/cuda_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "copy/copy_witness.h"
#include "core/clock.h"
#include "gpu/cuda/context.h"
#include "gpu/cuda/vector_add_ptx.h"
#include "gpu/nvml/reader.h"
#include "memory/kernel_files.h"

namespace warpgauge {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kBounceBytes = 4 * kStagingBytes;
constexpr unsigned char kPoison = 0x5a;
constexpr unsigned kThreadsPerBlock = 256;
constexpr unsigned kBlocksPerMultiprocessor = 32;

// Wake: copies per round, rounds without a faster link after which it is believed to be
// as fast as it gets, and the bound on the whole. 64 MiB take 1 ms on a Gen5 x16 link and
// 20 ms on a Gen1 x16 one.
constexpr int kWakeCopies = 16;
constexpr int kWakeSteadyRounds = 4;
constexpr int64_t kWakeBoundNs = 500'000'000;

bool SaysSimulated(const std::string& text) { return text.starts_with("Simulated"); }

// -1, which the kernel writes for "no node", is no number here either.
int ReadNumaNode(const std::string& pci_address) {
  const auto node = ReadKernelNumber("/sys/bus/pci/devices/" + pci_address + "/numa_node");
  return node ? static_cast<int>(*node) : -1;
}

// The 32 digits with the dashes of a UUID.
std::string UuidText(const std::string& hex) {
  if (hex.size() != 32) return hex;
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" +
         hex.substr(16, 4) + "-" + hex.substr(20);
}

// A driver call that may have failed, and its name for the message.
struct Outcome {
  CuResult result = kCuSuccess;
  const char* function = "";
};

class CudaBackend final : public CopyBackend {
 public:
  explicit CudaBackend(std::unique_ptr<CudaContext> context)
      : context_(std::move(context)), cuda_(context_->table()) {}
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;
  ~CudaBackend() override;

  Status Prepare(std::unique_ptr<NvmlReader> nvml);

  [[nodiscard]] const char* name() const override { return "cuda"; }
  [[nodiscard]] const BackendDevice* device() const override { return &device_; }
  Status Reserve(size_t bytes, bool vector_add) override;
  Status Wake() override;
  Status LoadDevice(const Pattern& pattern, size_t bytes) override;
  Status PoisonDevice(size_t bytes) override;
  void RewarmStaging(size_t bytes) override;
  Result<CopyTiming> CopyHtoD(const uint8_t* host, size_t bytes, PinMode pin) override;
  Result<CopyTiming> CopyDtoH(uint8_t* host, size_t bytes, PinMode pin) override;
  Result<int64_t> VerifyHtoD(const uint8_t* host, size_t bytes, const Pattern& pattern) override;
  [[nodiscard]] const char* htod_verification() const override { return "readback"; }
  Status Register(uint8_t* host, size_t bytes, int64_t* register_ns) override;
  Status Unregister(uint8_t* host, int64_t* unregister_ns) override;
  Result<uint8_t*> HostAlloc(size_t bytes) override;
  Status HostFree(uint8_t* host) override;
  Result<VectorAddTiming> VectorAdd(
      const double* a, const double* b, double* c, size_t count, PinMode pin) override;
  GpuCondition ReadGpu() override;
  Status BeginWitness() override;
  Result<CopyWitnessReading> EndWitness(uint64_t bytes) override;

 private:
  struct Buffer {
    CuDevicePtr address = 0;
    size_t bytes = 0;
  };
  struct EventPair {
    CuEvent start = nullptr, stop = nullptr;
  };

  [[nodiscard]] Status Fail(CuResult result, const char* function, const std::string& doing) const {
    return CudaStatus(cuda_, result, function, doing);
  }
  Status Fits(size_t bytes, const Buffer& buffer) const;
  Status Grow(Buffer* buffer, size_t bytes);
  Status LoadModule();
  Status Synchronize(const char* doing);
  Status CheckQueued(Outcome outcome, const char* doing);

  Outcome QueueHtoD(CuDevicePtr to, const uint8_t* from, size_t bytes, int64_t drop_page) const;
  Outcome QueueDtoH(uint8_t* to, CuDevicePtr from, size_t bytes, int64_t drop_page) const;
  template <typename Queue>
  Result<CopyTiming> Time(const EventPair& events,
                          double stretch,
                          const char* doing,
                          const Queue& queue);
  Status ReadEvents(const EventPair& events, CopyTiming* timing) const;

  std::unique_ptr<CudaContext> context_;  // first in, last out: everything below lives in it
  const CudaTable& cuda_;
  std::unique_ptr<NvmlReader> nvml_;
  std::unique_ptr<CopyWitness> witness_;
  BackendDevice device_;
  CuStream stream_ = nullptr;
  std::array<EventPair, 4> events_;  // plain copies use the first, vectorAdd one per phase
  Buffer a_, b_, c_;                 // kept and only ever grown: allocation must not be timed
  Buffer scratch_;                   // target of copies that only wake or warm something
  uint8_t* bounce_ = nullptr;        // pinned, kBounceBytes
  std::vector<uint8_t> pageable_;    // kStagingBytes, for RewarmStaging
  CuModule module_ = nullptr;
  CuFunction function_ = nullptr;
};

// Frees what a dead device lets it free and ignores the rest: the process goes on
// or ends, both are fine.
CudaBackend::~CudaBackend() {
  if (stream_ != nullptr) cuda_.cuStreamSynchronize(stream_);
  if (module_ != nullptr) cuda_.cuModuleUnload(module_);
  for (const Buffer& buffer : {a_, b_, c_, scratch_}) {
    if (buffer.bytes != 0) cuda_.cuMemFree_v2(buffer.address);
  }
  if (bounce_ != nullptr) cuda_.cuMemFreeHost(bounce_);
  for (const EventPair& pair : events_) {
    if (pair.start != nullptr) cuda_.cuEventDestroy_v2(pair.start);
    if (pair.stop != nullptr) cuda_.cuEventDestroy_v2(pair.stop);
  }
  if (stream_ != nullptr) cuda_.cuStreamDestroy_v2(stream_);
}

Status CudaBackend::Prepare(std::unique_ptr<NvmlReader> nvml) {
  const CudaDeviceInfo& info = context_->info();
  device_.name = info.name;
  device_.pci_address = info.pci_address;
  device_.compute_capability = info.compute_capability;
  device_.cuda = info.cuda;
  device_.memory_bytes = info.memory_bytes;
  device_.pageable_access = info.pageable_access;
  device_.host_page_tables = info.host_page_tables;
  device_.simulated = SaysSimulated(info.name);
  // A simulated device next to a real NVML (or the other way round) would show
  // numbers of another device.
  if (nvml != nullptr && SaysSimulated(nvml->name()) == device_.simulated) nvml_ = std::move(nvml);
  if (nvml_ != nullptr) device_.driver = nvml_->driver();
  if (!info.uuid_hex.empty()) {
    // CUDA gives bytes only. They are those of the instance in MIG mode, NVML's
    // those of the whole GPU.
    const std::string text = UuidText(info.uuid_hex);
    const bool whole = nvml_ == nullptr || nvml_->uuid().empty() || nvml_->uuid() == "GPU-" + text;
    device_.uuid = (whole ? "GPU-" : "MIG-") + text;
  }
  if (!device_.simulated && !device_.pci_address.empty()) {
    device_.numa_node = ReadNumaNode(device_.pci_address);
  }

  // Non-blocking: work that other code of this process puts on the default
  // stream does not order ours.
  if (CuResult r = cuda_.cuStreamCreate(&stream_, kCuStreamNonBlocking); r != kCuSuccess) {
    stream_ = nullptr;
    return Fail(r, "cuStreamCreate", "Preparing copies");
  }
  for (EventPair& pair : events_) {
    for (CuEvent* event : {&pair.start, &pair.stop}) {
      if (CuResult r = cuda_.cuEventCreate(event, kCuEventDefault); r != kCuSuccess) {
        *event = nullptr;
        return Fail(r, "cuEventCreate", "Preparing copies");
      }
    }
  }
  void* memory = nullptr;
  if (CuResult r = cuda_.cuMemHostAlloc(&memory, kBounceBytes, 0); r != kCuSuccess) {
    return Fail(r, "cuMemHostAlloc", "Allocating the pinned buffer for verification");
  }
  bounce_ = static_cast<uint8_t*>(memory);
  std::memset(bounce_, 0, kBounceBytes);
  pageable_.assign(kStagingBytes, 0);
  return Grow(&scratch_, kBounceBytes);
}

Status CudaBackend::Fits(size_t bytes, const Buffer& buffer) const {
  if (bytes > 0 && bytes <= buffer.bytes) return Status::Ok();
  return {"ERR_INVALID_ARGUMENT",
          "Expected 1 to " + std::to_string(buffer.bytes) + " reserved bytes for a copy to " +
              device_.name + " but received " + std::to_string(bytes)};
}

Status CudaBackend::Grow(Buffer* buffer, size_t bytes) {
  if (bytes <= buffer->bytes) return Status::Ok();
  if (buffer->bytes != 0) {
    buffer->bytes = 0;
    if (CuResult r = cuda_.cuMemFree_v2(buffer->address); r != kCuSuccess) {
      return Fail(r, "cuMemFree_v2", "Making room for a larger device buffer");
    }
  }
  if (CuResult r = cuda_.cuMemAlloc_v2(&buffer->address, bytes); r != kCuSuccess) {
    return Fail(
        r, "cuMemAlloc_v2", "Allocating " + std::to_string(bytes) + " bytes of device memory");
  }
  buffer->bytes = bytes;
  return Status::Ok();
}

Status CudaBackend::LoadModule() {
  if (function_ != nullptr) return Status::Ok();
  if (!cuda_.CanLaunch()) {
    std::string missing;
    for (const MissingSymbol& symbol : cuda_.missing) {
      if (symbol.lost == "vectorAdd") missing += (missing.empty() ? "" : ", ") + symbol.name;
    }
    return {"ERR_SYMBOL_MISSING", cuda_.path + " lacks " + missing + ", needed by vectorAdd"};
  }
  char log[2048] = {};
  int options[] = {kCuJitErrorLog, kCuJitErrorLogSize};
  // The size is passed in the pointer itself.
  void* values[] = {log, reinterpret_cast<void*>(sizeof(log))};
  if (CuResult r = cuda_.cuModuleLoadDataEx(&module_, kVectorAddPtx, 2, options, values);
      r != kCuSuccess) {
    module_ = nullptr;
    const std::string said = log[0] != '\0' ? std::string(" (assembler: ") + log + ")" : "";
    return Fail(r, "cuModuleLoadDataEx", "Assembling the vectorAdd kernel" + said);
  }
  if (CuResult r = cuda_.cuModuleGetFunction(&function_, module_, kVectorAddName);
      r != kCuSuccess) {
    function_ = nullptr;
    return Fail(r, "cuModuleGetFunction", "Finding the vectorAdd kernel");
  }
  return Status::Ok();
}

Status CudaBackend::Synchronize(const char* doing) {
  if (CuResult r = cuda_.cuStreamSynchronize(stream_); r != kCuSuccess) {
    Status failed = Fail(r, "cuStreamSynchronize", doing);
    // The caller will give the host buffer back: do not leave a transfer on its way to it.
    cuda_.cuStreamSynchronize(stream_);
    return failed;
  }
  return Status::Ok();
}

// After queueing: waits for it, or, when queueing failed half-way, for what was queued.
Status CudaBackend::CheckQueued(Outcome outcome, const char* doing) {
  Status waited = Synchronize(doing);
  if (outcome.result != kCuSuccess) return Fail(outcome.result, outcome.function, doing);
  return waited;
}

Status CudaBackend::Reserve(size_t bytes, bool vector_add) {
  if (Status status = Grow(&a_, bytes); !status.ok()) return status;
  if (!vector_add) return Status::Ok();
  if (Status status = Grow(&b_, bytes); !status.ok()) return status;
  if (Status status = Grow(&c_, bytes); !status.ok()) return status;
  return LoadModule();
}

Status CudaBackend::Wake() {
  const int64_t end = MonotonicNs() + kWakeBoundNs;
  int64_t best = -1;
  for (int steady = 0; steady < kWakeSteadyRounds && MonotonicNs() < end; ++steady) {
    for (int i = 0; i < kWakeCopies; ++i) {
      const Outcome outcome = i % 2 == 0 ? QueueHtoD(scratch_.address, bounce_, kBounceBytes, -1)
                                         : QueueDtoH(bounce_, scratch_.address, kBounceBytes, -1);
      if (outcome.result != kCuSuccess) return CheckQueued(outcome, "Waking the link");
    }
    if (Status status = Synchronize("Waking the link"); !status.ok()) return status;
    const int64_t generation = ReadGpu().pcie_gen;
    if (generation > best) steady = 0;
    best = std::max(best, generation);
    if (nvml_ != nullptr && best > 0 && best == nvml_->max_pcie_generation()) break;
  }
  return Status::Ok();
}

Status CudaBackend::LoadDevice(const Pattern& pattern, size_t bytes) {
  constexpr const char* kDoing = "Writing the pattern to the device";
  if (Status status = Fits(bytes, a_); !status.ok()) return status;
  size_t filled = std::min(bytes, kStagingBytes);
  std::memcpy(bounce_, pattern.period(), filled);
  Outcome outcome = QueueHtoD(a_.address, bounce_, filled, -1);
  while (outcome.result == kCuSuccess && filled < bytes) {
    const size_t length = std::min(filled, bytes - filled);
    outcome = {cuda_.cuMemcpyDtoDAsync_v2(a_.address + filled, a_.address, length, stream_),
               "cuMemcpyDtoDAsync_v2"};
    filled += length;
  }
  return CheckQueued(outcome, kDoing);
}

Status CudaBackend::PoisonDevice(size_t bytes) {
  if (Status status = Fits(bytes, a_); !status.ok()) return status;
  Outcome outcome{kCuSuccess, "cuMemsetD8Async"};
  for (const Buffer& buffer : {a_, b_, c_}) {
    if (outcome.result != kCuSuccess || buffer.bytes == 0) continue;
    outcome.result =
        cuda_.cuMemsetD8Async(buffer.address, kPoison, std::min(bytes, buffer.bytes), stream_);
  }
  return CheckQueued(outcome, "Overwriting device memory");
}

// The driver's own staging buffers are what a copy of pageable memory needs besides the user's
// buffer. A failure is not lost: the copy that follows meets it too.
void CudaBackend::RewarmStaging(size_t bytes) {
  const size_t length = std::clamp<size_t>(bytes, 1, pageable_.size());
  QueueHtoD(scratch_.address, pageable_.data(), length, -1);
  QueueDtoH(pageable_.data(), scratch_.address, length, -1);
  cuda_.cuStreamSynchronize(stream_);
}

Outcome CudaBackend::QueueHtoD(CuDevicePtr to,
                               const uint8_t* from,
                               size_t bytes,
                               int64_t drop_page) const {
  size_t begin = 0;
  Outcome outcome{kCuSuccess, "cuMemcpyHtoDAsync_v2"};
  const size_t hole = static_cast<size_t>(std::max<int64_t>(drop_page, 0)) * kPage;
  if (drop_page >= 0 && hole < bytes) {
    if (hole > 0) outcome.result = cuda_.cuMemcpyHtoDAsync_v2(to, from, hole, stream_);
    begin = std::min(hole + kPage, bytes);
  }
  if (outcome.result == kCuSuccess && begin < bytes) {
    outcome.result = cuda_.cuMemcpyHtoDAsync_v2(to + begin, from + begin, bytes - begin, stream_);
  }
  return outcome;
}

Outcome CudaBackend::QueueDtoH(uint8_t* to,
                               CuDevicePtr from,
                               size_t bytes,
                               int64_t drop_page) const {
  size_t begin = 0;
  Outcome outcome{kCuSuccess, "cuMemcpyDtoHAsync_v2"};
  const size_t hole = static_cast<size_t>(std::max<int64_t>(drop_page, 0)) * kPage;
  if (drop_page >= 0 && hole < bytes) {
    if (hole > 0) outcome.result = cuda_.cuMemcpyDtoHAsync_v2(to, from, hole, stream_);
    begin = std::min(hole + kPage, bytes);
  }
  if (outcome.result == kCuSuccess && begin < bytes) {
    outcome.result = cuda_.cuMemcpyDtoHAsync_v2(to + begin, from + begin, bytes - begin, stream_);
  }
  return outcome;
}

// The timed region. Everything between the two clock readings is the operation itself, its end
// event and the wait; messages are only made on failure.
template <typename Queue>
Result<CopyTiming> CudaBackend::Time(const EventPair& events,
                                     double stretch,
                                     const char* doing,
                                     const Queue& queue) {
  CopyTiming timing;
  Outcome outcome{cuda_.cuEventRecord(events.start, stream_), "cuEventRecord"};
  const int64_t begin = MonotonicRawNs();
  if (outcome.result == kCuSuccess) outcome = queue();
  if (outcome.result == kCuSuccess) {
    outcome = {cuda_.cuEventRecord(events.stop, stream_), "cuEventRecord"};
  }
  if (outcome.result == kCuSuccess) {
    outcome = {cuda_.cuStreamSynchronize(stream_), "cuStreamSynchronize"};
  }
  int64_t end = MonotonicRawNs();
  if (stretch > 0) {
    const auto until = end + static_cast<int64_t>(static_cast<double>(end - begin) * stretch);
    while (end < until) end = MonotonicRawNs();
  }
  timing.host_ns = end - begin;
  if (outcome.result != kCuSuccess) {
    // The caller will give the host buffer back: do not leave a transfer on its way to it.
    cuda_.cuStreamSynchronize(stream_);
    return Fail(outcome.result, outcome.function, doing);
  }
  return timing;
}

Status CudaBackend::ReadEvents(const EventPair& events, CopyTiming* timing) const {
  auto* elapsed = cuda_.ElapsedTime();
  if (elapsed == nullptr) return Status::Ok();
  float milliseconds = 0;
  if (CuResult r = elapsed(&milliseconds, events.start, events.stop); r != kCuSuccess) {
    return Fail(r, "cuEventElapsedTime", "Reading the time of a copy");
  }
  timing->event_ns = std::llround(static_cast<double>(milliseconds) * 1e6);
  return Status::Ok();
}

Result<CopyTiming> CudaBackend::CopyHtoD(const uint8_t* host, size_t bytes, PinMode /*pin*/) {
  if (Status status = Fits(bytes, a_); !status.ok()) return status;
  Result<CopyTiming> timing =
      Time(events_[0], fault_.stretch, "Copying to the device", [this, host, bytes] {
        return QueueHtoD(a_.address, host, bytes, fault_.drop_page);
      });
  if (timing.ok()) timing.status = ReadEvents(events_[0], &timing.value);
  return timing;
}

Result<CopyTiming> CudaBackend::CopyDtoH(uint8_t* host, size_t bytes, PinMode /*pin*/) {
  if (Status status = Fits(bytes, a_); !status.ok()) return status;
  Result<CopyTiming> timing =
      Time(events_[0], fault_.stretch, "Copying from the device", [this, host, bytes] {
        return QueueDtoH(host, a_.address, bytes, fault_.drop_page);
      });
  if (timing.ok()) timing.status = ReadEvents(events_[0], &timing.value);
  return timing;
}

Result<int64_t> CudaBackend::VerifyHtoD(const uint8_t* /*host*/,
                                        size_t bytes,
                                        const Pattern& pattern) {
  if (Status status = Fits(bytes, a_); !status.ok()) return status;
  static_assert(kBounceBytes % kStagingBytes == 0,
                "each chunk starts with a period of the pattern");
  for (size_t done = 0; done < bytes; done += kBounceBytes) {
    const size_t length = std::min(kBounceBytes, bytes - done);
    // Written first, so that a read-back that never arrives is not taken for the chunk before.
    std::memset(bounce_, kPoison, length);
    if (Status status = CheckQueued(QueueDtoH(bounce_, a_.address + done, length, -1),
                                    "Reading the copy back from the device");
        !status.ok()) {
      return status;
    }
    if (int64_t bad = pattern.FirstMismatch(bounce_, length); bad >= 0) {
      return static_cast<int64_t>(done) + bad;
    }
  }
  return int64_t{-1};
}

Status CudaBackend::Register(uint8_t* host, size_t bytes, int64_t* register_ns) {
  const int64_t begin = MonotonicRawNs();
  const CuResult result = cuda_.cuMemHostRegister_v2(host, bytes, 0);
  *register_ns = MonotonicRawNs() - begin;
  return Fail(result, "cuMemHostRegister_v2", "Registering " + std::to_string(bytes) + " bytes");
}

Status CudaBackend::Unregister(uint8_t* host, int64_t* unregister_ns) {
  const int64_t begin = MonotonicRawNs();
  const CuResult result = cuda_.cuMemHostUnregister(host);
  *unregister_ns = MonotonicRawNs() - begin;
  return Fail(result, "cuMemHostUnregister", "Unregistering the buffer");
}

Result<uint8_t*> CudaBackend::HostAlloc(size_t bytes) {
  void* memory = nullptr;
  if (CuResult r = cuda_.cuMemHostAlloc(&memory, bytes, 0); r != kCuSuccess) {
    return Fail(r, "cuMemHostAlloc", "Allocating " + std::to_string(bytes) + " pinned bytes");
  }
  return static_cast<uint8_t*>(memory);
}

Status CudaBackend::HostFree(uint8_t* host) {
  return Fail(cuda_.cuMemFreeHost(host), "cuMemFreeHost", "Freeing pinned memory");
}

Result<VectorAddTiming> CudaBackend::VectorAdd(
    const double* a, const double* b, double* c, size_t count, PinMode /*pin*/) {
  const size_t bytes = count * sizeof(double);
  for (const Buffer* buffer : {&a_, &b_, &c_}) {
    if (Status status = Fits(bytes, *buffer); !status.ok()) return status;
  }
  if (Status status = LoadModule(); !status.ok()) return status;
  uint64_t n = count;
  void* parameters[] = {&a_.address, &b_.address, &c_.address, &n};
  const size_t needed = (count + kThreadsPerBlock - 1) / kThreadsPerBlock;
  const size_t enough =
      static_cast<size_t>(std::max(context_->info().multiprocessors, 1)) * kBlocksPerMultiprocessor;
  const auto blocks = static_cast<unsigned>(std::min(needed, enough));

  VectorAddTiming total;
  const int64_t begin = MonotonicRawNs();
  Result<CopyTiming> phase =
      Time(events_[0], fault_.stretch, "Copying A to the device", [this, a, bytes] {
        return QueueHtoD(a_.address, reinterpret_cast<const uint8_t*>(a), bytes, -1);
      });
  if (!phase.ok()) return phase.status;
  total.copy_a = phase.value;
  phase = Time(events_[1], fault_.stretch, "Copying B to the device", [this, b, bytes] {
    return QueueHtoD(b_.address, reinterpret_cast<const uint8_t*>(b), bytes, -1);
  });
  if (!phase.ok()) return phase.status;
  total.copy_b = phase.value;
  phase = Time(events_[2], fault_.stretch, "Adding", [this, blocks, &parameters] {
    return Outcome{
        cuda_.cuLaunchKernel(
            function_, blocks, 1, 1, kThreadsPerBlock, 1, 1, 0, stream_, parameters, nullptr),
        "cuLaunchKernel"};
  });
  if (!phase.ok()) return phase.status;
  total.kernel = phase.value;
  phase = Time(events_[3], fault_.stretch, "Copying C from the device", [this, c, bytes] {
    return QueueDtoH(reinterpret_cast<uint8_t*>(c), c_.address, bytes, fault_.drop_page);
  });
  total.host_ns = MonotonicRawNs() - begin;
  if (!phase.ok()) return phase.status;
  total.copy_c = phase.value;

  CopyTiming* timings[] = {&total.copy_a, &total.copy_b, &total.kernel, &total.copy_c};
  for (size_t i = 0; i < events_.size(); ++i) {
    if (Status status = ReadEvents(events_[i], timings[i]); !status.ok()) return status;
  }
  return total;
}

GpuCondition CudaBackend::ReadGpu() {
  GpuCondition state;
  if (nvml_ == nullptr) return state;
  const NvmlReading reading = nvml_->Read();
  const auto value = [&](NvmlMetric metric) { return reading[static_cast<size_t>(metric)].value; };
  state.sm_mhz = value(NvmlMetric::kSmClock);
  state.memory_mhz = value(NvmlMetric::kMemoryClock);
  state.pcie_gen = value(NvmlMetric::kPcieGeneration);
  state.pcie_width = value(NvmlMetric::kPcieWidth);
  state.replays = value(NvmlMetric::kReplays);
  state.throttle = value(NvmlMetric::kClockReasons);
  return state;
}

Status CudaBackend::BeginWitness() {
  if (witness_ == nullptr) {
    Result<std::unique_ptr<CopyWitness>> opened = CopyWitness::Open();
    if (!opened.ok()) return opened.status;
    witness_ = std::move(opened.value);
  }
  return witness_->Begin();
}

Result<CopyWitnessReading> CudaBackend::EndWitness(uint64_t bytes) {
  if (witness_ == nullptr) return Status("ERR_CLOSED", "BeginWitness comes first");
  return witness_->End(bytes);
}

}  // namespace

Result<std::unique_ptr<CopyBackend>> MakeCudaBackend(const CudaTable& cuda,
                                                     const NvmlTable* nvml,
                                                     int device) {
  Result<std::unique_ptr<CudaContext>> context = CudaContext::Open(cuda, device);
  if (!context.ok()) return context.status;
  // After the context: the device is awake by now, and asking NVML does not wake it.
  std::unique_ptr<NvmlReader> reader;
  if (nvml != nullptr && !context.value->info().pci_address.empty()) {
    Result<std::unique_ptr<NvmlReader>> opened =
        NvmlReader::Open(*nvml, context.value->info().pci_address);
    if (opened.ok()) reader = std::move(opened.value);
  }
  auto backend = std::make_unique<CudaBackend>(std::move(context.value));
  if (Status status = backend->Prepare(std::move(reader)); !status.ok()) return status;
  return std::unique_ptr<CopyBackend>(std::move(backend));
}

Result<std::unique_ptr<CopyBackend>> OpenCudaBackend(int device,
                                                     const std::string& cuda_path,
                                                     const std::string& nvml_path) {
  const Result<CudaTable> cuda = OpenCuda(cuda_path);
  if (!cuda.ok()) return cuda.status;
  const Result<NvmlTable> nvml = OpenNvml(nvml_path);
  if (!nvml.ok() && !nvml_path.empty()) return nvml.status;
  return MakeCudaBackend(cuda.value, nvml.ok() ? &nvml.value : nullptr, device);
}

}  // namespace warpgauge
