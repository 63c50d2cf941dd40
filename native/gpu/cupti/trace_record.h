/*
 * What one CUPTI activity record becomes: 128 bytes of one layout for every toolkit, written by the
 * process that runs CUDA (activity.c) and read by the process that records (trace_source.cc), which
 * may be the same one. C11 and C++20.
 *
 * Times are as CUPTI gave them, on whatever clock CUPTI runs; WG_RECORD_CLOCK pairs tell the reader
 * how they lie on CLOCK_MONOTONIC. Ids (device, context, stream, correlation, names) mean something
 * within their lane only.
 */
#ifndef WARPGAUGE_GPU_CUPTI_TRACE_RECORD_H
#define WARPGAUGE_GPU_CUPTI_TRACE_RECORD_H

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): also C */

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WG_RECORD_BYTES = 128,
  WG_NO_ID = 0xffffffff, /* a device, context, stream or name that the record does not have */
  WG_NAME_CHUNK = 82,
  WG_NAME_LONGEST = 4096, /* longer names are cut, on a character's boundary, and end in "..." */
};

/* The kinds a user can ask for are the first twelve: bit (1 << kind) of wg_trace_header.kinds. */
enum wg_record_kind {
  WG_RECORD_NONE = 0, /* never written */
  WG_RECORD_MEMCPY = 1,
  WG_RECORD_PEER_MEMCPY = 2,
  WG_RECORD_MEMSET = 3,
  WG_RECORD_KERNEL = 4,
  WG_RECORD_UNIFIED_MEMORY = 5,
  WG_RECORD_SYNCHRONIZATION = 6,
  WG_RECORD_OVERHEAD = 7,
  WG_RECORD_API = 8, /* a call of the driver or runtime API */
  WG_RECORD_EXTERNAL = 9,
  WG_RECORD_MARKER = 10, /* NVTX */
  /* What the lane tells of itself. */
  WG_RECORD_CLOCK = 20,
  WG_RECORD_NAME = 21,
  WG_RECORD_DEVICE = 22,
};

enum wg_flag {
  WG_FLAG_ASYNC = 1,   /* memcpy, memset: CUPTI's flags bit 0 */
  WG_FLAG_RUNTIME = 2, /* api: of the runtime (cuda*) and not of the driver (cu*) */
  WG_FLAG_GRAPH = 4,   /* graph and graph_node are set */
  WG_FLAG_CLUSTER = 8, /* kernel: cluster_x/y/z were read (11.8 and later) */
  WG_FLAG_COPIES = 16, /* memcpy: copies was read (12.8 and later) */
};

/* Bits of CUpti_ActivityFlag of a marker (cupti_activity.h). */
enum wg_marker_flag {
  WG_MARKER_INSTANT = 1 << 0,
  WG_MARKER_START = 1 << 1,
  WG_MARKER_END = 1 << 2,
};

/*
 * One record. start 0 or end 0 = CUPTI did not know (its device buffer was exhausted): such a
 * record is counted in wg_lane.without_time and not written.
 */
struct wg_record {
  uint8_t kind;  /* wg_record_kind */
  uint8_t flags; /* wg_flag */
  uint16_t reserved;
  uint32_t correlation;
  uint64_t start; /* api, memcpy, kernel ...: begin; marker, clock: the moment */
  uint64_t end;
  uint32_t device; /* CUDA ordinal of that process; WG_RECORD_DEVICE says which GPU it is */
  uint32_t context;
  uint32_t stream;
  uint32_t name; /* kernel, api, marker: id of a WG_RECORD_NAME; WG_NO_ID: none */
  union {
    struct {
      uint64_t bytes;
      uint64_t copies; /* copies that CUPTI folded into this record */
      uint64_t graph_node;
      uint32_t graph;
      uint8_t copy_kind; /* CUpti_ActivityMemcpyKind */
      uint8_t source;    /* CUpti_ActivityMemoryKind */
      uint8_t destination;
      uint8_t pad;
      uint32_t source_device; /* peer */
      uint32_t source_context;
      uint32_t destination_device;
      uint32_t destination_context;
    } memcpy;
    struct {
      uint64_t bytes;
      uint64_t graph_node;
      uint32_t graph;
      uint32_t value;
      uint32_t memory; /* CUpti_ActivityMemoryKind */
    } memset;
    struct {
      uint64_t graph_node;
      uint32_t graph;
      uint32_t grid_x, grid_y, grid_z;
      uint32_t block_x, block_y, block_z;
      uint32_t cluster_x, cluster_y, cluster_z;
      uint32_t static_shared_bytes, dynamic_shared_bytes;
      uint32_t local_bytes_per_thread;
      uint32_t registers_per_thread;
      int64_t grid_id;
    } kernel;
    struct {
      uint64_t value;
      uint64_t address;
      uint32_t counter; /* CUpti_ActivityUnifiedMemoryCounterKind */
      uint32_t source;  /* device, WG_NO_ID: the host */
      uint32_t destination;
      uint32_t pid;
      uint32_t counter_flags;
    } unified_memory;
    struct {
      uint32_t type; /* CUpti_ActivitySynchronizationType */
      uint32_t event;
    } synchronization;
    struct {
      uint32_t overhead; /* CUpti_ActivityOverheadKind */
      uint32_t object;   /* CUpti_ActivityObjectKind */
      uint32_t ids[3];   /* its union, as it stands */
    } overhead;
    struct {
      uint32_t cbid;
      uint32_t pid, tid; /* tid as gettid() tells it: cuptiSetThreadIdType(SYSTEM) */
      uint32_t result;   /* CUresult or cudaError_t */
    } api;
    struct {
      uint64_t id;
      uint32_t external; /* CUpti_ExternalCorrelationKind */
    } external;
    struct {
      uint32_t id; /* of the range: start and end share it */
      uint32_t marker_flags;
      uint32_t domain;   /* name id */
      uint32_t pid, tid; /* WG_NO_ID where the object is no thread */
    } marker;
    struct {
      /* start = cuptiGetTimestamp, taken between the two readings of CLOCK_MONOTONIC. */
      int64_t monotonic_before_ns, monotonic_after_ns;
      int64_t realtime_ns;
    } clock;
    struct {
      /* wg_record.name is the id; a long name comes as several records in a row, in order. Told
       * before the first record that uses it. The id of a name never changes within a lane; the
       * same (id, text) may come again. */
      uint16_t total, offset, length;
      char text[WG_NAME_CHUNK];
    } text;
    struct {
      uint8_t uuid[16]; /* cuDeviceGetUuid_v2: of the MIG instance in MIG mode */
      char pci[16];     /* cuDeviceGetPCIBusId, empty if unknown */
      uint8_t is_mig;
      char device_name[47]; /* cuDeviceGetName, cut */
    } device;
    uint8_t bytes[WG_RECORD_BYTES - 40];
  } of;
};

#ifdef __cplusplus
static_assert(sizeof(wg_record) == WG_RECORD_BYTES, "one layout for every compiler");
}
#else
_Static_assert(sizeof(struct wg_record) == WG_RECORD_BYTES, "one layout for every compiler");
#endif

#endif
