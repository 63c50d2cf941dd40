/*
 * The part of the ABI of CUPTI's activity API that tracing uses, declared by ourselves so that
 * building needs no toolkit. C11 and C++20. test/native/cupti_abi_test.cc compares it with the real
 * headers and with a real libcupti where they are installed.
 *
 * Of each record only the fields up to the last one we read are declared: they lie at the same
 * offsets in 11.0 to 13.0. Lengths differ, so nothing may step by sizeof: the library steps
 * (cuptiActivityGetNextRecord), and wg_cupti_probe measures how long its records are.
 */
#ifndef WARPGAUGE_GPU_CUPTI_CUPTI_ABI_H
#define WARPGAUGE_GPU_CUPTI_CUPTI_ABI_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */
#include <stdint.h> /* NOLINT(modernize-deprecated-headers): also C */

#ifdef __cplusplus
extern "C" {
#endif

/* CUptiResult: those that are told apart. Any other is an error like any other. */
enum wg_cupti_result {
  WG_CUPTI_SUCCESS = 0,
  WG_CUPTI_END_OF_BUFFER = 12, /* MAX_LIMIT_REACHED */
  WG_CUPTI_NOT_INITIALIZED = 15,
  WG_CUPTI_NO_PRIVILEGE = 35,
  WG_CUPTI_OTHER_SUBSCRIBER = 39,
  WG_CUPTI_NO_PRIVILEGE_VIRTUALIZED = 40,
};

/* CUpti_ActivityKind */
enum wg_cupti_kind {
  WG_CUPTI_MEMCPY = 1,
  WG_CUPTI_MEMSET = 2,
  WG_CUPTI_DRIVER = 4,
  WG_CUPTI_RUNTIME = 5,
  WG_CUPTI_CONCURRENT_KERNEL = 10,
  WG_CUPTI_MARKER = 12,
  WG_CUPTI_OVERHEAD = 17,
  WG_CUPTI_PEER_MEMCPY = 22, /* MEMCPY2 */
  WG_CUPTI_UNIFIED_MEMORY = 25,
  WG_CUPTI_SYNCHRONIZATION = 38,
  WG_CUPTI_EXTERNAL_CORRELATION = 39,
  WG_CUPTI_KINDS = 64, /* bound of our tables; 13.0 ends at 55 */
};

/* CUpti_ActivityUnifiedMemoryCounterKind */
enum wg_cupti_unified {
  WG_CUPTI_UNIFIED_HTOD = 1,
  WG_CUPTI_UNIFIED_DTOH = 2,
  WG_CUPTI_UNIFIED_CPU_FAULT = 3,
  WG_CUPTI_UNIFIED_GPU_FAULT = 4,
  WG_CUPTI_UNIFIED_THRASHING = 5,
  WG_CUPTI_UNIFIED_THROTTLING = 6,
  WG_CUPTI_UNIFIED_REMOTE_MAP = 7,
  WG_CUPTI_UNIFIED_DTOD = 8,
};

/* CUpti_CallbackDomain, CUpti_CallbackIdResource, CUpti_ActivityAttribute, CUpti_ActivityFlush,
 * CUpti_ActivityThreadIdType, CUpti_ActivityUnifiedMemoryCounterScope, CUpti_ActivityObjectKind. */
enum {
  WG_CUPTI_DOMAIN_DRIVER = 1,
  WG_CUPTI_DOMAIN_RUNTIME = 2,
  WG_CUPTI_DOMAIN_RESOURCE = 3,
  WG_CUPTI_RESOURCE_CU_INIT_FINISHED = 5,
  WG_CUPTI_ATTRIBUTE_ZEROED_BUFFERS = 5,
  WG_CUPTI_ATTRIBUTE_PER_THREAD_BUFFERS = 9,
  WG_CUPTI_FLUSH_COMPLETED = 0,
  WG_CUPTI_FLUSH_FORCED = 1,
  WG_CUPTI_THREAD_ID_SYSTEM = 1,
  WG_CUPTI_SCOPE_ALL_DEVICES = 2,
  WG_CUPTI_OBJECT_PROCESS = 1,
  WG_CUPTI_OBJECT_THREAD = 2,
};

#define WG_CUPTI_PACKED __attribute__((packed, aligned(8)))

struct wg_cupti_memcpy {
  uint32_t kind;
  uint8_t copy_kind, source, destination, flags;
  uint64_t bytes;
  uint64_t start, end;
  uint32_t device, context, stream, correlation;
  uint32_t runtime_correlation, pad;
  uint64_t reserved;
  uint64_t graph_node;
  /* 11.1 */
  uint32_t graph;
  /* 11.6 */
  uint32_t channel, channel_type;
  uint32_t pad2; /* 13.0: first byte = launched by the device */
  /* 12.8 */
  uint64_t copies;
} WG_CUPTI_PACKED;

struct wg_cupti_peer_memcpy {
  uint32_t kind;
  uint8_t copy_kind, source, destination, flags;
  uint64_t bytes;
  uint64_t start, end;
  uint32_t device, context, stream;
  uint32_t source_device, source_context, destination_device, destination_context;
  uint32_t correlation;
  uint64_t reserved;
  uint64_t graph_node;
  /* 11.1 */
  uint32_t graph;
} WG_CUPTI_PACKED;

struct wg_cupti_memset {
  uint32_t kind;
  uint32_t value;
  uint64_t bytes;
  uint64_t start, end;
  uint32_t device, context, stream, correlation;
  uint16_t flags, memory;
  uint32_t pad;
  uint64_t reserved;
  uint64_t graph_node;
  /* 11.1 */
  uint32_t graph;
} WG_CUPTI_PACKED;

struct wg_cupti_kernel {
  uint32_t kind;
  uint8_t cache, shared_memory;
  uint16_t registers;
  int32_t partitioned_requested, partitioned_executed;
  uint64_t start, end, completed;
  uint32_t device, context, stream;
  uint32_t grid_x, grid_y, grid_z;
  uint32_t block_x, block_y, block_z;
  uint32_t static_shared, dynamic_shared;
  uint32_t local_per_thread, local_total;
  uint32_t correlation;
  int64_t grid_id;
  const char* name; /* CUPTI's: read at once, never freed */
  void* reserved;
  uint64_t queued, submitted;
  uint8_t launch_type, shared_requested, shared_carveout, pad;
  uint32_t shared_executed;
  uint64_t graph_node;
  uint32_t shared_limit;
  /* 11.1 */
  uint32_t graph;
  /* 11.2 */
  void* access_policy;
  /* 11.6 */
  uint32_t channel, channel_type;
  /* 11.8 */
  uint32_t cluster_x, cluster_y, cluster_z;
} WG_CUPTI_PACKED;

struct wg_cupti_unified_memory {
  uint32_t kind;
  uint32_t counter;
  uint64_t value;
  uint64_t start, end;
  uint64_t address;
  uint32_t source, destination;
  uint32_t stream, process, flags, pad;
} WG_CUPTI_PACKED;

struct wg_cupti_api {
  uint32_t kind;
  uint32_t cbid;
  uint64_t start, end;
  uint32_t process, thread;
  uint32_t correlation;
  uint32_t result;
} WG_CUPTI_PACKED;

struct wg_cupti_overhead {
  uint32_t kind;
  uint32_t overhead;
  uint32_t object;
  uint32_t ids[3]; /* process, thread; or device, context, stream */
  uint64_t start, end;
  /* 12.3 */
  uint32_t correlation;
} WG_CUPTI_PACKED;

struct wg_cupti_synchronization {
  uint32_t kind;
  uint32_t type;
  uint64_t start, end;
  uint32_t correlation, context, stream, event;
} WG_CUPTI_PACKED;

struct wg_cupti_external {
  uint32_t kind;
  uint32_t external;
  uint64_t id;
  uint32_t correlation;
} WG_CUPTI_PACKED;

struct wg_cupti_marker {
  uint32_t kind;
  uint32_t flags;
  uint64_t timestamp;
  uint32_t id;
  uint32_t object;
  uint32_t ids[3];
  uint32_t pad;
  const char* name; /* NULL at the end of a range */
  const char* domain;
} WG_CUPTI_PACKED;

/* Bytes of each record that every version has and that we need: a library whose records are
 * shorter is refused for that kind. */
enum wg_cupti_prefix {
  WG_CUPTI_MEMCPY_BYTES = offsetof(struct wg_cupti_memcpy, graph),
  WG_CUPTI_PEER_MEMCPY_BYTES = offsetof(struct wg_cupti_peer_memcpy, graph),
  WG_CUPTI_MEMSET_BYTES = offsetof(struct wg_cupti_memset, graph),
  WG_CUPTI_KERNEL_BYTES = offsetof(struct wg_cupti_kernel, graph),
  WG_CUPTI_UNIFIED_MEMORY_BYTES = sizeof(struct wg_cupti_unified_memory),
  WG_CUPTI_API_BYTES = sizeof(struct wg_cupti_api),
  WG_CUPTI_OVERHEAD_BYTES = offsetof(struct wg_cupti_overhead, correlation),
  WG_CUPTI_SYNCHRONIZATION_BYTES = sizeof(struct wg_cupti_synchronization),
  WG_CUPTI_EXTERNAL_BYTES = sizeof(struct wg_cupti_external),
  WG_CUPTI_MARKER_BYTES = sizeof(struct wg_cupti_marker),
};

/* Argument of cuptiActivityConfigureUnifiedMemoryCounter. */
struct wg_cupti_unified_config {
  uint32_t scope;
  uint32_t counter;
  uint32_t device;
  uint32_t enable;
};

struct wg_cupti_subscriber;
struct wg_cupti_context;
struct wg_cupti_activity; /* a record of any kind */

/* NOLINTBEGIN(modernize-use-using): also C */
typedef void (*wg_cupti_callback)(void* user, int domain, uint32_t cbid, const void* data);
typedef void (*wg_cupti_request)(uint8_t** buffer, size_t* size, size_t* max_records);
typedef void (*wg_cupti_complete)(
    struct wg_cupti_context*, uint32_t stream, uint8_t* buffer, size_t size, size_t valid);
/* NOLINTEND(modernize-use-using) */

/* Every function of libcupti that tracing calls: X(exported name, required, arguments). All return
 * a CUptiResult. */
#define WG_CUPTI_FUNCTIONS(X)                                                                   \
  X(cuptiGetVersion, 1, (uint32_t*))                                                            \
  X(cuptiGetTimestamp, 1, (uint64_t*))                                                          \
  X(cuptiSubscribe, 1, (struct wg_cupti_subscriber * *out, wg_cupti_callback, void* user))      \
  X(cuptiUnsubscribe, 1, (struct wg_cupti_subscriber*))                                         \
  X(cuptiEnableCallback, 1, (uint32_t on, struct wg_cupti_subscriber*, int domain, uint32_t))   \
  X(cuptiActivityRegisterCallbacks, 1, (wg_cupti_request, wg_cupti_complete))                   \
  X(cuptiActivityEnable, 1, (int kind))                                                         \
  X(cuptiActivityDisable, 1, (int kind))                                                        \
  X(cuptiActivityGetNextRecord,                                                                 \
    1,                                                                                          \
    (uint8_t * buffer, size_t valid, struct wg_cupti_activity * *record))                       \
  X(cuptiActivityGetNumDroppedRecords, 1, (struct wg_cupti_context*, uint32_t stream, size_t*)) \
  X(cuptiActivityFlushAll, 1, (uint32_t flag))                                                  \
  X(cuptiActivitySetAttribute, 0, (int attribute, size_t* size, void* value))                   \
  X(cuptiActivityEnableRuntimeApi, 0, (uint32_t cbid, uint8_t on))                              \
  X(cuptiActivityEnableDriverApi, 0, (uint32_t cbid, uint8_t on))                               \
  X(cuptiActivityConfigureUnifiedMemoryCounter, 0, (struct wg_cupti_unified_config*, uint32_t)) \
  X(cuptiGetCallbackName, 0, (int domain, uint32_t cbid, const char** name))                    \
  X(cuptiGetResultString, 0, (int result, const char** text))                                   \
  X(cuptiSetThreadIdType, 0, (int type))

#ifdef __cplusplus
}
#endif

#endif
