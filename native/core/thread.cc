#include "core/thread.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "core/clock.h"
#include "core/futex.h"

namespace warpgauge {
namespace {

// The kernel's number for the CPU clock of a thread (include/uapi/linux/time.h: complement of the
// id, per-thread bit, scheduler clock); pthread_getcpuclockid would need a thread that is not
// detached.
clockid_t CpuClockOf(int32_t tid) {
  return static_cast<clockid_t>((~static_cast<uint32_t>(tid) << 3) | 6U);
}

}  // namespace

Status Thread::Start(Shared* owner, const char* name, void (*run)(void*), void* argument) {
  owner_ = owner;
  name_ = name;
  run_ = run;
  argument_ = argument;
  owner->Ref();
  started_.store(true, std::memory_order_release);
  // Signals belong to the threads of Node: a handler must never run on a sampling thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t id{};
  const int error = pthread_create(&id, &attributes, Entry, this);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error == 0) return Status::Ok();
  started_.store(false, std::memory_order_release);
  owner->Unref();
  return Status("ERR_SYSCALL", std::string("a thread could not be made: ") + std::strerror(error))
      .WithFix("raise the limit of threads: ulimit -u, or pids.max of the cgroup")
      .WithSource("pthread_create", error);
}

void* Thread::Entry(void* self) {
  auto* thread = static_cast<Thread*>(self);
  Shared* owner = thread->owner_;
  pthread_setname_np(pthread_self(), thread->name_);
  thread->tid_.store(static_cast<int32_t>(syscall(SYS_gettid)), std::memory_order_release);
  thread->run_(thread->argument_);
  thread->final_cpu_ns_.store(ReadClock(CLOCK_THREAD_CPUTIME_ID), std::memory_order_release);
  thread->ended_.store(1, std::memory_order_release);
  FutexWakeAll(thread->ended_);
  owner->Unref();  // may destroy this object
  return nullptr;
}

bool Thread::WaitEnded(int64_t deadline_ns) const {
  if (!started()) return true;
  while (ended_.load(std::memory_order_acquire) == 0) {
    if (MonotonicNs() >= deadline_ns) return false;
    FutexWait(ended_, 0, deadline_ns);
  }
  return true;
}

int64_t Thread::CpuNs() const {
  if (!started()) return 0;
  if (ended_.load(std::memory_order_acquire) == 0) {
    timespec used{};
    const int32_t tid = tid_.load(std::memory_order_acquire);
    if (tid != 0 && clock_gettime(CpuClockOf(tid), &used) == 0) {
      return static_cast<int64_t>(used.tv_sec) * 1'000'000'000 + used.tv_nsec;
    }
  }
  return final_cpu_ns_.load(std::memory_order_acquire);
}

}  // namespace warpgauge
