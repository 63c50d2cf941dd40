#include "record_convert.h"

#include <string.h>

/* The record may be shorter than our struct of it, whose later fields are younger than it: only
 * what is there is copied, the rest is 0. */
#define READ(type, from, length) \
  struct type in;                \
  memset(&in, 0, sizeof in);     \
  memcpy(&in, from, (length) < sizeof in ? (length) : sizeof in)

#define HAS(type, field, length) \
  ((length) >= offsetof(struct type, field) + sizeof(((struct type*)0)->field))

uint32_t wg_cupti_prefix_bytes(uint32_t kind) {
  switch (kind) {
    case WG_CUPTI_MEMCPY:
      return WG_CUPTI_MEMCPY_BYTES;
    case WG_CUPTI_PEER_MEMCPY:
      return WG_CUPTI_PEER_MEMCPY_BYTES;
    case WG_CUPTI_MEMSET:
      return WG_CUPTI_MEMSET_BYTES;
    case WG_CUPTI_CONCURRENT_KERNEL:
      return WG_CUPTI_KERNEL_BYTES;
    case WG_CUPTI_UNIFIED_MEMORY:
      return WG_CUPTI_UNIFIED_MEMORY_BYTES;
    case WG_CUPTI_DRIVER:
    case WG_CUPTI_RUNTIME:
      return WG_CUPTI_API_BYTES;
    case WG_CUPTI_OVERHEAD:
      return WG_CUPTI_OVERHEAD_BYTES;
    case WG_CUPTI_SYNCHRONIZATION:
      return WG_CUPTI_SYNCHRONIZATION_BYTES;
    case WG_CUPTI_EXTERNAL_CORRELATION:
      return WG_CUPTI_EXTERNAL_BYTES;
    case WG_CUPTI_MARKER:
      return WG_CUPTI_MARKER_BYTES;
    default:
      return 0;
  }
}

enum wg_record_kind wg_record_kind_of(uint32_t cupti_kind) {
  switch (cupti_kind) {
    case WG_CUPTI_MEMCPY:
      return WG_RECORD_MEMCPY;
    case WG_CUPTI_PEER_MEMCPY:
      return WG_RECORD_PEER_MEMCPY;
    case WG_CUPTI_MEMSET:
      return WG_RECORD_MEMSET;
    case WG_CUPTI_CONCURRENT_KERNEL:
      return WG_RECORD_KERNEL;
    case WG_CUPTI_UNIFIED_MEMORY:
      return WG_RECORD_UNIFIED_MEMORY;
    case WG_CUPTI_DRIVER:
    case WG_CUPTI_RUNTIME:
      return WG_RECORD_API;
    case WG_CUPTI_OVERHEAD:
      return WG_RECORD_OVERHEAD;
    case WG_CUPTI_SYNCHRONIZATION:
      return WG_RECORD_SYNCHRONIZATION;
    case WG_CUPTI_EXTERNAL_CORRELATION:
      return WG_RECORD_EXTERNAL;
    case WG_CUPTI_MARKER:
      return WG_RECORD_MARKER;
    default:
      return WG_RECORD_NONE;
  }
}

static enum wg_converted timed(struct wg_record* to, uint64_t start, uint64_t end) {
  to->start = start;
  to->end = end;
  return start == 0 || end == 0 ? WG_CONVERTED_WITHOUT_TIME : WG_CONVERTED;
}

static void place(struct wg_record* to, uint32_t device, uint32_t context, uint32_t stream) {
  to->device = device;
  to->context = context;
  to->stream = stream;
}

static void mark_graph(struct wg_record* to, uint32_t graph, uint64_t node) {
  if (graph != 0 || node != 0) to->flags |= WG_FLAG_GRAPH;
}

static enum wg_converted convert_memcpy(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_memcpy, from, length);
  place(to, in.device, in.context, in.stream);
  to->correlation = in.correlation;
  if ((in.flags & 1) != 0) to->flags |= WG_FLAG_ASYNC;
  mark_graph(to, in.graph, in.graph_node);
  to->of.memcpy.bytes = in.bytes;
  to->of.memcpy.graph_node = in.graph_node;
  to->of.memcpy.graph = in.graph;
  to->of.memcpy.copy_kind = in.copy_kind;
  to->of.memcpy.source = in.source;
  to->of.memcpy.destination = in.destination;
  to->of.memcpy.source_device = WG_NO_ID;
  to->of.memcpy.source_context = WG_NO_ID;
  to->of.memcpy.destination_device = WG_NO_ID;
  to->of.memcpy.destination_context = WG_NO_ID;
  if (HAS(wg_cupti_memcpy, copies, length)) {
    to->flags |= WG_FLAG_COPIES;
    to->of.memcpy.copies = in.copies;
  }
  return timed(to, in.start, in.end);
}

static enum wg_converted convert_peer(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_peer_memcpy, from, length);
  place(to, in.device, in.context, in.stream);
  to->correlation = in.correlation;
  if ((in.flags & 1) != 0) to->flags |= WG_FLAG_ASYNC;
  mark_graph(to, in.graph, in.graph_node);
  to->of.memcpy.bytes = in.bytes;
  to->of.memcpy.graph_node = in.graph_node;
  to->of.memcpy.graph = in.graph;
  to->of.memcpy.copy_kind = in.copy_kind;
  to->of.memcpy.source = in.source;
  to->of.memcpy.destination = in.destination;
  to->of.memcpy.source_device = in.source_device;
  to->of.memcpy.source_context = in.source_context;
  to->of.memcpy.destination_device = in.destination_device;
  to->of.memcpy.destination_context = in.destination_context;
  return timed(to, in.start, in.end);
}

static enum wg_converted convert_memset(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_memset, from, length);
  place(to, in.device, in.context, in.stream);
  to->correlation = in.correlation;
  if ((in.flags & 1) != 0) to->flags |= WG_FLAG_ASYNC;
  mark_graph(to, in.graph, in.graph_node);
  to->of.memset.bytes = in.bytes;
  to->of.memset.graph_node = in.graph_node;
  to->of.memset.graph = in.graph;
  to->of.memset.value = in.value;
  to->of.memset.memory = in.memory;
  return timed(to, in.start, in.end);
}

static enum wg_converted convert_kernel(const struct wg_converter* converter,
                                        const void* from,
                                        uint32_t length,
                                        struct wg_record* to) {
  READ(wg_cupti_kernel, from, length);
  place(to, in.device, in.context, in.stream);
  to->correlation = in.correlation;
  mark_graph(to, in.graph, in.graph_node);
  to->of.kernel.graph_node = in.graph_node;
  to->of.kernel.graph = in.graph;
  to->of.kernel.grid_x = in.grid_x;
  to->of.kernel.grid_y = in.grid_y;
  to->of.kernel.grid_z = in.grid_z;
  to->of.kernel.block_x = in.block_x;
  to->of.kernel.block_y = in.block_y;
  to->of.kernel.block_z = in.block_z;
  to->of.kernel.static_shared_bytes = in.static_shared;
  to->of.kernel.dynamic_shared_bytes = in.dynamic_shared;
  to->of.kernel.local_bytes_per_thread = in.local_per_thread;
  to->of.kernel.registers_per_thread = in.registers;
  to->of.kernel.grid_id = in.grid_id;
  if (HAS(wg_cupti_kernel, cluster_z, length)) {
    to->flags |= WG_FLAG_CLUSTER;
    to->of.kernel.cluster_x = in.cluster_x;
    to->of.kernel.cluster_y = in.cluster_y;
    to->of.kernel.cluster_z = in.cluster_z;
  }
  const enum wg_converted result = timed(to, in.start, in.end);
  /* Not for records that are thrown away: a name costs a place in the ring. */
  if (result == WG_CONVERTED && in.name != NULL) {
    to->name = converter->name(converter->user, in.name);
  }
  return result;
}

/* CUPTI leaves the ids that a counter does not have undefined, and has none for the host. */
static enum wg_converted convert_unified(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_unified_memory, from, length);
  uint32_t source = WG_NO_ID;
  uint32_t destination = WG_NO_ID;
  uint32_t device = WG_NO_ID;
  uint64_t end = in.end;
  switch (in.counter) {
    case WG_CUPTI_UNIFIED_HTOD:
      destination = device = in.destination;
      break;
    case WG_CUPTI_UNIFIED_DTOH:
    case WG_CUPTI_UNIFIED_GPU_FAULT:
    case WG_CUPTI_UNIFIED_THROTTLING:
      source = device = in.source;
      break;
    case WG_CUPTI_UNIFIED_DTOD:
      source = in.source;
      destination = device = in.destination;
      break;
    case WG_CUPTI_UNIFIED_REMOTE_MAP: /* source is the host or a device: not told apart */
      destination = device = in.destination;
      end = in.start;
      break;
    case WG_CUPTI_UNIFIED_CPU_FAULT:
    case WG_CUPTI_UNIFIED_THRASHING: /* source is a set of devices */
      end = in.start;
      break;
    default: /* a counter that is younger than we */
      break;
  }
  to->device = device;
  to->of.unified_memory.value = in.value;
  to->of.unified_memory.address = in.address;
  to->of.unified_memory.counter = in.counter;
  to->of.unified_memory.source = source;
  to->of.unified_memory.destination = destination;
  to->of.unified_memory.pid = in.process;
  to->of.unified_memory.counter_flags = in.flags;
  return timed(to, in.start, end);
}

static int is_wanted(const uint8_t* bits, uint32_t cbid) {
  if (bits == NULL) return 1;
  return cbid < WG_CBIDS && (bits[cbid / 8] >> (cbid % 8) & 1) != 0;
}

static enum wg_converted convert_api(const struct wg_converter* converter,
                                     const void* from,
                                     uint32_t length,
                                     struct wg_record* to) {
  READ(wg_cupti_api, from, length);
  const int is_runtime = in.kind == WG_CUPTI_RUNTIME;
  if (!is_wanted(is_runtime ? converter->wanted_runtime : converter->wanted_driver, in.cbid)) {
    return WG_CONVERTED_UNWANTED;
  }
  if (is_runtime) to->flags |= WG_FLAG_RUNTIME;
  to->correlation = in.correlation;
  to->of.api.cbid = in.cbid;
  to->of.api.pid = in.process;
  to->of.api.tid = in.thread;
  to->of.api.result = in.result;
  const enum wg_converted result = timed(to, in.start, in.end);
  if (result == WG_CONVERTED) {
    to->name = converter->api_name(
        converter->user, is_runtime ? WG_CUPTI_DOMAIN_RUNTIME : WG_CUPTI_DOMAIN_DRIVER, in.cbid);
  }
  return result;
}

static enum wg_converted convert_overhead(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_overhead, from, length);
  to->of.overhead.overhead = in.overhead;
  to->of.overhead.object = in.object;
  memcpy(to->of.overhead.ids, in.ids, sizeof in.ids);
  if (HAS(wg_cupti_overhead, correlation, length)) to->correlation = in.correlation;
  return timed(to, in.start, in.end);
}

static enum wg_converted convert_synchronization(const void* from,
                                                 uint32_t length,
                                                 struct wg_record* to) {
  READ(wg_cupti_synchronization, from, length);
  /* What does not apply is 0xffffffff in CUPTI too. */
  to->context = in.context;
  to->stream = in.stream;
  to->correlation = in.correlation;
  to->of.synchronization.type = in.type;
  to->of.synchronization.event = in.event;
  return timed(to, in.start, in.end);
}

static enum wg_converted convert_external(const void* from, uint32_t length, struct wg_record* to) {
  READ(wg_cupti_external, from, length);
  to->correlation = in.correlation;
  to->of.external.id = in.id;
  to->of.external.external = in.external;
  return WG_CONVERTED;
}

static enum wg_converted convert_marker(const struct wg_converter* converter,
                                        const void* from,
                                        uint32_t length,
                                        struct wg_record* to) {
  READ(wg_cupti_marker, from, length);
  to->of.marker.id = in.id;
  to->of.marker.marker_flags = in.flags;
  to->of.marker.domain = WG_NO_ID;
  const int is_thread = in.object == WG_CUPTI_OBJECT_THREAD;
  const int has_process = is_thread || in.object == WG_CUPTI_OBJECT_PROCESS;
  to->of.marker.pid = has_process ? in.ids[0] : WG_NO_ID;
  to->of.marker.tid = is_thread ? in.ids[1] : WG_NO_ID;
  const enum wg_converted result = timed(to, in.timestamp, in.timestamp);
  if (result != WG_CONVERTED) return result;
  if (in.name != NULL) to->name = converter->name(converter->user, in.name);
  if (in.domain != NULL) to->of.marker.domain = converter->name(converter->user, in.domain);
  return result;
}

enum wg_converted wg_convert(const struct wg_converter* converter,
                             const void* from,
                             size_t available,
                             struct wg_record* to) {
  uint32_t kind = 0;
  if (available < sizeof kind) return WG_CONVERTED_UNKNOWN;
  memcpy(&kind, from, sizeof kind);
  if (kind >= WG_CUPTI_KINDS) return WG_CONVERTED_UNKNOWN;
  const uint32_t length = converter->lengths[kind];
  const uint32_t prefix = wg_cupti_prefix_bytes(kind);
  if (prefix == 0 || length < prefix || available < length) return WG_CONVERTED_UNKNOWN;

  memset(to, 0, sizeof *to);
  to->kind = (uint8_t)wg_record_kind_of(kind);
  to->device = WG_NO_ID;
  to->context = WG_NO_ID;
  to->stream = WG_NO_ID;
  to->name = WG_NO_ID;
  switch (kind) {
    case WG_CUPTI_MEMCPY:
      return convert_memcpy(from, length, to);
    case WG_CUPTI_PEER_MEMCPY:
      return convert_peer(from, length, to);
    case WG_CUPTI_MEMSET:
      return convert_memset(from, length, to);
    case WG_CUPTI_CONCURRENT_KERNEL:
      return convert_kernel(converter, from, length, to);
    case WG_CUPTI_UNIFIED_MEMORY:
      return convert_unified(from, length, to);
    case WG_CUPTI_DRIVER:
    case WG_CUPTI_RUNTIME:
      return convert_api(converter, from, length, to);
    case WG_CUPTI_OVERHEAD:
      return convert_overhead(from, length, to);
    case WG_CUPTI_SYNCHRONIZATION:
      return convert_synchronization(from, length, to);
    case WG_CUPTI_EXTERNAL_CORRELATION:
      return convert_external(from, length, to);
    default:
      return convert_marker(converter, from, length, to);
  }
}
