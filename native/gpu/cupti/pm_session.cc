#include "gpu/cupti/pm_session.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/cupti/pm_claims.h"
#include "gpu/cupti/pm_tables.h"
#include "gpu/driver_gate.h"
#include "gpu/nvml/mig_intent.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStopNs = 400 * kMs;
constexpr int64_t kSupervisePeriodNs = 100 * kMs;
constexpr int64_t kStatPeriodNs = 1000 * kMs;
constexpr int64_t kHungNs = 2000 * kMs;

std::string UuidText(const char* prefix, const CuUuid& uuid) {
  std::string text = prefix;
  for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
    char hex[3];
    std::snprintf(hex, sizeof(hex), "%02x", uuid.bytes[i]);
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += hex;
  }
  return text;
}

struct Uuids {
  std::string device, whole;
};

// As nvidia-smi -L writes them. In MIG mode the newer function tells the instance and the older one
// the GPU.
Result<Uuids> ReadUuids(const CudaTable& cuda, CuDevice device) {
  CuUuid uuid{};
  auto* get = cuda.GetUuid();
  if (get == nullptr) {
    return Status("ERR_SYMBOL_MISSING", cuda.path + " lacks cuDeviceGetUuid")
        .WithFix("a driver of CUDA 12.6 or later has it");
  }
  if (const CuResult r = get(&uuid, device); r != kCuSuccess) {
    return CudaStatus(cuda, r, "cuDeviceGetUuid", "Reading the UUID of a device");
  }
  CuUuid whole{};
  const bool is_instance = cuda.cuDeviceGetUuid_v2 != nullptr && cuda.cuDeviceGetUuid != nullptr &&
                           cuda.cuDeviceGetUuid(&whole, device) == kCuSuccess &&
                           std::memcmp(&whole, &uuid, sizeof(uuid)) != 0;
  if (is_instance) return Uuids{UuidText("MIG-", uuid), UuidText("GPU-", whole)};
  const std::string text = UuidText("GPU-", uuid);
  return Uuids{text, text};
}

}  // namespace

// ---- opening ----

Status PmSession::FindGpus() {
  if (Status gate = PassDriverGate(request_.root, request_.cuda_library); !gate.ok()) return gate;
  Result<CudaTable> cuda = OpenCuda(request_.cuda_library);
  if (!cuda.ok()) return cuda.status;
  cuda_ = cuda.value;
  int version = 0;
  if (cuda_.cuDriverGetVersion != nullptr) cuda_.cuDriverGetVersion(&version);
  // Before cuInit, which takes memory and time: without CUPTI it would be for nothing.
  Result<PmTable> table = OpenPm(request_.cupti_library, version);
  if (!table.ok()) return table.status;
  table_ = table.value;
  if (const CuResult r = cuda_.cuInit(0); r != kCuSuccess) {
    return CudaStatus(cuda_, r, "cuInit", "Initializing CUDA");
  }
  int count = 0;
  if (const CuResult r = cuda_.cuDeviceGetCount(&count); r != kCuSuccess) {
    return CudaStatus(cuda_, r, "cuDeviceGetCount", "Counting the devices");
  }
  std::string shown;
  for (int i = 0; i < count; i++) {
    CuDevice device = 0;
    if (const CuResult r = cuda_.cuDeviceGet(&device, i); r != kCuSuccess) {
      return CudaStatus(cuda_, r, "cuDeviceGet", "Opening device " + std::to_string(i));
    }
    Result<Uuids> uuids = ReadUuids(cuda_, device);
    if (!uuids.ok()) return uuids.status;
    const std::string& uuid = uuids.value.device;
    shown += (shown.empty() ? "" : ", ") + uuid;
    const std::vector<std::string>& wanted = request_.devices;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), uuid) == wanted.end()) {
      continue;
    }
    auto gpu = std::make_unique<PmGpu>(table_, static_cast<size_t>(i));
    gpu->session = this;
    gpu->device.uuid = uuid;
    gpu->whole_uuid = uuids.value.whole;
    char name[128] = {};
    if (cuda_.cuDeviceGetName(name, sizeof(name), device) == kCuSuccess) gpu->device.name = name;
    simulated_ |= gpu->device.name.starts_with("Simulated");
    int kilohertz = 0;
    if (cuda_.cuDeviceGetAttribute(&kilohertz, kCuClockRateKhz, device) == kCuSuccess &&
        kilohertz > 0) {
      gpu->clock_hertz = kilohertz * 1e3;
    }
    gpus_.push_back(std::move(gpu));
  }
  for (const std::string& uuid : request_.devices) {
    if (std::any_of(gpus_.begin(), gpus_.end(), [&](const auto& gpu) {
          return gpu->device.uuid == uuid;
        })) {
      continue;
    }
    return Status("ERR_NO_DEVICE",
                  "CUDA shows no device " + uuid + "; it shows " + (shown.empty() ? "none" : shown))
        .WithFix("nvidia-smi -L lists the UUIDs; CUDA_VISIBLE_DEVICES hides devices");
  }
  if (gpus_.empty()) {
    return Status("ERR_NO_DEVICE", "CUDA shows no device")
        .WithFix("check nvidia-smi -L, CUDA_VISIBLE_DEVICES and, in a container, --gpus all");
  }
  return Status::Ok();
}

Status PmSession::TakeCounters(PmGpu& gpu) const {
  PmClaims& claims = PmClaims::Get();
  if (!claims.Claim(gpu.device.uuid)) {
    return Status("ERR_BUSY",
                  "The counters of " + gpu.device.uuid +
                      " are in use by another pm-sampling source of this process")
        .WithFix("close that sampler first, or take its batches");
  }
  Status status;
  {
    const std::unique_lock<std::mutex> lock(claims.calls);
    status = gpu.device.Plan();
    if (status.ok()) status = gpu.device.Enable(request_.settings, gpu.clock_hertz);
    if (!status.ok()) gpu.device.Close();
  }
  if (!status.ok()) claims.Release(gpu.device.uuid);
  return status;
}

Status PmSession::Open(const PmRequest& request, StateSink& states) {
  request_ = request;
  states_ = &states;
  lock_folders_ = LockFolders(request.root);
  if (Status status = FindGpus(); !status.ok()) return status;
  if (Status status = PmClaims::Get().AddUser(table_); !status.ok()) return status;
  Status first;
  for (auto gpu = gpus_.begin(); gpu != gpus_.end();) {
    Status status = TakeCounters(**gpu);
    if (status.ok()) {
      ++gpu;
      continue;
    }
    const bool by_code = std::strcmp(status.code(), "ERR_BUSY") == 0;
    Report(
        **gpu, "", "unavailable", by_code ? "busy" : CuptiReason(status.number()), status.number());
    if (first.ok()) first = std::move(status);
    gpu = gpus_.erase(gpu);
  }
  if (gpus_.empty()) {
    PmClaims::Get().RemoveUser(table_);
    return first;
  }
  holders_.store(gpus_.size(), std::memory_order_relaxed);
  ReportNulls();
  for (size_t i = 0; i < gpus_.size(); i++) {
    PmGpu& gpu = *gpus_[i];
    Status status = gpu.thread.Start(this, "warpgauge-pm", RunGpu, &gpu);
    if (status.ok()) continue;
    // Those that have a thread give back by themselves.
    for (size_t j = i; j < gpus_.size(); j++) GiveBack(*gpus_[j]);
    Stop();
    return status;
  }
  return Status::Ok();
}

// What one GPU lacks and another has; what all lack stands in the fields' metadata.
void PmSession::ReportNulls() {
  const std::vector<PmQuantity>& quantities = PmQuantities();
  for (size_t i = 0; i < quantities.size(); i++) {
    const auto has = [&](const auto& gpu) { return gpu->device.plan.reasons[i] == nullptr; };
    if (std::none_of(gpus_.begin(), gpus_.end(), has)) continue;
    for (const auto& gpu : gpus_) {
      if (has(gpu)) continue;
      Report(*gpu, quantities[i].column, "unavailable", gpu->device.plan.reasons[i], 0);
    }
  }
  for (const auto& gpu : gpus_) {
    if (gpu->device.trigger != PmTrigger::kSysClock) continue;
    Report(
        *gpu, "window_ns", "degraded", "clock_trigger", static_cast<int64_t>(gpu->device.interval));
  }
}

std::vector<TableSpec> PmSession::Tables() const {
  TableSpec rows = MakePmTable();
  TableSpec stats = MakePmStatTable();
  rows.simulated = stats.simulated = simulated_;
  rows.rows_per_tick = stats.rows_per_tick = static_cast<uint32_t>(gpus_.size());
  rows.interval_ns = request_.settings.interval_ns;
  for (size_t i = 0; i < PmQuantities().size(); i++) {
    ColumnSpec& column = rows.columns[kPmFirstColumn + i];
    std::string metrics;
    const char* reason = nullptr;
    for (const auto& gpu : gpus_) {
      const std::string& metric = gpu->device.plan.metrics[i];
      if (metric.empty()) reason = gpu->device.plan.reasons[i];
      if (metric.empty() || metrics.find(metric) != std::string::npos) continue;
      metrics += (metrics.empty() ? "" : " or ") + metric;
    }
    if (metrics.empty()) {
      column.reason = reason;
    } else {
      column.source = "CUPTI " + metrics + ": " + column.source;
    }
  }
  return {std::move(rows), std::move(stats)};
}

// ---- running ----

Status PmSession::Start(TableWriter* rows, TableWriter* stats, int64_t start_ns, int64_t end_ns) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    rows_ = rows;
    stats_ = stats;
  }
  start_ns_ = start_ns;
  end_ns_ = end_ns;
  started_ = true;
  run_.store(true, std::memory_order_release);
  Wake();
  return supervisor_.Start(this, "warpgauge-pms", RunSupervisor, this);
}

void PmSession::Stop() {
  if (stopped_) return;
  stopped_ = true;
  stop_.store(true, std::memory_order_release);
  Wake();
  const int64_t deadline_ns = MonotonicNs() + kStopNs;
  for (const auto& gpu : gpus_) {
    if (gpu->thread.WaitEnded(deadline_ns)) continue;
    Report(*gpu, "", "hung", "hung", 0);
  }
  static_cast<void>(supervisor_.WaitEnded(MonotonicNs() + 50 * kMs));
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (started_) WriteStats(MonotonicNs());
    rows_ = stats_ = nullptr;
  }
  const std::unique_lock<std::mutex> lock(states_mutex_);
  states_ = nullptr;
}

void PmSession::SetPaused(bool paused) {
  paused_.store(paused, std::memory_order_release);
  Wake();
}

void PmSession::Wake() {
  wake_.fetch_add(1, std::memory_order_acq_rel);
  FutexWakeAll(wake_);
}

void PmSession::Report(
    const PmGpu& gpu, const char* field, const char* state, const char* reason, int64_t code) {
  const std::unique_lock<std::mutex> lock(states_mutex_);
  if (states_ == nullptr) return;
  states_->Report({.table = request_.table,
                   .key = gpu.device.uuid,
                   .field = field,
                   .state = state,
                   .reason = reason,
                   .code = code});
}

void PmSession::RunSupervisor(void* self) { static_cast<PmSession*>(self)->Supervise(); }

void PmSession::Supervise() {
  int64_t next_stat = 0;
  while (!stop_.load(std::memory_order_acquire)) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    const int64_t now_ns = MonotonicNs();
    for (const auto& gpu : gpus_) {
      const PmDevice& device = gpu->device;
      const bool hangs = device.call.load(std::memory_order_acquire) != nullptr &&
                         now_ns - device.call_since_ns.load(std::memory_order_relaxed) > kHungNs;
      if (hangs == gpu->hung) continue;
      gpu->hung = hangs;
      Report(*gpu, "", hangs ? "hung" : "ok", hangs ? "hung" : "", 0);
    }
    const int64_t due = start_ns_ + next_stat * kStatPeriodNs;
    const bool is_over = end_ns_ != 0 && due >= end_ns_;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (now_ns >= due && !is_over) {
        const int64_t passed = (now_ns - start_ns_) / kStatPeriodNs;
        if (!paused_.load(std::memory_order_acquire)) {
          WriteStats(now_ns);
          stat_ticks_++;
          stat_missed_ += static_cast<uint64_t>(passed - next_stat);
        }
        next_stat = passed + 1;
      }
      // Where a GPU gives no more rows, those it gave are not to wait.
      if (rows_ != nullptr) rows_->FlushIfOld(now_ns);
      if (stats_ != nullptr) stats_->FlushIfOld(now_ns);
    }
    FutexWait(wake_, seen, now_ns + kSupervisePeriodNs);
  }
}

std::vector<Source::Ticks> PmSession::Ticks() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  // Of the GPU that lost most.
  Source::Ticks rows;
  for (const auto& gpu : gpus_) {
    const bool is_worse = gpu->counts.lost > rows.missed ||
                          (gpu->counts.lost == rows.missed && gpu->counts.samples > rows.ticks);
    if (is_worse) rows = {gpu->counts.samples, gpu->counts.lost};
  }
  return {rows, {stat_ticks_, stat_missed_}};
}

std::vector<Source::Cost> PmSession::Costs() const {
  std::vector<Source::Cost> costs;
  for (const auto& gpu : gpus_) {
    const std::string whose = gpus_.size() > 1 ? " " + gpu->device.uuid : "";
    costs.push_back(gpu->cost.Summary("decode and evaluate one sample" + whose));
  }
  return costs;
}

int64_t PmSession::CpuNs() const {
  int64_t ns = supervisor_.CpuNs();
  for (const auto& gpu : gpus_) ns += gpu->thread.CpuNs();
  return ns;
}

}  // namespace warpgauge
