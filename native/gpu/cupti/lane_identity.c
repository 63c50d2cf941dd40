#include "lane_identity.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static size_t read_file(const char* path, char* text, size_t bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t length = read(fd, text, bytes - 1);
  close(fd);
  text[length < 0 ? 0 : length] = 0;
  return length < 0 ? 0 : (size_t)length;
}

uint64_t wg_identity_start_ticks(void) {
  char text[1024];
  if (read_file("/proc/self/stat", text, sizeof text) == 0) return 0;
  /* The command, in brackets, may hold anything. Field 3 follows it, field 22 is wanted. */
  const char* at = strrchr(text, ')');
  if (at == NULL) return 0;
  for (int field = 2; field < 22; field++) {
    at = strchr(at + 1, ' ');
    if (at == NULL) return 0;
  }
  uint64_t ticks = 0;
  for (at++; *at >= '0' && *at <= '9'; at++) ticks = ticks * 10 + (uint64_t)(*at - '0');
  return ticks;
}

void wg_identity_command(char* command, size_t bytes) {
  size_t length = read_file("/proc/self/cmdline", command, bytes);
  while (length > 0 && command[length - 1] == 0) length--;
  for (size_t i = 0; i < length; i++) {
    if ((unsigned char)command[i] < ' ') command[i] = ' ';
  }
  command[length] = 0;
}

/* The number in "pid:[4026531836]". */
static uint32_t pid_namespace(void) {
  char text[32];
  const ssize_t length = readlink("/proc/self/ns/pid", text, sizeof text - 1);
  if (length <= 0) return 0;
  text[length] = 0;
  const char* at = strchr(text, '[');
  if (at == NULL) return 0;
  uint32_t inode = 0;
  for (at++; *at >= '0' && *at <= '9'; at++) inode = inode * 10 + (uint32_t)(*at - '0');
  return inode;
}

void wg_identity_read(struct wg_identity* identity) {
  memset(identity, 0, sizeof *identity);
  identity->pid = (uint32_t)getpid();
  identity->parent_pid = (uint32_t)getppid();
  identity->user_id = (uint32_t)getuid();
  identity->pid_namespace = pid_namespace();
  identity->start_ticks = wg_identity_start_ticks();
  wg_identity_command(identity->command, sizeof identity->command);
}

void wg_identity_fill(struct wg_lane* lane, const struct wg_identity* identity) {
  lane->start_ticks = identity->start_ticks;
  lane->parent_pid = identity->parent_pid;
  lane->user_id = identity->user_id;
  lane->pid_namespace = identity->pid_namespace;
  memcpy(lane->command, identity->command, sizeof lane->command);
  memset(lane->cupti_path, 0, sizeof lane->cupti_path);
  memset(lane->detail, 0, sizeof lane->detail);
  __atomic_store_n(&lane->reason, WG_REASON_NONE, __ATOMIC_RELAXED);
  lane->code = 0;
  lane->cupti_version = 0;
  lane->driver_version = 0;
  __atomic_store_n(&lane->kinds, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&lane->simulated, 0, __ATOMIC_RELAXED);
  uint64_t* const counters[] = {
      &lane->without_time,
      &lane->dropped,
      &lane->dropped_cupti,
      &lane->dropped_names,
      &lane->unknown,
      &lane->waits,
      &lane->buffers,
      &lane->flushes,
      &lane->last_flush_ns,
      &lane->cpu_ns,
  };
  for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
    __atomic_store_n(counters[i], 0, __ATOMIC_RELAXED);
  }
}
