// The fake libcuda itself: that it refuses what the real driver would punish. A checker that never
// fires proves nothing about the backend.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fake_driver.h"

namespace warpgauge {
namespace {

TEST_CASE("the order checker refuses what the real driver would punish") {
  const FakeDriver fake("delay_us = 50000\n");
  const CudaTable cuda = FakeTable();
  REQUIRE(cuda.cuInit(0) == kCuSuccess);
  CuContext context = nullptr;
  REQUIRE(cuda.cuDevicePrimaryCtxRetain(&context, 0) == kCuSuccess);
  REQUIRE(cuda.cuCtxSetCurrent(context) == kCuSuccess);
  CuStream stream = nullptr;
  REQUIRE(cuda.cuStreamCreate(&stream, kCuStreamNonBlocking) == kCuSuccess);
  CuDevicePtr device = 0;
  REQUIRE(cuda.cuMemAlloc_v2(&device, 4096) == kCuSuccess);
  void* pinned = nullptr;
  REQUIRE(cuda.cuMemHostAlloc(&pinned, 4096, 0) == kCuSuccess);
  std::vector<char> pageable(4096);
  CuEvent start = nullptr;
  CuEvent stop = nullptr;
  REQUIRE(cuda.cuEventCreate(&start, 0) == kCuSuccess);
  REQUIRE(cuda.cuEventCreate(&stop, 0) == kCuSuccess);

  SUBCASE("free of device memory in flight") {
    REQUIRE(cuda.cuMemsetD8Async(device, 1, 4096, stream) == kCuSuccess);
    CHECK(cuda.cuMemFree_v2(device) == kCuUnknown);
    CHECK(Violation().find("cuMemFree") != std::string::npos);
  }
  SUBCASE("free of pinned memory in flight") {
    REQUIRE(cuda.cuMemcpyDtoHAsync_v2(pinned, device, 4096, stream) == kCuSuccess);
    CHECK(cuda.cuMemFreeHost(pinned) == kCuUnknown);
    CHECK(Violation().find("cuMemFreeHost") != std::string::npos);
  }
  SUBCASE("unregistering memory in flight") {
    REQUIRE(cuda.cuMemHostRegister_v2(pageable.data(), pageable.size(), 0) == kCuSuccess);
    REQUIRE(cuda.cuMemcpyHtoDAsync_v2(device, pageable.data(), 4096, stream) == kCuSuccess);
    CHECK(cuda.cuMemHostUnregister(pageable.data()) == kCuUnknown);
    CHECK(Violation().find("cuMemHostUnregister") != std::string::npos);
  }
  SUBCASE("time read without a synchronization") {
    REQUIRE(cuda.cuEventRecord(start, stream) == kCuSuccess);
    REQUIRE(cuda.cuMemcpyHtoDAsync_v2(device, pinned, 4096, stream) == kCuSuccess);
    REQUIRE(cuda.cuEventRecord(stop, stream) == kCuSuccess);
    float ms = 0;
    CHECK(cuda.cuEventElapsedTime_v2(&ms, start, stop) == kCuUnknown);
    CHECK(Violation().find("without a stream synchronization") != std::string::npos);
    REQUIRE(cuda.cuStreamSynchronize(stream) == kCuSuccess);
    CHECK(cuda.cuEventElapsedTime_v2(&ms, start, stop) == kCuSuccess);
    CHECK(ms >= 50);
  }
  SUBCASE("a pageable copy behind a pending kernel") {
    CuModule module = nullptr;
    CuFunction function = nullptr;
    REQUIRE(cuda.cuModuleLoadDataEx(
                &module, ".version 6.0 .entry warpgauge_vector_add(", 0, nullptr, nullptr) ==
            kCuSuccess);
    REQUIRE(cuda.cuModuleGetFunction(&function, module, "warpgauge_vector_add") == kCuSuccess);
    uint64_t n = 8;
    void* parameters[] = {&device, &device, &device, &n};
    REQUIRE(cuda.cuLaunchKernel(function, 1, 1, 1, 8, 1, 1, 0, stream, parameters, nullptr) ==
            kCuSuccess);
    CHECK(cuda.cuMemcpyDtoHAsync_v2(pageable.data(), device, 64, stream) == kCuUnknown);
    CHECK(Violation().find("pending kernel") != std::string::npos);
    CHECK(cuda.cuModuleUnload(module) == kCuSuccess);
  }
  CHECK(fake.Count("VIOLATION") == 1);
  cuda.cuStreamSynchronize(stream);
  cuda.cuEventDestroy_v2(start);
  cuda.cuEventDestroy_v2(stop);
  cuda.cuStreamDestroy_v2(stream);
  cuda.cuCtxSetCurrent(nullptr);
  cuda.cuDevicePrimaryCtxRelease_v2(0);
}

TEST_CASE("a device address is no host address, and a copy beyond its allocation is refused") {
  const FakeDriver fake("");
  const CudaTable cuda = FakeTable();
  REQUIRE(cuda.cuInit(0) == kCuSuccess);
  CuContext context = nullptr;
  REQUIRE(cuda.cuDevicePrimaryCtxRetain(&context, 0) == kCuSuccess);
  REQUIRE(cuda.cuCtxSetCurrent(context) == kCuSuccess);
  CuDevicePtr device = 0;
  REQUIRE(cuda.cuMemAlloc_v2(&device, 4096) == kCuSuccess);
  CHECK((device >> 47U) != 0);  // above what any process maps
  CuStream stream = nullptr;
  REQUIRE(cuda.cuStreamCreate(&stream, 0) == kCuSuccess);
  CHECK(cuda.cuMemsetD8Async(device, 0, 4097, stream) == kCuInvalidValue);
  CHECK(cuda.cuMemsetD8Async(device + 4096, 0, 1, stream) == kCuInvalidValue);
  CHECK(cuda.cuMemFree_v2(device + 1) == kCuInvalidValue);
  CHECK(cuda.cuMemFree_v2(device) == kCuSuccess);
  CHECK(cuda.cuStreamDestroy_v2(stream) == kCuSuccess);
  CHECK(cuda.cuCtxSetCurrent(nullptr) == kCuSuccess);
  CHECK(cuda.cuMemAlloc_v2(&device, 4096) == kCuInvalidContext);
  CHECK(cuda.cuDevicePrimaryCtxRelease_v2(0) == kCuSuccess);
}

}  // namespace
}  // namespace warpgauge
