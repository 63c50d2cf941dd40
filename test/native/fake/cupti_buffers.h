/*
 * The buffer protocol of the simulated libcupti, as NVIDIA documents it:
 *
 * - A place for a record is taken in the application's thread, which asks the client for a buffer
 *   (`request`) when there is none with room. Times follow when the device has finished.
 * - A full buffer whose records are all finished goes to the client (`complete`) from a worker
 *   thread. A partly filled one goes only on a flush: FlushAll(0) leaves those with unfinished
 *   records alone, FlushAll(1) hands them over with times of 0.
 * - Records of one buffer are in no order: neighbours of one length are swapped before delivery.
 * - A client that gives no buffer loses the record; GetNumDroppedRecords tells how many, once.
 */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_BUFFERS_H
#define WARPGAUGE_TEST_FAKE_CUPTI_BUFFERS_H

#include "script.h"

#include "cupti_layout.h"

#include <signal.h>
#include <sys/syscall.h>

typedef void (*FakeRequest)(uint8_t** buffer, size_t* size, size_t* most_records);
typedef void (*FakeComplete)(
    void* context, uint32_t stream, uint8_t* buffer, size_t size, size_t valid);

typedef struct FakeBuffer {
  struct FakeBuffer* next;
  uint8_t* data;
  size_t size, used, records, most, pending;
  uint64_t serial; /* of this filling: a ticket of an earlier one is void */
  long owner;      /* thread whose records it takes; 0: all */
  int retired;     /* takes no more records */
} FakeBuffer;

/* Guarded by buffers_lock, but for what is said to be atomic. The structures are used again and
 * never freed, so that an old ticket points at one. */
static pthread_mutex_t buffers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t buffers_changed = PTHREAD_COND_INITIALIZER;
static FakeBuffer* open_buffers; /* those of the client, with room or with unfinished records */
static FakeBuffer* unused_buffers;
static FakeBuffer *ready_first, *ready_last; /* for the worker */
static int worker_started, worker_busy;
static pthread_t worker;
static uint64_t next_serial;
static FakeRequest client_request;
static FakeComplete client_complete;
static const FakeGeneration* generation = &fake_generations[kFakeGenerations - 1]; /* atomic */
static uint64_t enabled_kinds;                                                     /* atomic bits */
static uint64_t dropped_records;                                                   /* atomic */
static int thread_buffers, client_zeroes;                                          /* atomic */
static int shuffle = 1;
static long worker_delay_us;
static uint64_t zero_time_every, timed_records;
static char first_violation[256];
static __thread long own_tid;

static void CuptiViolation(const char* what) {
  if (first_violation[0] == '\0') snprintf(first_violation, sizeof(first_violation), "%s", what);
  FakeLeave("VIOLATION", 999, "%s", what);
}

static long OwnTid(void) {
  if (own_tid == 0) own_tid = syscall(SYS_gettid);
  return own_tid;
}

static int IsEnabled(uint32_t kind) {
  return kind < kFakeKinds &&
         (__atomic_load_n(&enabled_kinds, __ATOMIC_RELAXED) >> kind & 1) != 0 &&
         generation->bytes[kind] != 0;
}

/* CUPTI promises no order, so a client must not find one. */
static void Shuffle(FakeBuffer* buffer) {
  uint8_t held[256];
  size_t at = 0, before = 0, before_bytes = 0;
  while (at < buffer->used) {
    uint32_t kind;
    size_t bytes;
    memcpy(&kind, buffer->data + at, sizeof(kind));
    bytes = generation->bytes[kind];
    if (bytes == before_bytes) {
      memcpy(held, buffer->data + before, bytes);
      memcpy(buffer->data + before, buffer->data + at, bytes);
      memcpy(buffer->data + at, held, bytes);
      before_bytes = 0;
    } else {
      before = at;
      before_bytes = bytes;
    }
    at += bytes;
  }
}

static void* RunWorker(void* unused) {
  (void)unused;
  pthread_mutex_lock(&buffers_lock);
  for (;;) {
    FakeBuffer* buffer;
    FakeComplete complete;
    long delay;
    while (ready_first == NULL) pthread_cond_wait(&buffers_changed, &buffers_lock);
    buffer = ready_first;
    ready_first = buffer->next;
    if (ready_first == NULL) ready_last = NULL;
    worker_busy = 1;
    complete = client_complete;
    delay = worker_delay_us;
    pthread_mutex_unlock(&buffers_lock);
    FakeSleepUs(delay);
    if (shuffle) Shuffle(buffer);
    complete(NULL, 0, buffer->data, buffer->size, buffer->used);
    pthread_mutex_lock(&buffers_lock);
    buffer->next = unused_buffers;
    unused_buffers = buffer;
    worker_busy = 0;
    pthread_cond_broadcast(&buffers_changed);
  }
  return NULL;
}

/* buffers_lock held, here and in what follows. */
static void StartWorker(void) {
  sigset_t all, before;
  if (worker_started) return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&worker, NULL, RunWorker, NULL) != 0) abort();
  pthread_detach(worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  worker_started = 1;
}

/* Out of the open ones, into the worker's hands. */
static void Deliver(FakeBuffer* buffer) {
  FakeBuffer** at = &open_buffers;
  while (*at != NULL && *at != buffer) at = &(*at)->next;
  if (*at == buffer) *at = buffer->next;
  buffer->serial = 0;
  buffer->next = NULL;
  if (ready_last != NULL) {
    ready_last->next = buffer;
  } else {
    ready_first = buffer;
  }
  ready_last = buffer;
  StartWorker();
  pthread_cond_broadcast(&buffers_changed);
}

static FakeBuffer* NewBuffer(uint8_t* data, size_t size, size_t most, long owner) {
  FakeBuffer* buffer = unused_buffers;
  if (buffer != NULL) {
    unused_buffers = buffer->next;
  } else {
    buffer = calloc(1, sizeof(*buffer));
    if (buffer == NULL) abort();
  }
  buffer->data = data;
  buffer->size = size;
  buffer->most = most == 0 ? SIZE_MAX : most;
  buffer->used = buffer->records = buffer->pending = 0;
  buffer->retired = 0;
  buffer->owner = owner;
  buffer->serial = ++next_serial;
  buffer->next = open_buffers;
  open_buffers = buffer;
  return buffer;
}

/* The open buffer of this thread with room for `bytes`. One without room is retired, and goes to
 * the client as soon as its last record is finished. */
static FakeBuffer* BufferWithRoom(size_t bytes, long owner) {
  FakeBuffer *buffer = open_buffers, *next;
  for (; buffer != NULL; buffer = next) {
    next = buffer->next;
    if (buffer->owner != owner || buffer->retired) continue;
    if (buffer->size - buffer->used >= bytes && buffer->records < buffer->most) return buffer;
    buffer->retired = 1;
    if (buffer->pending == 0) Deliver(buffer);
  }
  return NULL;
}

/* Asks the client, without the lock. 0: it gave none that can be used. */
static int RequestBuffer(uint8_t** data, size_t* size, size_t* most) {
  const FakeRequest request = client_request;
  size_t i;
  *data = NULL;
  *size = *most = 0;
  pthread_mutex_unlock(&buffers_lock);
  if (request != NULL) request(data, size, most);
  if (*data != NULL && ((uintptr_t)*data & 7U) != 0) {
    CuptiViolation("request gave a buffer that is not aligned to 8 bytes");
    *data = NULL;
  }
  if (*data != NULL && !__atomic_load_n(&client_zeroes, __ATOMIC_RELAXED)) memset(*data, 0, *size);
  for (i = 0; *data != NULL && i < *size && i < 4096; ++i) {
    if ((*data)[i] == 0) continue;
    CuptiViolation("attribute 5 says that buffers come zeroed, and this one is not");
    break;
  }
  pthread_mutex_lock(&buffers_lock);
  return *data != NULL;
}

/* Takes a place of `bytes`. NULL: dropped and counted. */
static uint8_t* TakePlace(size_t bytes, FakeBuffer** out) {
  const long owner = __atomic_load_n(&thread_buffers, __ATOMIC_RELAXED) ? OwnTid() : 0;
  FakeBuffer* buffer = BufferWithRoom(bytes, owner);
  uint8_t* place;
  if (buffer == NULL) {
    uint8_t* data;
    size_t size, most;
    if (RequestBuffer(&data, &size, &most)) {
      /* Another thread may have brought one meanwhile: then there are two with room. */
      buffer = NewBuffer(data, size, most, owner);
      if (size < bytes) { /* not even one record: back it goes, empty */
        Deliver(buffer);
        buffer = NULL;
      }
    }
  }
  if (buffer == NULL) {
    __atomic_add_fetch(&dropped_records, 1, __ATOMIC_RELAXED);
    return NULL;
  }
  place = buffer->data + buffer->used;
  buffer->used += bytes;
  ++buffer->records;
  *out = buffer;
  return place;
}

static void WaitForWorker(void) {
  while (ready_first != NULL || worker_busy) pthread_cond_wait(&buffers_changed, &buffers_lock);
}

/* Hands over what is there; waits until the client has got it. */
static void FlushBuffers(int forced) {
  FakeBuffer *buffer, *next;
  pthread_mutex_lock(&buffers_lock);
  if (worker_started && pthread_equal(worker, pthread_self())) {
    pthread_mutex_unlock(&buffers_lock);
    CuptiViolation("cuptiActivityFlushAll inside the complete callback");
    return;
  }
  for (buffer = open_buffers; buffer != NULL; buffer = next) {
    next = buffer->next;
    if ((buffer->used > 0 && buffer->pending == 0) || forced) Deliver(buffer);
  }
  WaitForWorker();
  pthread_mutex_unlock(&buffers_lock);
}

/* In the child of a fork: its only thread has no worker, and what the parent had open is lost. */
static void ForgetBuffers(void) {
  pthread_mutex_init(&buffers_lock, NULL);
  pthread_cond_init(&buffers_changed, NULL);
  open_buffers = ready_first = ready_last = NULL;
  worker_started = worker_busy = 0;
  own_tid = 0;
}

#endif
