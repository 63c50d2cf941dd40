// PCIe bytes, by the best way that a GPU and its driver have.
#include <algorithm>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {
namespace {

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
        ReportUnavailable(target, GpuTable::kPcie, code);
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

}  // namespace warpgauge
