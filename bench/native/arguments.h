#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/status.h"

namespace warpgauge {

// The value after `--name`, else `fallback`. The executables are started by the TypeScript of this
// folder only, which gives every argument.
inline const char* Argument(int argc, char** argv, const char* name, const char* fallback) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], name) == 0) return argv[i + 1];
  }
  return fallback;
}

inline size_t NumberArgument(int argc, char** argv, const char* name, size_t fallback) {
  const char* text = Argument(argc, argv, name, nullptr);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

[[noreturn]] inline void Stop(int exit_code, const char* what, const Status& status) {
  std::fprintf(stderr, "%s: %s (%s)\n", what, status.message().c_str(), status.code());
  std::exit(exit_code);
}

// The benchmark is wrong.
[[noreturn]] inline void Fail(const char* what, const Status& status) { Stop(1, what, status); }

// The machine cannot: the case is skipped for this reason (bench/native.ts knows the exit code).
[[noreturn]] inline void Unavailable(const char* what, const Status& status) {
  Stop(3, what, status);
}

}  // namespace warpgauge
