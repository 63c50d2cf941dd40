/* What activity.c (starting, CUPTI's callbacks, kinds) and activity_thread.c share. */
#ifndef WARPGAUGE_GPU_CUPTI_ACTIVITY_STATE_H
#define WARPGAUGE_GPU_CUPTI_ACTIVITY_STATE_H

#include "activity.h"
#include "buffer_pool.h"
#include "name_table.h"

enum wg_phase {
  WG_PHASE_IDLE = 0,
  WG_PHASE_RUNNING = 1,
  WG_PHASE_STOPPING = 2, /* asked to end */
};

enum wg_thread {
  WG_THREAD_NONE = 0,
  WG_THREAD_STARTING = 1, /* whoever set this makes the thread */
  WG_THREAD_RUNNING = 2,
  WG_THREAD_ENDED = 3, /* or will not be made any more */
};

enum wg_cuda {
  WG_CUDA_NOT_READY = 0,
  WG_CUDA_MAYBE_READY = 1, /* in process: cuInit may have been called long ago */
  WG_CUDA_READY = 2,       /* CUPTI said so */
};

struct wg_activity {
  uint32_t pid;        /* atomic: of the process that started it; another one is a child by fork */
  uint32_t phase;      /* atomic wg_phase */
  uint32_t thread;     /* atomic wg_thread; a futex for its end */
  uint32_t cuda_ready; /* atomic wg_cuda */
  uint32_t how;        /* wg_stop, before STOPPING */
  int64_t deadline_ns; /* of the end, before STOPPING */

  /* Set before the callbacks are registered, then read only. */
  struct wg_cupti cupti;
  struct wg_driver driver;
  struct wg_buffer_pool pool;
  struct wg_lane_writer* writer;
  int in_process;
  uint32_t wanted;      /* bits of wg_record_kind, without those that the probe refused */
  int can_select_calls; /* the API calls that copy are known by name */
  uint8_t driver_calls[WG_CBIDS / 8];
  uint8_t runtime_calls[WG_CBIDS / 8];
  struct wg_cupti_subscriber* subscriber; /* survives fork: CUPTI's memory does too */

  /* Of the starting thread until the thread of ours runs, then of that. */
  uint32_t enabled;        /* bits of wg_record_kind */
  uint32_t unified_tried;  /* wg_cuda, when it was */
  int failed_code;         /* of the last kind that could not be enabled */
  uint32_t selected_calls; /* API calls were enabled one by one */
  struct wg_converter converter;
  struct wg_name_table names;
  uint32_t call_names[2][WG_CBIDS]; /* id + 1 of each API function */

  /* Of our thread. */
  uint32_t gave_up;   /* the reader stands still: do not wait again before it moves */
  uint64_t seen_tail; /* and since when it has not moved */
  int64_t tail_moved_ns;
  uint64_t devices_head; /* where the devices were told */
  uint32_t devices_told;
  uint32_t foreign_clock; /* readings in a row that are far from CLOCK_REALTIME */
};

void* wg_activity_thread(void* the_activity);

/* Switches kinds on (as wanted) or off. In the thread that owns `enabled`. */
void wg_activity_enable(struct wg_activity* activity);
void wg_activity_disable(struct wg_activity* activity);
/* Unified memory, which can be configured only once CUDA is initialized. */
void wg_activity_enable_unified(struct wg_activity* activity);

void wg_activity_refuse(struct wg_activity* activity,
                        enum wg_reason reason,
                        int code,
                        const char* doing);
enum wg_reason wg_activity_reason(const struct wg_activity* activity, int code);

/* Tells the reader which GPUs the ordinals are; nothing before CUDA is initialized. */
void wg_activity_tell_devices(struct wg_activity* activity);
/* Puts a record, waiting for room. 0, or -1: given up, `dropped` is counted. */
int wg_activity_put(struct wg_activity* activity, const struct wg_record* record);

int64_t wg_now_ns(void);

#endif
