#include "gpu/cupti/trace_rows.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/clock.h"

namespace warpgauge {

using namespace trace_column;  // NOLINT(google-build-using-namespace): names of this file's tables

namespace {

constexpr int64_t kLatestNs = INT64_MAX / 4;

void SetId(TableWriter* row, uint32_t column, uint32_t id) {
  if (id != WG_NO_ID) row->SetU32(column, id);
}

const char* ApiName(uint32_t kind) {
  return kind == 0 ? "driver" : kind == 1 ? "runtime" : nullptr;
}

const char* ProcessStateName(uint32_t state) {
  // `gone` is ours: a process that ended without saying so.
  static constexpr const char* kNames[] = {
      nullptr, nullptr, "attached", "tracing", "refused", "ended", "gone"};
  return state < std::size(kNames) ? kNames[state] : nullptr;
}

// "GPU-xxxxxxxx-xxxx-...", as NVML and nvidia-smi print it.
std::string UuidText(const uint8_t (&uuid)[16], bool is_mig) {
  std::string text = is_mig ? "MIG-" : "GPU-";
  char byte[3];
  for (size_t i = 0; i < sizeof uuid; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::snprintf(byte, sizeof byte, "%02x", uuid[i]);
    text += byte;
  }
  return text;
}

// CUPTI gives 0 where it made no id: that joins with nothing.
void SetCorrelation(TableWriter* row, uint32_t column, const wg_record& record) {
  if (record.correlation != 0) row->SetU32(column, record.correlation);
}

}  // namespace

void TraceRows::Attach(const std::array<TableWriter*, kTraceTables>& writers, int64_t end_ns) {
  end_ns_ = end_ns == 0 ? INT64_MAX : end_ns;
  const auto of = [&](TraceTable table) { return writers[static_cast<size_t>(table)]; };
  for (size_t i = 0; i < kTraceTables; i++) batches_[i].Attach(writers[i]);
  TableWriter* copy = of(TraceTable::kMemcpy);
  TableWriter* process = of(TraceTable::kProcess);
  direction = {CopyDirectionName, copy, kCopyDirection};
  source_memory = {MemoryKindName, copy, kCopySource};
  destination_memory = {MemoryKindName, copy, kCopyDestination};
  set_memory = {MemoryKindName, of(TraceTable::kMemset), kSetMemory};
  counter = {UnifiedMemoryCounterName, of(TraceTable::kUnifiedMemory), kUmCounter};
  synchronization = {SynchronizationName, of(TraceTable::kSynchronization), kSyncType};
  overhead = {OverheadName, of(TraceTable::kOverhead), kOverheadKind};
  api = {ApiName, of(TraceTable::kApi), kApiKind};
  external = {ExternalKindName, of(TraceTable::kApi), kApiExternalKind};
  state = {ProcessStateName, process, kProcessState};
  reason = {TraceReasonName, process, kProcessReason};
  names_ = &process->names(kProcessCommand);
}

void TraceRows::BeginLook(int64_t look_ns) {
  for (RowBatcher& batch : batches_) batch.BeginLook(look_ns);
}

void TraceRows::EndLook() {
  for (RowBatcher& batch : batches_) batch.EndLook();
}

int32_t TraceRows::NameCode(const std::string& name) {
  if (name_bytes_ + name.size() > most_name_bytes_) return -1;
  const uint32_t before = names_->size();
  const int32_t code = names_->Code(name);
  if (names_->size() != before) name_bytes_ += name.size();
  return code;
}

TraceDecoder::TraceDecoder(TraceRows& rows) : rows_(rows) { externals_.resize(kExternals); }

void TraceDecoder::Take(const wg_record* records, size_t count) {
  for (size_t i = 0; i < count; i++) TakeOne(records[i]);
}

void TraceDecoder::TakeOne(const wg_record& record) {
  switch (record.kind) {
    case WG_RECORD_MEMCPY:
    case WG_RECORD_PEER_MEMCPY:
      return Memcpy(record, record.kind == WG_RECORD_PEER_MEMCPY);
    case WG_RECORD_MEMSET:
      return Memset(record);
    case WG_RECORD_KERNEL:
      return Kernel(record);
    case WG_RECORD_UNIFIED_MEMORY:
      return UnifiedMemory(record);
    case WG_RECORD_SYNCHRONIZATION:
      return Synchronization(record);
    case WG_RECORD_OVERHEAD:
      return Overhead(record);
    case WG_RECORD_API:
      return Api(record);
    case WG_RECORD_EXTERNAL:
      externals_[record.correlation % kExternals] = {
          record.correlation, record.of.external.external, record.of.external.id};
      return;
    case WG_RECORD_MARKER:
      return Marker(record);
    case WG_RECORD_CLOCK:
      return Clock(record);
    case WG_RECORD_NAME:
      return Name(record);
    case WG_RECORD_DEVICE:
      return DeviceIs(record);
    default:
      rejected_++;
  }
}

int64_t TraceDecoder::ToMonotonic(uint64_t cupti_ns) {
  if (clock_.empty()) {
    // CUPTI runs on CLOCK_REALTIME unless somebody changed that: our own reading is nearly as good.
    wg_record pair{};
    pair.of.clock.monotonic_before_ns = MonotonicNs();
    pair.of.clock.realtime_ns = RealtimeNs();
    pair.of.clock.monotonic_after_ns = MonotonicNs();
    pair.start = static_cast<uint64_t>(pair.of.clock.realtime_ns);
    clock_.Add(pair);
    news_.is_missing = true;
  }
  return clock_.ToMonotonic(cupti_ns);
}

bool TraceDecoder::Place(const wg_record& record, int64_t* start_ns) {
  if (record.start != 0 && record.end >= record.start) {
    *start_ns = ToMonotonic(record.start);
    // CLOCK_MONOTONIC counts from boot: neither before it nor centuries after it.
    if (*start_ns >= 0 && *start_ns <= kLatestNs) return true;
  }
  rejected_++;
  return false;
}

TableWriter* TraceDecoder::BeginSpan(TraceTable table, const wg_record& record) {
  int64_t start_ns = 0;
  if (!Place(record, &start_ns)) return nullptr;
  const int64_t end_ns = record.end == record.start ? start_ns : ToMonotonic(record.end);
  events_++;
  TableWriter* row = rows_.Begin(table, start_ns);
  if (row == nullptr) return nullptr;
  // A clock that was stepped back within it: how long it took is not known.
  if (end_ns >= start_ns) row->SetU64(kDuration, static_cast<uint64_t>(end_ns - start_ns));
  if (pid_ != 0) row->SetU32(kPid, pid_);
  return row;
}

void TraceDecoder::Memcpy(const wg_record& record, bool is_peer) {
  TableWriter* row = BeginSpan(TraceTable::kMemcpy, record);
  if (row == nullptr) return;
  const auto& copy = record.of.memcpy;
  const int32_t gpu = GpuCode(TraceTable::kMemcpy, record.device);
  row->SetCode(kGpu, gpu);
  if (gpu >= 0) row->CountEvent(gpu);
  SetId(row, kCopyDevice, record.device);
  row->SetCode(kCopyDirection, rows_.direction[copy.copy_kind]);
  row->SetU64(kCopyBytes, copy.bytes);
  row->SetCode(kCopySource, rows_.source_memory[copy.source]);
  row->SetCode(kCopyDestination, rows_.destination_memory[copy.destination]);
  row->SetBool(kCopyAsync, (record.flags & WG_FLAG_ASYNC) != 0);
  SetId(row, kCopyContext, record.context);
  SetId(row, kCopyStream, record.stream);
  SetCorrelation(row, kCopyCorrelation, record);
  if (is_peer) row->SetCode(kCopyDestinationGpu, DestinationCode(copy.destination_device));
  if ((record.flags & WG_FLAG_GRAPH) != 0) {
    row->SetU32(kCopyGraph, copy.graph);
    row->SetU64(kCopyGraphNode, copy.graph_node);
  }
  if ((record.flags & WG_FLAG_COPIES) != 0) row->SetU64(kCopyCopies, copy.copies);
  rows_.End(TraceTable::kMemcpy);
}

void TraceDecoder::Kernel(const wg_record& record) {
  TableWriter* row = BeginSpan(TraceTable::kKernel, record);
  if (row == nullptr) return;
  const auto& kernel = record.of.kernel;
  const int32_t gpu = GpuCode(TraceTable::kKernel, record.device);
  row->SetCode(kGpu, gpu);
  if (gpu >= 0) row->CountEvent(gpu);
  SetId(row, kKernelDevice, record.device);
  row->SetCode(kKernelName, NameOf(record.name));
  SetId(row, kKernelContext, record.context);
  SetId(row, kKernelStream, record.stream);
  SetCorrelation(row, kKernelCorrelation, record);
  row->SetU32(kKernelGrid, kernel.grid_x);
  row->SetU32(kKernelGrid + 1, kernel.grid_y);
  row->SetU32(kKernelGrid + 2, kernel.grid_z);
  row->SetU32(kKernelBlock, kernel.block_x);
  row->SetU32(kKernelBlock + 1, kernel.block_y);
  row->SetU32(kKernelBlock + 2, kernel.block_z);
  if ((record.flags & WG_FLAG_CLUSTER) != 0) {
    row->SetU32(kKernelCluster, kernel.cluster_x);
    row->SetU32(kKernelCluster + 1, kernel.cluster_y);
    row->SetU32(kKernelCluster + 2, kernel.cluster_z);
  }
  row->SetU32(kKernelRegisters, kernel.registers_per_thread);
  row->SetU32(kKernelStaticShared, kernel.static_shared_bytes);
  row->SetU32(kKernelDynamicShared, kernel.dynamic_shared_bytes);
  row->SetU32(kKernelLocal, kernel.local_bytes_per_thread);
  if ((record.flags & WG_FLAG_GRAPH) != 0) {
    row->SetU32(kKernelGraph, kernel.graph);
    row->SetU64(kKernelGraphNode, kernel.graph_node);
  }
  rows_.End(TraceTable::kKernel);
}

void TraceDecoder::Memset(const wg_record& record) {
  TableWriter* row = BeginSpan(TraceTable::kMemset, record);
  if (row == nullptr) return;
  const auto& set = record.of.memset;
  const int32_t gpu = GpuCode(TraceTable::kMemset, record.device);
  row->SetCode(kGpu, gpu);
  if (gpu >= 0) row->CountEvent(gpu);
  SetId(row, kSetDevice, record.device);
  row->SetU64(kSetBytes, set.bytes);
  row->SetU32(kSetValue, set.value);
  row->SetCode(kSetMemory, rows_.set_memory[set.memory]);
  row->SetBool(kSetAsync, (record.flags & WG_FLAG_ASYNC) != 0);
  SetId(row, kSetContext, record.context);
  SetId(row, kSetStream, record.stream);
  SetCorrelation(row, kSetCorrelation, record);
  if ((record.flags & WG_FLAG_GRAPH) != 0) {
    row->SetU32(kSetGraph, set.graph);
    row->SetU64(kSetGraphNode, set.graph_node);
  }
  rows_.End(TraceTable::kMemset);
}

void TraceDecoder::UnifiedMemory(const wg_record& record) {
  const auto& managed = record.of.unified_memory;
  int64_t start_ns = 0;
  if (!Place(record, &start_ns)) return;
  events_++;
  TableWriter* row = rows_.Begin(TraceTable::kUnifiedMemory, start_ns);
  if (row == nullptr) return;
  // Instants have no end of their own.
  const int64_t end_ns = record.end == record.start ? start_ns : ToMonotonic(record.end);
  if (end_ns > start_ns) row->SetU64(kDuration, static_cast<uint64_t>(end_ns - start_ns));
  if (pid_ != 0) row->SetU32(kPid, pid_);
  const int32_t gpu = GpuCode(TraceTable::kUnifiedMemory, record.device);
  row->SetCode(kGpu, gpu);
  if (gpu >= 0) row->CountEvent(gpu);
  row->SetCode(kUmCounter, rows_.counter[managed.counter]);
  row->SetU64(kUmValue, managed.value);
  row->SetU64(kUmAddress, managed.address);
  SetId(row, kUmSource, managed.source);
  SetId(row, kUmDestination, managed.destination);
  rows_.End(TraceTable::kUnifiedMemory);
}

void TraceDecoder::Synchronization(const wg_record& record) {
  TableWriter* row = BeginSpan(TraceTable::kSynchronization, record);
  if (row == nullptr) return;
  const int32_t type = rows_.synchronization[record.of.synchronization.type];
  row->SetCode(kSyncType, type);
  if (type >= 0) row->CountEvent(type);
  SetId(row, kSyncContext, record.context);
  SetId(row, kSyncStream, record.stream);
  SetId(row, kSyncEvent, record.of.synchronization.event);
  SetCorrelation(row, kSyncCorrelation, record);
  rows_.End(TraceTable::kSynchronization);
}

void TraceDecoder::Overhead(const wg_record& record) {
  TableWriter* row = BeginSpan(TraceTable::kOverhead, record);
  if (row == nullptr) return;
  const int32_t kind = rows_.overhead[record.of.overhead.overhead];
  row->SetCode(kOverheadKind, kind);
  if (kind >= 0) row->CountEvent(kind);
  // Older libraries do not say it.
  SetCorrelation(row, kOverheadCorrelation, record);
  rows_.End(TraceTable::kOverhead);
}

void TraceDecoder::Api(const wg_record& record) {
  TableWriter* row = BeginSpan(TraceTable::kApi, record);
  if (row == nullptr) return;
  const auto& call = record.of.api;
  const int32_t kind = rows_.api[(record.flags & WG_FLAG_RUNTIME) != 0 ? 1 : 0];
  row->SetU32(kApiTid, call.tid);
  row->SetCode(kApiKind, kind);
  if (kind >= 0) row->CountEvent(kind);
  row->SetCode(kApiName, NameOf(record.name));
  row->SetU32(kApiCbid, call.cbid);
  SetCorrelation(row, kApiCorrelation, record);
  row->SetI32(kApiResult, static_cast<int32_t>(call.result));
  const External& external = externals_[record.correlation % kExternals];
  if (external.kind != 0 && external.correlation == record.correlation) {
    row->SetCode(kApiExternalKind, rows_.external[external.kind]);
    row->SetU64(kApiExternalId, external.id);
  }
  rows_.End(TraceTable::kApi);
}

void TraceDecoder::Marker(const wg_record& record) {
  const auto& marker = record.of.marker;
  int64_t time_ns = 0;
  if (!Place(record, &time_ns)) return;
  events_++;
  const OpenMarker made{time_ns, marker.tid, NameOf(record.name), NameOf(marker.domain)};
  if ((marker.marker_flags & WG_MARKER_END) != 0) {
    const auto found = markers_.find(marker.id);
    if (found == markers_.end()) return;  // began before the trace, or its begin was lost
    WriteMarker(marker.id, found->second, time_ns);
    markers_.erase(found);
  } else if ((marker.marker_flags & WG_MARKER_START) != 0 && markers_.size() < kMostMarkers) {
    markers_.insert_or_assign(marker.id, made);
  } else {
    WriteMarker(marker.id, made, INT64_MIN);
  }
}

void TraceDecoder::WriteMarker(uint32_t id, const OpenMarker& marker, int64_t end_ns) {
  TableWriter* row = rows_.Begin(TraceTable::kMarker, marker.start_ns);
  if (row == nullptr) return;
  if (end_ns >= marker.start_ns) {
    row->SetU64(kDuration, static_cast<uint64_t>(end_ns - marker.start_ns));
  }
  if (pid_ != 0) row->SetU32(kPid, pid_);
  SetId(row, kMarkTid, marker.tid);
  row->SetCode(kMarkName, marker.name);
  row->SetCode(kMarkDomain, marker.domain);
  row->SetU32(kMarkId, id);
  rows_.End(TraceTable::kMarker);
}

void TraceDecoder::Finish() {
  for (const auto& [id, marker] : markers_) WriteMarker(id, marker, INT64_MIN);
  markers_.clear();
}

void TraceDecoder::Clock(const wg_record& record) {
  const TraceClock::News news = clock_.Add(record);
  if (news.is_refused) rejected_++;
  if (news.step_ns != 0) news_.step_ns = news.step_ns;
  news_.is_foreign = news_.is_foreign || news.is_foreign;
}

TraceDecoder::ClockNews TraceDecoder::TakeClockNews() { return std::exchange(news_, ClockNews{}); }

void TraceDecoder::Name(const wg_record& record) {
  const auto& text = record.of.text;
  const bool begins = text.offset == 0;
  const bool is_next = begins || (record.name == name_id_ && text.offset == name_.size());
  if (record.name >= kMostNames || text.total > WG_NAME_LONGEST || text.length > WG_NAME_CHUNK ||
      text.offset + text.length > text.total || !is_next) {
    rejected_++;
    return;
  }
  if (begins) name_.clear();
  name_id_ = record.name;
  name_.append(text.text, text.length);
  if (name_.size() == text.total) {
    KeepName(record.name);
    name_id_ = WG_NO_ID;
  } else if (text.length == 0) {
    name_id_ = WG_NO_ID;  // would never be complete
    rejected_++;
  }
}

void TraceDecoder::KeepName(uint32_t id) {
  if (id >= names_.size()) {
    names_.resize(std::max<size_t>(id + 1, std::min<size_t>(2 * names_.size(), kMostNames)), -1);
  }
  // Once said an id keeps its name: rows that are written point to it.
  if (names_[id] >= 0) return;
  if (name_bytes_ + name_.size() <= kMostNameBytes) names_[id] = rows_.NameCode(name_);
  if (names_[id] >= 0) {
    name_bytes_ += name_.size();
  } else {
    rejected_++;
  }
}

void TraceDecoder::DeviceIs(const wg_record& record) {
  if (record.device >= kMostDevices) {
    rejected_++;
    return;
  }
  if (record.device >= devices_.size()) devices_.resize(record.device + 1);
  Device& device = devices_[record.device];
  if (device.is_known) return;
  device.is_known = true;
  device.uuid = UuidText(record.of.device.uuid, record.of.device.is_mig != 0);
  device.codes.fill(-2);
}

int32_t TraceDecoder::GpuCode(TraceTable table, uint32_t device) {
  if (device >= devices_.size() || !devices_[device].is_known) return -1;
  int32_t& code = devices_[device].codes[static_cast<size_t>(table)];
  if (code == -2) code = rows_[table].rows()->names(kGpu).Code(devices_[device].uuid);
  return code;
}

int32_t TraceDecoder::DestinationCode(uint32_t device) {
  if (device >= devices_.size() || !devices_[device].is_known) return -1;
  int32_t& code = devices_[device].destination_code;
  if (code == -2) {
    TableWriter* rows = rows_[TraceTable::kMemcpy].rows();
    code = rows->names(kCopyDestinationGpu).Code(devices_[device].uuid);
  }
  return code;
}

}  // namespace warpgauge
