#include "core/patience.h"

#include <algorithm>
#include <atomic>

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kPatienceNs = 400 * kMs;
constexpr int64_t kLeastNs = 20 * kMs;
constexpr int64_t kRememberedNs = 1000 * kMs;

// Written and read by any thread; a stale value costs some 400 ms, so relaxed will do.
std::atomic<int64_t> g_left_behind_ns{-kRememberedNs};

}  // namespace

int64_t StopDeadlineNs(int64_t now_ns, int64_t call_since_ns) {
  const int64_t forgotten_ns = g_left_behind_ns.load(std::memory_order_relaxed) + kRememberedNs;
  if (call_since_ns == 0 || now_ns >= forgotten_ns) return now_ns + kPatienceNs;
  return std::clamp(call_since_ns + kPatienceNs, now_ns + kLeastNs, now_ns + kPatienceNs);
}

void NoteLeftBehind(int64_t now_ns) { g_left_behind_ns.store(now_ns, std::memory_order_relaxed); }

}  // namespace warpgauge
