#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// One fuzz target per parser, all in one binary; test/fuzz/main.cc runs the one that
// WARPGAUGE_FUZZ_TARGET names.
//
//   FUZZ_TARGET(vmstat) {   // takes `std::string_view text`, its bytes exactly as long as
//   allocated
//     ParseVmStat(text);
//   }
//
// The sanitizers find what reads outside its input; FUZZ_CHECK finds wrong results. A corpus folder
// test/fuzz/corpus/<target> with at least one recorded input belongs to each target.

namespace warpgauge::fuzz {

struct Target {
  const char* name;
  void (*run)(std::string_view text);
  const Target* next;
};

// Adds a target to the list; before main, so no lock.
const Target* Register(const char* name, void (*run)(std::string_view text));

}  // namespace warpgauge::fuzz

#define FUZZ_TARGET(name)                                         \
  static void Fuzz_##name(std::string_view text);                 \
  static const ::warpgauge::fuzz::Target* const g_target_##name = \
      ::warpgauge::fuzz::Register(#name, Fuzz_##name);            \
  static void Fuzz_##name([[maybe_unused]] std::string_view text)

#define FUZZ_CHECK(condition)                                                        \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)
