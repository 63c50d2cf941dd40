// Compares our declarations of CUPTI's activity ABI with the real headers (where they are
// installed) and with a real libcupti (where one is installed). Prints what ran and what was
// skipped.
#include "gpu/cupti/cupti_abi.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "abi_compat.h"
#include "core/dynamic_library.h"
#include "gpu/cupti/record_convert.h"

#if __has_include(<cupti_activity.h>) && __has_include(<cuda.h>)
#include <cupti.h>
#define HAVE_CUPTI_H 1
#else
#define HAVE_CUPTI_H 0
#endif

namespace warpgauge {
namespace {

#if HAVE_CUPTI_H

#define SAME(a, b)                                                       \
  static_assert(static_cast<long long>(a) == static_cast<long long>(b)); \
  ++checked
// Same offset and same size: nothing that we read can mean two things.
#define AT(ours, field, theirs, name)                                                       \
  static_assert(offsetof(ours, field) == offsetof(theirs, name));                           \
  static_assert(sizeof(std::declval<ours>().field) == sizeof(std::declval<theirs>().name)); \
  ++checked

// The fields of one record in one of its generations.
#define MEMCPY_PREFIX(T)                              \
  AT(wg_cupti_memcpy, kind, T, kind);                 \
  AT(wg_cupti_memcpy, copy_kind, T, copyKind);        \
  AT(wg_cupti_memcpy, source, T, srcKind);            \
  AT(wg_cupti_memcpy, destination, T, dstKind);       \
  AT(wg_cupti_memcpy, flags, T, flags);               \
  AT(wg_cupti_memcpy, bytes, T, bytes);               \
  AT(wg_cupti_memcpy, start, T, start);               \
  AT(wg_cupti_memcpy, end, T, end);                   \
  AT(wg_cupti_memcpy, device, T, deviceId);           \
  AT(wg_cupti_memcpy, context, T, contextId);         \
  AT(wg_cupti_memcpy, stream, T, streamId);           \
  AT(wg_cupti_memcpy, correlation, T, correlationId); \
  AT(wg_cupti_memcpy, graph_node, T, graphNodeId);    \
  static_assert(WG_CUPTI_MEMCPY_BYTES <= sizeof(T))
#define PEER_PREFIX(T)                                            \
  AT(wg_cupti_peer_memcpy, kind, T, kind);                        \
  AT(wg_cupti_peer_memcpy, copy_kind, T, copyKind);               \
  AT(wg_cupti_peer_memcpy, source, T, srcKind);                   \
  AT(wg_cupti_peer_memcpy, destination, T, dstKind);              \
  AT(wg_cupti_peer_memcpy, flags, T, flags);                      \
  AT(wg_cupti_peer_memcpy, bytes, T, bytes);                      \
  AT(wg_cupti_peer_memcpy, start, T, start);                      \
  AT(wg_cupti_peer_memcpy, end, T, end);                          \
  AT(wg_cupti_peer_memcpy, device, T, deviceId);                  \
  AT(wg_cupti_peer_memcpy, context, T, contextId);                \
  AT(wg_cupti_peer_memcpy, stream, T, streamId);                  \
  AT(wg_cupti_peer_memcpy, source_device, T, srcDeviceId);        \
  AT(wg_cupti_peer_memcpy, source_context, T, srcContextId);      \
  AT(wg_cupti_peer_memcpy, destination_device, T, dstDeviceId);   \
  AT(wg_cupti_peer_memcpy, destination_context, T, dstContextId); \
  AT(wg_cupti_peer_memcpy, correlation, T, correlationId);        \
  AT(wg_cupti_peer_memcpy, graph_node, T, graphNodeId);           \
  static_assert(WG_CUPTI_PEER_MEMCPY_BYTES <= sizeof(T))
#define MEMSET_PREFIX(T)                              \
  AT(wg_cupti_memset, kind, T, kind);                 \
  AT(wg_cupti_memset, value, T, value);               \
  AT(wg_cupti_memset, bytes, T, bytes);               \
  AT(wg_cupti_memset, start, T, start);               \
  AT(wg_cupti_memset, end, T, end);                   \
  AT(wg_cupti_memset, device, T, deviceId);           \
  AT(wg_cupti_memset, context, T, contextId);         \
  AT(wg_cupti_memset, stream, T, streamId);           \
  AT(wg_cupti_memset, correlation, T, correlationId); \
  AT(wg_cupti_memset, flags, T, flags);               \
  AT(wg_cupti_memset, memory, T, memoryKind);         \
  AT(wg_cupti_memset, graph_node, T, graphNodeId);    \
  static_assert(WG_CUPTI_MEMSET_BYTES <= sizeof(T))
#define KERNEL_PREFIX(T)                                          \
  AT(wg_cupti_kernel, kind, T, kind);                             \
  AT(wg_cupti_kernel, registers, T, registersPerThread);          \
  AT(wg_cupti_kernel, start, T, start);                           \
  AT(wg_cupti_kernel, end, T, end);                               \
  AT(wg_cupti_kernel, device, T, deviceId);                       \
  AT(wg_cupti_kernel, context, T, contextId);                     \
  AT(wg_cupti_kernel, stream, T, streamId);                       \
  AT(wg_cupti_kernel, grid_x, T, gridX);                          \
  AT(wg_cupti_kernel, grid_y, T, gridY);                          \
  AT(wg_cupti_kernel, grid_z, T, gridZ);                          \
  AT(wg_cupti_kernel, block_x, T, blockX);                        \
  AT(wg_cupti_kernel, block_y, T, blockY);                        \
  AT(wg_cupti_kernel, block_z, T, blockZ);                        \
  AT(wg_cupti_kernel, static_shared, T, staticSharedMemory);      \
  AT(wg_cupti_kernel, dynamic_shared, T, dynamicSharedMemory);    \
  AT(wg_cupti_kernel, local_per_thread, T, localMemoryPerThread); \
  AT(wg_cupti_kernel, correlation, T, correlationId);             \
  AT(wg_cupti_kernel, grid_id, T, gridId);                        \
  AT(wg_cupti_kernel, name, T, name);                             \
  AT(wg_cupti_kernel, graph_node, T, graphNodeId);                \
  static_assert(WG_CUPTI_KERNEL_BYTES <= sizeof(T))
#define KERNEL_CLUSTER(T)                      \
  AT(wg_cupti_kernel, cluster_x, T, clusterX); \
  AT(wg_cupti_kernel, cluster_y, T, clusterY); \
  AT(wg_cupti_kernel, cluster_z, T, clusterZ)
#define UNIFIED_PREFIX(T)                               \
  AT(wg_cupti_unified_memory, kind, T, kind);           \
  AT(wg_cupti_unified_memory, counter, T, counterKind); \
  AT(wg_cupti_unified_memory, value, T, value);         \
  AT(wg_cupti_unified_memory, start, T, start);         \
  AT(wg_cupti_unified_memory, end, T, end);             \
  AT(wg_cupti_unified_memory, address, T, address);     \
  AT(wg_cupti_unified_memory, source, T, srcId);        \
  AT(wg_cupti_unified_memory, destination, T, dstId);   \
  AT(wg_cupti_unified_memory, process, T, processId);   \
  AT(wg_cupti_unified_memory, flags, T, flags);         \
  static_assert(WG_CUPTI_UNIFIED_MEMORY_BYTES <= sizeof(T))
#define OVERHEAD_PREFIX(T)                          \
  AT(wg_cupti_overhead, kind, T, kind);             \
  AT(wg_cupti_overhead, overhead, T, overheadKind); \
  AT(wg_cupti_overhead, object, T, objectKind);     \
  AT(wg_cupti_overhead, ids, T, objectId);          \
  AT(wg_cupti_overhead, start, T, start);           \
  AT(wg_cupti_overhead, end, T, end);               \
  static_assert(WG_CUPTI_OVERHEAD_BYTES <= sizeof(T))
#define SYNCHRONIZATION_PREFIX(T)                              \
  AT(wg_cupti_synchronization, kind, T, kind);                 \
  AT(wg_cupti_synchronization, type, T, type);                 \
  AT(wg_cupti_synchronization, start, T, start);               \
  AT(wg_cupti_synchronization, end, T, end);                   \
  AT(wg_cupti_synchronization, correlation, T, correlationId); \
  AT(wg_cupti_synchronization, context, T, contextId);         \
  AT(wg_cupti_synchronization, stream, T, streamId);           \
  AT(wg_cupti_synchronization, event, T, cudaEventId);         \
  static_assert(WG_CUPTI_SYNCHRONIZATION_BYTES <= sizeof(T))

// Written against the headers of 13.0, which keep every older generation. Other headers lack some
// names: compared is what they have.
TEST_CASE("record prefixes, values and signatures are those of the real CUPTI headers") {
  int checked = 0;
  int skipped = 0;
#if CUPTI_API_VERSION >= 130000
  MEMCPY_PREFIX(CUpti_ActivityMemcpy3);
  MEMCPY_PREFIX(CUpti_ActivityMemcpy4);
  MEMCPY_PREFIX(CUpti_ActivityMemcpy5);
  MEMCPY_PREFIX(CUpti_ActivityMemcpy6);
  AT(wg_cupti_memcpy, graph, CUpti_ActivityMemcpy4, graphId);
  AT(wg_cupti_memcpy, graph, CUpti_ActivityMemcpy5, graphId);
  AT(wg_cupti_memcpy, graph, CUpti_ActivityMemcpy6, graphId);
  AT(wg_cupti_memcpy, copies, CUpti_ActivityMemcpy6, copyCount);
  // A length that ends before a younger field must not seem to have it.
  static_assert(sizeof(CUpti_ActivityMemcpy5) < sizeof(wg_cupti_memcpy));
  static_assert(sizeof(CUpti_ActivityMemcpy3) <= offsetof(wg_cupti_memcpy, graph));
  PEER_PREFIX(CUpti_ActivityMemcpyPtoP2);
  PEER_PREFIX(CUpti_ActivityMemcpyPtoP3);
  PEER_PREFIX(CUpti_ActivityMemcpyPtoP4);
  AT(wg_cupti_peer_memcpy, graph, CUpti_ActivityMemcpyPtoP3, graphId);
  AT(wg_cupti_peer_memcpy, graph, CUpti_ActivityMemcpyPtoP4, graphId);
  MEMSET_PREFIX(CUpti_ActivityMemset2);
  MEMSET_PREFIX(CUpti_ActivityMemset3);
  MEMSET_PREFIX(CUpti_ActivityMemset4);
  AT(wg_cupti_memset, graph, CUpti_ActivityMemset3, graphId);
  AT(wg_cupti_memset, graph, CUpti_ActivityMemset4, graphId);
  KERNEL_PREFIX(CUpti_ActivityKernel5);
  KERNEL_PREFIX(CUpti_ActivityKernel6);
  KERNEL_PREFIX(CUpti_ActivityKernel7);
  KERNEL_PREFIX(CUpti_ActivityKernel8);
  KERNEL_PREFIX(CUpti_ActivityKernel9);
  KERNEL_PREFIX(CUpti_ActivityKernel10);
  AT(wg_cupti_kernel, graph, CUpti_ActivityKernel5, graphId);
  AT(wg_cupti_kernel, graph, CUpti_ActivityKernel10, graphId);
  KERNEL_CLUSTER(CUpti_ActivityKernel8);
  KERNEL_CLUSTER(CUpti_ActivityKernel9);
  KERNEL_CLUSTER(CUpti_ActivityKernel10);
  static_assert(sizeof(CUpti_ActivityKernel7) <= offsetof(wg_cupti_kernel, cluster_x));
  UNIFIED_PREFIX(CUpti_ActivityUnifiedMemoryCounter2);
  UNIFIED_PREFIX(CUpti_ActivityUnifiedMemoryCounter3);
  OVERHEAD_PREFIX(CUpti_ActivityOverhead);
  OVERHEAD_PREFIX(CUpti_ActivityOverhead2);
  OVERHEAD_PREFIX(CUpti_ActivityOverhead3);
  AT(wg_cupti_overhead, correlation, CUpti_ActivityOverhead2, correlationId);
  AT(wg_cupti_overhead, correlation, CUpti_ActivityOverhead3, correlationId);
  static_assert(sizeof(CUpti_ActivityOverhead) <= offsetof(wg_cupti_overhead, correlation));
  SYNCHRONIZATION_PREFIX(CUpti_ActivitySynchronization);
  SYNCHRONIZATION_PREFIX(CUpti_ActivitySynchronization2);
#elif CUPTI_API_VERSION >= 18
  MEMCPY_PREFIX(CUpti_ActivityMemcpy5);
  AT(wg_cupti_memcpy, graph, CUpti_ActivityMemcpy5, graphId);
  PEER_PREFIX(CUpti_ActivityMemcpyPtoP4);
  AT(wg_cupti_peer_memcpy, graph, CUpti_ActivityMemcpyPtoP4, graphId);
  MEMSET_PREFIX(CUpti_ActivityMemset4);
  AT(wg_cupti_memset, graph, CUpti_ActivityMemset4, graphId);
  KERNEL_PREFIX(CUpti_ActivityKernel8);
  AT(wg_cupti_kernel, graph, CUpti_ActivityKernel8, graphId);
  KERNEL_CLUSTER(CUpti_ActivityKernel8);
  UNIFIED_PREFIX(CUpti_ActivityUnifiedMemoryCounter2);
  OVERHEAD_PREFIX(CUpti_ActivityOverhead);
  SYNCHRONIZATION_PREFIX(CUpti_ActivitySynchronization);
#else
  ++skipped;  // the record generations of headers before 11.8
#endif
  AT(wg_cupti_api, kind, CUpti_ActivityAPI, kind);
  AT(wg_cupti_api, cbid, CUpti_ActivityAPI, cbid);
  AT(wg_cupti_api, start, CUpti_ActivityAPI, start);
  AT(wg_cupti_api, end, CUpti_ActivityAPI, end);
  AT(wg_cupti_api, process, CUpti_ActivityAPI, processId);
  AT(wg_cupti_api, thread, CUpti_ActivityAPI, threadId);
  AT(wg_cupti_api, correlation, CUpti_ActivityAPI, correlationId);
  AT(wg_cupti_api, result, CUpti_ActivityAPI, returnValue);
  SAME(sizeof(wg_cupti_api), sizeof(CUpti_ActivityAPI));
  AT(wg_cupti_external, kind, CUpti_ActivityExternalCorrelation, kind);
  AT(wg_cupti_external, external, CUpti_ActivityExternalCorrelation, externalKind);
  AT(wg_cupti_external, id, CUpti_ActivityExternalCorrelation, externalId);
  AT(wg_cupti_external, correlation, CUpti_ActivityExternalCorrelation, correlationId);
  SAME(sizeof(wg_cupti_external), sizeof(CUpti_ActivityExternalCorrelation));
  AT(wg_cupti_marker, kind, CUpti_ActivityMarker2, kind);
  AT(wg_cupti_marker, flags, CUpti_ActivityMarker2, flags);
  AT(wg_cupti_marker, timestamp, CUpti_ActivityMarker2, timestamp);
  AT(wg_cupti_marker, id, CUpti_ActivityMarker2, id);
  AT(wg_cupti_marker, object, CUpti_ActivityMarker2, objectKind);
  AT(wg_cupti_marker, ids, CUpti_ActivityMarker2, objectId);
  AT(wg_cupti_marker, name, CUpti_ActivityMarker2, name);
  AT(wg_cupti_marker, domain, CUpti_ActivityMarker2, domain);
  SAME(sizeof(wg_cupti_marker), sizeof(CUpti_ActivityMarker2));
  AT(wg_cupti_unified_config, scope, CUpti_ActivityUnifiedMemoryCounterConfig, scope);
  AT(wg_cupti_unified_config, counter, CUpti_ActivityUnifiedMemoryCounterConfig, kind);
  AT(wg_cupti_unified_config, device, CUpti_ActivityUnifiedMemoryCounterConfig, deviceId);
  AT(wg_cupti_unified_config, enable, CUpti_ActivityUnifiedMemoryCounterConfig, enable);
  SAME(sizeof(wg_cupti_unified_config), sizeof(CUpti_ActivityUnifiedMemoryCounterConfig));

  SAME(WG_CUPTI_SUCCESS, CUPTI_SUCCESS);
  SAME(WG_CUPTI_END_OF_BUFFER, CUPTI_ERROR_MAX_LIMIT_REACHED);
  SAME(WG_CUPTI_NOT_INITIALIZED, CUPTI_ERROR_NOT_INITIALIZED);
  SAME(WG_CUPTI_NO_PRIVILEGE, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
  SAME(WG_CUPTI_OTHER_SUBSCRIBER, CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
  SAME(WG_CUPTI_NO_PRIVILEGE_VIRTUALIZED, CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES);
  SAME(WG_CUPTI_MEMCPY, CUPTI_ACTIVITY_KIND_MEMCPY);
  SAME(WG_CUPTI_MEMSET, CUPTI_ACTIVITY_KIND_MEMSET);
  SAME(WG_CUPTI_DRIVER, CUPTI_ACTIVITY_KIND_DRIVER);
  SAME(WG_CUPTI_RUNTIME, CUPTI_ACTIVITY_KIND_RUNTIME);
  SAME(WG_CUPTI_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  SAME(WG_CUPTI_MARKER, CUPTI_ACTIVITY_KIND_MARKER);
  SAME(WG_CUPTI_OVERHEAD, CUPTI_ACTIVITY_KIND_OVERHEAD);
  SAME(WG_CUPTI_PEER_MEMCPY, CUPTI_ACTIVITY_KIND_MEMCPY2);
  SAME(WG_CUPTI_UNIFIED_MEMORY, CUPTI_ACTIVITY_KIND_UNIFIED_MEMORY_COUNTER);
  SAME(WG_CUPTI_SYNCHRONIZATION, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION);
  SAME(WG_CUPTI_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION);
  static_assert(static_cast<int>(CUPTI_ACTIVITY_KIND_COUNT) <= static_cast<int>(WG_CUPTI_KINDS));
  SAME(WG_CUPTI_UNIFIED_HTOD, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_BYTES_TRANSFER_HTOD);
  SAME(WG_CUPTI_UNIFIED_DTOH, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_BYTES_TRANSFER_DTOH);
  SAME(WG_CUPTI_UNIFIED_CPU_FAULT, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_CPU_PAGE_FAULT_COUNT);
  SAME(WG_CUPTI_UNIFIED_GPU_FAULT, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_GPU_PAGE_FAULT);
  SAME(WG_CUPTI_UNIFIED_THRASHING, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_THRASHING);
  SAME(WG_CUPTI_UNIFIED_THROTTLING, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_THROTTLING);
  SAME(WG_CUPTI_UNIFIED_REMOTE_MAP, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_REMOTE_MAP);
  SAME(WG_CUPTI_UNIFIED_DTOD, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_KIND_BYTES_TRANSFER_DTOD);
  SAME(WG_CUPTI_DOMAIN_DRIVER, CUPTI_CB_DOMAIN_DRIVER_API);
  SAME(WG_CUPTI_DOMAIN_RUNTIME, CUPTI_CB_DOMAIN_RUNTIME_API);
  SAME(WG_CUPTI_DOMAIN_RESOURCE, CUPTI_CB_DOMAIN_RESOURCE);
  SAME(WG_CUPTI_RESOURCE_CU_INIT_FINISHED, CUPTI_CBID_RESOURCE_CU_INIT_FINISHED);
  SAME(WG_CUPTI_ATTRIBUTE_ZEROED_BUFFERS, CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER);
#if CUPTI_API_VERSION >= 21
  SAME(WG_CUPTI_ATTRIBUTE_PER_THREAD_BUFFERS, CUPTI_ACTIVITY_ATTR_PER_THREAD_ACTIVITY_BUFFER);
#else
  ++skipped;
#endif
  SAME(WG_CUPTI_FLUSH_FORCED, CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  SAME(WG_CUPTI_THREAD_ID_SYSTEM, CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM);
  SAME(WG_CUPTI_SCOPE_ALL_DEVICES, CUPTI_ACTIVITY_UNIFIED_MEMORY_COUNTER_SCOPE_PROCESS_ALL_DEVICES);
  SAME(WG_CUPTI_OBJECT_PROCESS, CUPTI_ACTIVITY_OBJECT_PROCESS);
  SAME(WG_CUPTI_OBJECT_THREAD, CUPTI_ACTIVITY_OBJECT_THREAD);
  SAME(WG_MARKER_INSTANT, CUPTI_ACTIVITY_FLAG_MARKER_INSTANTANEOUS);
  SAME(WG_MARKER_START, CUPTI_ACTIVITY_FLAG_MARKER_START);
  SAME(WG_MARKER_END, CUPTI_ACTIVITY_FLAG_MARKER_END);

#if CUPTI_API_VERSION >= 23
#define COMPARE(name, required, arguments)                                                         \
  static_assert(                                                                                   \
      CompatibleFunctions<int arguments, std::remove_pointer_t<decltype(&::name)>>::value, #name); \
  ++checked;
  WG_CUPTI_FUNCTIONS(COMPARE)
#undef COMPARE
#else
  ++skipped;  // signatures: such headers lack two optional functions
#endif
  std::printf(
      "cupti abi: %d checks run against CUPTI_API_VERSION %d\n", checked, CUPTI_API_VERSION);
  if (skipped != 0) {
    std::printf("cupti abi: skipped: %d parts that this header does not have\n", skipped);
  }
  CHECK(checked > 120);
}

#else

TEST_CASE("record prefixes, values and signatures are those of the real CUPTI headers") {
  std::printf("cupti abi: skipped: no cupti_activity.h on the include path\n");
}

#endif

// Where a real libcupti may lie. Opening it starts nothing.
std::vector<std::string> RealLibraries() {
  std::vector<std::string> paths = {"libcupti.so.13", "libcupti.so.12", "libcupti.so.11.8"};
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* const root = std::getenv(name);
    if (root == nullptr) continue;
    paths.push_back(std::string(root) + "/lib64/libcupti.so");
    paths.push_back(std::string(root) + "/extras/CUPTI/lib64/libcupti.so");
  }
  paths.emplace_back("/usr/local/cuda/lib64/libcupti.so");
  paths.emplace_back("/usr/local/cuda/extras/CUPTI/lib64/libcupti.so");
  return paths;
}

class RealCupti {
 public:
  explicit RealCupti(const char* test) {
    library_ = DynamicLibrary::Open(RealLibraries());
    if (!library_.ok()) {
      std::printf("%s: skipped: %s\n", test, library_.status.message().c_str());
      return;
    }
    next_ = reinterpret_cast<Next>(library_.value.Find("cuptiActivityGetNextRecord"));
  }
  [[nodiscard]] bool ok() const { return library_.ok(); }
  [[nodiscard]] const DynamicLibrary& library() const { return library_.value; }
  int Step(uint8_t* buffer, size_t valid, wg_cupti_activity** record) const {
    return next_(buffer, valid, record);
  }
  // How far the library steps over a record of this kind: 0 where it does not know the kind.
  [[nodiscard]] uint16_t Length(uint32_t kind) const {
    alignas(8) uint8_t buffer[2048] = {};
    for (size_t at = 0; at < sizeof buffer; at += 8) std::memcpy(buffer + at, &kind, sizeof kind);
    wg_cupti_activity* record = nullptr;
    if (Step(buffer, sizeof buffer, &record) != 0) return 0;
    wg_cupti_activity* const first = record;
    if (Step(buffer, sizeof buffer, &record) != 0) return 0;
    return static_cast<uint16_t>(reinterpret_cast<uint8_t*>(record) -
                                 reinterpret_cast<uint8_t*>(first));
  }

 private:
  using Next = int (*)(uint8_t*, size_t, wg_cupti_activity**);
  Result<DynamicLibrary> library_;
  Next next_ = nullptr;
};

TEST_CASE("a real libcupti has every required function") {
  const RealCupti cupti("cupti symbols");
  if (!cupti.ok()) return;
  int found = 0;
  int total = 0;
#define LOOK(name, required, arguments)         \
  ++total;                                      \
  if (cupti.library().Find(#name) != nullptr) { \
    ++found;                                    \
  } else {                                      \
    CHECK_MESSAGE(!(required), #name);          \
  }
  WG_CUPTI_FUNCTIONS(LOOK)
#undef LOOK
  std::printf(
      "cupti symbols: %d of %d found in %s\n", found, total, cupti.library().path().c_str());
}

constexpr uint32_t kKinds[] = {WG_CUPTI_MEMCPY,
                               WG_CUPTI_MEMSET,
                               WG_CUPTI_DRIVER,
                               WG_CUPTI_RUNTIME,
                               WG_CUPTI_CONCURRENT_KERNEL,
                               WG_CUPTI_MARKER,
                               WG_CUPTI_OVERHEAD,
                               WG_CUPTI_PEER_MEMCPY,
                               WG_CUPTI_UNIFIED_MEMORY,
                               WG_CUPTI_SYNCHRONIZATION,
                               WG_CUPTI_EXTERNAL_CORRELATION};

TEST_CASE("the records of a real libcupti hold our prefixes, and it steps what we convert") {
  const RealCupti cupti("cupti records");
  if (!cupti.ok()) return;
  wg_converter converter{};
  converter.name = [](void*, const char* text) { return static_cast<uint32_t>(text[0]); };
  converter.api_name = [](void*, int, uint32_t cbid) { return cbid; };
  for (const uint32_t kind : kKinds) {
    CAPTURE(kind);
    converter.lengths[kind] = cupti.Length(kind);
    CHECK(converter.lengths[kind] >= wg_cupti_prefix_bytes(kind));
  }
  // One record of each kind behind the other, with the fields that tell them apart set.
  alignas(8) uint8_t buffer[4096] = {};
  size_t valid = 0;
  for (const uint32_t kind : kKinds) {
    uint8_t* const at = buffer + valid;
    std::memcpy(at, &kind, sizeof kind);
    if (kind == WG_CUPTI_MEMCPY) {
      auto* const record = reinterpret_cast<wg_cupti_memcpy*>(at);
      record->bytes = 4096;
      record->start = 10;
      record->end = 20;
      record->correlation = 7;
    } else if (kind == WG_CUPTI_CONCURRENT_KERNEL) {
      auto* const record = reinterpret_cast<wg_cupti_kernel*>(at);
      record->start = 30;
      record->end = 40;
      record->name = "kernel";
      record->correlation = 8;
    } else if (kind == WG_CUPTI_EXTERNAL_CORRELATION) {
      reinterpret_cast<wg_cupti_external*>(at)->id = 99;
    }
    valid += converter.lengths[kind];
  }
  size_t seen = 0;
  wg_cupti_activity* record = nullptr;
  while (cupti.Step(buffer, valid, &record) == WG_CUPTI_SUCCESS) {
    REQUIRE(seen < std::size(kKinds));
    wg_record out{};
    const size_t available = buffer + valid - reinterpret_cast<uint8_t*>(record);
    const wg_converted result = wg_convert(&converter, record, available, &out);
    const uint32_t kind = kKinds[seen++];
    CAPTURE(kind);
    CHECK(out.kind == wg_record_kind_of(kind));
    if (kind == WG_CUPTI_MEMCPY) {
      CHECK(result == WG_CONVERTED);
      CHECK(out.of.memcpy.bytes == 4096);
      CHECK(out.end == 20);
      CHECK(out.correlation == 7);
    } else if (kind == WG_CUPTI_CONCURRENT_KERNEL) {
      CHECK(result == WG_CONVERTED);
      CHECK(out.name == 'k');
      CHECK(out.correlation == 8);
    } else if (kind == WG_CUPTI_EXTERNAL_CORRELATION) {
      CHECK(result == WG_CONVERTED);
      CHECK(out.of.external.id == 99);
    } else {
      CHECK(result == WG_CONVERTED_WITHOUT_TIME);
    }
  }
  CHECK(seen == std::size(kKinds));
  // Cut short by a byte: the library ends there, and so would we.
  record = nullptr;
  CHECK(cupti.Step(buffer, converter.lengths[WG_CUPTI_MEMCPY] - 1, &record) ==
        WG_CUPTI_END_OF_BUFFER);
  wg_record out{};
  CHECK(wg_convert(&converter, buffer, converter.lengths[WG_CUPTI_MEMCPY] - 1, &out) ==
        WG_CONVERTED_UNKNOWN);
  std::printf("cupti records: %zu kinds stepped by %s\n", seen, cupti.library().path().c_str());
}

}  // namespace
}  // namespace warpgauge
