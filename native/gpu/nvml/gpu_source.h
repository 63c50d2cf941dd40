#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// The source `gpu`: every GPU and MIG instance by NVML, in the tables gpu, gpu.pcie, gpu.slow,
// gpu.process, gpu.gpm, gpu.samples and gpu.event. Options (all text, checked here too):
//
//   devices       UUIDs joined by '+'; empty: all
//   tables        suffixes joined by '+' ("main" is the table gpu); empty: all
//   pcie          auto | exact (polled every 40 ms whatever it costs)
//   driverShare   0 to 1: time inside NVML per GPU and wall time; 0.005
//   wake          true: sleeping GPUs are asked too
//   slow, process, gpm, samples   intervals of those tables in ns; gpm at least 100 ms
//   library       path of libnvidia-ml instead of the search (WARPGAUGE_NVML)
//
// ERR_NO_DRIVER, ERR_LIBRARY_MISSING, ERR_NVML, ERR_NO_DEVICE where there is nothing to read;
// ERR_INVALID_ARGUMENT for a bad option.
Result<std::unique_ptr<Source>> OpenGpuSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
