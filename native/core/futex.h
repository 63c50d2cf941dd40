#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

namespace warpgauge {

// Waiting for a word to change, with a deadline on CLOCK_MONOTONIC. Condition variables with such a
// deadline need glibc 2.30 (pthread_cond_clockwait); the system call has been there since 2.6.
inline constexpr int64_t kNoDeadline = INT64_MAX;

// Returns when `word` is not `seen` (at once), when it is woken, when the deadline has passed, or
// for no reason: callers loop.
inline void FutexWait(const std::atomic<uint32_t>& word, uint32_t seen, int64_t deadline_ns) {
  timespec until{};
  until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  until.tv_nsec = static_cast<decltype(until.tv_nsec)>(deadline_ns % 1'000'000'000);
  syscall(SYS_futex,
          &word,
          FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,  // the bitset form takes an absolute deadline
          seen,
          deadline_ns == kNoDeadline ? nullptr : &until,
          nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

inline void FutexWakeAll(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, nullptr, nullptr, 0);
}

}  // namespace warpgauge
