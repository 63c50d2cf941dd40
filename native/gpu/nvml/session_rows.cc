// From what was read to rows of the samplers. Everything here runs with the session's mutex held,
// for microseconds: writers neither allocate nor wait.
#include <algorithm>

#include "core/clock.h"
#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

// Which way a cell of this column type goes into its row.
void SetCell(TableWriter& rows, uint32_t column, ColumnType type, const GpuCell& cell) {
  switch (type) {
    case ColumnType::kFloat64:
      return rows.SetF64(column, cell.f64);
    case ColumnType::kInt32:
      return rows.SetI32(column, static_cast<int32_t>(cell.i64));
    case ColumnType::kUint32:
      return rows.SetU32(column, static_cast<uint32_t>(cell.u64));
    case ColumnType::kUint8:
      return rows.SetU8(column, static_cast<uint8_t>(cell.u64));
    case ColumnType::kBool:
      return rows.SetBool(column, cell.u64 != 0);
    default:
      return rows.SetU64(column, cell.u64);
  }
}

void SetInstance(TableWriter& rows, uint32_t column, uint32_t id) {
  if (id != kNvmlNotAvailable32) rows.SetU32(column, id);
}

void SetShare(TableWriter& rows, uint32_t column, unsigned percent) {
  double ratio = 0;
  if (PercentToRatio(percent, &ratio)) rows.SetF64(column, ratio);
}

}  // namespace

void NvmlSession::WriteValueRows(GpuSubscription& subscription, GpuTable table, int64_t time_ns) {
  const auto index = static_cast<size_t>(table);
  TableWriter* writer = subscription.writers[index];
  if (writer == nullptr) return;
  const auto has_row = [&](const GpuTarget& target) {
    return !target.gone && target.probed && target.device->state == GpuState::kOk &&
           Wants(subscription, target) && (!target.is_instance || table == GpuTable::kMain);
  };
  const auto count = std::count_if(
      targets_.begin(), targets_.end(), [&](const auto& target) { return has_row(*target); });
  std::vector<GpuSubscription::LastRow>& last = subscription.last[table == GpuTable::kMain ? 0 : 1];
  if (last.size() < targets_.size()) last.resize(targets_.size());
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  const std::vector<GpuColumn>& columns = ValueColumns(table);
  const uint32_t first_column = FirstValueColumn(table);
  const GpuSubscription::Cadence& cadence = subscription.cadence[index];
  writer->NoteTick(cadence.ticks - 1, cadence.missed);
  if (!writer->BeginTick(time_ns, static_cast<uint32_t>(count))) return;
  for (const auto& target : targets_) {
    if (!has_row(*target) || !writer->BeginRow(time_ns)) continue;
    writer->SetCode(kGpuKeyColumn, writer->names(kGpuKeyColumn).Code(target->uuid));
    if (table == GpuTable::kMain && target->is_instance) {
      writer->SetCode(kMainParentColumn,
                      writer->names(kMainParentColumn).Code(target->device->uuid));
      SetInstance(*writer, kMainGpuInstanceColumn, target->gpu_instance);
      SetInstance(*writer, kMainComputeInstanceColumn, target->compute_instance);
    }
    GpuSubscription::LastRow& before = last[target->index];
    uint64_t changed = 0;
    uint64_t read = 0;
    for (size_t i = 0; i < metrics.size(); i++) {
      if (metrics[i].table != table || metrics[i].count == 0) continue;
      const MetricState& state = target->metrics[i];
      for (size_t j = 0; j < metrics[i].count; j++) {
        const size_t value = metrics[i].first + j;
        const uint64_t bit = uint64_t{1} << value;
        const GpuCell& cell = state.cells[j];
        if (cell.valid) {
          SetCell(*writer, first_column + static_cast<uint32_t>(value), columns[value].type, cell);
        }
        const bool was_valid = (before.valid & bit) != 0;
        if (!before.any
                ? cell.valid
                : cell.valid != was_valid || (cell.valid && cell.u64 != before.bits[value])) {
          changed |= bit;
        }
        if (state.read_count != before.read_counts[value]) read |= bit;
        before.bits[value] = cell.u64;
        before.read_counts[value] = state.read_count;
        before.valid = cell.valid ? before.valid | bit : before.valid & ~bit;
      }
    }
    before.any = true;
    writer->SetU64(ChangedColumn(table), changed);
    writer->SetU64(ReadColumn(table), read);
    writer->EndRow();
  }
  writer->EndTick();
  writer->FlushIfOld(time_ns);
}

void NvmlSession::PublishRows(NvmlWorker& worker, GpuTable table, int64_t tick_ns) {
  const auto index = static_cast<size_t>(table);
  for (GpuSubscription* subscription : subscriptions_) {
    TableWriter* writer = subscription->writers[index];
    if (!subscription->active || subscription->paused || writer == nullptr) continue;
    if (subscription->end_ns != 0 && tick_ns >= subscription->end_ns) continue;
    const int64_t interval = subscription->request.interval_ns[index];
    if (interval <= 0) continue;
    std::map<size_t, int64_t>& published = subscription->published_ns[index];
    // Another sampler may want the same more often than this one.
    const auto is_for = [&](const GpuTarget& target) {
      if (!Wants(*subscription, target)) return false;
      const auto at = published.find(target.index);
      return at == published.end() || at->second == tick_ns ||
             tick_ns - at->second >= interval * 3 / 4;
    };
    std::vector<const GpuTarget*> told;
    const auto tell = [&](const GpuTarget* target) {
      if (told.empty() || told.back() != target) told.push_back(target);
    };
    uint32_t rows = 0;
    for (const PcieRow& row : worker.pcie_rows) rows += is_for(*row.target) ? 1 : 0;
    for (const GpmRow& row : worker.gpm_rows) rows += is_for(*row.target) ? 1 : 0;
    for (const ProcessRow& row : worker.process_rows) rows += is_for(*row.target) ? 1 : 0;
    for (const MigSlotRow& row : worker.mig_rows) rows += is_for(*row.target) ? 1 : 0;
    for (const SampleRow& row : worker.sample_rows) {
      rows += Wants(*subscription, *row.target) && row.time_ns >= subscription->start_ns ? 1 : 0;
    }
    // No process at all is news too: latest() must not show those of before.
    if (rows == 0 && !(table == GpuTable::kProcess && worker.processes_read)) {
      writer->FlushIfOld(MonotonicNs());
      continue;
    }
    const int64_t now_ns = MonotonicNs();
    const GpuSubscription::Cadence& cadence = subscription->cadence[index];
    writer->NoteTick(cadence.ticks == 0 ? 0 : cadence.ticks - 1, cadence.missed);
    if (!writer->BeginTick(now_ns, rows)) continue;
    const auto begin = [&](const GpuTarget& target, int64_t time_ns) {
      if (!writer->BeginRow(time_ns)) return false;
      writer->SetCode(kGpuKeyColumn, writer->names(kGpuKeyColumn).Code(target.uuid));
      tell(&target);
      return true;
    };
    for (const PcieRow& row : worker.pcie_rows) {
      if (!is_for(*row.target) || !begin(*row.target, row.time_ns)) continue;
      if (row.source == PcieSource::kThroughput) {
        if (row.tx_rate >= 0) writer->SetF64(kPcieTxRateColumn, row.tx_rate);
        if (row.rx_rate >= 0) writer->SetF64(kPcieRxRateColumn, row.rx_rate);
      } else {
        writer->SetU64(kPcieTxColumn, row.tx);
        writer->SetU64(kPcieRxColumn, row.rx);
        writer->SetBool(kPcieAmbiguousColumn, row.ambiguous);
        if (row.window_ns > 0) {
          writer->SetU64(kPcieWindowColumn, static_cast<uint64_t>(row.window_ns));
        }
      }
      writer->SetCode(kPcieSourceColumn,
                      writer->names(kPcieSourceColumn).Code(PcieSourceName(row.source)));
      writer->EndRow();
    }
    for (const GpmRow& row : worker.gpm_rows) {
      if (!is_for(*row.target) || !begin(*row.target, row.time_ns)) continue;
      writer->SetU64(kGpmWindowColumn, static_cast<uint64_t>(row.window_ns));
      size_t count = 0;
      GpmColumns(&count);
      for (size_t i = 0; i < count; i++) {
        if (!row.cells[i].valid) continue;
        writer->SetF64(kGpmFirstColumn + static_cast<uint32_t>(i), row.cells[i].f64);
      }
      writer->EndRow();
    }
    for (const MigSlotRow& row : worker.mig_rows) {
      if (!is_for(*row.target) || !begin(*row.target, now_ns)) continue;
      writer->SetCode(kMigProfileColumn, writer->names(kMigProfileColumn).Code(row.name));
      writer->SetU32(kMigProfileIdColumn, row.profile);
      writer->SetU32(kMigFreeColumn, row.free);
      writer->EndRow();
    }
    for (const ProcessRow& row : worker.process_rows) {
      if (!is_for(*row.target) || !begin(*row.target, now_ns)) continue;
      const GpuProcess& process = row.process;
      writer->SetU32(kProcessPidColumn, process.pid);
      if (row.known) {
        writer->SetU64(kProcessStartColumn, static_cast<uint64_t>(row.identity.start_ticks));
        if (row.identity.container_pid > 0) {
          writer->SetU32(kProcessContainerPidColumn,
                         static_cast<uint32_t>(row.identity.container_pid));
        }
        writer->SetCode(kProcessNameColumn,
                        writer->names(kProcessNameColumn).Code(row.identity.name));
        if (!row.identity.cgroup.empty()) {
          writer->SetCode(kProcessCgroupColumn,
                          writer->names(kProcessCgroupColumn).Code(row.identity.cgroup));
        }
      }
      writer->SetBool(kProcessComputeColumn, process.compute);
      writer->SetBool(kProcessGraphicsColumn, process.graphics);
      writer->SetBool(kProcessMpsColumn, process.mps);
      const GpuTarget& target = *row.target;
      SetInstance(*writer,
                  kProcessGpuInstanceColumn,
                  target.is_instance ? target.gpu_instance : process.gpu_instance);
      SetInstance(*writer,
                  kProcessComputeInstanceColumn,
                  target.is_instance ? target.compute_instance : process.compute_instance);
      if (!IsBlank(process.memory)) writer->SetU64(kProcessMemoryColumn, process.memory);
      if (process.has_use) {
        const unsigned shares[] = {process.use.sm,
                                   process.use.memory,
                                   process.use.encoder,
                                   process.use.decoder,
                                   process.use.jpeg,
                                   process.use.ofa};
        for (uint32_t i = 0; i < 6; i++) SetShare(*writer, kProcessSmColumn + i, shares[i]);
      }
      writer->EndRow();
    }
    for (const SampleRow& row : worker.sample_rows) {
      if (!Wants(*subscription, *row.target) || row.time_ns < subscription->start_ns) continue;
      if (subscription->end_ns != 0 && row.time_ns >= subscription->end_ns) continue;
      if (!begin(*row.target, row.time_ns)) continue;
      writer->SetF64(kSamplesFirstColumn + static_cast<uint32_t>(row.kind), row.value);
      writer->EndRow();
      writer->CountEvent(writer->names(kGpuKeyColumn).Code(row.target->uuid));
    }
    writer->EndTick();
    writer->FlushIfOld(now_ns);
    for (const GpuTarget* target : told) published[target->index] = tick_ns;
  }
}

void NvmlSession::WriteEvent(const NvmlEventData& data, int64_t time_ns) {
  const GpuTarget* target = nullptr;
  for (const auto& known : targets_) {
    if (!known->gone && known->handle == data.device) target = known.get();
  }
  if (data.type == kNvmlEventMigConfig) {
    instances_changed_ = true;
    next_maintenance_ns_ = 0;
    Wake();
  }
  const char* known_name = GpuEventName(data.type);
  const std::string name =
      known_name != nullptr ? known_name : "event_" + std::to_string(data.type);
  const auto table = static_cast<size_t>(GpuTable::kEvent);
  for (GpuSubscription* subscription : subscriptions_) {
    TableWriter* writer = subscription->writers[table];
    if (!subscription->active || subscription->paused || writer == nullptr) continue;
    if (target != nullptr && !Wants(*subscription, *target)) continue;
    if (time_ns < subscription->start_ns) continue;
    if (subscription->end_ns != 0 && time_ns >= subscription->end_ns) continue;
    const std::string uuid = target != nullptr ? target->uuid : "unknown";
    std::string counted = uuid;
    counted.append(" ").append(name).append(" ").append(std::to_string(data.data));
    const uint64_t so_far = ++subscription->event_counts[counted];
    const int32_t key = writer->names(kGpuKeyColumn).Code(uuid);
    writer->CountEvent(key);
    if (!writer->BeginTick(time_ns, 1) || !writer->BeginRow(time_ns)) continue;
    writer->SetCode(kGpuKeyColumn, key);
    writer->SetCode(kEventNameColumn, writer->names(kEventNameColumn).Code(name));
    writer->SetU64(kEventCodeColumn, data.data);
    writer->SetU64(kEventCountColumn, so_far);
    SetInstance(*writer, kEventGpuInstanceColumn, data.gpu_instance);
    SetInstance(*writer, kEventComputeInstanceColumn, data.compute_instance);
    writer->EndRow();
    writer->EndTick();
  }
}

// ---- tables ----

bool NvmlSession::simulated() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  return simulated_ || SaysSimulated(table_.path);
}

bool NvmlSession::all_have_gpm() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  const size_t metric = TableMetric(GpuTable::kGpm);
  return std::all_of(targets_.begin(), targets_.end(), [&](const auto& target) {
    return target->is_instance || target->gone || !target->probed ||
           target->metrics[metric].given_up == kNvmlSuccess;
  });
}

TableSpec NvmlSession::Describe(const GpuSubscription& subscription, GpuTable table) const {
  const std::unique_lock<std::mutex> lock(mutex_);
  TableSpec spec = MakeGpuTable(table);
  spec.simulated = simulated_ || SaysSimulated(table_.path);
  const int64_t wanted_ns = subscription.request.interval_ns[static_cast<size_t>(table)];
  spec.interval_ns = wanted_ns;
  if (wanted_ns <= 0) return spec;
  std::vector<const GpuTarget*> targets;
  for (const auto& target : targets_) {
    if (!target->gone && target->probed && Wants(subscription, *target)) {
      targets.push_back(target.get());
    }
  }
  spec.rows_per_tick = std::max<uint32_t>(static_cast<uint32_t>(targets.size()), 1);
  const std::vector<GpuMetric>& metrics = GpuMetrics();
  for (size_t i = 0; i < metrics.size(); i++) {
    const GpuMetric& metric = metrics[i];
    if (metric.table != table) continue;
    int64_t interval_ns = 0;
    for (const GpuTarget* target : targets) {
      interval_ns = std::max(interval_ns, target->metrics[i].interval_ns);
    }
    if (metric.count == 0) {
      // The whole table is this call: it runs as often as the budget allows.
      if (i == TableMetric(table)) spec.interval_ns = std::max(spec.interval_ns, interval_ns);
      const char* reason = nullptr;
      for (const GpuTarget* target : targets) {
        if (target->is_instance && !metric.on_instance) continue;
        const NvmlReturn code = target->metrics[i].given_up;
        if (code == kNvmlSuccess) {
          reason = nullptr;
          break;
        }
        reason = NvmlReason(code);
      }
      if (reason == nullptr || i != TableMetric(table)) continue;
      for (ColumnSpec& column : spec.columns) {
        if (column.nullable) column.reason = reason;
      }
      continue;
    }
    for (size_t j = 0; j < metric.count; j++) {
      ColumnSpec& column = spec.columns[FirstValueColumn(table) + metric.first + j];
      if (interval_ns > wanted_ns) {
        column.source += ", read every " + std::to_string(interval_ns / 1'000'000) + " ms";
      }
      const char* reason = nullptr;
      for (const GpuTarget* target : targets) {
        if (target->is_instance) continue;
        const GpuCell& cell = target->metrics[i].cells[j];
        if (cell.valid) {
          reason = nullptr;
          break;
        }
        reason = cell.reason;
      }
      if (reason != nullptr) column.reason = reason;
    }
  }
  return spec;
}

}  // namespace warpgauge
