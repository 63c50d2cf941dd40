/*
 * The shared memory between a process that runs CUDA (the writer, activity.c inside
 * libwarpgauge_inject.so) and the process that records (the reader, trace_buffer.cc). C11 and
 * C++20.
 *
 * Two ways to share it, one layout of a lane:
 *
 * - memory: a memfd of the reader, sealed against shrinking and growing and fully allocated, so
 *   that neither side can take a SIGBUS. wg_trace_header, then `lane_count` lanes. The writer opens
 *   it as $WARPGAUGE_TRACE_RING (/proc/<reader>/fd/N). A ring is single-producer single-consumer:
 *   the writer never overwrites what the reader has not taken; while it is full the writer's own
 *   thread waits, CUPTI's buffers wait in their pool, and when the pool is empty records are
 *   dropped and counted.
 * - file: where the memfd cannot be opened (another user, another pid namespace) the writer makes
 *   $WARPGAUGE_TRACE_DIR/lane.<pid>.<start ticks> (and .1, .2 ... after an exec), fallocates one
 * lane in it and writes with pwrite; the reader reads with pread. Neither maps it. Nothing flows
 * back but the first page of the reader's file `control` (a wg_trace_header) in the same folder.
 * The writer overwrites the oldest records; the reader sees by `head` what it came too late for,
 * and counts it. A process that cannot do even that leaves an empty file untraceable.<pid>.<errno
 * name>.
 *
 * All fields marked "atomic" are read and written with __atomic builtins. Nothing here is trusted
 * by the reader: a writer is a foreign process.
 */
#ifndef WARPGAUGE_GPU_CUPTI_TRACE_RING_H
#define WARPGAUGE_GPU_CUPTI_TRACE_RING_H

#include "trace_record.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WG_TRACE_MAGIC 0x3130656361727477ULL /* "wtrace01" */
#define WG_ENV_RING "WARPGAUGE_TRACE_RING"
#define WG_ENV_DIR "WARPGAUGE_TRACE_DIR"
#define WG_ENV_CUPTI "WARPGAUGE_CUPTI" /* the override: this library and no other */
/* Paths joined by ':' that are tried after the plain names, found by the reader. */
#define WG_ENV_CUPTI_PATHS "WARPGAUGE_CUPTI_PATHS"

enum {
  WG_TRACE_VERSION = 1,
  WG_TRACE_PAGE = 4096,
  WG_TRACE_MOST_LANES = 64,
  WG_TRACE_NAMED_LEFT_OUT = 32,
  /* Records that the writer of a file may have written beyond `head` at any moment (one pwrite). */
  WG_FILE_AHEAD = 256,
};

enum wg_run {
  WG_RUN_PAUSED = 0, /* attached, kinds disabled */
  WG_RUN_TRACING = 1,
  WG_RUN_ENDED = 2, /* the reader has gone: disable, and write no more */
};

enum wg_api {
  WG_API_NONE = 0,
  WG_API_MEMCPY = 1, /* the copy calls of both APIs */
  WG_API_ALL = 2,
};

/* First page of the memfd; also the file `control`. Written by the reader before any writer exists
 * but for the atomics. */
struct wg_trace_header {
  uint64_t magic;
  uint32_t version;
  uint32_t record_bytes;
  uint32_t lane_count;    /* 1 to WG_TRACE_MOST_LANES */
  uint32_t lane_capacity; /* records, a power of two */
  uint64_t lane_stride;   /* bytes from one lane to the next: WG_TRACE_PAGE + capacity * 128 */
  uint32_t kinds;         /* bits 1 << wg_record_kind */
  uint32_t api;           /* wg_api */
  uint32_t flush_ms;      /* time between two FlushAll(0) of the writer */
  uint32_t pool_bytes;    /* bound on CUPTI buffers of one process */
  uint32_t reader_pid;
  uint32_t run; /* atomic wg_run: the reader's word */
  /* Processes that found no free lane: atomic. The first WG_TRACE_NAMED_LEFT_OUT are named; an
   * entry is complete once its pid is not 0 (written last). */
  uint32_t left_out;
  uint32_t reserved[3];
  struct wg_left_out {
    uint32_t pid; /* atomic */
    char command[28];
  } left_out_names[WG_TRACE_NAMED_LEFT_OUT];
};

enum wg_lane_state {
  WG_LANE_FREE = 0,
  /* With the pid, in one word; its identity is being copied. A claim that stays one is taken back:
   * its process was killed meanwhile. */
  WG_LANE_CLAIMED = 1,
  WG_LANE_ATTACHED = 2, /* identity is complete; CUPTI is being started */
  WG_LANE_TRACING = 3,
  WG_LANE_REFUSED = 4, /* see reason: nothing will come */
  WG_LANE_ENDED = 5,   /* atexit ran: all was flushed */
};

enum wg_reason {
  WG_REASON_NONE = 0,
  WG_REASON_NO_CUPTI = 1,      /* no libcupti could be opened: detail says what was tried */
  WG_REASON_CUPTI_TOO_OLD = 2, /* lacks a function or its records are shorter than our prefix */
  WG_REASON_BUSY = 3,        /* MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED: another CUPTI user came first */
  WG_REASON_CUPTI_ERROR = 4, /* code says which */
  WG_REASON_PRIVILEGE = 5,   /* INSUFFICIENT_PRIVILEGES */
  WG_REASON_NO_THREAD = 6,   /* pthread_create failed: code is the errno */
  WG_REASON_NO_MEMORY = 7,
  WG_REASON_FOREIGN_CLOCK = 8, /* traced, but CUPTI's clock is not CLOCK_REALTIME */
  WG_REASON_CUPTI_TOO_NEW = 9, /* NOT_INITIALIZED: newer than the driver allows */
};

/* A process that executes another program claims a second lane with the same pid and start_ticks;
 * the first stays TRACING. First page of a lane; `lane_capacity` records follow. Only its writer
 * writes, but for `tail`. */
struct wg_lane {
  union {
    struct {
      uint32_t state; /* atomic wg_lane_state */
      uint32_t pid;   /* atomic; as the process knows itself */
    };
    uint64_t claim; /* both: exchanged by who claims, by who attaches and by who takes back */
  };
  uint64_t start_ticks; /* field 22 of /proc/self/stat: with the pid it names the process */
  uint32_t parent_pid;
  uint32_t user_id;
  char command[64]; /* first word and more of /proc/self/cmdline */
  char cupti_path[256];
  char detail[256];        /* text for `reason` */
  uint32_t reason;         /* atomic wg_reason */
  int32_t code;            /* CUptiResult or errno of reason */
  uint32_t cupti_version;  /* cuptiGetVersion */
  uint32_t driver_version; /* cuDriverGetVersion */
  uint32_t kinds;          /* those that could be enabled */
  uint32_t simulated;      /* a device or driver calls itself "Simulated" */
  uint64_t magic;          /* file lanes begin with it too: WG_TRACE_MAGIC once complete */
  uint32_t capacity;       /* of this lane */
  uint32_t pid_namespace;  /* inode of /proc/self/ns/pid, in which pid counts; 0: not known */

  /* All atomic, cumulative. */
  uint64_t head __attribute__((aligned(64))); /* records written */
  uint64_t tail __attribute__((aligned(64))); /* records taken: the reader's; unused in files */
  uint64_t without_time __attribute__((aligned(64))); /* records whose start or end is 0 */
  /* Records for which the pool had no buffer, counted by stepping them, and those that a full ring
   * had no room for after its reader had taken nothing for 10 s, or for 0.2 s within exit(). */
  uint64_t dropped;
  uint64_t dropped_cupti; /* cuptiActivityGetNumDroppedRecords */
  uint64_t dropped_names; /* names beyond the table of names */
  uint64_t unknown;       /* records of other kinds or cut short */
  uint64_t waits;         /* times the writer's thread found the ring full */
  uint64_t buffers;       /* CUPTI buffers completed */
  uint64_t flushes;       /* FlushAll calls that returned */
  uint64_t last_flush_ns; /* CLOCK_MONOTONIC */
  uint64_t cpu_ns;        /* CPU time of the writer's thread */
};

/* wg_lane.claim, of little-endian machines. */
static inline uint64_t wg_lane_claim(uint32_t state, uint32_t pid) {
  return (uint64_t)pid << 32 | state; /* NOLINT(google-readability-casting): also C */
}

#ifdef __cplusplus
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "wg_lane_claim");
static_assert(sizeof(wg_trace_header) <= WG_TRACE_PAGE && sizeof(wg_lane) <= WG_TRACE_PAGE);
}
#else
_Static_assert(sizeof(struct wg_trace_header) <= WG_TRACE_PAGE, "one page");
_Static_assert(sizeof(struct wg_lane) <= WG_TRACE_PAGE, "one page");
#endif

#endif
