/*
 * The writer's side of a lane (trace_ring.h): in memory that is shared with the reader, or in a
 * file where that memory cannot be opened. After attaching, one thread at a time uses it.
 */
#ifndef WARPGAUGE_GPU_CUPTI_LANE_WRITER_H
#define WARPGAUGE_GPU_CUPTI_LANE_WRITER_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */

#include "trace_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wg_lane_mode { WG_LANE_NONE = 0, WG_LANE_MEMORY = 1, WG_LANE_FILE = 2 };

enum {
  WG_LANE_BATCH = 64,            /* records of one pwrite, and between two publications of head */
  WG_LANE_LEAST_CAPACITY = 4096, /* of a file: half a megabyte; less is overwritten too soon */
};

struct wg_lane_writer {
  enum wg_lane_mode mode;
  struct wg_trace_header* header; /* file: the copy below, refreshed by wg_lane_run */
  struct wg_lane* lane;           /* file: the copy below, written by wg_lane_sync */
  struct wg_record* records;      /* memory */
  uint32_t capacity;
  uint64_t head;      /* records put */
  uint64_t published; /* those that the reader was told of */
  uint64_t tail;      /* memory: as last seen */
  int fd;             /* file */
  int control_fd;
  struct wg_trace_header header_copy;
  struct wg_lane lane_copy;
  struct wg_record batch[WG_LANE_BATCH];
};

/* All three claim a lane and leave it ATTACHED, with the identity of this process in it. 0, or an
 * errno; ENOSPC of the first two: no lane is free, which is counted and named in the header. */
int wg_lane_attach_memory(struct wg_lane_writer* writer, const char* path);
int wg_lane_attach_mapped(struct wg_lane_writer* writer, struct wg_trace_header* header);
/* `folder` has the file `control`. Of a failure the empty file untraceable.<pid>.<errno> tells. */
int wg_lane_attach_file(struct wg_lane_writer* writer, const char* folder);

/* A child after fork: nothing of the parent's lane may be touched. Mappings stay. */
void wg_lane_forget(struct wg_lane_writer* writer);

/* The reader's word (wg_run). */
uint32_t wg_lane_run(struct wg_lane_writer* writer);

/* Whether a record can be put now; always so in a file, which overwrites. */
int wg_lane_has_room(struct wg_lane_writer* writer);

/* Needs room. The reader sees it after WG_LANE_BATCH records or wg_lane_publish. */
void wg_lane_put(struct wg_lane_writer* writer, const struct wg_record* record);
void wg_lane_publish(struct wg_lane_writer* writer);

/* Whether a record that was put when the head was `head` may have been overwritten before the
 * reader came, or soon will be. */
int wg_lane_may_have_lost(const struct wg_lane_writer* writer, uint64_t head);

/* After changes of `lane`: carries them into the file. Memory needs none. */
void wg_lane_sync(struct wg_lane_writer* writer);
void wg_lane_set_state(struct wg_lane_writer* writer, uint32_t state);
uint32_t wg_lane_state(const struct wg_lane_writer* writer);

#ifdef __cplusplus
}
#endif

#endif
