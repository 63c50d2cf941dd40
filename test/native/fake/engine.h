/*
 * The simulated device behind the fake libcuda: device memory, pinned host memory, and one engine
 * thread that carries out queued operations in order, each some time after its turn has come. What
 * was queued and not waited for is really not there yet.
 *
 * Device memory is host memory behind addresses that no process can have, so that a device address
 * used on the host faults at once.
 */
#ifndef WARPGAUGE_TEST_FAKE_ENGINE_H
#define WARPGAUGE_TEST_FAKE_ENGINE_H

#include "script.h"

#include "cuda_feed.h"

#include <errno.h>
#include <sys/mman.h>

typedef uint64_t DevicePtr;

enum { kMaxRanges = 256, kMaxOps = 1024, kStaging = 1 << 20 };

typedef struct {
  uint64_t address; /* as the caller knows it */
  size_t bytes;
  char* memory;   /* where it really is */
  int registered; /* pinned host memory: by cuMemHostRegister and not by cuMemHostAlloc */
  int device;     /* whose memory it is */
  int managed;    /* device memory by cuMemAllocManaged: the host's address is the same */
  int resident;   /* managed memory: 1 while it lies on the device */
} Range;

typedef struct {
  int unsynced; /* copies queued since the host last waited for this stream */
  uint32_t id;  /* as CUPTI numbers them */
} Stream;

typedef struct {
  int recorded, complete;
  int64_t time_ns;
  Stream* stream;
  uint32_t id;
} Event;

typedef enum { kCopy, kSet, kAdd, kStamp } OpKind;

typedef struct {
  OpKind kind;
  Stream* stream;
  char* to;
  const char* from;
  const char* other; /* second source of kAdd */
  size_t bytes;
  int value;
  Event* event;
  struct fake_ticket ticket; /* of its activity record */
  int64_t began_ns;          /* when its first part began in the caller's thread; 0: it did not */
} Op;

/* Everything below is guarded by `engine_lock`; the engine thread works on queue[first] without it,
 * and nobody else touches that entry or its memory until `first` has moved on. */
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t engine_changed = PTHREAD_COND_INITIALIZER;
static Range device_ranges[kMaxRanges], pinned_ranges[kMaxRanges];
static uint64_t device_used, next_address;
static Op queue[kMaxOps];
static unsigned first, last; /* last - first operations are pending */
static int engine_started, engine_running;
static long delay_us;
static char staging[kStaging];

/* Streams, events and modules: what a caller could not give back goes with the machine that it
 * belonged to. */
typedef struct Object {
  struct Object* next;
  struct Object* unused; /* keeps what follows aligned to 16 */
} Object;
static Object* objects;

static void* NewObject(size_t bytes) {
  Object* object = calloc(1, sizeof(Object) + bytes);
  if (object == NULL) abort();
  object->next = objects;
  objects = object;
  return object + 1;
}

static void FreeObject(const void* object) {
  Object** at = &objects;
  while (*at != NULL && (const void*)(*at + 1) != object) at = &(*at)->next;
  if (*at != NULL) {
    Object* found = *at;
    *at = found->next;
    free(found);
  }
}

static Range* FindRange(Range* ranges, uint64_t address, size_t bytes) {
  int i;
  for (i = 0; i < kMaxRanges; ++i) {
    if (ranges[i].bytes != 0 && address >= ranges[i].address &&
        address - ranges[i].address <= ranges[i].bytes &&
        bytes <= ranges[i].bytes - (address - ranges[i].address)) {
      return &ranges[i];
    }
  }
  return NULL;
}

static Range* FindStart(Range* ranges, uint64_t address) {
  int i;
  for (i = 0; i < kMaxRanges; ++i) {
    if (ranges[i].bytes != 0 && ranges[i].address == address) return &ranges[i];
  }
  return NULL;
}

static Range* FreeRange(Range* ranges) {
  int i;
  for (i = 0; i < kMaxRanges; ++i) {
    if (ranges[i].bytes == 0) return &ranges[i];
  }
  return NULL;
}

/* Host memory of the simulated machine, written once so that no later copy takes its page faults.
 */
static char* MapPopulated(size_t bytes) {
  char* memory =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  madvise(memory, bytes, MADV_HUGEPAGE);
  madvise(memory, bytes, MADV_DONTFORK);
  memset(memory, 0xee, bytes); /* fresh device memory is not zero either */
  return memory;
}

static void* RunEngine(void* unused) {
  (void)unused;
  pthread_mutex_lock(&engine_lock);
  for (;;) {
    Op op;
    size_t i;
    int64_t start_ns;
    while (first == last) pthread_cond_wait(&engine_changed, &engine_lock);
    engine_running = 1;
    op = queue[first % kMaxOps];
    if (op.kind != kStamp && delay_us > 0) {
      const long wait = delay_us;
      pthread_mutex_unlock(&engine_lock);
      FakeSleepUs(wait);
      pthread_mutex_lock(&engine_lock);
    }
    pthread_mutex_unlock(&engine_lock);
    start_ns = op.began_ns != 0 ? op.began_ns : FakeNow();
    switch (op.kind) {
      case kCopy:
        memcpy(op.to, op.from, op.bytes);
        break;
      case kSet:
        memset(op.to, op.value, op.bytes);
        break;
      case kAdd:
        for (i = 0; i < op.bytes / sizeof(double); ++i) {
          ((double*)(void*)op.to)[i] =
              ((const double*)(const void*)op.from)[i] + ((const double*)(const void*)op.other)[i];
        }
        break;
      case kStamp:
        break;
    }
    FeedFinish(&op.ticket, start_ns, FakeNow());
    pthread_mutex_lock(&engine_lock);
    if (op.kind == kStamp) {
      op.event->time_ns = FakeNow();
      op.event->complete = 1;
    }
    ++first;
    engine_running = 0;
    pthread_cond_broadcast(&engine_changed);
  }
  return NULL;
}

/* engine_lock held in all that follow. */
static void Enqueue(Op op) {
  if (!engine_started) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, RunEngine, NULL) != 0) abort();
    pthread_detach(thread);
    engine_started = 1;
  }
  while (last - first == kMaxOps) pthread_cond_wait(&engine_changed, &engine_lock);
  queue[last++ % kMaxOps] = op;
  pthread_cond_broadcast(&engine_changed);
}

static void WaitIdle(void) {
  while (first != last || engine_running) pthread_cond_wait(&engine_changed, &engine_lock);
}

/* What a dead GPU does: of what was queued at most the first happens, and nothing after this
 * returns. */
static void DropPending(void) {
  last = first + (engine_running ? 1U : 0U);
  while (engine_running) pthread_cond_wait(&engine_changed, &engine_lock);
  last = first;
}

/* In the child of a fork: only the forking thread is there. */
static void ForgetEngine(void) {
  pthread_mutex_init(&engine_lock, NULL);
  pthread_cond_init(&engine_changed, NULL);
  engine_started = engine_running = 0;
  first = last;
}

static int PendingOnStream(const Stream* stream, OpKind kind) {
  unsigned i;
  for (i = first; i != last; ++i) {
    if (queue[i % kMaxOps].stream == stream && queue[i % kMaxOps].kind == kind) return 1;
  }
  return 0;
}

static int Overlaps(const char* a, const char* b, size_t a_bytes, size_t b_bytes) {
  return a != NULL && b != NULL && a < b + b_bytes && b < a + a_bytes;
}

static int PendingOnMemory(const char* memory, size_t bytes) {
  unsigned i;
  for (i = first; i != last; ++i) {
    const Op* op = &queue[i % kMaxOps];
    if (op->kind == kStamp) continue;
    if (Overlaps(op->to, memory, op->bytes, bytes) ||
        Overlaps(op->from, memory, op->bytes, bytes) ||
        Overlaps(op->other, memory, op->bytes, bytes)) {
      return 1;
    }
  }
  return 0;
}

#endif
