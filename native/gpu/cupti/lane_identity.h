/* Which process a lane belongs to, and whether a header can be believed. */
#ifndef WARPGAUGE_GPU_CUPTI_LANE_IDENTITY_H
#define WARPGAUGE_GPU_CUPTI_LANE_IDENTITY_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */

#include "trace_ring.h"

/* What a lane says of its process. */
struct wg_identity {
  uint32_t pid;
  uint32_t parent_pid;
  uint32_t user_id;
  uint32_t pid_namespace;
  uint64_t start_ticks;
  char command[64];
};
void wg_identity_read(struct wg_identity* identity);
/* Without the pid, which is part of the claim. All else is set to 0 but `head` and `tail`. */
void wg_identity_fill(struct wg_lane* lane, const struct wg_identity* identity);
void wg_identity_command(char* command, size_t bytes);
uint64_t wg_identity_start_ticks(void);

int wg_lane_is_sound(const struct wg_trace_header* header, uint64_t bytes);

#endif
