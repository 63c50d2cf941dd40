#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/table.h"
#include "core/table_writer.h"
#include "gpu/cupti/trace_ring.h"

namespace warpgauge {

// The tables of source `cuda`: docs/cuda-trace.md says what each column means.
enum class TraceTable : uint8_t {
  kMemcpy,
  kKernel,
  kMemset,
  kUnifiedMemory,
  kSynchronization,
  kOverhead,
  kApi,
  kMarker,
  kProcess,
};
inline constexpr size_t kTraceTables = 9;

// Columns by table, in order. All have time, duration and pid first; `process` has its own.
namespace trace_column {
enum Common : uint32_t { kTime, kDuration, kPid, kGpu };
enum Memcpy : uint32_t {
  kCopyDevice = kGpu + 1,
  kCopyDirection,
  kCopyBytes,
  kCopySource,
  kCopyDestination,
  kCopyAsync,
  kCopyContext,
  kCopyStream,
  kCopyCorrelation,
  kCopyDestinationGpu,
  kCopyGraph,
  kCopyGraphNode,
  kCopyCopies,
};
enum Kernel : uint32_t {
  kKernelDevice = kGpu + 1,
  kKernelName,
  kKernelContext,
  kKernelStream,
  kKernelCorrelation,
  kKernelGrid,                        // x, y, z
  kKernelBlock = kKernelGrid + 3,     // x, y, z
  kKernelCluster = kKernelBlock + 3,  // x, y, z
  kKernelRegisters = kKernelCluster + 3,
  kKernelStaticShared,
  kKernelDynamicShared,
  kKernelLocal,
  kKernelGraph,
  kKernelGraphNode,
};
enum Memset : uint32_t {
  kSetDevice = kGpu + 1,
  kSetBytes,
  kSetValue,
  kSetMemory,
  kSetAsync,
  kSetContext,
  kSetStream,
  kSetCorrelation,
  kSetGraph,
  kSetGraphNode,
};
enum UnifiedMemory : uint32_t {
  kUmCounter = kGpu + 1,
  kUmValue,
  kUmAddress,
  kUmSource,
  kUmDestination,
};
enum Synchronization : uint32_t {
  kSyncType = kPid + 1,
  kSyncContext,
  kSyncStream,
  kSyncEvent,
  kSyncCorrelation,
};
enum Overhead : uint32_t { kOverheadKind = kPid + 1, kOverheadCorrelation };
enum Api : uint32_t {
  kApiTid = kPid + 1,
  kApiKind,
  kApiName,
  kApiCbid,
  kApiCorrelation,
  kApiResult,
  kApiExternalKind,
  kApiExternalId,
};
enum Marker : uint32_t { kMarkTid = kPid + 1, kMarkName, kMarkDomain, kMarkId };
enum Process : uint32_t {
  kProcessPid = 1,
  kProcessStart,
  kProcessParent,
  kProcessCommand,
  kProcessState,
  kProcessReason,
  kProcessCode,
  kProcessDetail,
  kProcessCupti,
  kProcessSimulated,
  kProcessCuptiVersion,
  kProcessDriverVersion,
  kProcessCounts,  // kTraceCounts, in order
};
}  // namespace trace_column

// The counts of a process in `cuda.process`, in the order of their columns.
enum class TraceCount : uint8_t {
  kRecords,
  kDropped,
  kDroppedCupti,
  kWithoutTime,
  kDroppedNames,
  kUnknown,
  kRejected,
  kLostOverwritten,
  kWaits,
  kBuffers,
  kFlushes,
  kCpu,
};
inline constexpr size_t kTraceCounts = 12;

// The table as the engine knows it. `interval_ns` is that of looking at the lanes.
TableSpec DescribeTraceTable(TraceTable table, int64_t interval_ns, bool simulated);
// Whether records of `kinds` fill it.
bool WantsTraceTable(TraceTable table, uint32_t kinds);

// Numbers of CUPTI as the words of our columns; nullptr for one that is none.
const char* CopyDirectionName(uint32_t kind);
const char* MemoryKindName(uint32_t kind);
const char* UnifiedMemoryCounterName(uint32_t kind);
const char* SynchronizationName(uint32_t type);
const char* OverheadName(uint32_t kind);
const char* ExternalKindName(uint32_t kind);
const char* TraceReasonName(uint32_t reason);

// Codes of a fixed vocabulary in one kName column: asked for once, so that rows cost no look-up.
class WordCodes {
 public:
  using NameOf = const char* (*)(uint32_t number);
  WordCodes() = default;
  WordCodes(NameOf name_of, TableWriter* rows, uint32_t column)
      : name_of_(name_of), rows_(rows), column_(column) {
    codes_.fill(kUnasked);
  }
  // -1 for a number that is no word: the cell stays null.
  int32_t operator[](uint32_t number) {
    if (number >= codes_.size()) return Ask(number);
    int32_t& code = codes_[number];
    if (code == kUnasked) code = Ask(number);
    return code;
  }

 private:
  static constexpr int32_t kUnasked = -2;
  [[nodiscard]] int32_t Ask(uint32_t number) const {
    const char* name = name_of_(number);
    return name == nullptr ? -1 : rows_->names(column_).Code(name);
  }
  NameOf name_of_ = nullptr;
  TableWriter* rows_ = nullptr;
  uint32_t column_ = 0;
  std::array<int32_t, 16> codes_{};
};

// Rows of one table in short ticks, as many as fit together: a burst is several ticks.
class RowBatcher {
 public:
  void Attach(TableWriter* rows) { rows_ = rows; }
  [[nodiscard]] TableWriter* rows() const { return rows_; }
  void BeginLook(int64_t look_ns) { look_ns_ = look_ns; }
  // nullptr: there is no such table, or no room for the row, which is counted as lost.
  TableWriter* Begin(int64_t time_ns) {
    if (rows_ == nullptr) return nullptr;
    if (in_tick_ == 0) rows_->BeginTick(look_ns_, kRowsPerTick);
    in_tick_++;
    return rows_->BeginRow(time_ns) ? rows_ : nullptr;
  }
  void End() {
    rows_->EndRow();
    if (in_tick_ >= kRowsPerTick) EndLook();
  }
  void EndLook() {
    if (in_tick_ == 0) return;
    in_tick_ = 0;
    rows_->EndTick();
  }

 private:
  static constexpr uint32_t kRowsPerTick = 256;
  TableWriter* rows_ = nullptr;
  int64_t look_ns_ = 0;
  uint32_t in_tick_ = 0;
};

}  // namespace warpgauge
