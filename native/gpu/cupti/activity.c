#include "activity.h"

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

/* CUPTI's buffer callbacks carry no pointer of ours. */
static struct wg_activity the_activity;

int64_t wg_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int is_ours(const struct wg_activity* activity) {
  return __atomic_load_n(&activity->pid, __ATOMIC_ACQUIRE) == (uint32_t)getpid();
}

static void begin_thread(struct wg_activity* activity);
static void begin_thread_with(struct wg_activity* activity, void (*before_it)(struct wg_activity*));

/* ---- CUPTI's callbacks ---- */

static void request(uint8_t** memory, size_t* bytes, size_t* most_records) {
  struct wg_activity* const activity = &the_activity;
  struct wg_buffer* const buffer = wg_buffer_pool_lend(&activity->pool);
  *memory = buffer == NULL ? NULL : buffer->memory;
  *bytes = buffer == NULL ? 0 : buffer->bytes;
  *most_records = 0; /* as many as fit */
  if (is_ours(activity)) begin_thread(activity);
}

static void complete(struct wg_cupti_context* context,
                     uint32_t stream,
                     uint8_t* memory,
                     size_t bytes,
                     size_t valid) {
  (void)context;
  (void)stream;
  (void)bytes;
  struct wg_activity* const activity = &the_activity;
  struct wg_buffer* const buffer = wg_buffer_pool_find(&activity->pool, memory);
  if (buffer == NULL) return;
  const uint32_t thread = __atomic_load_n(&activity->thread, __ATOMIC_ACQUIRE);
  if (is_ours(activity) && (thread == WG_THREAD_STARTING || thread == WG_THREAD_RUNNING)) {
    wg_buffer_pool_fill(&activity->pool, buffer, valid);
  } else {
    wg_buffer_pool_free(buffer); /* after the end, or in a child that does not trace */
  }
}

static void on_resource(void* user, int domain, uint32_t cbid, const void* data) {
  (void)data;
  struct wg_activity* const activity = user;
  if (domain != WG_CUPTI_DOMAIN_RESOURCE || cbid != WG_CUPTI_RESOURCE_CU_INIT_FINISHED) return;
  if (!is_ours(activity)) return;
  __atomic_store_n(&activity->cuda_ready, WG_CUDA_READY, __ATOMIC_SEQ_CST);
  /* Here and not in the thread: the first managed access may follow cuInit at once. Only if nobody
   * has a thread yet, who would own what is enabled. */
  begin_thread_with(activity, wg_activity_enable_unified);
}

static void begin_thread(struct wg_activity* activity) { begin_thread_with(activity, NULL); }

/* `before_it` is called by whoever makes the thread, before it is there. */
static void begin_thread_with(struct wg_activity* activity,
                              void (*before_it)(struct wg_activity*)) {
  if (__atomic_load_n(&activity->phase, __ATOMIC_SEQ_CST) != WG_PHASE_RUNNING) return;
  uint32_t expected = WG_THREAD_NONE;
  if (__atomic_load_n(&activity->thread, __ATOMIC_RELAXED) != WG_THREAD_NONE ||
      !__atomic_compare_exchange_n(&activity->thread,
                                   &expected,
                                   WG_THREAD_STARTING,
                                   0,
                                   __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED)) {
    return;
  }
  if (before_it != NULL && wg_lane_run(activity->writer) == WG_RUN_TRACING) before_it(activity);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_t id;
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  const int error = pthread_create(&id, &attributes, wg_activity_thread, activity);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return;
  wg_activity_disable(activity);
  wg_activity_refuse(activity, WG_REASON_NO_THREAD, error, "pthread_create");
  __atomic_store_n(&activity->thread, WG_THREAD_ENDED, __ATOMIC_RELEASE);
}

/* ---- kinds ---- */

struct kind {
  uint32_t record; /* wg_record_kind */
  int cupti;
};
static const struct kind kPlainKinds[] = {
    {WG_RECORD_MEMCPY, WG_CUPTI_MEMCPY},
    {WG_RECORD_PEER_MEMCPY, WG_CUPTI_PEER_MEMCPY},
    {WG_RECORD_MEMSET, WG_CUPTI_MEMSET},
    {WG_RECORD_KERNEL, WG_CUPTI_CONCURRENT_KERNEL},
    {WG_RECORD_SYNCHRONIZATION, WG_CUPTI_SYNCHRONIZATION},
    {WG_RECORD_OVERHEAD, WG_CUPTI_OVERHEAD},
    {WG_RECORD_EXTERNAL, WG_CUPTI_EXTERNAL_CORRELATION},
    {WG_RECORD_MARKER, WG_CUPTI_MARKER},
};
enum { kPlainKindCount = sizeof kPlainKinds / sizeof kPlainKinds[0] };

static void note(struct wg_activity* activity, uint32_t record, int result) {
  if (result == WG_CUPTI_SUCCESS) {
    activity->enabled |= 1U << record;
  } else if (activity->failed_code == WG_CUPTI_SUCCESS) {
    activity->failed_code = result;
  }
}

static int select_calls(int (*select)(uint32_t, uint8_t), const uint8_t* bits, uint8_t on) {
  for (uint32_t cbid = 0; cbid < WG_CBIDS; cbid++) {
    if ((bits[cbid / 8] >> (cbid % 8) & 1) == 0) continue;
    const int result = select(cbid, on);
    if (result != WG_CUPTI_SUCCESS) return result;
  }
  return WG_CUPTI_SUCCESS;
}

static int select_copy_calls(struct wg_activity* activity, uint8_t on) {
  const struct wg_cupti* const cupti = &activity->cupti;
  const int result = select_calls(cupti->cuptiActivityEnableDriverApi, activity->driver_calls, on);
  if (result != WG_CUPTI_SUCCESS) return result;
  return select_calls(cupti->cuptiActivityEnableRuntimeApi, activity->runtime_calls, on);
}

static void enable_calls(struct wg_activity* activity) {
  const struct wg_cupti* const cupti = &activity->cupti;
  /* Older libraries record all calls or none: wg_convert then leaves out those nobody asked for. */
  if (activity->can_select_calls && cupti->cuptiActivityEnableDriverApi != NULL &&
      cupti->cuptiActivityEnableRuntimeApi != NULL &&
      select_copy_calls(activity, 1) == WG_CUPTI_SUCCESS) {
    activity->selected_calls = 1;
    note(activity, WG_RECORD_API, WG_CUPTI_SUCCESS);
    return;
  }
  activity->selected_calls = 0;
  const int result = cupti->cuptiActivityEnable(WG_CUPTI_DRIVER);
  note(activity,
       WG_RECORD_API,
       result == WG_CUPTI_SUCCESS ? cupti->cuptiActivityEnable(WG_CUPTI_RUNTIME) : result);
}

void wg_activity_enable_unified(struct wg_activity* activity) {
  /* Once, and once more when what was a guess has become certain. */
  const uint32_t ready = __atomic_load_n(&activity->cuda_ready, __ATOMIC_SEQ_CST);
  if ((activity->wanted & 1U << WG_RECORD_UNIFIED_MEMORY) == 0 ||
      (activity->enabled & 1U << WG_RECORD_UNIFIED_MEMORY) != 0 ||
      activity->unified_tried >= ready) {
    return;
  }
  activity->unified_tried = ready;
  const struct wg_cupti* const cupti = &activity->cupti;
  if (cupti->cuptiActivityConfigureUnifiedMemoryCounter == NULL) return;
  struct wg_cupti_unified_config configs[8];
  for (uint32_t i = 0; i < 8; i++) {
    configs[i] = (struct wg_cupti_unified_config){
        .scope = WG_CUPTI_SCOPE_ALL_DEVICES, .counter = i + 1, .device = 0, .enable = 1};
  }
  int result = cupti->cuptiActivityConfigureUnifiedMemoryCounter(configs, 8);
  if (result == WG_CUPTI_SUCCESS) result = cupti->cuptiActivityEnable(WG_CUPTI_UNIFIED_MEMORY);
  note(activity, WG_RECORD_UNIFIED_MEMORY, result);
  __atomic_store_n(&activity->writer->lane->kinds, activity->enabled, __ATOMIC_RELAXED);
}

void wg_activity_enable(struct wg_activity* activity) {
  activity->failed_code = WG_CUPTI_SUCCESS;
  for (int i = 0; i < kPlainKindCount; i++) {
    if ((activity->wanted & 1U << kPlainKinds[i].record) == 0) continue;
    note(
        activity, kPlainKinds[i].record, activity->cupti.cuptiActivityEnable(kPlainKinds[i].cupti));
  }
  if ((activity->wanted & 1U << WG_RECORD_API) != 0) enable_calls(activity);
  wg_activity_enable_unified(activity);
  __atomic_store_n(&activity->writer->lane->kinds, activity->enabled, __ATOMIC_RELAXED);
}

void wg_activity_disable(struct wg_activity* activity) {
  const struct wg_cupti* const cupti = &activity->cupti;
  for (int i = 0; i < kPlainKindCount; i++) {
    if ((activity->enabled & 1U << kPlainKinds[i].record) != 0) {
      cupti->cuptiActivityDisable(kPlainKinds[i].cupti);
    }
  }
  if ((activity->enabled & 1U << WG_RECORD_UNIFIED_MEMORY) != 0) {
    cupti->cuptiActivityDisable(WG_CUPTI_UNIFIED_MEMORY);
  }
  if ((activity->enabled & 1U << WG_RECORD_API) != 0) {
    if (activity->selected_calls) {
      select_copy_calls(activity, 0);
    } else {
      cupti->cuptiActivityDisable(WG_CUPTI_DRIVER);
      cupti->cuptiActivityDisable(WG_CUPTI_RUNTIME);
    }
  }
  activity->enabled = 0;
  activity->unified_tried = 0;
}

/* ---- beginning and end ---- */

enum wg_reason wg_activity_reason(const struct wg_activity* activity, int code) {
  switch (code) {
    case WG_CUPTI_OTHER_SUBSCRIBER:
      return WG_REASON_BUSY;
    case WG_CUPTI_NO_PRIVILEGE:
    case WG_CUPTI_NO_PRIVILEGE_VIRTUALIZED:
      return WG_REASON_PRIVILEGE;
    case WG_CUPTI_NOT_INITIALIZED: {
      const uint32_t needed = wg_cupti_cuda_version(activity->cupti.version);
      const uint32_t driver = activity->driver.version;
      return driver != 0 && needed / 1000 > driver / 1000 ? WG_REASON_CUPTI_TOO_NEW
                                                          : WG_REASON_CUPTI_ERROR;
    }
    default:
      return WG_REASON_CUPTI_ERROR;
  }
}

void wg_activity_refuse(struct wg_activity* activity,
                        enum wg_reason reason,
                        int code,
                        const char* doing) {
  struct wg_lane* const lane = activity->writer->lane;
  if (doing != NULL) {
    const char* text = NULL;
    const int is_errno = reason == WG_REASON_NO_THREAD || reason == WG_REASON_NO_MEMORY;
    if (!is_errno && activity->cupti.cuptiGetResultString != NULL) {
      activity->cupti.cuptiGetResultString(code, &text);
    }
    snprintf(lane->detail,
             sizeof lane->detail,
             "%s: %s%s(%d)",
             doing,
             text == NULL ? "" : text,
             text == NULL ? "" : " ",
             code);
  }
  lane->code = code;
  __atomic_store_n(&lane->reason, reason, __ATOMIC_RELEASE);
  wg_lane_set_state(activity->writer, WG_LANE_REFUSED);
}

static enum wg_reason refuse(struct wg_activity* activity,
                             enum wg_reason reason,
                             int code,
                             const char* doing) {
  if (activity->subscriber != NULL) activity->cupti.cuptiUnsubscribe(activity->subscriber);
  activity->subscriber = NULL;
  wg_activity_refuse(activity, reason, code, doing);
  activity->writer = NULL;
  __atomic_store_n(&activity->phase, WG_PHASE_IDLE, __ATOMIC_SEQ_CST);
  return reason;
}

static void set_flag(const struct wg_cupti* cupti, int attribute, uint8_t value) {
  size_t size = sizeof value;
  if (cupti->cuptiActivitySetAttribute != NULL) {
    cupti->cuptiActivitySetAttribute(attribute, &size, &value);
  }
}

static int subscribe(struct wg_activity* activity) {
  struct wg_cupti_subscriber* const inherited = activity->subscriber;
  activity->subscriber = NULL;
  const int result =
      activity->cupti.cuptiSubscribe(&activity->subscriber, on_resource, &the_activity);
  if (result == WG_CUPTI_SUCCESS) return result;
  /* 12, MAX_LIMIT_REACHED, is what older libraries call a second subscriber. */
  const int is_busy = result == WG_CUPTI_OTHER_SUBSCRIBER || result == WG_CUPTI_END_OF_BUFFER;
  activity->subscriber = NULL;
  if (is_busy && inherited != NULL) {
    activity->subscriber = inherited; /* of our parent: CUPTI was copied by fork with it */
    return WG_CUPTI_SUCCESS;
  }
  return is_busy ? WG_CUPTI_OTHER_SUBSCRIBER : result;
}

static int prepare_pool(struct wg_activity* activity) {
  const uint32_t bytes = activity->writer->header->pool_bytes;
  struct wg_buffer_pool* const pool = &activity->pool;
  if (pool->count != 0 && pool->pool_bytes == bytes) {
    /* Filled ones are of the time before; lent ones CUPTI may still have. */
    for (int is_discard = 0; is_discard < 2; is_discard++) {
      for (struct wg_buffer* buffer = wg_buffer_pool_take(pool, is_discard); buffer != NULL;
           buffer = wg_buffer_pool_take(pool, is_discard)) {
        wg_buffer_pool_free(buffer);
      }
    }
    return 0;
  }
  wg_buffer_pool_drop(pool); /* stays mapped, and is forgotten, while CUPTI holds a buffer of it */
  return wg_buffer_pool_make(pool, bytes);
}

static enum wg_reason open_library(struct wg_activity* activity,
                                   const struct wg_activity_options* options) {
  struct wg_lane* const lane = activity->writer->lane;
  if (options->driver != NULL) {
    activity->driver = *options->driver;
  } else {
    wg_driver_find(&activity->driver, options->driver_code);
  }
  lane->driver_version = activity->driver.version;
  if (options->cupti != NULL) {
    activity->cupti = *options->cupti;
  } else {
    const int error = wg_cupti_open(&activity->cupti,
                                    &activity->driver,
                                    options->cupti_override,
                                    options->cupti_paths,
                                    lane->detail,
                                    sizeof lane->detail);
    if (error != 0) return error == 1 ? WG_REASON_NO_CUPTI : WG_REASON_CUPTI_TOO_OLD;
  }
  snprintf(lane->cupti_path, sizeof lane->cupti_path, "%s", activity->cupti.path);
  lane->cupti_version = activity->cupti.version;

  const uint32_t kinds = activity->writer->header->kinds;
  memset(&activity->converter, 0, sizeof activity->converter);
  const uint32_t refused = wg_cupti_probe(&activity->cupti, &activity->converter);
  activity->wanted = kinds & ~refused;
  if (activity->writer->header->api == WG_API_NONE) {
    activity->wanted &= ~(1U << WG_RECORD_API);
  }
  if (kinds != 0 && (kinds & ~refused) == 0) {
    snprintf(lane->detail, sizeof lane->detail, "its records are shorter than those of CUDA 11.0");
    return WG_REASON_CUPTI_TOO_OLD;
  }
  activity->can_select_calls = 0;
  if (activity->writer->header->api == WG_API_MEMCPY &&
      wg_cupti_memcpy_calls(&activity->cupti, activity->driver_calls, activity->runtime_calls) ==
          0) {
    activity->can_select_calls = 1;
    activity->converter.wanted_driver = activity->driver_calls;
    activity->converter.wanted_runtime = activity->runtime_calls;
  }
  return WG_REASON_NONE;
}

/* Everything that must be there before CUPTI may call us. */
static enum wg_reason prepare(struct wg_activity* activity,
                              const struct wg_activity_options* options) {
  const enum wg_reason reason = open_library(activity, options);
  if (reason != WG_REASON_NONE) return refuse(activity, reason, 0, NULL);
  if (prepare_pool(activity) != 0 || wg_name_table_make(&activity->names) != 0) {
    return refuse(activity, WG_REASON_NO_MEMORY, ENOMEM, "the buffers");
  }
  memset(activity->call_names, 0, sizeof activity->call_names);
  activity->enabled = 0;
  activity->unified_tried = 0;
  activity->gave_up = 0;
  activity->seen_tail = 0;
  activity->tail_moved_ns = 0;
  activity->devices_head = 0;
  activity->devices_told = 0;
  activity->foreign_clock = 0;
  return WG_REASON_NONE;
}

static enum wg_reason connect(struct wg_activity* activity) {
  const struct wg_cupti* const cupti = &activity->cupti;
  int result = subscribe(activity);
  if (result != WG_CUPTI_SUCCESS) {
    return refuse(activity, wg_activity_reason(activity, result), result, "cuptiSubscribe");
  }
  set_flag(cupti, WG_CUPTI_ATTRIBUTE_ZEROED_BUFFERS, 1);
  set_flag(cupti, WG_CUPTI_ATTRIBUTE_PER_THREAD_BUFFERS, 0);
  if (cupti->cuptiSetThreadIdType != NULL) cupti->cuptiSetThreadIdType(WG_CUPTI_THREAD_ID_SYSTEM);
  result = cupti->cuptiActivityRegisterCallbacks(request, complete);
  if (result != WG_CUPTI_SUCCESS) {
    return refuse(
        activity, wg_activity_reason(activity, result), result, "cuptiActivityRegisterCallbacks");
  }
  /* Without it the thread begins with the first buffer. */
  cupti->cuptiEnableCallback(
      1, activity->subscriber, WG_CUPTI_DOMAIN_RESOURCE, WG_CUPTI_RESOURCE_CU_INIT_FINISHED);
  if (wg_lane_run(activity->writer) == WG_RUN_TRACING) {
    wg_activity_enable(activity);
    const uint32_t early = activity->wanted & ~(1U << WG_RECORD_UNIFIED_MEMORY);
    if (activity->enabled == 0 && early != 0) {
      const int code = activity->failed_code;
      return refuse(activity, wg_activity_reason(activity, code), code, "cuptiActivityEnable");
    }
    wg_lane_set_state(activity->writer, WG_LANE_TRACING);
  }
  return WG_REASON_NONE;
}

enum wg_reason wg_activity_start(struct wg_lane_writer* writer,
                                 const struct wg_activity_options* options) {
  struct wg_activity* const activity = &the_activity;
  const uint32_t thread = __atomic_load_n(&activity->thread, __ATOMIC_ACQUIRE);
  /* STOPPING without a thread: one that was not waited for has ended meanwhile. */
  if (__atomic_load_n(&activity->phase, __ATOMIC_SEQ_CST) == WG_PHASE_RUNNING ||
      (thread != WG_THREAD_NONE && thread != WG_THREAD_ENDED)) {
    snprintf(writer->lane->detail, sizeof writer->lane->detail, "this process is traced already");
    __atomic_store_n(&writer->lane->reason, WG_REASON_BUSY, __ATOMIC_RELEASE);
    wg_lane_set_state(writer, WG_LANE_REFUSED);
    return WG_REASON_BUSY;
  }
  __atomic_store_n(&activity->phase, WG_PHASE_IDLE, __ATOMIC_SEQ_CST); /* no thread yet */
  __atomic_store_n(&activity->thread, WG_THREAD_NONE, __ATOMIC_RELEASE);
  __atomic_store_n(&activity->pid, (uint32_t)getpid(), __ATOMIC_RELEASE);
  __atomic_store_n(&activity->cuda_ready,
                   options->in_process ? WG_CUDA_MAYBE_READY : WG_CUDA_NOT_READY,
                   __ATOMIC_SEQ_CST);
  activity->writer = writer;
  activity->in_process = options->in_process;
  enum wg_reason reason = prepare(activity, options);
  if (reason == WG_REASON_NONE) {
    reason = connect(activity);
    if (reason != WG_REASON_NONE) wg_name_table_free(&activity->names);
  }
  if (reason != WG_REASON_NONE) return reason;
  __atomic_store_n(&activity->phase, WG_PHASE_RUNNING, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&activity->cuda_ready, __ATOMIC_SEQ_CST) != WG_CUDA_NOT_READY) {
    begin_thread(activity);
  }
  return WG_REASON_NONE;
}

int wg_activity_stop(enum wg_stop how, uint32_t timeout_ms) {
  struct wg_activity* const activity = &the_activity;
  if (!is_ours(activity) || activity->writer == NULL) return 0;
  const int64_t deadline_ns = wg_now_ns() + (int64_t)timeout_ms * 1000000;
  __atomic_store_n(&activity->how, how, __ATOMIC_RELAXED);
  /* A little earlier than we stop waiting for it. */
  __atomic_store_n(
      &activity->deadline_ns, deadline_ns - (int64_t)timeout_ms * 100000, __ATOMIC_RELAXED);
  /* Without a thread there is nothing to flush, but someone has to give CUPTI back. */
  if (how == WG_STOP_UNSUBSCRIBE) begin_thread(activity);
  __atomic_store_n(&activity->phase, WG_PHASE_STOPPING, __ATOMIC_SEQ_CST);
  wg_buffer_pool_wake(&activity->pool);
  /* One of the application's threads may have seen RUNNING just now, and is about to make our
   * thread: either it comes first and its thread is waited for, or it finds the word taken. */
  uint32_t thread = WG_THREAD_NONE;
  if (__atomic_compare_exchange_n(
          &activity->thread, &thread, WG_THREAD_ENDED, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    wg_lane_set_state(activity->writer, WG_LANE_ENDED);
  }
  while (thread != WG_THREAD_NONE && thread != WG_THREAD_ENDED) {
    const int64_t left_ns = deadline_ns - wg_now_ns();
    if (left_ns <= 0) return ETIMEDOUT;
    const struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
    syscall(SYS_futex, &activity->thread, FUTEX_WAIT_PRIVATE, thread, &left, NULL, 0);
    thread = __atomic_load_n(&activity->thread, __ATOMIC_ACQUIRE);
  }
  activity->writer = NULL;
  __atomic_store_n(&activity->phase, WG_PHASE_IDLE, __ATOMIC_SEQ_CST);
  return 0;
}

void wg_activity_forget(void) {
  struct wg_activity* const activity = &the_activity;
  __atomic_store_n(&activity->pid, 0, __ATOMIC_RELEASE);
  __atomic_store_n(&activity->phase, WG_PHASE_IDLE, __ATOMIC_RELEASE);
  __atomic_store_n(&activity->thread, WG_THREAD_NONE, __ATOMIC_RELEASE);
  __atomic_store_n(&activity->pool.waiting, 0, __ATOMIC_RELEASE);
  activity->writer = NULL;
  /* The table of names is leaked: the allocator of a child of many threads is not ours to use. */
  memset(&activity->names, 0, sizeof activity->names);
}
