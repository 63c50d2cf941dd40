#pragma once

#include <string>

#include "core/status.h"
#include "gpu/cuda/table.h"
#include "gpu/cupti/pm_abi.h"

namespace warpgauge {

template <typename Parameters>
using PmFunction = CuptiResult (*)(Parameters*);

// The functions of one libcupti that PM sampling needs, by their exported names. Plain data: copied
// freely, any thread. The library behind it is never closed.
struct PmTable {
#define WARPGAUGE_DECLARE(name, required, argument) PmFunction<argument> name = nullptr;
  WARPGAUGE_PM_FUNCTIONS(WARPGAUGE_DECLARE)
#undef WARPGAUGE_DECLARE

  std::string path;      // the file that was mapped
  uint32_t version = 0;  // cuptiGetVersion
};

// Fills a table from any source of addresses. ERR_LIBRARY_MISSING, naming CUDA 12.6, where the
// library has no PM sampling.
Result<PmTable> ResolvePm(const SymbolFinder& find, const std::string& path);

// Opens libcupti of CUDA 12.6 or later, and before any call libnvperf_host and libnvperf_target
// from beside it: CUPTI asks for them by plain name, which only finds them in the loader's own
// folders. `override_path` and no other if it is not empty; else the one this process has open
// already, the loader's, then the files of CuptiLibraryFiles. `cuda_version` (cuDriverGetVersion,
// 0: unknown) leaves out libraries of a later major than the driver runs. Calls cuptiGetVersion
// alone.
Result<PmTable> OpenPm(const std::string& override_path, int cuda_version);

// Whether `major` of libcupti may be used with a driver of this cuDriverGetVersion.
bool CuptiSuitsDriver(int major, int cuda_version);

// A failed call as a Status: "<doing>: <function> failed with CUPTI_ERROR_X (n)". ERR_PERMISSION
// with the ways to get the privilege, ERR_BUSY with who may hold the counters, ERR_UNAVAILABLE
// where the GPU or its mode has no PM sampling, else ERR_CUPTI. `source` is the function, `number`
// the result.
Status CuptiStatus(CuptiResult result, const char* function, const std::string& doing);

// The word of the `state` table for a result: "no_permission", "busy", "not_supported", "lost".
const char* CuptiReason(CuptiResult result);

}  // namespace warpgauge
