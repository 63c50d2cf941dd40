#include "gpu/cupti/trace_tables.h"

#include <utility>

namespace warpgauge {
namespace {

// Prepared rows of the tables that a busy process fills, and of the others: each table has two
// slabs ready, whose pages are there.
constexpr uint32_t kBusyRows = 2048;
constexpr uint32_t kQuietRows = 256;
constexpr int64_t kProcessIntervalNs = 1'000'000'000;

ColumnSpec Cell(std::string name, ColumnType type, std::string source, std::string unit = "") {
  ColumnSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.kind = ColumnKind::kState;
  spec.unit = std::move(unit);
  spec.source = std::move(source);
  return spec;
}

ColumnSpec Gauge(std::string name, ColumnType type, std::string source, std::string unit) {
  ColumnSpec spec = Cell(std::move(name), type, std::move(source), std::move(unit));
  spec.kind = ColumnKind::kGauge;
  return spec;
}

ColumnSpec Key(std::string name, ColumnType type, std::string source, bool nullable = true) {
  ColumnSpec spec = Cell(std::move(name), type, std::move(source));
  spec.kind = ColumnKind::kKey;
  spec.nullable = nullable;
  return spec;
}

ColumnSpec Counter(std::string name, std::string source, std::string unit = "1") {
  ColumnSpec spec = Cell(std::move(name), ColumnType::kUint64, std::move(source), std::move(unit));
  spec.kind = ColumnKind::kCounter;
  return spec;
}

class Maker {
 public:
  explicit Maker(std::string cupti) : cupti_(std::move(cupti)) {
    ColumnSpec time = Key("time", ColumnType::kTime, cupti_ + " start, on CLOCK_MONOTONIC", false);
    time.unit = "ns";
    columns_ = {std::move(time),
                Gauge("duration_ns", ColumnType::kUint64, cupti_ + " end - start", "ns"),
                Cell("pid", ColumnType::kUint32, "the traced process, in our pid namespace")};
  }
  Maker& Gpu() {
    columns_.push_back(Key("gpu", ColumnType::kName, "cuDeviceGetUuid"));
    return *this;
  }
  Maker& Id(const char* name) {
    columns_.push_back(Cell(name, ColumnType::kUint32, cupti_ + " " + name));
    return *this;
  }
  Maker& Ids(std::initializer_list<const char*> names) {
    for (const char* name : names) Id(name);
    return *this;
  }
  Maker& Graph() {
    Id("graph");
    columns_.push_back(Cell("graph_node", ColumnType::kUint64, cupti_ + " graphNodeId"));
    return *this;
  }
  Maker& Word(const char* name, const char* field, bool is_key = false) {
    ColumnSpec spec = Cell(name, ColumnType::kName, cupti_ + " " + field);
    if (is_key) spec.kind = ColumnKind::kKey;
    columns_.push_back(std::move(spec));
    return *this;
  }
  Maker& Add(ColumnSpec spec) {
    columns_.push_back(std::move(spec));
    return *this;
  }
  Maker& Bytes(const char* name, const char* field, ColumnType type = ColumnType::kUint64) {
    return Add(Gauge(name, type, cupti_ + " " + field, "bytes"));
  }
  std::vector<ColumnSpec> Done() { return std::move(columns_); }

 private:
  std::string cupti_;
  std::vector<ColumnSpec> columns_;
};

std::vector<ColumnSpec> MemcpyColumns() {
  Maker make("CUPTI MEMCPY");
  make.Gpu().Id("device").Word("direction", "copyKind", true).Bytes("bytes", "bytes");
  make.Word("source_memory", "srcKind").Word("destination_memory", "dstKind");
  make.Add(Cell("async", ColumnType::kBool, "CUPTI MEMCPY flags"));
  make.Ids({"context", "stream", "correlation"});
  make.Add(Cell("destination_gpu", ColumnType::kName, "CUPTI MEMCPY2 dstDeviceId: of a peer copy"));
  make.Graph();
  make.Add(Gauge("copies", ColumnType::kUint64, "CUPTI MEMCPY copyCount (12.8 and later)", "1"));
  return make.Done();
}

std::vector<ColumnSpec> KernelColumns() {
  Maker make("CUPTI CONCURRENT_KERNEL");
  make.Gpu().Id("device");
  make.Add(Cell("name", ColumnType::kNameId, "CUPTI CONCURRENT_KERNEL name"));
  make.Ids({"context", "stream", "correlation"});
  make.Ids({"grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z"});
  make.Ids({"cluster_x", "cluster_y", "cluster_z", "registers_per_thread"});
  make.Bytes("static_shared_bytes", "staticSharedMemory", ColumnType::kUint32);
  make.Bytes("dynamic_shared_bytes", "dynamicSharedMemory", ColumnType::kUint32);
  make.Bytes("local_bytes_per_thread", "localMemoryPerThread", ColumnType::kUint32);
  return make.Graph().Done();
}

std::vector<ColumnSpec> MemsetColumns() {
  Maker make("CUPTI MEMSET");
  make.Gpu().Id("device").Bytes("bytes", "bytes").Id("value").Word("memory", "memoryKind");
  make.Add(Cell("async", ColumnType::kBool, "CUPTI MEMSET flags"));
  return make.Ids({"context", "stream", "correlation"}).Graph().Done();
}

std::vector<ColumnSpec> UnifiedMemoryColumns() {
  Maker make("CUPTI UNIFIED_MEMORY_COUNTER");
  make.Gpu().Word("counter", "counterKind", true);
  make.Add(Gauge("value", ColumnType::kUint64, "CUPTI UNIFIED_MEMORY_COUNTER value", "1"));
  make.Add(Cell("address", ColumnType::kUint64, "CUPTI UNIFIED_MEMORY_COUNTER address"));
  return make.Ids({"source_device", "destination_device"}).Done();
}

std::vector<ColumnSpec> SynchronizationColumns() {
  Maker make("CUPTI SYNCHRONIZATION");
  make.Word("type", "type", true);
  return make.Ids({"context", "stream", "event", "correlation"}).Done();
}

std::vector<ColumnSpec> OverheadColumns() {
  Maker make("CUPTI OVERHEAD");
  return make.Word("overhead", "overheadKind", true).Id("correlation").Done();
}

std::vector<ColumnSpec> ApiColumns() {
  Maker make("CUPTI DRIVER, RUNTIME");
  make.Id("tid").Word("api", "kind", true);
  make.Add(Cell("name", ColumnType::kNameId, "cuptiGetCallbackName of cbid"));
  make.Ids({"cbid", "correlation"});
  make.Add(Cell("result", ColumnType::kInt32, "CUPTI DRIVER, RUNTIME returnValue"));
  make.Add(Cell("external_kind", ColumnType::kName, "CUPTI EXTERNAL_CORRELATION externalKind"));
  make.Add(Cell("external_id", ColumnType::kUint64, "CUPTI EXTERNAL_CORRELATION externalId"));
  return make.Done();
}

std::vector<ColumnSpec> MarkerColumns() {
  Maker make("CUPTI MARKER");
  make.Id("tid");
  make.Add(Cell("name", ColumnType::kNameId, "CUPTI MARKER name"));
  make.Add(Cell("domain", ColumnType::kNameId, "CUPTI MARKER domain"));
  return make.Id("id").Done();
}

std::vector<ColumnSpec> ProcessColumns() {
  const std::string said = "said by the process";
  ColumnSpec time = Key("time", ColumnType::kTime, "CLOCK_MONOTONIC", false);
  time.unit = "ns";
  std::vector<ColumnSpec> columns = {
      std::move(time),
      // Null for a process of a pid namespace that we cannot look into.
      Key("pid", ColumnType::kUint32, "in our pid namespace"),
      Key("start_ticks", ColumnType::kUint64, "/proc/PID/stat starttime"),
      Cell("parent_pid", ColumnType::kUint32, said),
      Cell("command", ColumnType::kNameId, "/proc/PID/cmdline"),
      Cell("state", ColumnType::kName, said + "; gone: seen by us"),
      Cell("reason", ColumnType::kName, said),
      Cell("code", ColumnType::kInt32, "CUptiResult or errno of reason"),
      Cell("detail", ColumnType::kNameId, said),
      Cell("cupti_path", ColumnType::kNameId, "the libcupti that was opened"),
      Cell("simulated", ColumnType::kBool, "a driver or device that calls itself Simulated"),
      Cell("cupti_version", ColumnType::kUint32, "cuptiGetVersion"),
      Cell("driver_version", ColumnType::kUint32, "cuDriverGetVersion"),
      Counter("records", "records that were read"),
      Counter("dropped", "records for which the pool had no buffer"),
      Counter("dropped_cupti", "cuptiActivityGetNumDroppedRecords"),
      Counter("without_time", "records whose start or end CUPTI did not know"),
      Counter("dropped_names", "names beyond the table of names"),
      Counter("unknown", "records of other kinds, or cut short"),
      Counter("rejected", "records that cannot be, as read by us"),
      Counter("lost_overwritten", "records of a file that were overwritten before they were read"),
      Counter("waits", "times that the writer found its ring full"),
      Counter("buffers", "CUPTI buffers completed"),
      Counter("flushes", "cuptiActivityFlushAll calls that returned"),
      Counter("cpu_ns", "CPU time of the writer's thread", "ns"),
  };
  return columns;
}

template <size_t N>
const char* Pick(const char* const (&names)[N], uint32_t number) {
  return number < N ? names[number] : nullptr;
}

}  // namespace

TableSpec DescribeTraceTable(TraceTable table, int64_t interval_ns, bool simulated) {
  TableSpec spec;
  spec.kind = TableKind::kSpan;
  spec.interval_ns = interval_ns;
  spec.simulated = simulated;
  spec.names = "name";
  spec.rows_per_tick = kQuietRows;
  switch (table) {
    case TraceTable::kMemcpy:
      spec.suffix = "memcpy";
      spec.grain = "one row per copy on a GPU";
      spec.columns = MemcpyColumns();
      spec.rows_per_tick = kBusyRows;
      break;
    case TraceTable::kKernel:
      spec.suffix = "kernel";
      spec.grain = "one row per kernel that ran";
      spec.columns = KernelColumns();
      spec.rows_per_tick = kBusyRows;
      break;
    case TraceTable::kMemset:
      spec.suffix = "memset";
      spec.grain = "one row per memset on a GPU";
      spec.columns = MemsetColumns();
      break;
    case TraceTable::kUnifiedMemory:
      spec.suffix = "unified_memory";
      spec.grain = "one row per migration, fault or throttling of managed memory";
      spec.columns = UnifiedMemoryColumns();
      break;
    case TraceTable::kSynchronization:
      spec.suffix = "synchronization";
      spec.grain = "one row per wait of the host or a stream";
      spec.columns = SynchronizationColumns();
      break;
    case TraceTable::kOverhead:
      spec.suffix = "overhead";
      spec.grain = "one row per time that CUDA or CUPTI spent on its own";
      spec.columns = OverheadColumns();
      break;
    case TraceTable::kApi:
      spec.suffix = "api";
      spec.grain = "one row per call of the CUDA driver or runtime API";
      spec.columns = ApiColumns();
      spec.rows_per_tick = kBusyRows;
      break;
    case TraceTable::kMarker:
      spec.suffix = "marker";
      spec.grain = "one row per NVTX range or mark";
      spec.columns = MarkerColumns();
      break;
    case TraceTable::kProcess:
      spec.kind = TableKind::kSample;
      spec.suffix = "process";
      spec.grain = "one row per second and traced process";
      spec.columns = ProcessColumns();
      spec.interval_ns = kProcessIntervalNs;
      spec.rows_per_tick = 4;
      break;
  }
  return spec;
}

bool WantsTraceTable(TraceTable table, uint32_t kinds) {
  const auto has = [&](uint32_t kind) { return (kinds & (1U << kind)) != 0; };
  switch (table) {
    case TraceTable::kMemcpy:
      return has(WG_RECORD_MEMCPY) || has(WG_RECORD_PEER_MEMCPY);
    case TraceTable::kKernel:
      return has(WG_RECORD_KERNEL);
    case TraceTable::kMemset:
      return has(WG_RECORD_MEMSET);
    case TraceTable::kUnifiedMemory:
      return has(WG_RECORD_UNIFIED_MEMORY);
    case TraceTable::kSynchronization:
      return has(WG_RECORD_SYNCHRONIZATION);
    case TraceTable::kOverhead:
      return has(WG_RECORD_OVERHEAD);
    case TraceTable::kApi:
      return has(WG_RECORD_API);
    case TraceTable::kMarker:
      return has(WG_RECORD_MARKER);
    case TraceTable::kProcess:
      return true;
  }
  return false;
}

const char* CopyDirectionName(uint32_t kind) {
  static constexpr const char* kNames[] = {
      nullptr, "HtoD", "DtoH", "HtoA", "AtoH", "AtoA", "AtoD", "DtoA", "DtoD", "HtoH", "PtoP"};
  return Pick(kNames, kind);
}

const char* MemoryKindName(uint32_t kind) {
  static constexpr const char* kNames[] = {nullptr,
                                           "pageable",
                                           "pinned",
                                           "device",
                                           "array",
                                           "managed",
                                           "device_static",
                                           "managed_static"};
  return Pick(kNames, kind);
}

const char* UnifiedMemoryCounterName(uint32_t kind) {
  static constexpr const char* kNames[] = {nullptr,
                                           "bytes_htod",
                                           "bytes_dtoh",
                                           "cpu_page_fault",
                                           "gpu_page_fault",
                                           "thrashing",
                                           "throttling",
                                           "remote_map",
                                           "bytes_dtod"};
  return Pick(kNames, kind);
}

const char* SynchronizationName(uint32_t type) {
  static constexpr const char* kNames[] = {
      nullptr, "event", "stream_wait_event", "stream", "context"};
  return Pick(kNames, type);
}

const char* OverheadName(uint32_t kind) {
  if (kind == 1) return "compiler";
  static constexpr const char* kNames[] = {nullptr,
                                           "buffer_flush",
                                           "instrumentation",
                                           "resource",
                                           "module_loading",
                                           "lazy_function_loading",
                                           "command_buffer_full",
                                           "buffer_request",
                                           "uvm_init"};
  return (kind & 0xffff) == 0 ? Pick(kNames, kind >> 16) : nullptr;
}

const char* ExternalKindName(uint32_t kind) {
  static constexpr const char* kNames[] = {
      nullptr, "unknown", "openacc", "custom0", "custom1", "custom2"};
  return Pick(kNames, kind);
}

const char* TraceReasonName(uint32_t reason) {
  static constexpr const char* kNames[] = {nullptr,
                                           "no_cupti",
                                           "cupti_too_old",
                                           "busy",
                                           "cupti_error",
                                           "no_permission",
                                           "no_thread",
                                           "no_memory",
                                           "foreign_clock",
                                           "cupti_too_new"};
  return reason == 0 ? nullptr : reason < std::size(kNames) ? kNames[reason] : "unknown_reason";
}

}  // namespace warpgauge
