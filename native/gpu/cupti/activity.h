/*
 * Records of the CUDA activity of this process, from CUPTI into a lane. There is one of it in a
 * process, as CUPTI has one subscriber.
 *
 * CUPTI's callbacks run in threads of the application and of CUPTI: they hand out buffers and queue
 * filled ones, and neither wait nor allocate. All else happens in one thread of ours, "warpgauge",
 * with all signals blocked, which begins when CUDA has been initialized: it flushes every flush_ms,
 * converts, writes the lane (waiting while that is full), and obeys the reader's `run`.
 *
 * What is lost when the process ends without exit() (_exit, a signal): what CUPTI had not handed
 * over (at most flush_ms, and what it was still waiting for) and the filled buffers of the pool.
 */
#ifndef WARPGAUGE_GPU_CUPTI_ACTIVITY_H
#define WARPGAUGE_GPU_CUPTI_ACTIVITY_H

#include "cupti_library.h"
#include "lane_writer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wg_activity_options {
  const char* cupti_override;   /* this library and no other; NULL: search */
  const char* cupti_paths;      /* more files to try, joined by ':'; NULL: none */
  const void* driver_code;      /* an address inside the loaded libcuda; NULL: unknown */
  int in_process;               /* CUDA may be initialized already: begin at once */
  const struct wg_cupti* cupti; /* NULL: searched */
  const struct wg_driver* driver;
};

/* One thread at a time starts and stops. Begins to trace into `writer`, which is attached, and
 * which with its memory belongs to the activity until wg_activity_stop has returned 0.
 * WG_REASON_NONE, or why not: the lane then says so too (REFUSED), and the writer is free. */
enum wg_reason wg_activity_start(struct wg_lane_writer* writer,
                                 const struct wg_activity_options* options);

/* How tracing ends. */
enum wg_stop {
  WG_STOP_UNSUBSCRIBE, /* the process goes on: kinds off, last records, CUPTI given back */
  /* From atexit: the last records only, because switching off can take seconds; a reader that takes
   * nothing from a full ring is waited for 0.2 s. */
  WG_STOP_EXIT,
};

/* 0: all was flushed and written (or given up because the reader stood still), the lane is ENDED,
 * the thread has ended. ETIMEDOUT: the thread is still in CUPTI and will end by itself; writer and
 * memory must stay; another start is refused as long. Not in CUPTI's callbacks. */
int wg_activity_stop(enum wg_stop how, uint32_t timeout_ms);

/* In a child after fork: the parent's lane, thread and buffers are none of ours. */
void wg_activity_forget(void);

#ifdef __cplusplus
}
#endif

#endif
