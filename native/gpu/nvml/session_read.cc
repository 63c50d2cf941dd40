// What a session's threads ask the driver, one metric at a time: every call lies between Begin and
// End, so that the supervisor sees one that hangs. Reading functions return false when the thread
// was left behind meanwhile: then it may touch nothing any more.
#include <algorithm>
#include <cstring>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kBlockingDeadlineNs = 2000 * kMs;
constexpr unsigned kEventWaitMs = 100;
constexpr unsigned kSampleRoom = 512;

// The mean PCIe rates between the two samples of a pair, bytes per second; negative when unknown.
struct PcieRates {
  double tx = -1, rx = -1;
};

double RateOf(const NvmlGpmMetric& metric) {
  const bool good = metric.code == kNvmlSuccess && metric.value >= 0 && metric.value < 1e9;
  return good ? metric.value * 1048576.0 : -1;
}

}  // namespace

const char* PcieSourceName(PcieSource source) {
  switch (source) {
    case PcieSource::kGpm:
      return "gpm";
    case PcieSource::kFieldsAndGpm:
      return "fields+gpm";
    case PcieSource::kFields:
      return "fields";
    case PcieSource::kThroughput:
      return "throughput";
    default:
      return "none";
  }
}

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

// ---- gpu.pcie ----

bool NvmlSession::ReadPcie(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns) {
  const size_t metric = TableMetric(GpuTable::kPcie);
  if (target.pcie_source == PcieSource::kThroughput && tick_ns >= 0) return true;
  if (!BeginMetric(worker, target, metric, tick_ns)) return true;
  static constexpr unsigned kCounters[] = {kGpmPcieTxBytes, kGpmPcieRxBytes};
  static constexpr unsigned kRates[] = {20, 21};
  const bool first = target.pcie_source == PcieSource::kUnknown;
  const bool gpm = first ? QueryGpm(table_, worker.handle) == kNvmlSuccess
                         : target.pcie_source == PcieSource::kGpm ||
                               target.pcie_source == PcieSource::kFieldsAndGpm;
  NvmlReturn code = kNvmlNotSupported;
  NvmlFieldValue values[2] = {};
  int64_t time_ns = MonotonicNs();
  PcieSource next = target.pcie_source.load();
  bool has_row = false;
  bool trial_over = false;
  PcieRates rates;
  if (first || target.pcie_source == PcieSource::kFields ||
      target.pcie_source == PcieSource::kFieldsAndGpm) {
    values[0].field = kFieldPcieTxBytes;
    values[1].field = kFieldPcieRxBytes;
    values[0].code = values[1].code = kNvmlNotSupported;
    code = table_.nvmlDeviceGetFieldValues == nullptr
               ? kNvmlFunctionNotFound
               : table_.nvmlDeviceGetFieldValues(worker.handle, 2, values);
    const int64_t end_ns = MonotonicNs();
    time_ns += (end_ns - time_ns) / 2;  // the counters are live: somewhere between
    if (code == kNvmlSuccess)
      code = values[0].code != kNvmlSuccess ? values[0].code : values[1].code;
    has_row = code == kNvmlSuccess && NvmlCounterBits(values[0].type) != 0 &&
              NvmlCounterBits(values[1].type) != 0;
    if (!has_row && code == kNvmlSuccess) code = kNvmlNotSupported;
  }
  if (gpm && (tick_ns >= 0 || !first)) {
    const bool trial = target.pcie_source == PcieSource::kGpm;
    const GpmPair::Outcome outcome = target.pcie_pair.Read(table_,
                                                           worker.handle,
                                                           kNvmlNotAvailable32,
                                                           "",
                                                           MonotonicNs(),
                                                           trial ? kCounters : kRates,
                                                           2,
                                                           worker.gpm.get());
    const NvmlGpmMetric* metrics = worker.gpm->metrics;
    if (trial) {
      code = target.pcie_pair.code();
      // A driver may answer SUCCESS for an id it does not have: then the metric has no name.
      has_row = outcome == GpmPair::Outcome::kRow && metrics[0].code == kNvmlSuccess &&
                metrics[1].code == kNvmlSuccess && metrics[0].short_name != nullptr;
      trial_over =
          !has_row && (outcome == GpmPair::Outcome::kRow || outcome == GpmPair::Outcome::kFailed);
    } else if (outcome == GpmPair::Outcome::kRow) {
      rates = {RateOf(metrics[0]), RateOf(metrics[1])};
    }
  }
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  if (!End(worker, lock, &duration_ns)) return false;
  if (first) {
    target.pcie_has_fields = has_row;
    if (gpm) {
      next = PcieSource::kGpm;  // on trial
    } else if (has_row) {
      next = PcieSource::kFields;
    } else {
      next = table_.nvmlDeviceGetPcieThroughput != nullptr ? PcieSource::kThroughput
                                                           : PcieSource::kNone;
    }
    if (next != PcieSource::kNone && NvmlIsPermanent(code)) code = kNvmlSuccess;
    has_row = false;
  } else if (trial_over) {
    if (!NvmlIsLost(code)) {
      next = target.pcie_has_fields                          ? PcieSource::kFieldsAndGpm
             : table_.nvmlDeviceGetPcieThroughput != nullptr ? PcieSource::kThroughput
                                                             : PcieSource::kNone;
      code = next == PcieSource::kNone ? kNvmlNotSupported : kNvmlSuccess;
    }
  } else if (NvmlIsPermanent(code) && target.pcie_source != PcieSource::kGpm) {
    // Fields that worked and stopped: another configuration of the GPU.
    next =
        table_.nvmlDeviceGetPcieThroughput != nullptr ? PcieSource::kThroughput : PcieSource::kNone;
    if (next != PcieSource::kNone) code = kNvmlSuccess;
  }
  if (has_row && tick_ns >= 0) {
    const double rate = target.device->link_bytes_per_second;
    if (target.pcie_source == PcieSource::kGpm) {
      const NvmlGpmMetric* metrics = worker.gpm->metrics;
      target.tx.AssumeWide();
      target.rx.AssumeWide();
      target.tx.Update(static_cast<uint64_t>(metrics[0].value), 64, time_ns, rate);
      target.rx.Update(static_cast<uint64_t>(metrics[1].value), 64, time_ns, rate);
    } else {
      const NvmlNumber tx = DecodeNvmlValue(values[0].type, values[0].value);
      const NvmlNumber rx = DecodeNvmlValue(values[1].type, values[1].value);
      target.tx.Update(tx.u64, NvmlCounterBits(values[0].type), time_ns, rate, rates.tx);
      target.rx.Update(rx.u64, NvmlCounterBits(values[1].type), time_ns, rate, rates.rx);
    }
    worker.pcie_rows.push_back({&target,
                                time_ns,
                                target.tx.window_ns(),
                                target.tx.total(),
                                target.rx.total(),
                                -1,
                                -1,
                                target.pcie_source.load(),
                                target.tx.ambiguous() || target.rx.ambiguous()});
  }
  target.pcie_source = next;
  Account(target, metric, code, duration_ns);
  return true;
}

void NvmlSession::LoopThroughput(NvmlWorker& worker) {
  GpuTarget& target = *worker.only->whole;
  const size_t metric = TableMetric(GpuTable::kPcie);
  int64_t next_ns = MonotonicNs();
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    int64_t wanted_ns = 0;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      worker.handle = target.handle;
      if (worker.abandoned || stop_ || !IsWanted(GpuTable::kPcie) ||
          worker.only->state != GpuState::kOk || worker.only->whole != &target) {
        return;
      }
      wanted_ns = std::max(target.metrics[metric].interval_ns, 100 * kMs);
    }
    if (MonotonicNs() < next_ns) {
      FutexWait(wake_, seen, next_ns);
      continue;
    }
    double rates[2] = {-1, -1};
    int64_t cost_ns = 0;
    for (const int direction : {kNvmlPcieTx, kNvmlPcieRx}) {
      if (!Begin(worker, worker.only, "nvmlDeviceGetPcieThroughput", kBlockingDeadlineNs)) return;
      unsigned kilobytes = 0;
      const NvmlReturn code =
          table_.nvmlDeviceGetPcieThroughput(worker.handle, direction, &kilobytes);
      std::unique_lock<std::mutex> lock;
      int64_t duration_ns = 0;
      if (!End(worker, lock, &duration_ns)) return;
      cost_ns += duration_ns;
      if (code == kNvmlSuccess && !IsBlank(kilobytes)) rates[direction] = kilobytes * 1000.0;
      Account(target, metric, code, duration_ns);
      if (target.metrics[metric].given_up != kNvmlSuccess) {
        target.pcie_source = PcieSource::kNone;
        Report(target,
               GpuTable::kPcie,
               {.table = "",
                .key = "",
                .field = "",
                .state = "unavailable",
                .reason = NvmlReason(code),
                .code = code});
        return;
      }
    }
    worker.pcie_rows.clear();
    worker.pcie_rows.push_back({&target,
                                MonotonicNs(),
                                0,
                                0,
                                0,
                                rates[kNvmlPcieTx],
                                rates[kNvmlPcieRx],
                                PcieSource::kThroughput,
                                false});
    double share = 1;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      if (worker.abandoned) return;
      PublishRows(worker, GpuTable::kPcie, MonotonicNs());
      for (const GpuSubscription* subscription : subscriptions_) {
        share = std::min(share, subscription->request.driver_share);
      }
    }
    // Half of the budget: the other half is everybody else's.
    const auto affordable = static_cast<int64_t>(static_cast<double>(cost_ns) * 2 / share);
    next_ns += std::max(wanted_ns, affordable);
    if (next_ns < MonotonicNs()) next_ns = MonotonicNs();
  }
}

// ---- gpu.gpm ----

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
    Report(target,
           GpuTable::kGpm,
           {.table = "",
            .key = "",
            .field = "",
            .state = "unavailable",
            .reason = NvmlReason(code),
            .code = code});
  }
  return true;
}

// ---- gpu.process ----

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

// ---- gpu.samples ----

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

// ---- gpu.event ----

void NvmlSession::LoopEvents(NvmlWorker& worker) {
  NvmlEventSet set = nullptr;
  uint64_t generation = 0;
  uint64_t init = 0;
  const bool able = table_.nvmlEventSetCreate != nullptr && table_.nvmlEventSetFree != nullptr &&
                    table_.nvmlEventSetWait_v2 != nullptr &&
                    table_.nvmlDeviceRegisterEvents != nullptr;
  std::unique_lock<std::mutex> lock;
  int64_t duration_ns = 0;
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    bool wanted = false;
    bool stale = false;
    bool stopping = false;
    std::vector<std::pair<GpuDevice*, NvmlDevice>> devices;
    {
      const std::unique_lock<std::mutex> look(mutex_);
      if (worker.abandoned) return;
      if (set != nullptr && init != init_count_) set = nullptr;  // went with the driver
      wanted = IsWanted(GpuTable::kEvent) && initialized_ && !quiet_ && !stop_;
      stale = generation != generation_;
      stopping = stop_;
      if (stopping && set == nullptr) return;
      if (wanted && able && set == nullptr) {
        generation = generation_;
        init = init_count_;
        for (const auto& device : devices_) {
          if (device->state == GpuState::kOk && device->whole != nullptr) {
            devices.emplace_back(device.get(), device->whole->handle);
          }
        }
      }
      // So that events reach the consumer although none follow.
      const int64_t now_ns = MonotonicNs();
      for (GpuSubscription* subscription : subscriptions_) {
        TableWriter* writer = subscription->writers[static_cast<size_t>(GpuTable::kEvent)];
        if (subscription->active && writer != nullptr) writer->FlushIfOld(now_ns);
      }
    }
    if (!able) {
      const std::unique_lock<std::mutex> look(mutex_);
      if (stop_) return;
      for (const auto& target : targets_) {
        if (target->is_instance || target->gone || !wanted || generation == UINT64_MAX) continue;
        Report(*target,
               GpuTable::kEvent,
               {.table = "",
                .key = "",
                .field = "",
                .state = "unavailable",
                .reason = NvmlReason(kNvmlFunctionNotFound),
                .code = kNvmlFunctionNotFound});
      }
      if (wanted) generation = UINT64_MAX;
    }
    if (set != nullptr && stopping) {
      // Begin refuses by now; whoever stops does not wait for this longer than he wants.
      table_.nvmlEventSetFree(set);
      return;
    }
    if (set != nullptr && (!wanted || stale)) {
      if (Begin(worker, nullptr, "nvmlEventSetFree", kBlockingDeadlineNs)) {
        table_.nvmlEventSetFree(set);
        if (!End(worker, lock, &duration_ns)) return;
        lock.unlock();
      }
      set = nullptr;
      continue;
    }
    if (!wanted || !able) {
      FutexWait(wake_, seen, MonotonicNs() + 500 * kMs);
      continue;
    }
    if (set == nullptr) {
      if (!Begin(worker, nullptr, "nvmlEventSetCreate", kBlockingDeadlineNs)) continue;
      const NvmlReturn code = table_.nvmlEventSetCreate(&set);
      if (!End(worker, lock, &duration_ns)) return;
      lock.unlock();
      if (code != kNvmlSuccess) {
        set = nullptr;
        FutexWait(wake_, seen, MonotonicNs() + 1000 * kMs);
        continue;
      }
      for (const auto& [device, handle] : devices) {
        if (!Begin(worker, device, "nvmlDeviceRegisterEvents", kBlockingDeadlineNs)) continue;
        unsigned long long types = 0;  // NOLINT(google-runtime-int): the ABI says so
        NvmlReturn registered = kNvmlSuccess;
        if (table_.nvmlDeviceGetSupportedEventTypes == nullptr ||
            table_.nvmlDeviceGetSupportedEventTypes(handle, &types) != kNvmlSuccess) {
          types = kNvmlEventXid;
        }
        if (types != 0) registered = table_.nvmlDeviceRegisterEvents(handle, types, set);
        if (!End(worker, lock, &duration_ns)) return;
        if (registered != kNvmlSuccess) {
          Report(*device->whole,
                 GpuTable::kEvent,
                 {.table = "",
                  .key = "",
                  .field = "",
                  .state = "unavailable",
                  .reason = NvmlReason(registered),
                  .code = registered});
        }
        lock.unlock();
      }
    }
    if (!Begin(worker, nullptr, "nvmlEventSetWait_v2", kEventWaitMs * kMs + kBlockingDeadlineNs)) {
      continue;
    }
    NvmlEventData data = {};
    const NvmlReturn code = table_.nvmlEventSetWait_v2(set, &data, kEventWaitMs);
    if (!End(worker, lock, &duration_ns)) return;
    if (code == kNvmlSuccess) WriteEvent(data, MonotonicNs());
    lock.unlock();
    if (code == kNvmlSuccess || code == kNvmlTimeout) continue;
    // A lost GPU is told by every wait at once: the other GPUs' events come all the same.
    FutexWait(wake_, seen, MonotonicNs() + 500 * kMs);
  }
}

}  // namespace warpgauge
