// What a session's threads ask the driver, one metric at a time: every call lies between Begin and
// End, so that the supervisor sees one that hangs. Reading functions return false when the thread
// was left behind meanwhile: then it may touch nothing any more.
#include <algorithm>
#include <cstring>

#include "core/clock.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

constexpr unsigned kSampleRoom = 512;

}  // namespace

void NvmlSession::CollectTargets(NvmlWorker& worker, GpuTable table) {
  worker.targets.clear();
  const std::unique_lock<std::mutex> lock(mutex_);
  for (const auto& target : targets_) {
    if (IsReadNow(*target, table)) worker.targets.push_back(target.get());
  }
}

bool NvmlSession::ReadTable(NvmlWorker& worker, GpuTable table, int64_t tick_ns) {
  worker.pcie_rows.clear();
  worker.gpm_rows.clear();
  worker.process_rows.clear();
  worker.processes_read = false;
  worker.sample_rows.clear();
  worker.mig_rows.clear();
  CollectTargets(worker, table);
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (GpuTarget* target : worker.targets) {
    for (size_t i = 0; i < metrics.size(); i++) {
      if (metrics[i].table != table) continue;
      bool here = true;
      switch (table) {
        case GpuTable::kPcie:
          here = ReadPcie(worker, *target, tick_ns);
          break;
        case GpuTable::kProcess:
          here = ReadProcesses(worker, *target, tick_ns);
          break;
        case GpuTable::kGpm:
          here = ReadGpm(worker, *target, tick_ns);
          break;
        case GpuTable::kSamples:
          here = ReadSamples(worker, *target, i, tick_ns);
          break;
        case GpuTable::kMig:
          here = ReadMigSlots(worker, *target, tick_ns);
          break;
        default:
          here = ReadMetric(worker, *target, i, tick_ns);
          break;
      }
      if (!here) return false;
    }
  }
  return true;
}

void NvmlSession::Account(GpuTarget& target, size_t metric, NvmlReturn code, int64_t duration_ns) {
  MetricState& state = target.metrics[metric];
  state.cost.Record(duration_ns);
  state.read_count++;
  state.read_ns = MonotonicNs();
  // What is asked once, to learn what it costs, comes before the budget.
  if (target.probed && !state.exempt) target.device->budget.Charge(state.read_ns, duration_ns);
  if (NvmlIsLost(code)) {
    SetState(*target.device, GpuState::kLost, code);
  } else if (NvmlIsPermanent(code)) {
    state.given_up = code;
  }
}

bool NvmlSession::ReadMetric(NvmlWorker& worker,
                             GpuTarget& target,
                             size_t metric,
                             int64_t tick_ns) {
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  const GpuMetric& what = GpuMetrics()[metric];
  MetricState& state = target.metrics[metric];
  GpuCell cells[kMaxMetricCells];
  const MetricCall call{table_, *worker.scheme, worker.handle, state.dropped};
  const uint32_t dropped_before = state.dropped;
  const NvmlReturn code = what.read(call, cells);
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  for (size_t i = 0; i < what.count; i++) {
    if ((dropped_before >> i & 1) != 0) continue;  // not asked: its cell says why already
    GpuCell& cell = state.cells[i];
    const bool news =
        ready_ && (cell.valid != cells[i].valid || std::strcmp(cell.reason, cells[i].reason) != 0);
    cell = cells[i];
    // The loss of the whole device is one state of its own.
    if (!news || NvmlIsLost(cell.code)) continue;
    Report(target,
           what.table,
           {.table = "",
            .key = "",
            .field = ValueColumns(what.table)[what.first + i].name,
            .state = cell.valid ? "ok" : "unavailable",
            .reason = cell.reason,
            .code = cell.code});
  }
  Account(target, metric, code, duration_ns);
  return true;
}

bool NvmlSession::ReadGpm(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns) {
  const size_t metric = TableMetric(GpuTable::kGpm);
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  size_t count = 0;
  const GpmColumn* columns = GpmColumns(&count);
  unsigned ids[kMaxGpmColumns];
  for (size_t i = 0; i < count; i++) ids[i] = columns[i].metric;
  NvmlReturn code = kNvmlSuccess;
  NvmlDevice gpu = target.device->whole->handle;
  if (target.metrics[metric].read_count == 0) code = QueryGpm(table_, gpu);
  GpmPair::Outcome outcome = GpmPair::Outcome::kFailed;
  const int64_t time_ns = MonotonicNs();
  if (code == kNvmlSuccess) {
    outcome = target.gpm_pair.Read(table_,
                                   gpu,
                                   target.is_instance ? target.gpu_instance : kNvmlNotAvailable32,
                                   target.device->fingerprint,
                                   time_ns,
                                   ids,
                                   count,
                                   worker.gpm.get());
    code = target.gpm_pair.code();
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  if (outcome == GpmPair::Outcome::kTooShort || outcome == GpmPair::Outcome::kBusy) return true;
  if (outcome == GpmPair::Outcome::kDropped) {
    Report(
        target,
        GpuTable::kGpm,
        {.table = "", .key = "", .field = "", .state = "degraded", .reason = "mig_reconfigured"});
  }
  if (outcome == GpmPair::Outcome::kRow) {
    GpmRow row{&target, time_ns, target.gpm_pair.window_ns(), {}};
    // GPM answers 0 for links that do not exist.
    bool nvlink = false;
    const std::vector<GpuMetric>& metrics = GpuMetrics();
    for (size_t i = 0; i < metrics.size(); i++) {
      if (std::strcmp(metrics[i].call, "nvmlDeviceGetFieldValues 138-141") == 0) {
        nvlink = target.device->whole->metrics[i].given_up == kNvmlSuccess;
      }
    }
    for (size_t i = 0; i < count; i++) {
      if (!nvlink && (columns[i].metric == 60 || columns[i].metric == 61)) {
        row.cells[i].SetNull(kNvmlNotSupported);
      } else {
        SetGpmCell(worker.gpm->metrics[i], columns[i], &row.cells[i]);
      }
    }
    worker.gpm_rows.push_back(row);
  }
  Account(target, metric, code, duration_ns);
  if (ready_ && target.metrics[metric].given_up != kNvmlSuccess) {
    ReportUnavailable(target, GpuTable::kGpm, code);
  }
  return true;
}

bool NvmlSession::ReadProcesses(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns) {
  // In MIG mode each instance lists its own.
  if (!target.is_instance && target.device->mig && tick_ns >= 0) return true;
  const size_t metric = TableMetric(GpuTable::kProcess);
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  NvmlReturn code = kNvmlSuccess;
  for (size_t kind = 0; kind < 3; kind++) {
    const NvmlReturn one = worker.scheme->ReadProcesses(
        worker.handle, static_cast<NvmlProcessKind>(kind), &worker.entries[kind]);
    // Not every driver has all lists; that of compute processes is the one that counts.
    if (kind == 0 || NvmlIsLost(one)) code = one;
    if (NvmlIsLost(one)) break;
  }
  worker.use.clear();
  if (code == kNvmlSuccess && !target.is_instance) {
    const ClockReading now = ClockReading::Now();
    const uint64_t since = target.use_clock.StampOf(now.monotonic_ns - 2000 * kMs, now);
    const NvmlReturn one = worker.scheme->ReadProcessUse(worker.handle, since, &worker.use);
    if (NvmlIsLost(one)) code = one;
    for (const NvmlProcessUse& use : worker.use)
      target.use_clock.ToMonotonic(use.timestamp_us, now);
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  Account(target, metric, code, duration_ns);
  lock.unlock();
  if (code != kNvmlSuccess || tick_ns < 0) return true;
  worker.processes_read = true;
  for (const GpuProcess& process :
       MergeProcesses(worker.entries[0], worker.entries[1], worker.entries[2], worker.use)) {
    ProcessRow row{&target, process, false, {}};
    if (const ProcessIdentity* identity = processes_->Find(process.pid)) {
      row.known = true;
      row.identity = *identity;
    }
    worker.process_rows.push_back(std::move(row));
  }
  return true;
}

bool NvmlSession::ReadSamples(NvmlWorker& worker,
                              GpuTarget& target,
                              size_t metric,
                              int64_t tick_ns) {
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  const bool power = metric == TableMetric(GpuTable::kSamples);
  static constexpr int kPower[] = {kNvmlSamplesPower};
  static constexpr int kUtilization[] = {kNvmlSamplesGpuUtilization, kNvmlSamplesMemoryUtilization};
  const int* types = power ? kPower : kUtilization;
  const size_t count = power ? 1 : 2;
  NvmlReturn code = kNvmlFunctionNotFound;
  NvmlReturn result = kNvmlFunctionNotFound;
  worker.samples.resize(kSampleRoom);
  const size_t rows_before = worker.sample_rows.size();
  for (size_t i = 0; i < count && table_.nvmlDeviceGetSamples != nullptr; i++) {
    int value_type = -1;
    unsigned filled = kSampleRoom;
    uint64_t& last_us = target.last_sample_us[static_cast<size_t>(types[i])];
    code = table_.nvmlDeviceGetSamples(
        worker.handle, types[i], last_us, &value_type, &filled, worker.samples.data());
    if (code == kNvmlNotFound || code == kNvmlNoData) code = kNvmlSuccess, filled = 0;
    if (i == 0 || code == kNvmlSuccess || NvmlIsLost(code)) result = code;
    if (code != kNvmlSuccess) continue;
    const ClockReading now = ClockReading::Now();
    uint64_t newest_us = last_us;
    for (unsigned j = 0; j < filled && j < kSampleRoom; j++) {
      const NvmlSample& sample = worker.samples[j];
      if (sample.timestamp_us <= last_us) continue;
      newest_us = std::max(newest_us, sample.timestamp_us);
      const int64_t time_ns = target.samples_clock.ToMonotonic(sample.timestamp_us, now);
      const NvmlNumber number = DecodeNvmlValue(value_type, sample.value);
      const double value = number.AsDouble();
      if (number.type == NvmlNumber::Type::kNone || value < 0) continue;
      if (number.type == NvmlNumber::Type::kUnsigned && IsBlank(number.u64)) continue;
      if (!power && value > 100) continue;
      if (tick_ns >= 0) {
        worker.sample_rows.push_back({&target, time_ns, types[i], value * (power ? 1e-3 : 1e-2)});
      }
    }
    last_us = newest_us;
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  std::sort(worker.sample_rows.begin() + static_cast<std::ptrdiff_t>(rows_before),
            worker.sample_rows.end(),
            [](const SampleRow& a, const SampleRow& b) { return a.time_ns < b.time_ns; });
  Account(target, metric, result, duration_ns);
  return true;
}

}  // namespace warpgauge
