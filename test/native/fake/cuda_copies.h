/* Copies and memsets. */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_COPIES_H
#define WARPGAUGE_TEST_FAKE_CUDA_COPIES_H

static Stream default_stream = {0, 7}; /* that of the synchronous copies */

/* Where a device range lies in host memory. */
static Result Locate(DevicePtr address, size_t bytes, char** memory) {
  const Range* range = FindRange(device_ranges, address, bytes);
  if (range == NULL) return kInvalidValue;
  *memory = range->memory + (address - range->address);
  return 0;
}

static int IsPinned(const void* address, size_t bytes) {
  return FindRange(pinned_ranges, (uint64_t)(uintptr_t)address, bytes) != NULL;
}

/* What kind of memory CUPTI sees at an address of the host, or of the device. */
static uint32_t HostMemory(const void* address, size_t bytes) {
  const Range* range = FindRange(device_ranges, (uint64_t)(uintptr_t)address, bytes);
  if (range != NULL) return kManagedMemory;
  return IsPinned(address, bytes) ? kPinnedMemory : kPageableMemory;
}

static uint32_t OnDevice(DevicePtr address, size_t bytes) {
  return FindRange(device_ranges, address, bytes)->managed ? kManagedMemory : kDeviceMemory;
}

/* A place for the record of a copy that was found to be right. */
static struct fake_ticket FeedCopy(const Stream* stream,
                                   uint32_t copy_kind,
                                   uint32_t source,
                                   uint32_t destination,
                                   size_t bytes,
                                   int async) {
  struct fake_activity activity = ActivityOf(1, stream);
  activity.of.copy.bytes = bytes;
  activity.of.copy.copy_kind = copy_kind;
  activity.of.copy.source = source;
  activity.of.copy.destination = destination;
  activity.of.copy.async = (uint32_t)async;
  return FeedQueue(activity);
}

static Result BeforePageable(const Stream* stream) {
  Result code = 0;
  if (PendingOnStream(stream, kAdd)) code = Violation("pageable copy behind a pending kernel");
  WaitIdle();
  return code;
}

/* engine_lock held; the source has been read when this returns, unless it is pinned. */
static Result CopyToDevice(
    DevicePtr to, const void* from, size_t bytes, Stream* stream, int async) {
  const int pinned = IsPinned(from, bytes);
  char* memory = NULL;
  Result code = Locate(to, bytes, &memory);
  if (code == 0 && !pinned) code = BeforePageable(stream);
  if (code == 0) {
    Op op = {.kind = kCopy, .stream = stream, .to = memory, .from = from, .bytes = bytes};
    op.ticket =
        FeedCopy(stream, kHostToDevice, HostMemory(from, bytes), OnDevice(to, bytes), bytes, async);
    if (!pinned) { /* all but the last part has passed through the staging memory by now */
      const size_t late = bytes < kStaging ? bytes : (size_t)kStaging;
      op.began_ns = FakeNow();
      memcpy(memory, from, bytes - late);
      memcpy(staging, (const char*)from + (bytes - late), late);
      op.to += bytes - late;
      op.from = staging;
      op.bytes = late;
    }
    Enqueue(op);
    stream->unsynced = 1;
  }
  return code;
}

FAKE_EXPORT Result cuMemcpyHtoDAsync_v2(DevicePtr to,
                                        const void* from,
                                        size_t bytes,
                                        Stream* stream) {
  Result code = EnterContext("cuMemcpyHtoDAsync_v2");
  const int pinned = IsPinned(from, bytes);
  if (code == 0 && (stream == NULL || from == NULL)) code = kInvalidValue;
  if (code == 0) code = CopyToDevice(to, from, bytes, stream, 1);
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyHtoDAsync_v2",
               code,
               "%#llx, %p, %zu, %s",
               (unsigned long long)to,
               from,
               bytes,
               pinned ? "pinned" : "pageable");
}

FAKE_EXPORT Result cuMemcpyHtoD_v2(DevicePtr to, const void* from, size_t bytes) {
  Result code = EnterContext("cuMemcpyHtoD_v2");
  if (code == 0 && from == NULL) code = kInvalidValue;
  if (code == 0) code = CopyToDevice(to, from, bytes, &default_stream, 0);
  if (code == 0) WaitIdle();
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyHtoD_v2", code, "%#llx, %p, %zu", (unsigned long long)to, from, bytes);
}

/* engine_lock held; all is there when this returns, unless the target is pinned. */
static Result CopyToHost(void* to, DevicePtr from, size_t bytes, Stream* stream, int async) {
  const int pinned = IsPinned(to, bytes);
  char* memory = NULL;
  Result code = Locate(from, bytes, &memory);
  if (code == 0 && !pinned) code = BeforePageable(stream);
  if (code == 0) {
    Op op = {.kind = kCopy, .stream = stream, .to = to, .from = memory, .bytes = bytes};
    op.ticket =
        FeedCopy(stream, kDeviceToHost, OnDevice(from, bytes), HostMemory(to, bytes), bytes, async);
    if (pinned) {
      Enqueue(op);
    } else {
      const int64_t start_ns = FakeNow();
      memcpy(to, memory, bytes);
      FeedFinish(&op.ticket, start_ns, FakeNow());
    }
    stream->unsynced = 1;
  }
  return code;
}

FAKE_EXPORT Result cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes, Stream* stream) {
  Result code = EnterContext("cuMemcpyDtoHAsync_v2");
  const int pinned = IsPinned(to, bytes);
  if (code == 0 && (stream == NULL || to == NULL)) code = kInvalidValue;
  if (code == 0) code = CopyToHost(to, from, bytes, stream, 1);
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyDtoHAsync_v2",
               code,
               "%p, %#llx, %zu, %s",
               to,
               (unsigned long long)from,
               bytes,
               pinned ? "pinned" : "pageable");
}

FAKE_EXPORT Result cuMemcpyDtoH_v2(void* to, DevicePtr from, size_t bytes) {
  Result code = EnterContext("cuMemcpyDtoH_v2");
  if (code == 0 && to == NULL) code = kInvalidValue;
  if (code == 0) code = CopyToHost(to, from, bytes, &default_stream, 0);
  if (code == 0) WaitIdle();
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyDtoH_v2", code, "%p, %#llx, %zu", to, (unsigned long long)from, bytes);
}

FAKE_EXPORT Result cuMemcpyDtoDAsync_v2(DevicePtr to,
                                        DevicePtr from,
                                        size_t bytes,
                                        Stream* stream) {
  Result code = EnterContext("cuMemcpyDtoDAsync_v2");
  char *target = NULL, *source = NULL;
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) code = Locate(to, bytes, &target);
  if (code == 0) code = Locate(from, bytes, &source);
  if (code == 0 && Overlaps(target, source, bytes, bytes)) code = kInvalidValue;
  if (code == 0) {
    Op op = {.kind = kCopy, .stream = stream, .to = target, .from = source, .bytes = bytes};
    op.ticket =
        FeedCopy(stream, kDeviceToDevice, OnDevice(from, bytes), OnDevice(to, bytes), bytes, 1);
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyDtoDAsync_v2",
               code,
               "%#llx, %#llx, %zu",
               (unsigned long long)to,
               (unsigned long long)from,
               bytes);
}

/* Between two devices; within one it is an ordinary copy, also to CUPTI. */
FAKE_EXPORT Result cuMemcpyPeerAsync(DevicePtr to,
                                     char* to_context,
                                     DevicePtr from,
                                     char* from_context,
                                     size_t bytes,
                                     Stream* stream) {
  Result code = EnterContext("cuMemcpyPeerAsync");
  const ptrdiff_t to_device = to_context - context_tokens;
  const ptrdiff_t from_device = from_context - context_tokens;
  const Range *target = FindRange(device_ranges, to, bytes),
              *source = FindRange(device_ranges, from, bytes);
  if (code == 0 && (stream == NULL || target == NULL || source == NULL)) code = kInvalidValue;
  if (code == 0 && (target->device != to_device || source->device != from_device)) {
    code = kInvalidContext;
  }
  if (code == 0) {
    Op op = {.kind = kCopy, .stream = stream, .bytes = bytes};
    Locate(to, bytes, &op.to);
    Locate(from, bytes, (char**)&op.from);
    if (to_device == from_device) {
      op.ticket =
          FeedCopy(stream, kDeviceToDevice, OnDevice(from, bytes), OnDevice(to, bytes), bytes, 1);
    } else {
      struct fake_activity activity = ActivityOf(22, stream);
      activity.of.copy.bytes = bytes;
      activity.of.copy.copy_kind = kPeerToPeer;
      activity.of.copy.source = OnDevice(from, bytes);
      activity.of.copy.destination = OnDevice(to, bytes);
      activity.of.copy.async = 1;
      activity.of.copy.source_device = (uint32_t)from_device;
      activity.of.copy.source_context = ContextId((int)from_device);
      activity.of.copy.destination_device = (uint32_t)to_device;
      activity.of.copy.destination_context = ContextId((int)to_device);
      op.ticket = FeedQueue(activity);
    }
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemcpyPeerAsync",
               code,
               "%#llx, %#llx, %zu",
               (unsigned long long)to,
               (unsigned long long)from,
               bytes);
}

FAKE_EXPORT Result cuMemsetD8Async(DevicePtr to,
                                   unsigned char value,
                                   size_t bytes,
                                   Stream* stream) {
  Result code = EnterContext("cuMemsetD8Async");
  char* memory = NULL;
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) code = Locate(to, bytes, &memory);
  if (code == 0) {
    struct fake_activity activity = ActivityOf(2, stream);
    Op op = {.kind = kSet, .stream = stream, .to = memory, .bytes = bytes, .value = value};
    activity.of.set.bytes = bytes;
    activity.of.set.value = value;
    activity.of.set.memory = OnDevice(to, bytes);
    activity.of.set.async = 1;
    op.ticket = FeedQueue(activity);
    Enqueue(op);
    stream->unsynced = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave(
      "cuMemsetD8Async", code, "%#llx, %u, %zu", (unsigned long long)to, (unsigned)value, bytes);
}

#endif
