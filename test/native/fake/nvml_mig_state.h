/*
 * MIG with the rules of a real driver: boards, instances that may not overlap, and a state that
 * outlives the process.
 *
 *   nvml.<i>.mig_board = H100-80     the GPU can be divided as this board: A100-40, A100-80,
 *                                    H100-80, H200-141, B200-180
 *   nvml.<i>.mig_mode = 1            its mode when the state is made
 *   nvml.state = FILE                where mode and instances are kept; without it in the process
 *   nvml.boot_id = TEXT              of the kernel: with another one than that of the state all
 *                                    instances are gone, a pending mode is current, and
 *                                    `nvml.<i>.mig_lasts = 0` says that the mode is off again
 *   nvml.driver_load = TEXT          of the kernel module: the same for a driver reload
 *   nvml.<i>.mig_reset = 1           a mode change waits for a reset of the GPU: touching the file
 *                                    FILE.reset.<i> is that reset
 *   nvml.<i>.holders = N             so many clients keep the mode from changing
 *   nvml.<i>.leaked = GI, ...        instances that are in use without any process
 *   nvml.<i>.processes               processes in an instance keep it from being destroyed
 *   nvml.mig_query_needs_mode = 1    no profiles while MIG is off, as drivers of branch 535
 *   nvml.die_before = N, nvml.die_effect = N, nvml.die_after = N
 *                                    the process is killed before the Nth mutating call of this
 *                                    process, when it has taken effect, or at the next call of any
 *                                    function after it has returned
 *   nvml.ignore = N                  the Nth mutating call says success and does nothing
 *   nvml.fail = CODE@N               it answers CODE and does nothing
 * Power limits, clock locks and persistence (nvml_power.h) are part of the same state.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_STATE_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_STATE_H

#include <signal.h>
#include <sys/file.h>

#include "nvml_machine.h"
#include "nvml_mig_abi.h"

enum { kMigProfiles = 7, kMostGi = 16, kMostCi = 32, kMigSlots = 8 };

typedef struct {
  unsigned number, id, slices, size, most; /* number: NVML's enum */
  unsigned starts;                         /* bit per first memory slice */
} MigShape;

static const MigShape kMigShapes[kMigProfiles] = {
    {0x4, 0, 7, 8, 1, 0x01},
    {0x3, 5, 4, 4, 1, 0x01},
    {0x2, 9, 3, 4, 2, 0x11},
    {0x1, 14, 2, 2, 3, 0x15},
    {0x9, 15, 1, 2, 4, 0x55},
    {0x0, 19, 1, 1, 7, 0x7f},
    {0x7, 20, 1, 1, 1, 0x7f},
};

typedef struct {
  const char* board;
  unsigned gb[kMigProfiles], mib[kMigProfiles], sms[kMigProfiles], copy[kMigProfiles],
      decoders[kMigProfiles];
} MigBoard;

static const MigBoard kMigBoards[] = {
    {"A100-40",
     {40, 20, 20, 10, 10, 5, 5},
     {40192, 19968, 19968, 9856, 9856, 4864, 4864},
     {98, 56, 42, 28, 14, 14, 14},
     {7, 4, 3, 2, 1, 1, 1},
     {5, 2, 2, 1, 1, 0, 1}},
    {"A100-80",
     {80, 40, 40, 20, 20, 10, 10},
     {80384, 40192, 40192, 19968, 19968, 9856, 9856},
     {98, 56, 42, 28, 14, 14, 14},
     {7, 4, 3, 2, 1, 1, 1},
     {5, 2, 2, 1, 1, 0, 1}},
    {"H100-80",
     {80, 40, 40, 20, 20, 10, 10},
     {81152, 40448, 40448, 20096, 20096, 9984, 9984},
     {132, 64, 60, 32, 26, 16, 16},
     {8, 4, 3, 2, 1, 1, 1},
     {7, 4, 3, 2, 1, 1, 1}},
    {"H200-141",
     {141, 71, 71, 35, 35, 18, 18},
     {143104, 71424, 71424, 33280, 33280, 16384, 16384},
     {132, 64, 60, 32, 26, 16, 16},
     {8, 4, 3, 2, 1, 1, 1},
     {7, 4, 3, 2, 1, 1, 1}},
    {"B200-180",
     {180, 90, 90, 45, 45, 23, 23},
     {182272, 91136, 91136, 45312, 45312, 20992, 20992},
     {148, 72, 70, 36, 30, 18, 18},
     {16, 8, 6, 4, 2, 2, 2},
     {7, 4, 3, 2, 1, 1, 1}},
};

typedef struct {
  unsigned id, profile, start, size; /* profile: the driver's id */
} MigGi;
typedef struct {
  unsigned gi, id, slices, start, serial;
} MigCi;

typedef struct {
  unsigned mode, pending, gi_count, ci_count;
  MigGi gi[kMostGi];
  MigCi ci[kMostCi];
} MigGpu;

typedef struct {
  unsigned limit;       /* mW that was asked for; 0: never, and the script says what there is */
  unsigned persistence; /* 1 off, 2 on, 0 as the script says */
  unsigned sm_min, sm_max, memory_min, memory_max; /* MHz; 0: not locked */
} PowerGpu;

typedef struct {
  char boot[128];
  unsigned serial; /* of compute instances: their UUIDs never come again */
  MigGpu gpu[kMaxDevices];
  PowerGpu power[kMaxDevices];
} MigState;

static MigState mig_state;       /* as it was last read; fake_lock held in all that follows */
static int mig_known, mig_dirty; /* dirty: not yet as in the file */
static long mig_mutations;
static int mig_dies_at_next;

static void MigDie(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void MigDieIfArmed(void) {
  if (mig_dies_at_next) MigDie();
}

static const MigBoard* MigBoardOf(int gpu) {
  char key[48];
  const FakeEntry* entry;
  size_t i;
  if (!FakeHas(kFakeOneDevice)) return NULL;
  snprintf(key, sizeof(key), "nvml.%d.mig_board", gpu);
  entry = FakeFind(key);
  for (i = 0; entry != NULL && i < sizeof(kMigBoards) / sizeof(kMigBoards[0]); ++i) {
    if (strcmp(kMigBoards[i].board, entry->value) == 0) return &kMigBoards[i];
  }
  return NULL;
}

static int MigSetting(int gpu, const char* name, int otherwise) {
  char key[64];
  snprintf(key, sizeof(key), "nvml.%d.%s", gpu, name);
  return (int)FakeNumber(key, otherwise);
}

static void MigNewBoot(const char* boot) {
  int i;
  for (i = 0; i < kMaxDevices; ++i) {
    MigGpu* gpu = &mig_state.gpu[i];
    gpu->gi_count = gpu->ci_count = 0;
    gpu->mode = gpu->pending = MigSetting(i, "mig_lasts", 1) ? gpu->pending : 0;
  }
  memset(mig_state.power, 0, sizeof(mig_state.power));
  snprintf(mig_state.boot, sizeof(mig_state.boot), "%s", boot);
}

/* What the file said when the state was last read and has not been changed since; "" when neither
 * is known: thousands of calls in a row find the same. */
static char mig_text[8192];

static void MigRead(const char* text) {
  const char* line = text;
  const char* next;
  MigState* s = &mig_state;
  memset(s, 0, sizeof(*s));
  for (; *line != '\0'; line = next) {
    const char* newline = strchr(line, '\n');
    next = newline == NULL ? line + strlen(line) : newline + 1;
    unsigned i, a, b, c, d, e, f;
    if (sscanf(line, "boot %127[^\n]", s->boot) == 1) continue;
    if (sscanf(line, "serial %u", &s->serial) == 1) continue;
    if (sscanf(line, "gpu %u %u %u", &i, &a, &b) == 3 && i < kMaxDevices) {
      s->gpu[i].mode = a;
      s->gpu[i].pending = b;
    } else if (sscanf(line, "gi %u %u %u %u %u", &i, &a, &b, &c, &d) == 5 && i < kMaxDevices) {
      s->gpu[i].gi[s->gpu[i].gi_count++] = (MigGi){a, b, c, d};
    } else if (sscanf(line, "ci %u %u %u %u %u %u", &i, &a, &b, &c, &d, &e) == 6 &&
               i < kMaxDevices) {
      s->gpu[i].ci[s->gpu[i].ci_count++] = (MigCi){a, b, c, d, e};
    } else if (sscanf(line, "power %u %u %u %u %u %u %u", &i, &a, &b, &c, &d, &e, &f) == 7 &&
               i < kMaxDevices) {
      s->power[i] = (PowerGpu){a, b, c, d, e, f};
    }
  }
}

/* Opens and locks the state; -1 where it lives in the process. */
static int MigOpen(void) {
  const FakeEntry* path = FakeFind("nvml.state");
  const FakeEntry* boot = FakeFind("nvml.boot_id");
  const FakeEntry* load = FakeFind("nvml.driver_load");
  char now[128], reset[512], text[sizeof(mig_text)];
  int fd = -1, i, fresh = !mig_known;
  snprintf(now,
           sizeof(now),
           "%s %s",
           boot == NULL ? "first" : boot->value,
           load == NULL ? "first" : load->value);
  if (path != NULL) {
    ssize_t length;
    fd = open(path->value, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) abort();
    length = pread(fd, text, sizeof(text) - 1, 0);
    if (length < 0) abort();
    text[length] = '\0';
    if (mig_text[0] == '\0' || strcmp(text, mig_text) != 0) {
      MigRead(text);
      strcpy(mig_text, text);
    }
    fresh = mig_state.boot[0] == '\0';
  }
  mig_known = 1;
  if (fresh) {
    memset(&mig_state, 0, sizeof(mig_state));
    snprintf(mig_state.boot, sizeof(mig_state.boot), "%s", now);
    mig_dirty = 1;
    for (i = 0; i < kMaxDevices; ++i) {
      mig_state.gpu[i].mode = mig_state.gpu[i].pending = (unsigned)MigSetting(i, "mig_mode", 0);
    }
  }
  if (strcmp(now, mig_state.boot) != 0) {
    MigNewBoot(now);
    mig_dirty = 1;
  }
  for (i = 0; path != NULL && i < DeviceCount(); ++i) {
    if (mig_state.gpu[i].mode == mig_state.gpu[i].pending) continue; /* nobody resets it */
    snprintf(reset, sizeof(reset), "%s.reset.%d", path->value, i);
    if (unlink(reset) != 0) continue;
    mig_dirty = 1;
    mig_state.gpu[i].mode = mig_state.gpu[i].pending;
    mig_state.gpu[i].gi_count = mig_state.gpu[i].ci_count = 0;
  }
  return fd;
}

static void MigClose(int fd, int changed) {
  char text[sizeof(mig_text)];
  int i, n;
  unsigned j;
  mig_text[0] = '\0';
  if (fd >= 0 && (changed || mig_dirty)) {
    mig_dirty = 0;
    n = snprintf(text, sizeof(text), "boot %s\nserial %u\n", mig_state.boot, mig_state.serial);
    for (i = 0; i < DeviceCount(); ++i) {
      const MigGpu* gpu = &mig_state.gpu[i];
      n += snprintf(
          text + n, sizeof(text) - (size_t)n, "gpu %d %u %u\n", i, gpu->mode, gpu->pending);
      for (j = 0; j < gpu->gi_count; ++j) {
        const MigGi* gi = &gpu->gi[j];
        n += snprintf(text + n,
                      sizeof(text) - (size_t)n,
                      "gi %d %u %u %u %u\n",
                      i,
                      gi->id,
                      gi->profile,
                      gi->start,
                      gi->size);
      }
      for (j = 0; j < gpu->ci_count; ++j) {
        const MigCi* ci = &gpu->ci[j];
        n += snprintf(text + n,
                      sizeof(text) - (size_t)n,
                      "ci %d %u %u %u %u %u\n",
                      i,
                      ci->gi,
                      ci->id,
                      ci->slices,
                      ci->start,
                      ci->serial);
      }
    }
    for (i = 0; i < DeviceCount(); ++i) {
      static const PowerGpu kNothing;
      const PowerGpu* power = &mig_state.power[i];
      if (memcmp(power, &kNothing, sizeof(kNothing)) == 0) continue;
      n += snprintf(text + n,
                    sizeof(text) - (size_t)n,
                    "power %d %u %u %u %u %u %u\n",
                    i,
                    power->limit,
                    power->persistence,
                    power->sm_min,
                    power->sm_max,
                    power->memory_min,
                    power->memory_max);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) abort();
  }
  if (fd >= 0) close(fd);
}

/* The state of a GPU as it is now. */
static MigGpu* MigLook(int gpu) {
  const int fd = MigOpen();
  if (mig_dirty) {
    MigClose(fd, 0);
  } else if (fd >= 0) {
    close(fd);
  }
  return &mig_state.gpu[gpu];
}

/* ---- a change: the script may let it fail, do nothing, or be the process's last ---- */

typedef struct {
  int fd, skip;
} MigChange;

/* fake_lock is taken and the state locked until EndChange. */
static int BeginChange(MigChange* change, int code) {
  long at;
  const FakeEntry* fail;
  pthread_mutex_lock(&fake_lock);
  at = ++mig_mutations;
  if (FakeNumber("nvml.die_before", 0) == at) MigDie();
  change->fd = MigOpen();
  change->skip = FakeNumber("nvml.ignore", 0) == at;
  fail = FakeFind("nvml.fail");
  if (code == 0 && fail != NULL) {
    const char* n = strchr(fail->value, '@');
    if (n != NULL && atol(n + 1) == at) code = atoi(fail->value);
  }
  return code;
}

static void EndChange(const MigChange* change, int changed) {
  MigClose(change->fd, changed && !change->skip);
  if (FakeNumber("nvml.die_effect", 0) == mig_mutations) MigDie();
  if (FakeNumber("nvml.die_after", 0) == mig_mutations) mig_dies_at_next = 1;
  pthread_mutex_unlock(&fake_lock);
}

static int MigShapeOf(unsigned id) {
  int i;
  for (i = 0; i < kMigProfiles; ++i) {
    if (kMigShapes[i].id == id) return i;
  }
  return -1;
}

static void MigName(const MigBoard* board, int shape, unsigned compute, char* out, size_t size) {
  const MigShape* s = &kMigShapes[shape];
  char part[16] = "";
  if (compute != s->slices) snprintf(part, sizeof(part), "%uc.", compute);
  snprintf(out, size, "%s%ug.%ugb%s", part, s->slices, board->gb[shape], s->id == 20 ? "+me" : "");
}

static unsigned MigMask(unsigned start, unsigned size) { return ((1u << size) - 1) << start; }

static unsigned MigTaken(const MigGpu* gpu) {
  unsigned i, mask = 0;
  for (i = 0; i < gpu->gi_count; ++i) mask |= MigMask(gpu->gi[i].start, gpu->gi[i].size);
  return mask;
}

static unsigned MigCount(const MigGpu* gpu, unsigned profile) {
  unsigned i, n = 0;
  for (i = 0; i < gpu->gi_count; ++i) n += gpu->gi[i].profile == profile;
  return n;
}

/* How many more of a profile alone fit. */
static unsigned MigRemaining(const MigGpu* gpu, const MigShape* shape) {
  unsigned start, mask = MigTaken(gpu), n = 0;
  const unsigned used = MigCount(gpu, shape->id);
  for (start = 0; start < kMigSlots; ++start) {
    if ((shape->starts >> start & 1) == 0 || (mask & MigMask(start, shape->size)) != 0) continue;
    mask |= MigMask(start, shape->size);
    ++n;
  }
  return n < shape->most - used ? n : shape->most - used;
}

/* First compute slices at which an instance of `slices` may lie in one of `of`. */
static unsigned MigComputeStarts(unsigned slices, unsigned of) {
  static const unsigned kStarts[8] = {0, 0x7f, 0x15, 0x11, 0x01, 0, 0, 0x01};
  unsigned start, bits = 0;
  for (start = 0; slices <= 7 && start + slices <= of; ++start) {
    bits |= kStarts[slices] & 1u << start;
  }
  return bits;
}

static unsigned MigBits(unsigned bits) {
  unsigned n = 0;
  for (; bits != 0; bits &= bits - 1) ++n;
  return n;
}

#endif
