#include "buffer_pool.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kFree = 0, kLent = 1, kFilled = 2, kTaken = 3 };

int wg_buffer_pool_make(struct wg_buffer_pool* pool, uint32_t pool_bytes) {
  memset(pool, 0, sizeof *pool);
  const size_t discards = (size_t)WG_DISCARD_BYTES * WG_DISCARDS;
  const size_t ordinary = pool_bytes > 2 * discards ? pool_bytes - discards : discards;
  size_t bytes = ordinary / 8 / 4096 * 4096;
  if (bytes > WG_BUFFER_BYTES) bytes = WG_BUFFER_BYTES;
  if (bytes < WG_SMALLEST_BUFFER_BYTES) bytes = WG_SMALLEST_BUFFER_BYTES;
  size_t count = ordinary / bytes;
  if (count > WG_MOST_BUFFERS) count = WG_MOST_BUFFERS;
  /* Pages come when CUPTI first writes to them, zeroed. The list of buffers stands before them. */
  const size_t list = ((count + WG_DISCARDS) * sizeof *pool->buffers + 4095) / 4096 * 4096;
  pool->mapped = list + count * bytes + discards;
  uint8_t* memory = mmap(NULL,
                         pool->mapped,
                         PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1,
                         0);
  if (memory == MAP_FAILED) return -1;
  pool->buffers = (struct wg_buffer*)memory;
  memory += list;
  pool->pool_bytes = pool_bytes;
  pool->count = (uint32_t)(count + WG_DISCARDS);
  for (uint32_t i = 0; i < pool->count; i++) {
    struct wg_buffer* const buffer = &pool->buffers[i];
    buffer->memory = memory;
    buffer->is_discard = i >= count;
    buffer->bytes = buffer->is_discard ? WG_DISCARD_BYTES : bytes;
    memory += buffer->bytes;
  }
  return 0;
}

void wg_buffer_pool_drop(struct wg_buffer_pool* pool) {
  for (uint32_t i = 0; i < pool->count; i++) {
    if (__atomic_load_n(&pool->buffers[i].state, __ATOMIC_ACQUIRE) != kFree) return;
  }
  if (pool->count != 0) munmap(pool->buffers, pool->mapped);
  pool->count = 0;
}

struct wg_buffer* wg_buffer_pool_lend(struct wg_buffer_pool* pool) {
  for (uint32_t i = 0; i < pool->count; i++) {
    struct wg_buffer* const buffer = &pool->buffers[i];
    uint32_t expected = kFree;
    if (__atomic_load_n(&buffer->state, __ATOMIC_RELAXED) == kFree &&
        __atomic_compare_exchange_n(
            &buffer->state, &expected, kLent, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      return buffer;
    }
  }
  return NULL;
}

struct wg_buffer* wg_buffer_pool_find(const struct wg_buffer_pool* pool, const uint8_t* memory) {
  for (uint32_t i = 0; i < pool->count; i++) {
    if (pool->buffers[i].memory == memory) return &pool->buffers[i];
  }
  return NULL;
}

void wg_buffer_pool_fill(struct wg_buffer_pool* pool, struct wg_buffer* buffer, size_t valid) {
  buffer->valid = valid < buffer->bytes ? valid : buffer->bytes;
  buffer->sequence = __atomic_fetch_add(&pool->sequence, 1, __ATOMIC_RELAXED);
  __atomic_store_n(&buffer->state, kFilled, __ATOMIC_RELEASE);
  __atomic_fetch_add(&pool->signal, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&pool->waiting, __ATOMIC_SEQ_CST) != 0) {
    syscall(SYS_futex, &pool->signal, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  }
}

static struct wg_buffer* first_filled(struct wg_buffer_pool* pool, int is_discard) {
  struct wg_buffer* first = NULL;
  for (uint32_t i = 0; i < pool->count; i++) {
    struct wg_buffer* const buffer = &pool->buffers[i];
    if (buffer->is_discard != (uint32_t)is_discard ||
        __atomic_load_n(&buffer->state, __ATOMIC_ACQUIRE) != kFilled) {
      continue;
    }
    if (first == NULL || buffer->sequence < first->sequence) first = buffer;
  }
  return first;
}

struct wg_buffer* wg_buffer_pool_take(struct wg_buffer_pool* pool, int is_discard) {
  struct wg_buffer* const buffer = first_filled(pool, is_discard);
  if (buffer != NULL) __atomic_store_n(&buffer->state, kTaken, __ATOMIC_RELAXED);
  return buffer;
}

void wg_buffer_pool_free(struct wg_buffer* buffer) {
  /* All of it, not only what was valid: CUPTI is told that buffers are zeroed (attribute 5), and
   * nothing says that it leaves alone what it does not report. */
  memset(buffer->memory, 0, buffer->bytes);
  buffer->valid = 0;
  __atomic_store_n(&buffer->state, kFree, __ATOMIC_RELEASE);
}

void wg_buffer_pool_wait(struct wg_buffer_pool* pool, int64_t until_ns) {
  const uint32_t before = __atomic_load_n(&pool->signal, __ATOMIC_SEQ_CST);
  __atomic_store_n(&pool->waiting, 1, __ATOMIC_SEQ_CST);
  if (first_filled(pool, 0) == NULL && first_filled(pool, 1) == NULL) {
    const struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    syscall(SYS_futex,
            &pool->signal,
            FUTEX_WAIT_BITSET_PRIVATE,
            before,
            &until,
            NULL,
            FUTEX_BITSET_MATCH_ANY);
  }
  __atomic_store_n(&pool->waiting, 0, __ATOMIC_SEQ_CST);
}

void wg_buffer_pool_wake(struct wg_buffer_pool* pool) {
  __atomic_fetch_add(&pool->signal, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &pool->signal, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
