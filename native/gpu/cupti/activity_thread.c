#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "activity_state.h"

enum {
  kFullSleepNs = 200 * 1000, /* between two looks at a full ring */
  kStillMs = 10 * 1000,      /* a reader that took nothing for so long is not waited for */
  kStillAtExitMs = 200,      /* while exit() of the application waits: many looks of a reader */
  kFarNs = 10 * 1000 * 1000, /* CUPTI's clock and CLOCK_REALTIME */
  kFarReadings = 3,
  kMostDevices = 64,
  kLeastFlushMs = 1,
};

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written by the builtin */
static void add(uint64_t* counter, uint64_t count) {
  __atomic_store_n(counter, *counter + count, __ATOMIC_RELAXED);
}

/* ---- filled buffers that are to be discarded ---- */

static void count_discards(struct wg_activity* activity) {
  struct wg_lane* const lane = activity->writer->lane;
  for (struct wg_buffer* buffer = wg_buffer_pool_take(&activity->pool, 1); buffer != NULL;
       buffer = wg_buffer_pool_take(&activity->pool, 1)) {
    uint64_t records = 0;
    struct wg_cupti_activity* record = NULL;
    while (activity->cupti.cuptiActivityGetNextRecord(buffer->memory, buffer->valid, &record) ==
           WG_CUPTI_SUCCESS) {
      records++;
    }
    add(&lane->dropped, records);
    add(&lane->buffers, 1);
    wg_buffer_pool_free(buffer);
  }
}

/* ---- the ring ---- */

static int is_reader_gone(const struct wg_activity* activity) {
  const struct wg_lane_writer* const writer = activity->writer;
  if (writer->mode != WG_LANE_MEMORY || activity->in_process) return 0;
  const pid_t reader = (pid_t)writer->header->reader_pid;
  return reader > 0 && kill(reader, 0) != 0 && errno == ESRCH;
}

static int is_waiting_over(struct wg_activity* activity) {
  const int64_t now = wg_now_ns();
  if (activity->seen_tail != activity->writer->tail || activity->tail_moved_ns == 0) {
    activity->seen_tail = activity->writer->tail;
    activity->tail_moved_ns = now;
  }
  if (wg_lane_run(activity->writer) == WG_RUN_ENDED) return 1;
  int64_t most_ms = kStillMs;
  if (__atomic_load_n(&activity->phase, __ATOMIC_SEQ_CST) == WG_PHASE_STOPPING) {
    if (now >= __atomic_load_n(&activity->deadline_ns, __ATOMIC_RELAXED)) return 1;
    if (__atomic_load_n(&activity->how, __ATOMIC_RELAXED) == WG_STOP_EXIT) most_ms = kStillAtExitMs;
  }
  return now - activity->tail_moved_ns >= most_ms * 1000000;
}

int wg_activity_put(struct wg_activity* activity, const struct wg_record* record) {
  struct wg_lane_writer* const writer = activity->writer;
  if (!wg_lane_has_room(writer)) {
    if (!activity->gave_up) {
      wg_lane_publish(writer);
      add(&writer->lane->waits, 1);
      activity->tail_moved_ns = 0;
      while (!wg_lane_has_room(writer)) {
        count_discards(activity); /* CUPTI goes on meanwhile */
        if (is_waiting_over(activity)) {
          activity->gave_up = 1;
          break;
        }
        const struct timespec sleep = {0, kFullSleepNs};
        nanosleep(&sleep, NULL);
      }
    }
    if (activity->gave_up && !wg_lane_has_room(writer)) {
      add(&writer->lane->dropped, 1);
      return -1;
    }
  }
  activity->gave_up = 0;
  wg_lane_put(writer, record);
  return 0;
}

/* ---- names ---- */

static void announce(struct wg_activity* activity, uint32_t id) {
  struct wg_name* const name = &activity->names.names[id];
  const uint64_t head = activity->writer->head;
  struct wg_record record;
  memset(&record, 0, sizeof record);
  record.kind = WG_RECORD_NAME;
  record.device = record.context = record.stream = WG_NO_ID;
  record.name = id;
  uint16_t offset = 0;
  do {
    uint16_t length = (uint16_t)(name->length - offset);
    if (length > WG_NAME_CHUNK) length = WG_NAME_CHUNK;
    record.of.text.total = name->length;
    record.of.text.offset = offset;
    record.of.text.length = length;
    memset(record.of.text.text, 0, sizeof record.of.text.text);
    memcpy(record.of.text.text, name->text + offset, length);
    if (wg_activity_put(activity, &record) != 0) {
      name->announced = 0;
      return;
    }
    offset = (uint16_t)(offset + length);
  } while (offset < name->length);
  name->announced = head + 1;
}

static uint32_t tell(struct wg_activity* activity, uint32_t id) {
  if (id == WG_NO_ID) return WG_NO_ID;
  const uint64_t announced = activity->names.names[id].announced;
  if (announced == 0 || wg_lane_may_have_lost(activity->writer, announced - 1)) {
    announce(activity, id);
  }
  return id;
}

static uint32_t name_of(void* user, const char* text) {
  struct wg_activity* const activity = user;
  const uint32_t id = wg_name_table_find(&activity->names, text);
  if (id == WG_NO_ID) add(&activity->writer->lane->dropped_names, 1);
  return tell(activity, id);
}

static uint32_t call_name_of(void* user, int domain, uint32_t cbid) {
  struct wg_activity* const activity = user;
  uint32_t* const known =
      cbid < WG_CBIDS ? &activity->call_names[domain == WG_CUPTI_DOMAIN_RUNTIME][cbid] : NULL;
  if (known != NULL && *known != 0) return tell(activity, *known - 1);
  const char* name = NULL;
  char number[32];
  if (activity->cupti.cuptiGetCallbackName == NULL ||
      activity->cupti.cuptiGetCallbackName(domain, cbid, &name) != WG_CUPTI_SUCCESS ||
      name == NULL) {
    snprintf(number,
             sizeof number,
             "%s:%u",
             domain == WG_CUPTI_DOMAIN_RUNTIME ? "runtime" : "driver",
             cbid);
    name = number;
  }
  const uint32_t id = name_of(activity, name);
  if (known != NULL && id != WG_NO_ID) *known = id + 1;
  return id;
}

/* ---- devices ---- */

static void tell_device(struct wg_activity* activity, int ordinal) {
  const struct wg_driver* const driver = &activity->driver;
  int device = 0;
  if (driver->cuDeviceGet(&device, ordinal) != 0) return;
  struct wg_record record;
  memset(&record, 0, sizeof record);
  record.kind = WG_RECORD_DEVICE;
  record.device = (uint32_t)ordinal;
  record.context = record.stream = record.name = WG_NO_ID;
  if (driver->cuDeviceGetUuid != NULL && driver->cuDeviceGetUuid(record.of.device.uuid, device)) {
    memset(record.of.device.uuid, 0, sizeof record.of.device.uuid);
  }
  char pci[32] = "";
  if (driver->cuDeviceGetPCIBusId != NULL &&
      driver->cuDeviceGetPCIBusId(pci, sizeof pci, device) == 0) {
    snprintf(record.of.device.pci, sizeof record.of.device.pci, "%.15s", pci);
  }
  char name[256] = "";
  if (driver->cuDeviceGetName != NULL && driver->cuDeviceGetName(name, sizeof name, device) == 0) {
    snprintf(record.of.device.device_name, sizeof record.of.device.device_name, "%.46s", name);
    /* "NVIDIA A100-SXM4-40GB MIG 1g.5gb" */
    record.of.device.is_mig = strstr(name, " MIG ") != NULL;
    if (strstr(name, "Simulated") != NULL) {
      __atomic_store_n(&activity->writer->lane->simulated, 1, __ATOMIC_RELAXED);
    }
  }
  wg_activity_put(activity, &record);
}

void wg_activity_tell_devices(struct wg_activity* activity) {
  const struct wg_driver* const driver = &activity->driver;
  const int is_known = activity->devices_told != 0;
  if (is_known && !wg_lane_may_have_lost(activity->writer, activity->devices_head)) return;
  if (__atomic_load_n(&activity->cuda_ready, __ATOMIC_SEQ_CST) == WG_CUDA_NOT_READY) return;
  int count = 0;
  if (driver->cuDeviceGetCount == NULL || driver->cuDeviceGet == NULL ||
      driver->cuDeviceGetCount(&count) != 0) {
    return; /* cuInit failed, or has not got there: asked again with the next flush */
  }
  activity->devices_head = activity->writer->head;
  for (int i = 0; i < count && i < kMostDevices; i++) tell_device(activity, i);
  activity->devices_told = 1;
}

/* ---- clocks ---- */

static void tell_clock(struct wg_activity* activity) {
  struct wg_record record;
  memset(&record, 0, sizeof record);
  record.kind = WG_RECORD_CLOCK;
  record.device = record.context = record.stream = record.name = WG_NO_ID;
  int64_t narrowest = INT64_MAX;
  /* Of three readings the one that was disturbed least. */
  for (int i = 0; i < 3; i++) {
    uint64_t time = 0;
    const int64_t before = wg_now_ns();
    if (activity->cupti.cuptiGetTimestamp(&time) != WG_CUPTI_SUCCESS || time == 0) return;
    const int64_t realtime = (int64_t)clock_ns(CLOCK_REALTIME);
    const int64_t after = wg_now_ns();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    record.start = record.end = time;
    record.of.clock.monotonic_before_ns = before;
    record.of.clock.monotonic_after_ns = after;
    record.of.clock.realtime_ns = realtime;
  }
  const int64_t far = (int64_t)(record.start - (uint64_t)record.of.clock.realtime_ns);
  const int is_far = far > kFarNs + narrowest || far < -(kFarNs + narrowest);
  activity->foreign_clock = is_far ? activity->foreign_clock + 1 : 0;
  struct wg_lane* const lane = activity->writer->lane;
  if (activity->foreign_clock == kFarReadings &&
      __atomic_load_n(&lane->reason, __ATOMIC_RELAXED) == WG_REASON_NONE) {
    __atomic_store_n(&lane->reason, WG_REASON_FOREIGN_CLOCK, __ATOMIC_RELEASE);
  }
  wg_activity_put(activity, &record);
}

/* ---- filled buffers ---- */

static void convert_buffer(struct wg_activity* activity, const struct wg_buffer* buffer) {
  struct wg_lane* const lane = activity->writer->lane;
  struct wg_cupti_activity* record = NULL;
  uint8_t* const end = buffer->memory + buffer->valid;
  uint64_t without_time = 0;
  uint64_t unknown = 0;
  while (activity->cupti.cuptiActivityGetNextRecord(buffer->memory, buffer->valid, &record) ==
         WG_CUPTI_SUCCESS) {
    const uint8_t* const at = (const uint8_t*)record;
    if (at < buffer->memory || at >= end) break;
    struct wg_record out;
    switch (wg_convert(&activity->converter, at, (size_t)(end - at), &out)) {
      case WG_CONVERTED:
        wg_activity_put(activity, &out);
        break;
      case WG_CONVERTED_WITHOUT_TIME:
        without_time++;
        break;
      case WG_CONVERTED_UNKNOWN:
        unknown++;
        break;
      case WG_CONVERTED_UNWANTED:
        break;
    }
  }
  if (without_time != 0) add(&lane->without_time, without_time);
  if (unknown != 0) add(&lane->unknown, unknown);
}

static void convert_filled(struct wg_activity* activity) {
  for (struct wg_buffer* buffer = wg_buffer_pool_take(&activity->pool, 0); buffer != NULL;
       buffer = wg_buffer_pool_take(&activity->pool, 0)) {
    convert_buffer(activity, buffer);
    add(&activity->writer->lane->buffers, 1);
    wg_buffer_pool_free(buffer);
    count_discards(activity);
  }
  count_discards(activity);
  wg_lane_publish(activity->writer);
}

static void flush(struct wg_activity* activity, uint32_t flag) {
  struct wg_lane* const lane = activity->writer->lane;
  wg_activity_tell_devices(activity);
  tell_clock(activity);
  if (activity->cupti.cuptiActivityFlushAll(flag) == WG_CUPTI_SUCCESS) add(&lane->flushes, 1);
  convert_filled(activity);
  size_t dropped = 0;
  if (activity->cupti.cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped) == WG_CUPTI_SUCCESS) {
    add(&lane->dropped_cupti, dropped);
  }
  __atomic_store_n(&lane->last_flush_ns, (uint64_t)wg_now_ns(), __ATOMIC_RELAXED);
  __atomic_store_n(&lane->cpu_ns, clock_ns(CLOCK_THREAD_CPUTIME_ID), __ATOMIC_RELAXED);
  wg_lane_sync(activity->writer);
}

/* ---- the reader's word ---- */

static void obey(struct wg_activity* activity, uint32_t run) {
  if (run == WG_RUN_TRACING && activity->enabled == 0) {
    if (wg_lane_state(activity->writer) == WG_LANE_REFUSED) return; /* it would be again */
    wg_activity_enable(activity);
    if (activity->enabled != 0) {
      if (wg_lane_state(activity->writer) != WG_LANE_TRACING)
        wg_lane_set_state(activity->writer, WG_LANE_TRACING);
    } else if (activity->failed_code != WG_CUPTI_SUCCESS) {
      const int code = activity->failed_code;
      wg_activity_refuse(activity, wg_activity_reason(activity, code), code, "cuptiActivityEnable");
    }
  } else if (run == WG_RUN_TRACING) {
    wg_activity_enable_unified(activity);
  } else if (run == WG_RUN_PAUSED && activity->enabled != 0) {
    wg_activity_disable(activity);
    flush(activity, WG_CUPTI_FLUSH_COMPLETED);
  }
}

static void finish(struct wg_activity* activity, enum wg_stop how, int is_reader_there) {
  if (how == WG_STOP_UNSUBSCRIBE) wg_activity_disable(activity);
  if (is_reader_there) {
    flush(activity, WG_CUPTI_FLUSH_FORCED);
  }
  if (how == WG_STOP_UNSUBSCRIBE) {
    activity->cupti.cuptiUnsubscribe(activity->subscriber);
    activity->subscriber = NULL;
  }
  if (wg_lane_state(activity->writer) != WG_LANE_REFUSED) {
    wg_lane_set_state(activity->writer, WG_LANE_ENDED);
  }
  wg_name_table_free(&activity->names);
  __atomic_store_n(&activity->thread, WG_THREAD_ENDED, __ATOMIC_RELEASE);
  /* The last thing that touches the activity; its memory is static. */
  syscall(SYS_futex, &activity->thread, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void* wg_activity_thread(void* the_activity) {
  struct wg_activity* const activity = the_activity;
  pthread_setname_np(pthread_self(), "warpgauge");
  activity->converter.name = name_of;
  activity->converter.api_name = call_name_of;
  activity->converter.user = activity;
  __atomic_store_n(&activity->thread, WG_THREAD_RUNNING, __ATOMIC_RELEASE);
  uint32_t flush_ms = activity->writer->header->flush_ms;
  if (flush_ms < kLeastFlushMs) flush_ms = kLeastFlushMs;
  int64_t next_ns = wg_now_ns();
  for (;;) {
    if (__atomic_load_n(&activity->phase, __ATOMIC_SEQ_CST) == WG_PHASE_STOPPING) {
      finish(activity, __atomic_load_n(&activity->how, __ATOMIC_RELAXED), 1);
      return NULL;
    }
    const uint32_t run = wg_lane_run(activity->writer);
    if (run == WG_RUN_ENDED || (activity->gave_up && is_reader_gone(activity))) {
      finish(activity, WG_STOP_UNSUBSCRIBE, 0);
      return NULL;
    }
    obey(activity, run);
    if (wg_now_ns() >= next_ns) {
      if (activity->enabled != 0) flush(activity, WG_CUPTI_FLUSH_COMPLETED);
      const int64_t now = wg_now_ns();
      next_ns += (int64_t)flush_ms * 1000000;
      if (next_ns < now) next_ns = now + (int64_t)flush_ms * 1000000;
    }
    wg_buffer_pool_wait(&activity->pool, next_ns);
    convert_filled(activity);
  }
}
