#include <cstring>

#include "targets.h"

namespace warpgauge::fuzz {
namespace {

// Zero-initialized before any Register runs, whatever the order of the files.
const Target* g_targets = nullptr;
const Target* g_chosen = nullptr;

}  // namespace

const Target* Register(const char* name, void (*run)(std::string_view text)) {
  g_targets = new Target{name, run, g_targets};
  return g_targets;
}

}  // namespace warpgauge::fuzz

// Called by libFuzzer. `--targets` lists the names, for scripts/fuzz.mjs.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using warpgauge::fuzz::g_chosen;
  using warpgauge::fuzz::g_targets;
  if (*argc == 2 && std::strcmp((*argv)[1], "--targets") == 0) {
    for (const auto* target = g_targets; target != nullptr; target = target->next) {
      std::puts(target->name);
    }
    std::exit(0);
  }
  const char* const wanted = std::getenv("WARPGAUGE_FUZZ_TARGET");
  for (const auto* target = g_targets; target != nullptr; target = target->next) {
    if (wanted != nullptr && std::strcmp(target->name, wanted) == 0) g_chosen = target;
  }
  if (g_chosen == nullptr) {
    std::fprintf(stderr, "WARPGAUGE_FUZZ_TARGET names no target; --targets lists them\n");
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  warpgauge::fuzz::g_chosen->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
