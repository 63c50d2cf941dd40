// What the simulated device did reaches the simulated libcupti as it was: every copy with its bytes
// and the memory it came from, joined to its call, in the times of the real work.
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "fake_cupti.h"
#include "fake_driver.h"

namespace warpgauge {
namespace {

constexpr uint32_t kPageable = 1;
constexpr uint32_t kPinned = 2;
constexpr uint32_t kDevice = 3;
constexpr uint32_t kManaged = 5;

// Functions that only the tests of tracing call.
struct MoreCuda {
  int (*AllocManaged)(CuDevicePtr*, size_t, unsigned) = nullptr;
  int (*PrefetchAsync)(uint64_t, size_t, int, void*) = nullptr;
  int (*HtoD)(uint64_t, const void*, size_t) = nullptr;
  int (*DtoH)(void*, uint64_t, size_t) = nullptr;
  int (*PeerAsync)(uint64_t, void*, uint64_t, void*, size_t, void*) = nullptr;
  int (*EventSynchronize)(void*) = nullptr;
  int (*StreamWaitEvent)(void*, void*, unsigned) = nullptr;
  int (*CtxSynchronize)() = nullptr;

  MoreCuda() {
    const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Cuda()});
    REQUIRE(library.ok());
    library.value.Load("cuMemAllocManaged", &AllocManaged);
    library.value.Load("cuMemPrefetchAsync", &PrefetchAsync);
    library.value.Load("cuMemcpyHtoD_v2", &HtoD);
    library.value.Load("cuMemcpyDtoH_v2", &DtoH);
    library.value.Load("cuMemcpyPeerAsync", &PeerAsync);
    library.value.Load("cuEventSynchronize", &EventSynchronize);
    library.value.Load("cuStreamWaitEvent", &StreamWaitEvent);
    REQUIRE(library.value.Load("cuCtxSynchronize", &CtxSynchronize));
  }
};

// The simulated machine with a client of CUPTI that wants everything, and a context.
class Traced {
 public:
  explicit Traced(const std::string& script)
      : fake(script + "cupti_shuffle = 0\n"), cuda(FakeTable()), client(cupti) {
    for (const int kind : {1, 2, 4, 10, 17, 25, 38}) REQUIRE(cupti.Enable(kind) == 0);
    REQUIRE(cuda.cuInit(0) == kCuSuccess);
    const uint32_t configuration[4] = {1, 1, 0, 1};
    REQUIRE(cupti.ConfigureUnifiedMemoryCounter(configuration, 1) == 0);
    REQUIRE(cuda.cuDevicePrimaryCtxRetain(&context, 0) == kCuSuccess);
    REQUIRE(cuda.cuCtxSetCurrent(context) == kCuSuccess);
    REQUIRE(cuda.cuStreamCreate(&stream, kCuStreamNonBlocking) == kCuSuccess);
    REQUIRE(cuda.cuMemAlloc_v2(&device, kBytes) == kCuSuccess);
    REQUIRE(cuda.cuMemHostAlloc(&pinned, kBytes, 0) == kCuSuccess);
    Take();
  }

  // Records since the last call, those of calls apart.
  std::vector<std::vector<uint8_t>> Take() {
    REQUIRE(cupti.FlushAll(0) == 0);
    std::vector<std::vector<uint8_t>> work;
    calls.clear();
    for (std::vector<uint8_t>& record : client.Take()) {
      if (KindOf(record) == 4) {
        calls[FieldOf<uint32_t>(record, 32)] = record;
      } else {
        work.push_back(record);
      }
    }
    return work;
  }
  void CheckCopy(const std::vector<uint8_t>& record,
                 uint32_t copy_kind,
                 uint32_t source,
                 uint32_t destination,
                 uint64_t bytes,
                 uint32_t cbid) {
    CHECK(FieldOf<uint8_t>(record, 4) == copy_kind);
    CHECK(FieldOf<uint8_t>(record, 5) == source);
    CHECK(FieldOf<uint8_t>(record, 6) == destination);
    CHECK(FieldOf<uint64_t>(record, 8) == bytes);
    CHECK(FieldOf<uint64_t>(record, 24) > FieldOf<uint64_t>(record, 16));
    const size_t correlation = KindOf(record) == 22 ? 60 : 44;
    const std::vector<uint8_t>& call = calls.at(FieldOf<uint32_t>(record, correlation));
    CHECK(FieldOf<uint32_t>(call, 4) == cbid);
    CHECK(FieldOf<uint64_t>(record, 16) >= FieldOf<uint64_t>(call, 8));
  }

  static constexpr size_t kBytes = 65536;
  const FakeDriver fake;
  const CudaTable cuda;
  const MoreCuda more;
  const FakeCupti cupti;
  CuptiClient client;
  CuContext context = nullptr;
  CuStream stream = nullptr;
  CuDevicePtr device = 0;
  void* pinned = nullptr;
  std::vector<char> pageable = std::vector<char>(kBytes);
  std::map<uint32_t, std::vector<uint8_t>> calls;  // by correlation
};

TEST_CASE("every copy with its direction, bytes, memory, stream and call") {
  Traced traced("");
  const CudaTable& cuda = traced.cuda;
  REQUIRE(cuda.cuMemcpyHtoDAsync_v2(traced.device, traced.pageable.data(), 1000, traced.stream) ==
          0);
  REQUIRE(cuda.cuMemcpyHtoDAsync_v2(traced.device, traced.pinned, 2000, traced.stream) == 0);
  REQUIRE(cuda.cuMemcpyDtoHAsync_v2(traced.pinned, traced.device, 3000, traced.stream) == 0);
  REQUIRE(cuda.cuMemcpyDtoHAsync_v2(traced.pageable.data(), traced.device, 4000, traced.stream) ==
          0);
  REQUIRE(cuda.cuMemcpyDtoDAsync_v2(traced.device + 32768, traced.device, 5000, traced.stream) ==
          0);
  REQUIRE(traced.more.HtoD(traced.device, traced.pageable.data(), 6000) == 0);
  REQUIRE(traced.more.DtoH(traced.pinned, traced.device, 7000) == 0);
  REQUIRE(cuda.cuMemsetD8Async(traced.device, 0x5a, 8000, traced.stream) == 0);
  REQUIRE(cuda.cuStreamSynchronize(traced.stream) == 0);
  // A copy that is refused is none, but its call failed.
  REQUIRE(cuda.cuMemcpyHtoDAsync_v2(
              traced.device, traced.pinned, Traced::kBytes + 1, traced.stream) == kCuInvalidValue);

  const std::vector<std::vector<uint8_t>> work = traced.Take();
  REQUIRE(work.size() == 9);
  traced.CheckCopy(work[0], 1, kPageable, kDevice, 1000, 277);
  traced.CheckCopy(work[1], 1, kPinned, kDevice, 2000, 277);
  traced.CheckCopy(work[2], 2, kDevice, kPinned, 3000, 279);
  traced.CheckCopy(work[3], 2, kDevice, kPageable, 4000, 279);
  traced.CheckCopy(work[4], 8, kDevice, kDevice, 5000, 281);
  traced.CheckCopy(work[5], 1, kPageable, kDevice, 6000, 276);
  traced.CheckCopy(work[6], 2, kDevice, kPinned, 7000, 278);
  for (size_t i = 0; i < 7; ++i) {
    CAPTURE(i);
    CHECK(FieldOf<uint8_t>(work[i], 7) == (i < 5 ? 1 : 0));       // by the asynchronous call
    CHECK(FieldOf<uint32_t>(work[i], 40) == (i < 5 ? 13U : 7U));  // the default stream is 7
    CHECK(FieldOf<uint32_t>(work[i], 36) == 1);                   // context
  }
  CHECK(KindOf(work[7]) == 2);
  CHECK(FieldOf<uint32_t>(work[7], 4) == 0x5a);
  CHECK(FieldOf<uint64_t>(work[7], 8) == 8000);
  CHECK(KindOf(work[8]) == 38);
  CHECK(FieldOf<uint32_t>(work[8], 4) == 3);  // of a stream
  CHECK(traced.calls.size() == 10);
  CHECK(FieldOf<uint32_t>(traced.calls.rbegin()->second, 36) == kCuInvalidValue);
}

TEST_CASE("kernels, waits, managed memory and copies between devices") {
  Traced traced("devices = 2\n");
  const CudaTable& cuda = traced.cuda;
  CuModule module = nullptr;
  CuFunction function = nullptr;
  REQUIRE(cuda.cuModuleLoadDataEx(
              &module, ".version 6.0 .entry warpgauge_vector_add(", 0, nullptr, nullptr) == 0);
  REQUIRE(cuda.cuModuleGetFunction(&function, module, "warpgauge_vector_add") == 0);
  CuDevicePtr managed = 0;
  REQUIRE(traced.more.AllocManaged(&managed, 3 << 20, 1) == 0);
  CuEvent event = nullptr;
  REQUIRE(cuda.cuEventCreate(&event, 0) == 0);
  const std::vector<std::vector<uint8_t>> compiled = traced.Take();
  REQUIRE(compiled.size() == 1);
  CHECK(KindOf(compiled[0]) == 17);
  CHECK(FieldOf<uint32_t>(compiled[0], 4) == 1);

  SUBCASE("a kernel on managed memory moves it to the device, once") {
    uint64_t n = 8;
    void* parameters[] = {&traced.device, &managed, &traced.device, &n};
    for (int i = 0; i < 2; ++i) {
      REQUIRE(cuda.cuLaunchKernel(
                  function, 3, 1, 1, 64, 1, 1, 0, traced.stream, parameters, nullptr) == 0);
    }
    REQUIRE(cuda.cuStreamSynchronize(traced.stream) == 0);
    REQUIRE(traced.more.PrefetchAsync(managed, 3 << 20, -1, traced.stream) == 0);
    const std::vector<std::vector<uint8_t>> work = traced.Take();
    REQUIRE(work.size() == 8);
    std::map<uint32_t, uint64_t> counters;
    for (const std::vector<uint8_t>& record : work) {
      if (KindOf(record) == 25)
        counters[FieldOf<uint32_t>(record, 4)] += FieldOf<uint64_t>(record, 8);
    }
    CHECK(counters == std::map<uint32_t, uint64_t>{{1, 3 << 20}, {2, 3 << 20}, {4, 1}});
    const std::vector<uint8_t>& kernel = work[3];
    REQUIRE(KindOf(kernel) == 10);
    CHECK(FieldOf<uint32_t>(kernel, 52) == 3);
    CHECK(FieldOf<uint32_t>(kernel, 64) == 64);
    CHECK(std::string(FieldOf<const char*>(kernel, 104)) == "warpgauge_vector_add");
    CHECK(FieldOf<uint32_t>(traced.calls.at(FieldOf<uint32_t>(kernel, 92)), 4) == 307);
  }
  SUBCASE("waits of all four types") {
    REQUIRE(cuda.cuEventRecord(event, traced.stream) == 0);
    REQUIRE(traced.more.EventSynchronize(event) == 0);
    REQUIRE(traced.more.StreamWaitEvent(traced.stream, event, 0) == 0);
    REQUIRE(cuda.cuStreamSynchronize(traced.stream) == 0);
    REQUIRE(traced.more.CtxSynchronize() == 0);
    const std::vector<std::vector<uint8_t>> work = traced.Take();
    REQUIRE(work.size() == 4);
    for (uint32_t type = 1; type <= 4; ++type) {
      CHECK(FieldOf<uint32_t>(work[type - 1], 4) == type);
      CHECK((FieldOf<uint32_t>(work[type - 1], 32) == 0xffffffff) == (type == 4));
    }
  }
  SUBCASE("managed memory is named as such, and between devices kind 22 names both") {
    REQUIRE(cuda.cuMemcpyHtoDAsync_v2(managed, traced.pinned, 64, traced.stream) == 0);
    CuContext other = nullptr;
    REQUIRE(cuda.cuDevicePrimaryCtxRetain(&other, 1) == 0);
    REQUIRE(cuda.cuCtxSetCurrent(other) == 0);
    CuDevicePtr far = 0;
    REQUIRE(cuda.cuMemAlloc_v2(&far, 4096) == 0);
    REQUIRE(traced.more.PeerAsync(far, other, traced.device, traced.context, 4096, traced.stream) ==
            0);
    REQUIRE(traced.more.PeerAsync(
                far, traced.context, traced.device, traced.context, 64, traced.stream) ==
            kCuInvalidContext);
    REQUIRE(cuda.cuStreamSynchronize(traced.stream) == 0);
    const std::vector<std::vector<uint8_t>> work = traced.Take();
    REQUIRE(work.size() == 3);
    traced.CheckCopy(work[0], 1, kPinned, kManaged, 64, 277);
    REQUIRE(KindOf(work[1]) == 22);
    traced.CheckCopy(work[1], 10, kDevice, kDevice, 4096, 319);
    CHECK(FieldOf<uint32_t>(work[1], 44) == 0);
    CHECK(FieldOf<uint32_t>(work[1], 52) == 1);
    CHECK(FieldOf<uint32_t>(work[1], 32) == 1);  // queued by the second device's context
  }
  REQUIRE(cuda.cuModuleUnload(module) == 0);
}

TEST_CASE("what the device was still doing when it died has no record until somebody forces it") {
  Traced traced("delay_us = 20000\nerror.cuStreamSynchronize = 700@1\n");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(traced.cuda.cuMemcpyHtoDAsync_v2(traced.device, traced.pinned, 64, traced.stream) == 0);
  }
  REQUIRE(traced.cuda.cuStreamSynchronize(traced.stream) == 700);
  CHECK(traced.Take().empty());
  REQUIRE(traced.cupti.FlushAll(1) == 0);
  int without_time = 0;
  for (const std::vector<uint8_t>& record : traced.client.Take()) {
    without_time += KindOf(record) == 1 && FieldOf<uint64_t>(record, 24) == 0;
  }
  CHECK(without_time >= 2);
}

}  // namespace
}  // namespace warpgauge
