#include "lane_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lane_identity.h"

/* linux/fcntl.h, which cannot stand beside fcntl.h. */
enum { kGetSeals = 1034, kSealShrink = 2 };

void wg_lane_forget(struct wg_lane_writer* writer) {
  writer->mode = WG_LANE_NONE;
  writer->header = &writer->header_copy;
  writer->lane = &writer->lane_copy;
  memset(&writer->header_copy, 0, sizeof writer->header_copy);
  memset(&writer->lane_copy, 0, sizeof writer->lane_copy);
  writer->header_copy.run = WG_RUN_ENDED;
  writer->records = NULL;
  writer->head = 0;
  writer->published = 0;
  writer->tail = 0;
  writer->capacity = 0;
  writer->fd = -1;
  writer->control_fd = -1;
}

int wg_lane_is_sound(const struct wg_trace_header* header, uint64_t bytes) {
  const uint64_t capacity = header->lane_capacity;
  return header->magic == WG_TRACE_MAGIC && header->version == WG_TRACE_VERSION &&
         header->record_bytes == WG_RECORD_BYTES && header->lane_count >= 1 &&
         header->lane_count <= WG_TRACE_MOST_LANES && capacity >= WG_LANE_BATCH &&
         capacity <= 1U << 28 && (capacity & (capacity - 1)) == 0 &&
         header->lane_stride == WG_TRACE_PAGE + capacity * WG_RECORD_BYTES &&
         WG_TRACE_PAGE + header->lane_count * header->lane_stride <= bytes;
}

static void leave_out(struct wg_trace_header* header) {
  const uint32_t place = __atomic_fetch_add(&header->left_out, 1, __ATOMIC_ACQ_REL);
  if (place >= WG_TRACE_NAMED_LEFT_OUT) return;
  struct wg_left_out* const entry = &header->left_out_names[place];
  /* Without the folder of the program: there is room for a few words only. */
  char command[512];
  wg_identity_command(command, sizeof command);
  const char* name = command;
  for (const char* at = command; *at != 0 && *at != ' '; at++) {
    if (*at == '/') name = at + 1;
  }
  snprintf(entry->command, sizeof entry->command, "%.27s", name);
  __atomic_store_n(&entry->pid, (uint32_t)getpid(), __ATOMIC_RELEASE);
}

/* 0, or -1: it is not free, or was taken back by the reader meanwhile. */
static int attach_lane(struct wg_lane_writer* writer,
                       struct wg_trace_header* header,
                       struct wg_lane* lane,
                       const struct wg_identity* identity) {
  uint64_t claim = __atomic_load_n(&lane->claim, __ATOMIC_RELAXED);
  const uint64_t claimed = wg_lane_claim(WG_LANE_CLAIMED, identity->pid);
  if ((uint32_t)claim != WG_LANE_FREE ||
      !__atomic_compare_exchange_n(
          &lane->claim, &claim, claimed, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    return -1;
  }
  wg_identity_fill(lane, identity);
  lane->capacity = header->lane_capacity;
  lane->magic = WG_TRACE_MAGIC;
  /* A reader that gives a lane out again need not have set it back. */
  const uint64_t head = __atomic_load_n(&lane->head, __ATOMIC_RELAXED);
  const uint64_t tail = __atomic_load_n(&lane->tail, __ATOMIC_ACQUIRE);
  claim = claimed;
  if (!__atomic_compare_exchange_n(&lane->claim,
                                   &claim,
                                   wg_lane_claim(WG_LANE_ATTACHED, identity->pid),
                                   0,
                                   __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED)) {
    return -1;
  }
  writer->header = header;
  writer->lane = lane;
  writer->records = (struct wg_record*)((uint8_t*)lane + WG_TRACE_PAGE);
  writer->capacity = header->lane_capacity;
  writer->head = writer->published = head;
  writer->tail = tail;
  writer->mode = WG_LANE_MEMORY;
  return 0;
}

int wg_lane_attach_mapped(struct wg_lane_writer* writer, struct wg_trace_header* header) {
  wg_lane_forget(writer);
  /* Before anything is claimed, so that a claim lasts for nanoseconds. */
  struct wg_identity identity;
  wg_identity_read(&identity);
  for (uint32_t i = 0; i < header->lane_count; i++) {
    uint8_t* const at = (uint8_t*)header + WG_TRACE_PAGE + i * header->lane_stride;
    if (attach_lane(writer, header, (struct wg_lane*)at, &identity) == 0) return 0;
  }
  leave_out(header);
  return ENOSPC;
}

int wg_lane_attach_memory(struct wg_lane_writer* writer, const char* path) {
  wg_lane_forget(writer);
  const int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  int error = 0;
  struct wg_trace_header header;
  const off_t bytes = lseek(fd, 0, SEEK_END);
  /* Only what cannot shrink is mapped: a page that is cut off is a SIGBUS in the process that we
   * are guests of. fcntl() itself would need glibc 2.28. */
  const long seals = syscall(SYS_fcntl, fd, kGetSeals, 0);
  if (bytes < 0) {
    error = errno;
  } else if (seals < 0 || (seals & kSealShrink) == 0) {
    error = EPERM;
  } else if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
             !wg_lane_is_sound(&header, (uint64_t)bytes)) {
    error = EPROTO;
  }
  void* memory = MAP_FAILED;
  if (error == 0) {
    memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) error = errno;
  }
  close(fd);
  if (error != 0) return error;
  error = wg_lane_attach_mapped(writer, memory);
  if (error != 0) munmap(memory, (size_t)bytes);
  return error;
}

uint32_t wg_lane_run(struct wg_lane_writer* writer) {
  if (writer->mode == WG_LANE_FILE) {
    uint32_t run = WG_RUN_ENDED;
    const off_t at = offsetof(struct wg_trace_header, run);
    /* Gone or cut off: the reader has cleared up. */
    if (pread(writer->control_fd, &run, sizeof run, at) != (ssize_t)sizeof run) run = WG_RUN_ENDED;
    writer->header->run = run;
    return run;
  }
  return __atomic_load_n(&writer->header->run, __ATOMIC_ACQUIRE);
}

int wg_lane_has_room(struct wg_lane_writer* writer) {
  if (writer->mode == WG_LANE_FILE) return 1;
  if (writer->mode != WG_LANE_MEMORY) return 0;
  if (writer->head - writer->tail < writer->capacity) return 1;
  const uint64_t tail = __atomic_load_n(&writer->lane->tail, __ATOMIC_ACQUIRE);
  /* The other side is a foreign process: a tail beyond the head, or one that goes back, is none. */
  if (writer->head - tail <= writer->capacity) writer->tail = tail;
  return writer->head - writer->tail < writer->capacity;
}

int wg_lane_may_have_lost(const struct wg_lane_writer* writer, uint64_t head) {
  return writer->mode == WG_LANE_FILE && writer->head - head > writer->capacity / 2;
}

/* The staged records, which may lie across the end of the ring. */
static void write_batch(struct wg_lane_writer* writer) {
  const uint32_t count = (uint32_t)(writer->head - writer->published);
  const uint32_t mask = writer->capacity - 1;
  for (uint32_t done = 0; done < count;) {
    const uint32_t slot = (uint32_t)((writer->published + done) & mask);
    uint32_t part = writer->capacity - slot;
    if (part > count - done) part = count - done;
    const off_t at = WG_TRACE_PAGE + (off_t)slot * WG_RECORD_BYTES;
    /* The file was allocated whole; what fails all the same, the reader sees as unreadable. */
    if (pwrite(writer->fd, &writer->batch[done], (size_t)part * WG_RECORD_BYTES, at) < 0) break;
    done += part;
  }
}

void wg_lane_publish(struct wg_lane_writer* writer) {
  if (writer->published == writer->head) return;
  if (writer->mode == WG_LANE_FILE) {
    write_batch(writer);
    const off_t at = offsetof(struct wg_lane, head);
    if (pwrite(writer->fd, &writer->head, sizeof writer->head, at) < 0) return;
  }
  if (writer->mode != WG_LANE_NONE) {
    __atomic_store_n(&writer->lane->head, writer->head, __ATOMIC_RELEASE);
  }
  writer->published = writer->head;
}

void wg_lane_put(struct wg_lane_writer* writer, const struct wg_record* record) {
  struct wg_record* const to = writer->mode == WG_LANE_MEMORY
                                   ? &writer->records[writer->head & (writer->capacity - 1)]
                                   : &writer->batch[writer->head - writer->published];
  memcpy(to, record, sizeof *to);
  writer->head++;
  if (writer->head - writer->published == WG_LANE_BATCH) wg_lane_publish(writer);
}

void wg_lane_sync(struct wg_lane_writer* writer) {
  if (writer->mode != WG_LANE_FILE) return;
  const uint8_t* const page = (const uint8_t*)writer->lane;
  const size_t identity = offsetof(struct wg_lane, head);
  const size_t counters = offsetof(struct wg_lane, without_time);
  /* Not head, whose turn is after its records, and not tail, which is unused here. */
  if (pwrite(writer->fd, page + counters, sizeof *writer->lane - counters, (off_t)counters) < 0) {
    return;
  }
  if (pwrite(writer->fd, page, identity, 0) < 0) return;
}

void wg_lane_set_state(struct wg_lane_writer* writer, uint32_t state) {
  __atomic_store_n(&writer->lane->state, state, __ATOMIC_RELEASE);
  wg_lane_sync(writer);
}

uint32_t wg_lane_state(const struct wg_lane_writer* writer) {
  return __atomic_load_n(&writer->lane->state, __ATOMIC_ACQUIRE);
}
