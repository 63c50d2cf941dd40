/* Memory of the simulated device and pinned memory of the host. */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_MEMORY_H
#define WARPGAUGE_TEST_FAKE_CUDA_MEMORY_H

FAKE_EXPORT Result cuMemAlloc_v2(DevicePtr* address, size_t bytes) {
  Result code = EnterContext("cuMemAlloc_v2");
  Range* range = FreeRange(device_ranges);
  if (code == 0 && bytes == 0) code = kInvalidValue;
  if (code == 0 &&
      (range == NULL || bytes > (uint64_t)Number("memory_bytes", 143771LL << 20) - device_used)) {
    code = kOutOfMemory;
  }
  if (code == 0) {
    range->memory = MapPopulated(bytes);
    if (range->memory == NULL) code = kOutOfMemory;
  }
  if (code == 0) {
    range->bytes = bytes;
    range->device = CurrentDevice();
    range->managed = 0;
    range->address = *address = next_address;
    next_address += (bytes + (4U << 20)) & ~((uint64_t)(2U << 20) - 1); /* with a gap */
    device_used += bytes;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave(
      "cuMemAlloc_v2", code, "%#llx, %zu", code == 0 ? (unsigned long long)*address : 0ULL, bytes);
}

FAKE_EXPORT Result cuMemFree_v2(DevicePtr address) {
  Result code = EnterContext("cuMemFree_v2");
  Range* range = FindStart(device_ranges, address);
  if (code == 0 && range == NULL) code = kInvalidValue;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemFree while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    munmap(range->memory, range->bytes);
    device_used -= range->bytes;
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemFree_v2", code, "%#llx", (unsigned long long)address);
}

FAKE_EXPORT Result cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
  Result code = EnterContext("cuMemHostAlloc");
  Range* range = FreeRange(pinned_ranges);
  if (code == 0 && (bytes == 0 || flags > 7)) code = kInvalidValue;
  if (code == 0 && range == NULL) code = kOutOfMemory;
  if (code == 0) {
    range->memory = MapPopulated(bytes);
    if (range->memory == NULL) code = kOutOfMemory;
  }
  if (code == 0) {
    range->address = (uint64_t)(uintptr_t)range->memory;
    range->bytes = bytes;
    range->registered = 0;
    *address = range->memory;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemHostAlloc", code, "%p, %zu, %u", code == 0 ? *address : NULL, bytes, flags);
}

FAKE_EXPORT Result cuMemFreeHost(void* address) {
  Result code = EnterContext("cuMemFreeHost");
  Range* range = FindStart(pinned_ranges, (uint64_t)(uintptr_t)address);
  if (code == 0 && (range == NULL || range->registered)) code = kInvalidValue;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemFreeHost while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    munmap(range->memory, range->bytes);
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemFreeHost", code, "%p", address);
}

FAKE_EXPORT Result cuMemHostRegister_v2(void* address, size_t bytes, unsigned flags) {
  Result code = EnterContext("cuMemHostRegister_v2");
  Range* range = FreeRange(pinned_ranges);
  int i;
  if (code == 0 && (address == NULL || bytes == 0 || flags > 15)) code = kInvalidValue;
  for (i = 0; code == 0 && i < kMaxRanges; ++i) {
    if (pinned_ranges[i].bytes != 0 &&
        Overlaps(pinned_ranges[i].memory, address, pinned_ranges[i].bytes, bytes)) {
      code = kAlreadyRegistered;
    }
  }
  if (code == 0 && range == NULL) code = kOutOfMemory;
  /* Faults the pages in without user-mode access, as get_user_pages does. */
  if (code == 0) {
    const uintptr_t page = (uintptr_t)address & ~(uintptr_t)4095;
    const size_t length = (((uintptr_t)address + bytes - page) + 4095) & ~(size_t)4095;
    if (madvise((void*)page, length, 23 /* MADV_POPULATE_WRITE */) != 0) {
      code = errno == EINVAL ? kInvalidValue : kOutOfMemory;
    }
  }
  if (code == 0) {
    range->address = (uint64_t)(uintptr_t)address;
    range->memory = address;
    range->bytes = bytes;
    range->registered = 1;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemHostRegister_v2", code, "%p, %zu, %u", address, bytes, flags);
}

FAKE_EXPORT Result cuMemHostUnregister(void* address) {
  Result code = EnterContext("cuMemHostUnregister");
  Range* range = FindStart(pinned_ranges, (uint64_t)(uintptr_t)address);
  if (code == 0 && (range == NULL || !range->registered)) code = kNotRegistered;
  if (code == 0 && PendingOnMemory(range->memory, range->bytes)) {
    code = Violation("cuMemHostUnregister while an operation on that memory is in flight");
  }
  if (code == 0) {
    WaitIdle();
    range->bytes = 0;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemHostUnregister", code, "%p", address);
}

/* Managed memory has one address on both sides. What the host touches cannot be seen here, so it
 * moves to the device when work there needs it, and back only by cuMemPrefetchAsync. */
FAKE_EXPORT Result cuMemAllocManaged(DevicePtr* address, size_t bytes, unsigned flags) {
  Result code = EnterContext("cuMemAllocManaged");
  Range* range = FreeRange(device_ranges);
  if (code == 0 && (bytes == 0 || flags < 1 || flags > 2)) code = kInvalidValue;
  if (code == 0 && range == NULL) code = kOutOfMemory;
  if (code == 0) {
    range->memory = MapPopulated(bytes);
    if (range->memory == NULL) code = kOutOfMemory;
  }
  if (code == 0) {
    range->bytes = bytes;
    range->device = CurrentDevice();
    range->managed = 1;
    range->resident = 0;
    range->address = *address = (uint64_t)(uintptr_t)range->memory;
    device_used += bytes;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuMemAllocManaged",
               code,
               "%#llx, %zu, %u",
               code == 0 ? (unsigned long long)*address : 0ULL,
               bytes,
               flags);
}

/* The records of a migration: 2 MiB each, and one fault where the device asked for it. */
static void Migrate(Range* range, int to_device, int by_fault) {
  struct fake_activity activity = {.kind = 25};
  const uint32_t device = (uint32_t)range->device;
  const size_t most = 2U << 20;
  size_t at;
  if (!range->managed || range->resident == to_device) return;
  range->resident = to_device;
  activity.start_ns = (uint64_t)FakeNow();
  activity.of.managed.address = range->address;
  if (by_fault) {
    activity.end_ns = (uint64_t)FakeNow();
    activity.of.managed.counter = 4;
    activity.of.managed.value = 1;
    activity.of.managed.flags = 1; /* a read */
    activity.of.managed.source = device;
    activity.of.managed.destination = 0;
    FeedRecord(activity);
  }
  activity.of.managed.counter = to_device ? 1 : 2;
  activity.of.managed.source = to_device ? FAKE_NO_ID : device;
  activity.of.managed.destination = to_device ? device : FAKE_NO_ID;
  activity.of.managed.flags = by_fault ? 2 : 1; /* coherence; user */
  for (at = 0; at < range->bytes; at += most) {
    activity.of.managed.value = range->bytes - at < most ? range->bytes - at : most;
    activity.of.managed.address = range->address + at;
    activity.start_ns = (uint64_t)FakeNow();
    activity.end_ns = (uint64_t)FakeNow();
    FeedRecord(activity);
  }
}

/* -1 is the host. */
FAKE_EXPORT Result cuMemPrefetchAsync(DevicePtr address, size_t bytes, int device, Stream* stream) {
  Result code = EnterContext("cuMemPrefetchAsync");
  Range* range = FindRange(device_ranges, address, bytes);
  if (code == 0 && (stream == NULL || range == NULL || !range->managed)) code = kInvalidValue;
  if (code == 0 && device != -1 && device != range->device) code = kInvalidDevice;
  if (code == 0) {
    WaitIdle();
    Migrate(range, device != -1, 0);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave(
      "cuMemPrefetchAsync", code, "%#llx, %zu, %d", (unsigned long long)address, bytes, device);
}

#endif
