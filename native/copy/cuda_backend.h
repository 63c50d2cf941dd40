#pragma once

#include <memory>
#include <string>

#include "copy/backend.h"
#include "gpu/cuda/table.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// Copies through the CUDA driver API, on the primary context and one stream of its own.
//
// Which timers are valid (both always cover the whole copy; neither uses a blocking kernel, because
// a copy of pageable memory waits for its stream first and would wait for the blocker for ever):
// - host: CLOCK_MONOTONIC_RAW around the copy call, one event record and cuStreamSynchronize. The
//   synchronization is part of it because a HtoD copy of pageable memory returns when the source
//   has been staged, not when it has arrived. Valid for every pin mode; the only number for
//   pageable memory that includes what the CPU does before the first and after the last transfer.
// - event, pageable memory: the stream is idle when the first event is recorded, so the device
//   stamps it at once, before the CPU starts staging; the second is stamped after the last transfer
//   (HtoD), or is recorded after the CPU has written the last byte (DtoH). Staging, faults and
//   pinning are inside.
// - event, registered or driver-allocated memory: as above, so it holds the driver's submission of
//   the copy (microseconds) besides the transfer. From about 1 MiB on that is below one per cent.
//
// Event time is -1 where the library has no cuEventElapsedTime.
//
// `device` is CUDA's ordinal. `cuda_path` and `nvml_path` name libraries to use instead of
// searching, and let the call pass on a machine without kernel driver. NVML that cannot be used
// only costs clocks and link (see ReadGpu), unless `nvml_path` was given and does not load.
//
// ERR_NO_DRIVER, ERR_LIBRARY_MISSING, ERR_SYMBOL_MISSING, ERR_NO_DEVICE, ERR_NO_MEMORY, ERR_CUDA.
// Must be used and destroyed on the thread that opened it.
Result<std::unique_ptr<CopyBackend>> OpenCudaBackend(int device,
                                                     const std::string& cuda_path,
                                                     const std::string& nvml_path);

// The same over tables that are there already. `nvml` may be nullptr.
Result<std::unique_ptr<CopyBackend>> MakeCudaBackend(const CudaTable& cuda,
                                                     const NvmlTable* nvml,
                                                     int device);

}  // namespace warpgauge
