#include "gpu/nvml/gpu_tables.h"

namespace warpgauge {
namespace {

using Type = ColumnType;
using Kind = ColumnKind;

ColumnSpec Column(const char* name,
                  Type type,
                  Kind kind,
                  const char* unit,
                  const char* source,
                  const char* window = "") {
  ColumnSpec spec;
  spec.name = name;
  spec.type = type;
  spec.kind = kind;
  spec.unit = unit;
  spec.source = source;
  spec.window = window;
  spec.nullable = kind != Kind::kKey;
  return spec;
}

void AddValues(GpuTable table, std::vector<ColumnSpec>* columns) {
  for (const GpuColumn& value : ValueColumns(table)) {
    columns->push_back(
        Column(value.name, value.type, value.kind, value.unit, value.source, value.window));
  }
  columns->push_back(Column("changed",
                            Type::kUint64,
                            Kind::kState,
                            "1",
                            "bit per value column in their order: differs from the last row"));
  columns->push_back(Column("read",
                            Type::kUint64,
                            Kind::kState,
                            "1",
                            "bit per value column in their order: the driver was asked since the "
                            "last row; others repeat its last answer"));
}

}  // namespace

uint32_t FirstValueColumn(GpuTable table) { return table == GpuTable::kMain ? 5 : 2; }
uint32_t ChangedColumn(GpuTable table) {
  return FirstValueColumn(table) + static_cast<uint32_t>(ValueColumns(table).size());
}
uint32_t ReadColumn(GpuTable table) { return ChangedColumn(table) + 1; }

TableSpec MakeGpuTable(GpuTable table) {
  TableSpec spec;
  spec.suffix = GpuTableSuffix(table);
  std::vector<ColumnSpec>& columns = spec.columns;
  ColumnSpec time = Column("time", Type::kTime, Kind::kKey, "ns", "CLOCK_MONOTONIC of the tick");
  columns.push_back(time);
  columns.push_back(
      Column("gpu", Type::kName, Kind::kKey, "", "nvmlDeviceGetUUID of the GPU or MIG instance"));
  switch (table) {
    case GpuTable::kMain:
      spec.grain = "one row per tick and GPU or MIG instance";
      columns.push_back(
          Column("parent", Type::kName, Kind::kState, "", "UUID of the GPU of a MIG instance"));
      columns.push_back(
          Column("gpu_instance", Type::kUint32, Kind::kState, "", "nvmlDeviceGetGpuInstanceId"));
      columns.push_back(Column(
          "compute_instance", Type::kUint32, Kind::kState, "", "nvmlDeviceGetComputeInstanceId"));
      AddValues(table, &columns);
      break;
    case GpuTable::kSlow:
      spec.grain = "one row per tick and GPU";
      AddValues(table, &columns);
      break;
    case GpuTable::kPcie:
      spec.grain = "one row per reading and GPU";
      columns.push_back(Column("tx_bytes",
                               Type::kUint64,
                               Kind::kCounter,
                               "bytes",
                               "GPM 255, else nvmlDeviceGetFieldValues 197, unwrapped: leaving the "
                               "GPU (device to host)"));
      columns.push_back(Column("rx_bytes",
                               Type::kUint64,
                               Kind::kCounter,
                               "bytes",
                               "GPM 256, else nvmlDeviceGetFieldValues 198, unwrapped: arriving at "
                               "the GPU (host to device)"));
      columns.push_back(Column("tx_bytes_per_second",
                               Type::kFloat64,
                               Kind::kGauge,
                               "bytes/s",
                               "nvmlDeviceGetPcieThroughput, where there are no counters",
                               "20 ms before the reading"));
      columns.push_back(Column("rx_bytes_per_second",
                               Type::kFloat64,
                               Kind::kGauge,
                               "bytes/s",
                               "nvmlDeviceGetPcieThroughput, where there are no counters",
                               "20 ms before the reading"));
      columns.push_back(
          Column("source", Type::kName, Kind::kState, "", "gpm, fields or throughput"));
      columns.push_back(Column("ambiguous",
                               Type::kBool,
                               Kind::kState,
                               "1",
                               "the gap was long enough for the link to carry 4 GiB or more, or "
                               "the counter began anew: bytes may be missing"));
      columns.push_back(
          Column("window_ns", Type::kUint64, Kind::kGauge, "ns", "since the reading before"));
      break;
    case GpuTable::kProcess:
      spec.grain = "one row per reading, GPU or MIG instance and process";
      columns.push_back(Column("pid", Type::kUint32, Kind::kKey, "", "NVML's process lists"));
      columns.push_back(Column("start_ticks",
                               Type::kUint64,
                               Kind::kState,
                               "1",
                               "/proc/<pid>/stat field 22: clock ticks since boot"));
      columns.push_back(Column(
          "container_pid", Type::kUint32, Kind::kState, "", "/proc/<pid>/status NSpid, innermost"));
      columns.push_back(Column("name", Type::kNameId, Kind::kState, "", "/proc/<pid>/stat comm"));
      columns.push_back(Column("cgroup", Type::kNameId, Kind::kState, "", "/proc/<pid>/cgroup"));
      columns.push_back(Column(
          "compute", Type::kBool, Kind::kState, "1", "in nvmlDeviceGetComputeRunningProcesses"));
      columns.push_back(Column(
          "graphics", Type::kBool, Kind::kState, "1", "in nvmlDeviceGetGraphicsRunningProcesses"));
      columns.push_back(Column(
          "mps", Type::kBool, Kind::kState, "1", "in nvmlDeviceGetMPSComputeRunningProcesses"));
      columns.push_back(
          Column("gpu_instance", Type::kUint32, Kind::kState, "", "NVML's process lists"));
      columns.push_back(
          Column("compute_instance", Type::kUint32, Kind::kState, "", "NVML's process lists"));
      columns.push_back(
          Column("memory_bytes", Type::kUint64, Kind::kGauge, "bytes", "NVML's process lists"));
      for (const char* name : {"sm_utilization_ratio",
                               "memory_utilization_ratio",
                               "encoder_utilization_ratio",
                               "decoder_utilization_ratio",
                               "jpeg_utilization_ratio",
                               "ofa_utilization_ratio"}) {
        columns.push_back(Column(name,
                                 Type::kFloat64,
                                 Kind::kGauge,
                                 "1",
                                 "nvmlDeviceGetProcessesUtilizationInfo, else "
                                 "nvmlDeviceGetProcessUtilization",
                                 "the driver's newest sample"));
      }
      break;
    case GpuTable::kGpm: {
      spec.grain = "one row per window and GPU or MIG instance";
      columns.push_back(Column("window_ns",
                               Type::kUint64,
                               Kind::kGauge,
                               "ns",
                               "between the two GPM samples, at least 100 ms"));
      size_t count = 0;
      const GpmColumn* gpm = GpmColumns(&count);
      for (size_t i = 0; i < count; i++) {
        ColumnSpec value =
            Column(gpm[i].name, Type::kFloat64, Kind::kGauge, gpm[i].unit, "", "window_ns");
        value.source = "nvmlGpmMetricsGet " + std::to_string(gpm[i].metric);
        columns.push_back(std::move(value));
      }
      break;
    }
    case GpuTable::kSamples:
      spec.kind = TableKind::kEvent;
      spec.grain =
          "one row per entry of the driver's sample buffers; order between kinds is not "
          "promised";
      columns[0].source = "time stamp of the driver, brought from its clock to CLOCK_MONOTONIC";
      columns.push_back(
          Column("power_watts", Type::kFloat64, Kind::kGauge, "watts", "nvmlDeviceGetSamples 0"));
      columns.push_back(Column(
          "gpu_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetSamples 1"));
      columns.push_back(Column(
          "memory_utilization_ratio", Type::kFloat64, Kind::kGauge, "1", "nvmlDeviceGetSamples 2"));
      break;
    case GpuTable::kMig:
      spec.grain = "one row per reading, GPU in MIG mode and profile of GPU instances";
      columns.push_back(Column("profile",
                               Type::kName,
                               Kind::kKey,
                               "",
                               "nvmlDeviceGetGpuInstanceProfileInfoV: 3g.40gb, 1g.10gb+me"));
      columns.push_back(Column(
          "profile_id", Type::kUint32, Kind::kState, "", "nvmlDeviceGetGpuInstanceProfileInfoV"));
      columns.push_back(Column("free_slots",
                               Type::kUint32,
                               Kind::kGauge,
                               "1",
                               "nvmlDeviceGetGpuInstanceRemainingCapacity: how many more instances "
                               "of this profile alone could be made"));
      break;
    case GpuTable::kEvent:
      spec.kind = TableKind::kEvent;
      spec.grain = "one row per event of the driver";
      columns[0].source = "CLOCK_MONOTONIC when nvmlEventSetWait_v2 returned";
      columns.push_back(Column("event", Type::kName, Kind::kState, "", "nvmlEventSetWait_v2"));
      columns.push_back(Column(
          "code", Type::kUint64, Kind::kState, "1", "eventData: the XID of xid, 0 of all others"));
      columns.push_back(Column("count",
                               Type::kUint64,
                               Kind::kCounter,
                               "1",
                               "events of this GPU, kind and code since the sampler started"));
      columns.push_back(Column("gpu_instance", Type::kUint32, Kind::kState, "", "gpuInstanceId"));
      columns.push_back(
          Column("compute_instance", Type::kUint32, Kind::kState, "", "computeInstanceId"));
      break;
  }
  return spec;
}

const char* GpuEventName(uint64_t type) {
  switch (type) {
    case kNvmlEventSingleBitEcc:
      return "ecc_single_bit";
    case kNvmlEventDoubleBitEcc:
      return "ecc_double_bit";
    case kNvmlEventPState:
      return "pstate";
    case kNvmlEventXid:
      return "xid";
    case kNvmlEventClock:
      return "clock";
    case kNvmlEventPowerSource:
      return "power_source";
    case kNvmlEventMigConfig:
      return "mig_config";
    case 0x200:
      return "ecc_single_bit_storm";
    case 0x400:
      return "dram_retirement";
    case 0x800:
      return "dram_retirement_failure";
    case 0x1000:
      return "poison_non_fatal";
    case 0x2000:
      return "poison_fatal";
    case 0x4000:
      return "gpu_unavailable";
    case 0x8000:
      return "recovery_action";
    default:
      return nullptr;
  }
}

}  // namespace warpgauge
