#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <utility>

#include "sanitized.h"

// Of the linker: where the program itself begins, and where its code ends.
extern "C" const char __executable_start;
extern "C" const char etext;

namespace warpgauge {

// Whether a thread can be stopped before each of its instructions. What sanitizers add to them has
// signal handlers and locks of its own.
#if defined(__x86_64__)
inline constexpr bool kCanSingleStep = !kSanitized;
#else
inline constexpr bool kCanSingleStep = false;
#endif

// Calls `look` between any two instructions of a piece of code, in the thread that runs it: every
// moment at which another thread could have come in between. Not within shared libraries. `look`
// answers whether to go on.
//
//   SingleStep steps([&](uint64_t step) { return step < 100; });
//   steps.Begin();
//   ...
//   steps.End();
//
// One at a time in a process. Between the two nothing may take a lock that `look` takes too.
class SingleStep {
 public:
  explicit SingleStep(std::function<bool(uint64_t)> look) : look_(std::move(look)) {
    the_one = this;
    struct sigaction action {};
    action.sa_sigaction = OnTrap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, &before_);
  }
  SingleStep(const SingleStep&) = delete;
  SingleStep& operator=(const SingleStep&) = delete;
  ~SingleStep() {
    End();
    sigaction(SIGTRAP, &before_, nullptr);
    the_one = nullptr;
  }

  void Begin() {
#if defined(__x86_64__)
    // Beside what the compiler keeps below the stack pointer.
    asm volatile(
        "lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp"
        :
        :
        : "memory", "cc");
#endif
  }
  void End() {
#if defined(__x86_64__)
    asm volatile(
        "lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp"
        :
        :
        : "memory", "cc");
#endif
  }
  [[nodiscard]] uint64_t steps() const { return steps_; }

 private:
  static void OnTrap(int /*signal*/, siginfo_t* /*info*/, [[maybe_unused]] void* context) {
#if defined(__x86_64__)
    SingleStep* const self = the_one;
    greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const auto at = reinterpret_cast<const char*>(registers[REG_RIP]);
    if (at < &__executable_start || at >= &etext) return;
    if (!self->look_(self->steps_++)) registers[REG_EFL] &= ~0x100LL;
#endif
  }

  inline static SingleStep* the_one = nullptr;
  std::function<bool(uint64_t)> look_;
  struct sigaction before_ {};
  uint64_t steps_ = 0;
};

}  // namespace warpgauge
