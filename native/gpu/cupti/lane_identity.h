/* Which process a lane belongs to, and whether a header can be believed. */
#ifndef WARPGAUGE_GPU_CUPTI_LANE_IDENTITY_H
#define WARPGAUGE_GPU_CUPTI_LANE_IDENTITY_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */

#include "trace_ring.h"

/* pid, start_ticks, parent_pid, user_id and command of this process; all else is set to 0 but
 * `state`, `head` and `tail`. */
void wg_identity_fill(struct wg_lane* lane);
void wg_identity_command(char* command, size_t bytes);
uint64_t wg_identity_start_ticks(void);

int wg_lane_is_sound(const struct wg_trace_header* header, uint64_t bytes);

#endif
