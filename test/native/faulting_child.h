#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <doctest/doctest.h>

#include "os/kernel_abi.h"

// A child process that takes page faults on command, one command at a time: what observes it can be
// opened before, and read after, any of them.
namespace warpgauge_test {

class FaultingChild {
 public:
  FaultingChild() {
    int down[2];
    int up[2];
    REQUIRE(pipe(down) == 0);
    REQUIRE(pipe(up) == 0);
    (void)fflush(nullptr);
    std::cout.flush();
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      close(down[1]);
      close(up[0]);
      Serve(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    commands_ = down[1];
    replies_ = up[0];
    // Once through all that a command uses: the faults of its code and stack are behind us.
    Ask(kNothing);
    Ask(kFaults);
    const uint64_t warm = Map(1);
    Ask(kTouch, warm, 4096);
    Unmap(warm, 4096);
  }
  FaultingChild(const FaultingChild&) = delete;
  FaultingChild& operator=(const FaultingChild&) = delete;
  ~FaultingChild() { End(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void Nothing() { Ask(kNothing); }
  // Maps `pages` anonymous pages of 4 KB (huge pages refused), untouched, or of 2 MB from hugetlb;
  // 0 when there are none.
  uint64_t Map(uint64_t pages) { return Ask(kMap, pages * 4096); }
  uint64_t MapHuge(uint64_t pages) { return Ask(kMapHuge, pages << 21); }
  // Maps anonymous memory at a given address, over whatever is there.
  uint64_t MapAt(uint64_t address, uint64_t bytes) { return Ask(kMapAt, address, bytes); }
  uint64_t MapFileAt(uint64_t address, uint64_t bytes) { return Ask(kMapFileAt, address, bytes); }
  // Moves a mapping to `to` with mremap, which leaves no record in a perf ring.
  uint64_t Move(uint64_t from, uint64_t bytes, uint64_t to) { return Ask(kMove, from, bytes, to); }
  void Unmap(uint64_t address, uint64_t bytes) { Ask(kUnmap, address, bytes); }
  void Touch(uint64_t address, uint64_t bytes, uint64_t step = 4096) {
    Ask(kTouch, address, bytes, step);
  }
  // 0 or errno.
  uint64_t Populate(uint64_t address, uint64_t bytes) { return Ask(kPopulate, address, bytes); }
  void TouchInThread(uint64_t address, uint64_t bytes) { Ask(kThread, address, bytes, 4096); }
  // A grandchild touches it, writes into copies of its own, and ends; returns its pid.
  pid_t TouchInChild(uint64_t address, uint64_t bytes) {
    return static_cast<pid_t>(Ask(kFork, address, bytes, 4096));
  }
  // Minor faults by the child's own getrusage.
  uint64_t Faults() { return Ask(kFaults); }
  void End() {
    if (pid_ <= 0) return;
    // Not by the end of the pipe: a later child of this process holds it open too.
    const Command quit{kQuit, 0, 0, 0};
    CHECK(write(commands_, &quit, sizeof(quit)) == sizeof(quit));
    close(commands_);
    close(replies_);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  enum Operation : uint64_t {
    kNothing,
    kMap,
    kMapHuge,
    kMapAt,
    kMapFileAt,
    kMove,
    kUnmap,
    kTouch,
    kPopulate,
    kThread,
    kFork,
    kFaults,
    kQuit,
  };
  struct Command {
    uint64_t operation, a, b, c;
  };

  uint64_t Ask(uint64_t operation, uint64_t a = 0, uint64_t b = 0, uint64_t c = 4096) {
    const Command command{operation, a, b, c};
    REQUIRE(write(commands_, &command, sizeof(command)) == sizeof(command));
    uint64_t reply = 0;
    REQUIRE(read(replies_, &reply, sizeof(reply)) == sizeof(reply));
    return reply;
  }

  static void* At(uint64_t address) {
    return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
  }
  static void TouchRange(const Command& command) {
    auto* at = static_cast<volatile uint8_t*>(At(command.a));
    for (uint64_t i = 0; i < command.b; i += command.c) at[i] = 1;
  }
  static void* TouchInThreadBody(void* command) {
    TouchRange(*static_cast<Command*>(command));
    return nullptr;
  }
  static uint64_t MapWith(uint64_t address, uint64_t bytes, int flags, int fd = -1) {
    void* at = mmap(At(address), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, fd, 0);
    if (at == MAP_FAILED) return 0;
    if ((flags & MAP_HUGETLB) == 0) madvise(at, bytes, MADV_NOHUGEPAGE);
    return reinterpret_cast<uintptr_t>(at);
  }
  static uint64_t Run(Command& command) {
    switch (command.operation) {
      case kMap: {
        // Pages that are not accessible around it keep it from growing together with others.
        const uint64_t around = MapWith(0, command.a + 8192, MAP_ANONYMOUS);
        mprotect(At(around), command.a + 8192, PROT_NONE);
        return MapWith(around + 4096, command.a, MAP_ANONYMOUS | MAP_FIXED);
      }
      case kMapHuge:
        return MapWith(0, command.a, MAP_ANONYMOUS | MAP_HUGETLB | (21 << 26));
      case kMapAt:
        return MapWith(command.a, command.b, MAP_ANONYMOUS | MAP_FIXED);
      case kMapFileAt: {
        const int fd = memfd_create("faulting", 0);
        if (ftruncate(fd, static_cast<off_t>(command.b)) != 0) return 0;
        const uint64_t at = MapWith(command.a, command.b, MAP_FIXED, fd);
        close(fd);
        return at;
      }
      case kMove:
        return reinterpret_cast<uintptr_t>(mremap(
            At(command.a), command.b, command.b, MREMAP_MAYMOVE | MREMAP_FIXED, At(command.c)));
      case kUnmap:
        return static_cast<uint64_t>(munmap(At(command.a), command.b));
      case kTouch:
        TouchRange(command);
        return 0;
      case kPopulate:
        return madvise(At(command.a), command.b, warpgauge::kMadvPopulateWrite) == 0
                   ? 0
                   : static_cast<uint64_t>(errno);
      case kThread: {
        pthread_t thread;
        if (pthread_create(&thread, nullptr, TouchInThreadBody, &command) != 0) return 1;
        return static_cast<uint64_t>(pthread_join(thread, nullptr));
      }
      case kFork: {
        const pid_t pid = fork();
        if (pid == 0) {
          TouchRange(command);
          _exit(0);
        }
        waitpid(pid, nullptr, 0);
        return static_cast<uint64_t>(pid);
      }
      case kFaults: {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return static_cast<uint64_t>(usage.ru_minflt);
      }
      default:
        return 0;
    }
  }
  [[noreturn]] static void Serve(int commands, int replies) {
    Command command{};
    while (read(commands, &command, sizeof(command)) == sizeof(command) &&
           command.operation != kQuit) {
      const uint64_t reply = Run(command);
      if (write(replies, &reply, sizeof(reply)) != sizeof(reply)) break;
    }
    _exit(0);
  }

  pid_t pid_ = -1;
  int commands_ = -1;
  int replies_ = -1;
};

}  // namespace warpgauge_test
