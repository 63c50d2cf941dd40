#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "floor.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static const size_t kHuge = 2UL << 20;
static const int kMapHuge2M = 21 << 26;

static int map(uint8_t** data, size_t bytes, int more) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | more;
  void* address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (address == MAP_FAILED) return errno;
  *data = address;
  return 0;
}

int floor_map(uint8_t** data, size_t bytes, enum floor_pages pages) {
  if (pages == FLOOR_2M) return map(data, bytes, MAP_HUGETLB | kMapHuge2M);
  const int error = map(data, bytes, 0);
  // EINVAL: a kernel without transparent huge pages has nothing to refuse.
  if (error == 0) madvise(*data, bytes, MADV_NOHUGEPAGE);
  return error;
}

int floor_map_populated(uint8_t** data, size_t bytes) {
  return map(data, bytes, MAP_HUGETLB | kMapHuge2M | MAP_POPULATE);
}

void floor_unmap(uint8_t* data, size_t bytes) { munmap(data, bytes); }

struct slice {
  uint8_t* data;
  size_t bytes;
  int error;
};

static void* populate_slice(void* argument) {
  struct slice* slice = argument;
  if (madvise(slice->data, slice->bytes, MADV_POPULATE_WRITE) != 0) slice->error = errno;
  return NULL;
}

int floor_populate(uint8_t* data, size_t bytes, unsigned threads) {
  struct slice slices[64] = {0};
  pthread_t ids[64];
  if (threads == 0 || threads > 64) return EINVAL;
  const size_t pages = bytes / kHuge;
  for (unsigned i = 0; i < threads; ++i) {
    const size_t first = pages * i / threads;
    slices[i].data = data + first * kHuge;
    slices[i].bytes = (pages * (i + 1) / threads - first) * kHuge;
    if (i == 0) continue;
    const int error = pthread_create(&ids[i], NULL, populate_slice, &slices[i]);
    if (error != 0) return error;
  }
  populate_slice(&slices[0]);
  int error = slices[0].error;
  for (unsigned i = 1; i < threads; ++i) {
    pthread_join(ids[i], NULL);
    if (slices[i].error != 0) error = slices[i].error;
  }
  return error;
}

void floor_touch(uint8_t* data, size_t bytes, size_t stride) {
  volatile uint8_t* p = data;
  for (size_t i = 0; i < bytes; i += stride) p[i] = 1;
}
