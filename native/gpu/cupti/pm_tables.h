#pragma once

#include <vector>

#include "core/table.h"

namespace warpgauge {

// Columns of the table pm-sampling before those of PmQuantities(), which follow in their order.
inline constexpr uint32_t kPmGpuColumn = 1;
inline constexpr uint32_t kPmWindowColumn = 2;
inline constexpr uint32_t kPmFirstColumn = 3;

// Columns of pm-sampling.stat. All but the last two are cumulative since the start.
inline constexpr uint32_t kPmStatSamples = 2;
inline constexpr uint32_t kPmStatLost = 3;
inline constexpr uint32_t kPmStatOverflows = 4;
inline constexpr uint32_t kPmStatWithoutTime = 5;
inline constexpr uint32_t kPmStatDecodes = 6;
inline constexpr uint32_t kPmStatDecodeNs = 7;
inline constexpr uint32_t kPmStatEvaluateNs = 8;
inline constexpr uint32_t kPmStatImageRatio = 9;
inline constexpr uint32_t kPmStatBacklogNs = 10;

// The tables as they are before anything is known of the machine.
TableSpec MakePmTable();
TableSpec MakePmStatTable();

}  // namespace warpgauge
