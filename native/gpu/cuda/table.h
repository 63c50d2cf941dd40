#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/status.h"
#include "gpu/cuda/abi.h"

namespace warpgauge {

// A function that the library lacks, and what cannot be measured for it.
struct MissingSymbol {
  std::string name;
  std::string lost;
};

// The functions of one libcuda, by their exact exported names; nullptr where the library lacks an
// optional one. Plain data: copied freely, any thread. The library behind it is never closed.
struct CudaTable {
#define WARPGAUGE_DECLARE(name, required, lost, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  WARPGAUGE_CUDA_FUNCTIONS(WARPGAUGE_DECLARE)
#undef WARPGAUGE_DECLARE

  std::string path;  // the file that was mapped
  std::vector<MissingSymbol> missing;

  // The newest that exists; nullptr where none does.
  [[nodiscard]] auto ElapsedTime() const {
    return cuEventElapsedTime_v2 != nullptr ? cuEventElapsedTime_v2 : cuEventElapsedTime;
  }
  [[nodiscard]] auto GetUuid() const {
    return cuDeviceGetUuid_v2 != nullptr ? cuDeviceGetUuid_v2 : cuDeviceGetUuid;
  }
  // Whether modules can be loaded and kernels launched.
  [[nodiscard]] bool CanLaunch() const {
    return cuModuleLoadDataEx != nullptr && cuModuleGetFunction != nullptr &&
           cuModuleUnload != nullptr && cuLaunchKernel != nullptr;
  }
};

using SymbolFinder = std::function<void*(const char*)>;

// Fills a table from any source of addresses. ERR_SYMBOL_MISSING names every required
// function that is not there.
Result<CudaTable> ResolveCuda(const SymbolFinder& find, const std::string& path);

// Opens libcuda: `override_path` if not empty, else libcuda.so.1 by the loader, then where WSL
// keeps it. Calls no function of it. ERR_NO_DRIVER (without opening anything) when no kernel driver
// is loaded and no override was given; ERR_LIBRARY_MISSING; ERR_SYMBOL_MISSING.
Result<CudaTable> OpenCuda(const std::string& override_path);

// A failed driver call as a Status: "<doing>: <function> failed with CUDA_ERROR_X (n): text".
// NO_DEVICE and INVALID_DEVICE become ERR_NO_DEVICE, OUT_OF_MEMORY becomes ERR_NO_MEMORY, all
// others ERR_CUDA; codes with a known remedy carry it as fix. `source` is the function,
// `number` the CUresult.
Status CudaStatus(const CudaTable& table,
                  CuResult result,
                  const char* function,
                  const std::string& doing);

}  // namespace warpgauge
