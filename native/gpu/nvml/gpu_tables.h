#pragma once

#include <vector>

#include "core/table.h"
#include "gpu/nvml/gpm.h"
#include "gpu/nvml/metrics.h"

namespace warpgauge {

// Columns that every table of the gpu source begins with.
inline constexpr uint32_t kGpuTimeColumn = 0;
inline constexpr uint32_t kGpuKeyColumn = 1;

// gpu and gpu.slow: what follows the key, then the value columns, then the two masks.
inline constexpr uint32_t kMainParentColumn = 2;
inline constexpr uint32_t kMainGpuInstanceColumn = 3;
inline constexpr uint32_t kMainComputeInstanceColumn = 4;
uint32_t FirstValueColumn(GpuTable table);
uint32_t ChangedColumn(GpuTable table);
uint32_t ReadColumn(GpuTable table);

inline constexpr uint32_t kPcieTxColumn = 2;
inline constexpr uint32_t kPcieRxColumn = 3;
inline constexpr uint32_t kPcieTxRateColumn = 4;
inline constexpr uint32_t kPcieRxRateColumn = 5;
inline constexpr uint32_t kPcieSourceColumn = 6;
inline constexpr uint32_t kPcieAmbiguousColumn = 7;
inline constexpr uint32_t kPcieWindowColumn = 8;

inline constexpr uint32_t kProcessPidColumn = 2;
inline constexpr uint32_t kProcessStartColumn = 3;
inline constexpr uint32_t kProcessContainerPidColumn = 4;
inline constexpr uint32_t kProcessNameColumn = 5;
inline constexpr uint32_t kProcessCgroupColumn = 6;
inline constexpr uint32_t kProcessComputeColumn = 7;
inline constexpr uint32_t kProcessGraphicsColumn = 8;
inline constexpr uint32_t kProcessMpsColumn = 9;
inline constexpr uint32_t kProcessGpuInstanceColumn = 10;
inline constexpr uint32_t kProcessComputeInstanceColumn = 11;
inline constexpr uint32_t kProcessMemoryColumn = 12;
inline constexpr uint32_t kProcessSmColumn = 13;  // then memory, encoder, decoder, jpeg, ofa

inline constexpr uint32_t kGpmWindowColumn = 2;
inline constexpr uint32_t kGpmFirstColumn = 3;

inline constexpr uint32_t kSamplesFirstColumn = 2;  // power, gpu, memory

inline constexpr uint32_t kEventNameColumn = 2;
inline constexpr uint32_t kEventCodeColumn = 3;
inline constexpr uint32_t kEventCountColumn = 4;
inline constexpr uint32_t kEventGpuInstanceColumn = 5;
inline constexpr uint32_t kEventComputeInstanceColumn = 6;

inline constexpr uint32_t kMigProfileColumn = 2;
inline constexpr uint32_t kMigProfileIdColumn = 3;
inline constexpr uint32_t kMigFreeColumn = 4;

// The table as it is before anything is known of the machine: no reasons, no intervals.
TableSpec MakeGpuTable(GpuTable table);

// "xid", "ecc_single_bit", ...; nullptr for a type without a name of ours.
const char* GpuEventName(uint64_t type);

}  // namespace warpgauge
