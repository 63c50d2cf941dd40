#pragma once

#include <atomic>
#include <cstdint>

#include "core/status.h"

namespace warpgauge {

// Something that several threads keep alive, counted by hand (std::shared_ptr raises the glibc
// floor). Made with one reference.
class Shared {
 public:
  Shared() = default;
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  // Destroys it with the last reference, on the thread that gave it up.
  void Unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  virtual ~Shared() = default;

 private:
  std::atomic<uint32_t> references_{1};
};

// A thread that can be left behind. It is never joined: it says that it has ended, and whoever
// waits for that may give up and go. Until then the thread keeps `owner` alive, so a thread that
// hangs in a driver for an hour still finds everything it uses.
class Thread {
 public:
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // `name`: at most 15 characters. `run(argument)` is called on the new thread. This object must be
  // owned by `owner`. Once only.
  Status Start(Shared* owner, const char* name, void (*run)(void*), void* argument);
  // True when the thread has ended or was never started; waits until `deadline_ns`
  // (CLOCK_MONOTONIC) at most.
  [[nodiscard]] bool WaitEnded(int64_t deadline_ns) const;
  [[nodiscard]] bool started() const { return started_.load(std::memory_order_acquire); }
  // CPU time that the thread has used, ns. Any thread.
  [[nodiscard]] int64_t CpuNs() const;

 private:
  static void* Entry(void* self);

  std::atomic<bool> started_{false};
  std::atomic<uint32_t> ended_{0};
  std::atomic<int32_t> tid_{0};
  std::atomic<int64_t> final_cpu_ns_{0};
  Shared* owner_ = nullptr;
  const char* name_ = "";
  void (*run_)(void*) = nullptr;
  void* argument_ = nullptr;
};

}  // namespace warpgauge
