#include "core/slab_depot.h"

#include "core/futex.h"
#include "core/table_outlet.h"

namespace warpgauge {

SlabDepot::~SlabDepot() {
  FreeDiscarded();
  account_->Unref();
}

Status SlabDepot::StartKeeper(Shared* owner, void (*on_ready)(void*), void* argument) {
  on_ready_ = on_ready;
  argument_ = argument;
  return keeper_.Start(owner, "warpgauge-keep", RunKeeper, this);
}

void SlabDepot::StopKeeper() {
  Signal(kStop);
  static_cast<void>(keeper_.WaitEnded(kNoDeadline));
}

void SlabDepot::RunKeeper(void* self) {
  auto* depot = static_cast<SlabDepot*>(self);
  for (;;) {
    const uint32_t signals = depot->signal_.exchange(0, std::memory_order_acq_rel);
    if ((signals & kStop) != 0) return;
    if (signals == 0) {
      FutexWait(depot->signal_, 0, kNoDeadline);
      continue;
    }
    if ((signals & kReady) != 0) depot->on_ready_(depot->argument_);
    depot->Reuse();
    if (!depot->serving_.load(std::memory_order_acquire)) continue;
    for (TableOutlet* outlet : depot->outlets_) outlet->Prepare();
  }
}

void SlabDepot::Signal(uint32_t bits) {
  // Only the change from "nothing to do" needs a wake-up: the keeper takes all bits at once.
  if (signal_.fetch_or(bits, std::memory_order_acq_rel) == 0) FutexWakeAll(signal_);
}

void SlabDepot::Discard(Slab* slab) {
  if (!slab->Release()) return;
  Slab* head = discarded_.load(std::memory_order_relaxed);
  do {
    slab->next_ = head;
  } while (!discarded_.compare_exchange_weak(
      head, slab, std::memory_order_release, std::memory_order_relaxed));
  Poke();
}

void SlabDepot::Reuse() {
  // Before that the thread that opens the sources prepares their tables.
  const bool may_reuse = serving_.load(std::memory_order_acquire);
  const auto reuse = [&](Slab* slab) {
    const bool is_used = may_reuse && slab->home_ != nullptr && slab->home_->Reuse(slab);
    if (!is_used) Slab::Free(slab);
  };
  Slab* slab = discarded_.exchange(nullptr, std::memory_order_acquire);
  while (slab != nullptr) {
    Slab* next = slab->next_;
    reuse(slab);
    slab = next;
  }
  for (Slab* one : account_->TakeGivenBack()) reuse(one);
}

void SlabDepot::FreeDiscarded() {
  Slab* slab = discarded_.exchange(nullptr, std::memory_order_acquire);
  while (slab != nullptr) {
    Slab* next = slab->next_;
    Slab::Free(slab);
    slab = next;
  }
  account_->Close();
}

void SlabDepot::EnforceBound() {
  if (!serving_.load(std::memory_order_acquire)) return;
  while (ready_bytes() > bound_bytes_) {
    TableOutlet* oldest = nullptr;
    int64_t oldest_ns = INT64_MAX;
    for (TableOutlet* outlet : outlets_) {
      const int64_t ready_ns = outlet->OldestReadyNs();
      if (ready_ns >= oldest_ns) continue;
      oldest_ns = ready_ns;
      oldest = outlet;
    }
    if (oldest == nullptr) return;
    oldest->DropOldest();
  }
}

}  // namespace warpgauge
