#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// The source `pm-sampling`: hardware counters of NVIDIA GPUs at up to 20 kHz by CUPTI PM sampling
// (CUDA 12.6 and later), in the tables pm-sampling and pm-sampling.stat. Device-wide: it counts the
// work of all processes. Options (all text, checked here too):
//
//   devices              UUIDs joined by '+'; empty: all that CUDA shows
//   hardwareBufferBytes  of each GPU, 1 MiB to 2 GiB; 64 MiB
//   cuda, cupti          paths of libcuda and libcupti instead of the search (WARPGAUGE_CUDA,
//                        WARPGAUGE_CUPTI)
//
// ERR_NO_DRIVER, ERR_LIBRARY_MISSING, ERR_NO_DEVICE, ERR_UNAVAILABLE where there is nothing to
// sample; ERR_PERMISSION, ERR_BUSY with who can help; ERR_CUDA, ERR_CUPTI; ERR_INVALID_ARGUMENT for
// a bad option.
Result<std::unique_ptr<Source>> OpenPmSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
