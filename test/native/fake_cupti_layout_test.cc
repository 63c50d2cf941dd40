// The records of the simulated libcupti against the real headers, field by field for each toolkit
// that it simulates, and against the steps of the real library, where these are installed.
#include "fake/driver_cbids.h"
#include "fake_cupti.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#if __has_include(<cupti.h>)
#include <cuda.h>
#include <cupti.h>
#include <cupti_version.h>
// That header keeps every older struct from 13.0 on.
#define HAVE_CUPTI_H (CUPTI_API_VERSION >= 130000)
#else
#define HAVE_CUPTI_H 0
#endif

namespace warpgauge {
namespace {

constexpr uint32_t kKinds[] = {1, 2, 4, 5, 10, 12, 17, 22, 25, 38};

// One record of each kind as `generation` has it.
std::map<uint32_t, std::vector<uint8_t>> RecordsOf(const std::string& generation) {
  const FakeDriver fake("cupti_generation = " + generation + "\n");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  const uint32_t configuration[4] = {1, 1, 0, 1};
  cupti.event(FAKE_INITIALIZED, nullptr);
  REQUIRE(cupti.ConfigureUnifiedMemoryCounter(configuration, 1) == 0);
  REQUIRE(cupti.Enable(39) == 0);
  REQUIRE(cupti.SetThreadIdType(1) == 0);
  for (const uint32_t kind : kKinds) REQUIRE(cupti.Enable(static_cast<int>(kind)) == 0);
  for (const uint32_t kind : kKinds) {
    const fake_activity activity = SomeActivity(kind);
    if (kind == 4) REQUIRE(cupti.PushExternalCorrelationId(4, 1234567890123) == 0);
    REQUIRE(cupti.record(&activity) == 1);
    if (kind == 4) REQUIRE(cupti.PopExternalCorrelationId(4, nullptr) == 0);
  }
  REQUIRE(cupti.FlushAll(0) == 0);
  std::map<uint32_t, std::vector<uint8_t>> records;
  for (std::vector<uint8_t>& record : client.Take()) records[KindOf(record)] = record;
  CHECK(records.size() == std::size(kKinds) + 1);
  CHECK(std::string(cupti.violation()).empty());
  return records;
}

struct Toolkit {
  const char* name;
  std::map<uint32_t, size_t> bytes;  // facts: current struct per toolkit
};
const Toolkit kToolkits[] = {
    {"11.4", {{1, 80}, {2, 80}, {10, 168}, {22, 88}, {25, 64}, {17, 40}, {38, 40}}},
    {"11.6", {{1, 88}, {2, 88}, {10, 176}, {22, 96}, {25, 64}, {17, 40}, {38, 40}}},
    {"11.8", {{1, 88}, {2, 88}, {10, 200}, {22, 96}, {25, 64}, {17, 40}, {38, 40}}},
    {"12.0", {{1, 88}, {2, 88}, {10, 208}, {22, 96}, {25, 64}, {17, 40}, {38, 40}}},
    {"12.8", {{1, 96}, {2, 88}, {10, 208}, {22, 96}, {25, 104}, {17, 56}, {38, 56}}},
    {"13.0", {{1, 96}, {2, 88}, {10, 216}, {22, 96}, {25, 104}, {17, 56}, {38, 56}}}};

TEST_CASE("each toolkit's records have their length, and what it lacks is not there to be read") {
  for (const Toolkit& toolkit : kToolkits) {
    CAPTURE(toolkit.name);
    const auto records = RecordsOf(toolkit.name);
    for (const auto& [kind, bytes] : toolkit.bytes) {
      CAPTURE(kind);
      CHECK(records.at(kind).size() == bytes);
    }
    for (const uint32_t kind : {4U, 5U}) CHECK(records.at(kind).size() == 40);
    CHECK(records.at(39).size() == 24);
    CHECK(records.at(12).size() == 56);
  }
  // Where a later toolkit has a field, an earlier one has garbage in the padding of its record.
  CHECK(FieldOf<uint32_t>(RecordsOf("11.4").at(1), 76) == 0xAAAAAAAA);
  CHECK(FieldOf<uint32_t>(RecordsOf("11.6").at(1), 76) == 3);
  CHECK(FieldOf<uint8_t>(RecordsOf("12.8").at(1), 84) == 0xAA);
  CHECK(FieldOf<uint8_t>(RecordsOf("13.0").at(1), 84) == 0);
}

#if HAVE_CUPTI_H

// What SomeActivity put in, as the header of that toolkit reads it.
template <typename T>
const T& As(const std::vector<uint8_t>& record) {
  CHECK(record.size() == sizeof(T));
  return *reinterpret_cast<const T*>(record.data());
}

// Members of packed structs cannot be bound to references, as CHECK would.
#define SAME(member, value) CHECK(static_cast<uint64_t>(member) == static_cast<uint64_t>(value))

template <typename T>
void CheckTimes(const T& r) {
  CHECK(r.end - r.start == 2500);
  CHECK(r.start != 0);
}

template <typename T>
void CheckPlace(const T& r) {
  SAME(r.deviceId, 2);
  SAME(r.contextId, 3);
  SAME(r.streamId, 14);
  SAME(r.correlationId, 77);
  SAME(r.graphNodeId, 0);
  SAME(r.graphId, 0);
}

template <typename T>
void CheckCopy(const T& r, bool peer) {
  CheckTimes(r);
  CheckPlace(r);
  SAME(r.copyKind, peer ? CUPTI_ACTIVITY_MEMCPY_KIND_PTOP : CUPTI_ACTIVITY_MEMCPY_KIND_HTOD);
  SAME(r.srcKind, CUPTI_ACTIVITY_MEMORY_KIND_PINNED);
  SAME(r.dstKind, CUPTI_ACTIVITY_MEMORY_KIND_DEVICE);
  SAME(r.flags, CUPTI_ACTIVITY_FLAG_MEMCPY_ASYNC);
  SAME(r.bytes, 65536);
}

template <typename T>
void CheckPeer(const T& r) {
  CheckCopy(r, true);
  SAME(r.srcDeviceId, 5);
  SAME(r.srcContextId, 6);
  SAME(r.dstDeviceId, 7);
  SAME(r.dstContextId, 8);
}

template <typename T>
void CheckSet(const T& r) {
  CheckTimes(r);
  CheckPlace(r);
  SAME(r.value, 0x5a);
  SAME(r.bytes, 4096);
  SAME(r.memoryKind, CUPTI_ACTIVITY_MEMORY_KIND_DEVICE);
  SAME(r.flags, CUPTI_ACTIVITY_FLAG_MEMSET_ASYNC);
}

template <typename T>
void CheckKernel(const T& r) {
  CheckTimes(r);
  CheckPlace(r);
  SAME(r.completed, r.end);
  SAME(r.registersPerThread, 40);
  SAME(r.gridX, 16);
  SAME(r.gridY, 2);
  SAME(r.gridZ, 3);
  SAME(r.blockX, 256);
  SAME(r.blockY, 4);
  SAME(r.blockZ, 5);
  SAME(r.staticSharedMemory, 1024);
  SAME(r.dynamicSharedMemory, 2048);
  SAME(r.localMemoryPerThread, 64);
  SAME(r.gridId, 77);
  CHECK(std::string(r.name) == "simulated_kernel");
}

template <typename T>
void CheckManaged(const T& r) {
  CheckTimes(r);
  SAME(r.counterKind, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_BYTES_TRANSFER_HTOD);
  SAME(r.value, 2097152);
  SAME(r.address, 0x7f0000000000);
  SAME(r.srcId, CUPTI_UNIFIED_MEMORY_CPU_DEVICE_ID);
  SAME(r.dstId, 2);
  SAME(r.processId, getpid());
  SAME(r.flags, 2);
}

template <typename T>
void CheckOverhead(const T& r) {
  CheckTimes(r);
  SAME(r.overheadKind, CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION);
  SAME(r.objectKind, CUPTI_ACTIVITY_OBJECT_THREAD);
  SAME(r.objectId.pt.processId, getpid());
  SAME(r.objectId.pt.threadId, gettid());
}

template <typename T>
void CheckSynchronization(const T& r) {
  CheckTimes(r);
  SAME(r.type, CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE);
  SAME(r.correlationId, 77);
  SAME(r.contextId, 3);
  SAME(r.streamId, 14);
  SAME(r.cudaEventId, CUPTI_SYNCHRONIZATION_INVALID_VALUE);
}

TEST_CASE("field by field as the real headers of each toolkit read them") {
  auto records = RecordsOf("11.4");
  CheckCopy(As<CUpti_ActivityMemcpy4>(records.at(1)), false);
  CheckPeer(As<CUpti_ActivityMemcpyPtoP3>(records.at(22)));
  CheckSet(As<CUpti_ActivityMemset3>(records.at(2)));
  CheckKernel(As<CUpti_ActivityKernel6>(records.at(10)));
  records = RecordsOf("11.6");
  CheckCopy(As<CUpti_ActivityMemcpy5>(records.at(1)), false);
  CheckPeer(As<CUpti_ActivityMemcpyPtoP4>(records.at(22)));
  CheckSet(As<CUpti_ActivityMemset4>(records.at(2)));
  CheckKernel(As<CUpti_ActivityKernel7>(records.at(10)));
  records = RecordsOf("11.8");
  CheckKernel(As<CUpti_ActivityKernel8>(records.at(10)));
  CheckManaged(As<CUpti_ActivityUnifiedMemoryCounter2>(records.at(25)));
  CheckOverhead(As<CUpti_ActivityOverhead>(records.at(17)));
  CheckSynchronization(As<CUpti_ActivitySynchronization>(records.at(38)));
  SAME(As<CUpti_ActivityKernel8>(records.at(10)).clusterX, 0);
  records = RecordsOf("12.0");
  CheckCopy(As<CUpti_ActivityMemcpy5>(records.at(1)), false);
  CheckKernel(As<CUpti_ActivityKernel9>(records.at(10)));
  records = RecordsOf("12.8");
  CheckCopy(As<CUpti_ActivityMemcpy6>(records.at(1)), false);
  SAME(As<CUpti_ActivityMemcpy6>(records.at(1)).copyCount, 1);
  CheckKernel(As<CUpti_ActivityKernel9>(records.at(10)));

  records = RecordsOf("13.0");
  CheckCopy(As<CUpti_ActivityMemcpy6>(records.at(1)), false);
  SAME(As<CUpti_ActivityMemcpy6>(records.at(1)).isDeviceLaunched, 0);
  CheckPeer(As<CUpti_ActivityMemcpyPtoP4>(records.at(22)));
  CheckSet(As<CUpti_ActivityMemset4>(records.at(2)));
  CheckKernel(As<CUpti_ActivityKernel10>(records.at(10)));
  CheckManaged(As<CUpti_ActivityUnifiedMemoryCounter3>(records.at(25)));
  CheckOverhead(As<CUpti_ActivityOverhead3>(records.at(17)));
  SAME(As<CUpti_ActivityOverhead3>(records.at(17)).correlationId, 77);
  CheckSynchronization(As<CUpti_ActivitySynchronization2>(records.at(38)));
  for (const uint32_t kind : {4U, 5U}) {
    const auto& call = As<CUpti_ActivityAPI>(records.at(kind));
    CheckTimes(call);
    SAME(call.cbid, CUPTI_DRIVER_TRACE_CBID_cuMemcpyHtoDAsync_v2);
    SAME(call.processId, getpid());
    SAME(call.threadId, gettid());
    SAME(call.correlationId, 77);
    SAME(call.returnValue, 700);
  }
  const auto& external = As<CUpti_ActivityExternalCorrelation>(records.at(39));
  SAME(external.externalKind, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM1);
  SAME(external.externalId, 1234567890123);
  SAME(external.correlationId, 77);
  const auto& marker = As<CUpti_ActivityMarker2>(records.at(12));
  SAME(marker.flags, CUPTI_ACTIVITY_FLAG_MARKER_START);
  CHECK(marker.timestamp != 0);
  SAME(marker.id, 9);
  SAME(marker.objectKind, CUPTI_ACTIVITY_OBJECT_THREAD);
  SAME(marker.objectId.pt.threadId, gettid());
  CHECK(std::string(marker.name) == "range");
  CHECK(std::string(marker.domain) == "domain");
}

TEST_CASE("callback ids are those of the real header") {
#define SAME_ID(name, id) SAME(CUPTI_DRIVER_TRACE_CBID_##name, id);
  FAKE_DRIVER_CBIDS(SAME_ID)
#undef SAME_ID
}

#else

TEST_CASE("field by field as the real headers of each toolkit read them") {
  std::printf("fake_cupti_layout_test: skipped: no CUPTI headers of 13.0 or later here\n");
}

#endif

TEST_CASE("the real library steps over the same buffers in the same steps") {
#ifdef WARPGAUGE_REAL_CUPTI
  const Result<DynamicLibrary> real = DynamicLibrary::Open({WARPGAUGE_REAL_CUPTI});
  REQUIRE_MESSAGE(real.ok(), real.status.message());
  int (*version)(uint32_t*) = nullptr;
  int (*step)(uint8_t*, size_t, void**) = nullptr;
  REQUIRE(real.value.Load("cuptiGetVersion", &version));
  REQUIRE(real.value.Load("cuptiActivityGetNextRecord", &step));
  uint32_t number = 0;
  REQUIRE(version(&number) == 0);
  if (number / 100 != 1300) {
    std::printf("fake_cupti_layout_test: skipped: the real libcupti here is %u, not 13.0\n",
                number);
    return;
  }
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(39) == 0);
  for (int round = 0; round < 20; ++round) {
    for (const uint32_t kind : kKinds) {
      REQUIRE(cupti.Enable(static_cast<int>(kind)) == 0);
      const fake_activity activity = SomeActivity(kind);
      if (kind != 25) REQUIRE(cupti.record(&activity) == 1);
    }
  }
  REQUIRE(cupti.FlushAll(0) == 0);
  size_t records = 0;
  for (std::vector<uint8_t>& buffer : client.TakeBuffers()) {
    // Also cut off at every length: where the end lies decides what both answer.
    for (size_t valid = 0; valid <= buffer.size(); valid += valid + 8 < buffer.size() ? 8 : 1) {
      void* ours = nullptr;
      void* theirs = nullptr;
      int our_code = 0;
      while (our_code == 0) {
        our_code = cupti.GetNextRecord(buffer.data(), valid, &ours);
        REQUIRE(step(buffer.data(), valid, &theirs) == our_code);
        REQUIRE(ours == theirs);
        records += our_code == 0 ? 1 : 0;
      }
    }
  }
  CHECK(records > 1000);
  // And over every kind there may be, known or not.
  for (uint32_t kind = 0; kind < 64; ++kind) {
    std::vector<uint32_t> buffer(256, 0);
    for (size_t i = 0; i < buffer.size(); i += 2) buffer[i] = kind;
    auto* bytes = reinterpret_cast<uint8_t*>(buffer.data());
    void* ours = nullptr;
    void* theirs = nullptr;
    // What the simulated one does not know at all it calls unknown.
    const int code = cupti.GetNextRecord(bytes, 1024, &ours);
    if (code != 0) {
      CHECK(code == 21);
      continue;
    }
    CAPTURE(kind);
    REQUIRE(step(bytes, 1024, &theirs) == 0);
    REQUIRE(cupti.GetNextRecord(bytes, 1024, &ours) == step(bytes, 1024, &theirs));
    CHECK(ours == theirs);
  }
  CHECK(cupti.GetNextRecord(nullptr, 8, nullptr) == step(nullptr, 8, nullptr));
#else
  std::printf("fake_cupti_layout_test: skipped: no real libcupti was found here\n");
#endif
}

}  // namespace
}  // namespace warpgauge
