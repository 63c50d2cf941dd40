#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpgauge {

// One kind of call to one GPU: what it costs and how often it is wanted.
struct CallDemand {
  int64_t cost_ns = 0;
  int64_t wanted_ns = 0;  // 0: not wanted
  bool exempt = false;    // outside the budget: asked for at any cost
  bool last = false;      // of the dear ones the last to give way: what the user came for
};

// Calls that cost this much need the GPU's own processor; what the driver answers from a shared
// page takes 15 us at most (H200). Only the first kind is worth postponing.
inline constexpr int64_t kDearCallNs = 80'000;

// Of the user's share, what calls are planned for; the rest is for calls that fall together and for
// those that took longer than they did before.
inline constexpr double kPlannedPart = 0.85;

// How often each call is made so that the time inside the driver, the sum of cost / interval over
// what is not exempt, stays within `share` of the wall time. Calls of 80 us and more give way
// first, the dearest before the others and those marked `last` after them: to once in a second,
// then once in 10 s, once in a minute. Only then do the cheap ones, in the same way, and if that is
// not enough all equally. Every interval is a whole multiple of the wanted one, because calls are
// made at ticks; 0 for what is not wanted.
std::vector<int64_t> PlanSchedule(const std::vector<CallDemand>& demands, double share);

// The share that a plan takes, exempt calls left out.
double ShareOf(const std::vector<CallDemand>& demands, const std::vector<int64_t>& intervals);

// The time that may be spent inside the driver for one GPU. A plan bounds the mean; this bounds
// what falls into any 10 s: calls that are due together, or that took longer than planned, put it
// into debt, and dear ones then wait until that is paid off. At the default share any 10 s (50 ms)
// hold at most 42.5 ms of credit, 2.5 ms that were saved before, and the last call.
class CallBudget {
 public:
  void SetShare(double share) { share_ = share; }
  // What a call really took, postponable or not.
  void Charge(int64_t now_ns, int64_t cost_ns);
  // 0: a dear call that has been due since `due_ns` may be made now; else ns after which to ask
  // again. Of those that wait the one that was due first comes first.
  [[nodiscard]] int64_t WaitNs(int64_t now_ns, int64_t due_ns);

 private:
  void Accrue(int64_t now_ns);
  double share_ = 1;
  double credit_ns_ = 0;
  int64_t accrued_ns_ = 0;    // until when; 0: not begun
  int64_t first_due_ns_ = 0;  // of the calls that wait; 0: none does
  int64_t first_asked_at_ns_ = 0;
};

}  // namespace warpgauge
