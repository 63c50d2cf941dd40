#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/slab.h"
#include "core/thread.h"

namespace warpgauge {

class TableOutlet;

// What the tables of one sampler share: the bound on undelivered slabs, and the keeper, a thread
// that makes empty slabs ahead of their use, frees old ones and wakes the consumer, so that
// sampling threads do none of that.
class SlabDepot {
 public:
  // `bound_bytes`: undelivered slabs beyond it are dropped, oldest first.
  explicit SlabDepot(int64_t bound_bytes) : bound_bytes_(bound_bytes), account_(new SlabAccount) {}
  ~SlabDepot();
  SlabDepot(const SlabDepot&) = delete;
  SlabDepot& operator=(const SlabDepot&) = delete;

  // From now on the keeper prepares slabs for these tables and the bound counts them. Once; outlets
  // outlive the depot's threads.
  void Serve(std::vector<TableOutlet*> outlets) {
    outlets_ = std::move(outlets);
    serving_.store(true, std::memory_order_release);
  }

  // Runs `on_ready(argument)` on the keeper's thread whenever there is something to take. `owner`
  // is what the keeper keeps alive.
  Status StartKeeper(Shared* owner, void (*on_ready)(void*), void* argument);
  // The keeper never waits for a driver: it ends at once. Afterwards `on_ready` is not called.
  void StopKeeper();
  [[nodiscard]] int64_t KeeperCpuNs() const { return keeper_.CpuNs(); }

  // Any thread, lock-free, one system call at most:
  // wakes the keeper to prepare and free slabs.
  void Poke() { Signal(kWork); }
  // Wakes the keeper to call on_ready too.
  void PokeReady() { Signal(kWork | kReady); }
  // Gives a reference up; the keeper frees the slab if it was the last.
  void Discard(Slab* slab);
  void AddReady(int64_t bytes) { ready_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void SubtractReady(int64_t bytes) { ready_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

  // Counts slabs that are kept to be used again; false, and not counted, beyond an eighth of the
  // bound. The keeper's.
  [[nodiscard]] bool AddSpare(int64_t bytes) {
    if (bytes > 0 && spare_bytes_ + bytes > bound_bytes_ / 8) return false;
    spare_bytes_ += bytes;
    return true;
  }

  [[nodiscard]] int64_t ready_bytes() const { return ready_bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t bound_bytes() const { return bound_bytes_; }
  // Of all slabs of its tables.
  [[nodiscard]] SlabAccount* account() const { return account_; }
  // Drops the oldest ready slabs of all tables while the bound is exceeded.
  void EnforceBound();
  // Frees what Discard left and what the consumer gave back, and takes nothing back any more. After
  // StopKeeper.
  void FreeDiscarded();

 private:
  static constexpr uint32_t kWork = 1;
  static constexpr uint32_t kReady = 2;
  static constexpr uint32_t kStop = 4;

  static void RunKeeper(void* self);
  void Signal(uint32_t bits);
  // Has slabs that nobody refers to used again by their tables, or frees them. The keeper's.
  void Reuse();

  const int64_t bound_bytes_;
  SlabAccount* const account_;         // one reference
  std::vector<TableOutlet*> outlets_;  // read only where serving_ is true
  std::atomic<bool> serving_{false};
  std::atomic<int64_t> ready_bytes_{0};
  int64_t spare_bytes_ = 0;  // the keeper's
  std::atomic<Slab*> discarded_{nullptr};
  std::atomic<uint32_t> signal_{0};
  void (*on_ready_)(void*) = nullptr;
  void* argument_ = nullptr;
  Thread keeper_;
};

}  // namespace warpgauge
