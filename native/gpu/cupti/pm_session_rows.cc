// From decoded windows to rows. Everything here runs with the session's mutex held, for
// microseconds: writers neither allocate nor wait.
#include <algorithm>
#include <cmath>

#include "gpu/cupti/pm_session.h"
#include "gpu/cupti/pm_tables.h"

namespace warpgauge {

bool PmSession::IsInTime(const PmGpu::Row& row) const {
  return row.end_ns >= start_ns_ && (end_ns_ == 0 || row.end_ns < end_ns_);
}

void PmSession::WriteRow(PmGpu& gpu, const PmGpu::Row& row) {
  if (!IsInTime(row) || !rows_->BeginRow(row.end_ns)) return;
  rows_->SetCode(kPmGpuColumn, rows_->names(kPmGpuColumn).Code(gpu.device.uuid));
  rows_->SetU64(kPmWindowColumn, static_cast<uint64_t>(row.end_ns - row.start_ns));
  const std::vector<PmQuantity>& quantities = PmQuantities();
  for (size_t i = 0; i < quantities.size(); i++) {
    const double value = row.values[i] * quantities[i].scale;
    if (!std::isfinite(value)) continue;
    const uint32_t column = kPmFirstColumn + static_cast<uint32_t>(i);
    if (rows_->table().columns[column].type == ColumnType::kUint64) {
      rows_->SetU64(column, static_cast<uint64_t>(std::llround(std::max(value, 0.0))));
    } else {
      rows_->SetF64(column, value);
    }
  }
  rows_->EndRow();
  gpu.counts.samples++;
}

void PmSession::WriteRows(PmGpu& gpu, int64_t now_ns) {
  if (rows_ == nullptr || gpu.fresh.empty()) return;
  const size_t older = gpu.fresh.size() - 1;
  const size_t held = gpu.has_held ? 1 : 0;
  if (older + held > 0 && rows_->BeginTick(now_ns, static_cast<uint32_t>(older + held))) {
    if (gpu.has_held) WriteRow(gpu, gpu.held);
    for (size_t i = 0; i < older; i++) WriteRow(gpu, gpu.fresh[i]);
    rows_->EndTick();
  }
  gpu.held = gpu.fresh.back();
  std::copy_n(gpu.held.values, PmQuantities().size(), gpu.held_values.begin());
  gpu.held.values = gpu.held_values.data();
  gpu.has_held = true;
  WriteHeld(now_ns);
  rows_->FlushIfOld(now_ns);
}

// One tick with the newest window of each GPU, once all that still give samples have one.
void PmSession::WriteHeld(int64_t now_ns) {
  if (rows_ == nullptr) return;
  size_t count = 0;
  for (const auto& gpu : gpus_) {
    if (!gpu->has_held && !gpu->ended) return;
    count += gpu->has_held && IsInTime(gpu->held) ? 1 : 0;
  }
  if (count > 0 && rows_->BeginTick(now_ns, static_cast<uint32_t>(count))) {
    for (const auto& gpu : gpus_) {
      if (gpu->has_held) WriteRow(*gpu, gpu->held);
    }
    rows_->EndTick();
  }
  for (const auto& gpu : gpus_) gpu->has_held = false;
}

void PmSession::WriteStats(int64_t now_ns) {
  if (stats_ == nullptr || !stats_->BeginTick(now_ns, static_cast<uint32_t>(gpus_.size()))) return;
  for (const auto& gpu : gpus_) {
    if (!stats_->BeginRow(now_ns)) continue;
    PmGpu::Counts& counts = gpu->counts;
    stats_->SetCode(kPmGpuColumn, stats_->names(kPmGpuColumn).Code(gpu->device.uuid));
    stats_->SetU64(kPmStatSamples, counts.samples);
    stats_->SetU64(kPmStatLost, counts.lost);
    stats_->SetU64(kPmStatOverflows, counts.overflows);
    stats_->SetU64(kPmStatWithoutTime, counts.without_time);
    stats_->SetU64(kPmStatDecodes, counts.decodes);
    stats_->SetU64(kPmStatDecodeNs, static_cast<uint64_t>(counts.decode_ns));
    stats_->SetU64(kPmStatEvaluateNs, static_cast<uint64_t>(counts.evaluate_ns));
    stats_->SetF64(kPmStatImageRatio, counts.image_ratio);
    stats_->SetU64(kPmStatBacklogNs,
                   static_cast<uint64_t>(std::max<int64_t>(counts.backlog_ns, 0)));
    stats_->EndRow();
    counts.image_ratio = 0;
    counts.backlog_ns = 0;
  }
  stats_->EndTick();
}

}  // namespace warpgauge
