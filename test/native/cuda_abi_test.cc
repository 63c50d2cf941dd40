// Compares our declarations of the CUDA driver ABI with the real cuda.h (where one is
// installed) and with the symbols of a real libcuda (where one is installed). Prints what
// ran and what was skipped.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdio>
#include <set>
#include <string>

#include "abi_compat.h"
#include "core/dynamic_library.h"
#include "gpu/cuda/table.h"

#if __has_include(<cuda.h>)
#include <cuda.h>
#define HAVE_CUDA_H 1
#else
#define HAVE_CUDA_H 0
#endif

namespace warpgauge {
namespace {

std::set<std::string> NamesInTable() {
  std::set<std::string> names;
#define ADD(name, ...) names.insert(#name);
  WARPGAUGE_CUDA_FUNCTIONS(ADD)
#undef ADD
  return names;
}

TEST_CASE("no name in the table is the 32-bit ABI of CUDA 2.0") {
  const std::set<std::string> names = NamesInTable();
  CHECK(names.size() == 37);
  // dlsym finds each of these too, and each is a different function from its _v2.
  for (const char* trap : {"cuDeviceTotalMem",
                           "cuCtxCreate",
                           "cuCtxDestroy",
                           "cuMemGetInfo",
                           "cuMemAlloc",
                           "cuMemFree",
                           "cuMemAllocHost",
                           "cuMemHostGetDevicePointer",
                           "cuMemHostRegister",
                           "cuMemcpyHtoD",
                           "cuMemcpyDtoH",
                           "cuMemcpyDtoD",
                           "cuMemcpyHtoDAsync",
                           "cuMemcpyDtoHAsync",
                           "cuMemcpyDtoDAsync",
                           "cuMemsetD8",
                           "cuStreamDestroy",
                           "cuEventDestroy",
                           "cuDevicePrimaryCtxRelease",
                           "cuModuleGetGlobal",
                           "cuMemPrefetchAsync",
                           "cuMemAdvise",
                           "cuGetProcAddress"}) {
    CAPTURE(trap);
    CHECK_FALSE(names.contains(trap));
  }
  for (const std::string& name : names) {
    CAPTURE(name);  // per-thread default streams are another contract
    CHECK(name.find("_pt") == std::string::npos);
  }
}

#if HAVE_CUDA_H

#define SAME(a, b)                                                       \
  static_assert(static_cast<long long>(a) == static_cast<long long>(b)); \
  ++checked
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

// Older headers do not declare the newer of two versions: their comparison is then skipped.
#if CUDA_VERSION < 12080
#define cuEventElapsedTime_v2 cuEventElapsedTime
#endif
#if CUDA_VERSION < 11040
#define cuDeviceGetUuid_v2 cuDeviceGetUuid
#endif

TEST_CASE("types, values and signatures are those of the real cuda.h") {
  int checked = 0;
  SAME(sizeof(CuResult), sizeof(CUresult));
  SAME(sizeof(CuDevice), sizeof(CUdevice));
  SAME(sizeof(CuDevicePtr), sizeof(CUdeviceptr));
  SAME(sizeof(CuUuid), sizeof(CUuuid));
  SAME(offsetof(CuUuid, bytes), offsetof(CUuuid, bytes));
  SAME(alignof(CuUuid), alignof(CUuuid));
  SAME(sizeof(CuContext), sizeof(CUcontext));
  SAME(sizeof(CuStream), sizeof(CUstream));
  SAME(sizeof(CuEvent), sizeof(CUevent));
  SAME(sizeof(CuModule), sizeof(CUmodule));
  SAME(sizeof(CuFunction), sizeof(CUfunction));

  SAME(kCuSuccess, CUDA_SUCCESS);
  SAME(kCuInvalidValue, CUDA_ERROR_INVALID_VALUE);
  SAME(kCuOutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
  SAME(kCuNotInitialized, CUDA_ERROR_NOT_INITIALIZED);
  SAME(kCuStubLibrary, CUDA_ERROR_STUB_LIBRARY);
  SAME(kCuDeviceUnavailable, CUDA_ERROR_DEVICE_UNAVAILABLE);
  SAME(kCuNoDevice, CUDA_ERROR_NO_DEVICE);
  SAME(kCuInvalidDevice, CUDA_ERROR_INVALID_DEVICE);
  SAME(kCuInvalidContext, CUDA_ERROR_INVALID_CONTEXT);
  SAME(kCuInvalidPtx, CUDA_ERROR_INVALID_PTX);
  SAME(kCuJitCompilerNotFound, CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
  SAME(kCuUnsupportedPtx, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  SAME(kCuOperatingSystem, CUDA_ERROR_OPERATING_SYSTEM);
  SAME(kCuNotFound, CUDA_ERROR_NOT_FOUND);
  SAME(kCuNotReady, CUDA_ERROR_NOT_READY);
  SAME(kCuAlreadyRegistered, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  SAME(kCuNotPermitted, CUDA_ERROR_NOT_PERMITTED);
  SAME(kCuNotSupported, CUDA_ERROR_NOT_SUPPORTED);
  SAME(kCuSystemNotReady, CUDA_ERROR_SYSTEM_NOT_READY);
  SAME(kCuDriverMismatch, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
  SAME(kCuCompatNotSupported, CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
  SAME(kCuUnknown, CUDA_ERROR_UNKNOWN);

  SAME(kCuStreamNonBlocking, CU_STREAM_NON_BLOCKING);
  SAME(kCuEventDefault, CU_EVENT_DEFAULT);
  SAME(kCuClockRateKhz, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  SAME(kCuMultiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  SAME(kCuComputeMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  SAME(kCuComputeMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  SAME(kCuPageableAccess, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS);
  SAME(kCuHostPageTables, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES);
  SAME(kCuJitErrorLog, CU_JIT_ERROR_LOG_BUFFER);
  SAME(kCuJitErrorLogSize, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);

#define COMPARE(name, required, lost, ...)                                                         \
  static_assert(CompatibleFunctions<__VA_ARGS__, std::remove_pointer_t<decltype(&::name)>>::value, \
                #name);                                                                            \
  ++checked;
  WARPGAUGE_CUDA_FUNCTIONS(COMPARE)
#undef COMPARE
  int skipped = 0;
  if (CUDA_VERSION < 12080) ++skipped;
  if (CUDA_VERSION < 11040) ++skipped;
  std::printf("cuda abi: %d checks run against cuda.h %d, %d skipped (newer than that header)\n",
              checked - skipped,
              CUDA_VERSION,
              skipped);
  CHECK(checked == 11 + 32 + 37);
}

// The header's own remapping says which plain names are traps: a list that cannot go out of date.
TEST_CASE("every name in the table is the version the header would call") {
  const std::set<std::string> same_signature = {"cuEventElapsedTime", "cuDeviceGetUuid"};
#define COMPARE(name, required, lost, ...)                      \
  if (!same_signature.contains(#name)) {                        \
    CAPTURE(#name);                                             \
    CHECK(std::string(TEXT(name)).starts_with(#name) == true);  \
    CHECK(std::string(TEXT(name)).size() == sizeof(#name) - 1); \
  }
#if CUDA_VERSION >= 12080
  WARPGAUGE_CUDA_FUNCTIONS(COMPARE)
#endif
#undef COMPARE
}

#else

TEST_CASE("types, values and signatures are those of the real cuda.h") {
  std::printf("cuda abi: 0 checks run, all skipped: no cuda.h on the include path\n");
}

#endif

TEST_CASE("a real libcuda has every required symbol") {
  // Only the dynamic loader's work: no function of the library is called, so
  // no device node appears.
  const Result<DynamicLibrary> library = DynamicLibrary::Open({"libcuda.so.1"});
  if (!library.ok()) {
    std::printf("cuda symbols: skipped: %s\n", library.status.message().c_str());
    return;
  }
  const Result<CudaTable> table =
      ResolveCuda([&](const char* name) { return library.value.Find(name); }, library.value.path());
  CHECK_MESSAGE(table.ok(), table.status.message());
  std::printf("cuda symbols: %zu of 37 found in %s\n",
              37 - table.value.missing.size(),
              library.value.path().c_str());
  for (const MissingSymbol& missing : table.value.missing) {
    std::printf("cuda symbols: without %s: %s\n", missing.name.c_str(), missing.lost.c_str());
  }
}

}  // namespace
}  // namespace warpgauge
