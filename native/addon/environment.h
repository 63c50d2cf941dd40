#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "addon/napi_setup.h"
#include "copy/sample.h"

namespace warpgauge {

struct LiveSampler;

// All state of one JavaScript environment (main thread or worker). Nothing of an environment lives
// in a global: the addon is loaded into many environments of one process at once.
struct Environment {
  Napi::FunctionReference error_class;
  std::unique_ptr<SampleRunner> runner;  // the copying child only
  int pinned_cpu = -1;
  std::map<uint32_t, std::unique_ptr<LiveSampler>> samplers;
  uint32_t last_sampler = 0;
  std::set<uint32_t> traces;  // those that it made and has not released

  Environment();
  ~Environment();
};

}  // namespace warpgauge
