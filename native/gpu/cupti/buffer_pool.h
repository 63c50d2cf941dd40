/*
 * The buffers that CUPTI fills: one mapping that is kept as long as CUPTI may hold a buffer of it.
 * No locks: application threads ask for buffers, CUPTI's threads bring them back filled, our one
 * thread takes those in the order in which they came.
 *
 * Besides the ordinary buffers there are a few small ones to discard: CUPTI gets them when all
 * others are under way, so that it always has one. What they hold is counted, not kept.
 */
#ifndef WARPGAUGE_GPU_CUPTI_BUFFER_POOL_H
#define WARPGAUGE_GPU_CUPTI_BUFFER_POOL_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */
#include <stdint.h> /* NOLINT(modernize-deprecated-headers): also C */

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WG_BUFFER_BYTES = 1 << 20,
  WG_SMALLEST_BUFFER_BYTES = 64 << 10,
  WG_DISCARD_BYTES = 64 << 10,
  WG_DISCARDS = 8,
  WG_MOST_BUFFERS = 1024,
};

struct wg_buffer {
  uint8_t* memory;
  size_t bytes;
  size_t valid;      /* of a filled one */
  uint64_t sequence; /* order in which they came back */
  uint32_t state;    /* atomic: free, lent, filled */
  uint32_t is_discard;
};

struct wg_buffer_pool {
  uint32_t count; /* discards included, which are the last */
  uint32_t pool_bytes;
  struct wg_buffer* buffers;
  size_t mapped;
  uint64_t sequence; /* atomic */
  uint32_t signal;   /* atomic: changes when a buffer came or wg_buffer_pool_wake was called */
  uint32_t waiting;  /* atomic: our thread sleeps on `signal` */
};

/* 0 or -1: no memory. */
int wg_buffer_pool_make(struct wg_buffer_pool* pool, uint32_t pool_bytes);

/* Unmaps the pool if CUPTI has none of its buffers; no kind may be enabled. */
void wg_buffer_pool_drop(struct wg_buffer_pool* pool);

/* Any thread. NULL: even the discards are under way. The memory is zeroed. */
struct wg_buffer* wg_buffer_pool_lend(struct wg_buffer_pool* pool);

/* Any thread. The buffer at this address, NULL if it is not ours. */
struct wg_buffer* wg_buffer_pool_find(const struct wg_buffer_pool* pool, const uint8_t* memory);
void wg_buffer_pool_fill(struct wg_buffer_pool* pool, struct wg_buffer* buffer, size_t valid);

/* Our thread: the filled buffer that came first, ordinary or to be discarded; NULL: none. It goes
 * back with wg_buffer_pool_free. */
struct wg_buffer* wg_buffer_pool_take(struct wg_buffer_pool* pool, int is_discard);
void wg_buffer_pool_free(struct wg_buffer* buffer);

/* Our thread sleeps until a buffer comes, a wake or the moment, of CLOCK_MONOTONIC. */
void wg_buffer_pool_wait(struct wg_buffer_pool* pool, int64_t until_ns);
void wg_buffer_pool_wake(struct wg_buffer_pool* pool);

#ifdef __cplusplus
}
#endif

#endif
