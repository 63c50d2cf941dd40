#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/dynamic_library.h"
#include "gpu/cuda/table.h"

namespace warpgauge {

// A script for the fake driver libraries (test/native/fake/script.h) and the log of what was
// called. The simulated machine restarts with every object of this class: each script
// differs by its number.
class FakeDriver {
 public:
  explicit FakeDriver(const std::string& script) {
    static int count = 0;
    const std::string base =
        "/tmp/warpgauge-fake-" + std::to_string(getpid()) + "-" + std::to_string(++count);
    script_path_ = base + ".script";
    log_path_ = base + ".log";
    std::ofstream(script_path_) << "# " << count << "\n" << script;
    setenv("WARPGAUGE_FAKE_SCRIPT", script_path_.c_str(), 1);
    setenv("WARPGAUGE_FAKE_LOG", log_path_.c_str(), 1);
  }
  FakeDriver(const FakeDriver&) = delete;
  FakeDriver& operator=(const FakeDriver&) = delete;
  ~FakeDriver() {
    unsetenv("WARPGAUGE_FAKE_SCRIPT");
    unsetenv("WARPGAUGE_FAKE_LOG");
    unlink(script_path_.c_str());
    unlink(log_path_.c_str());
  }

  static std::string Folder() {
    const char* folder = std::getenv("WARPGAUGE_FAKE_DIR");
    return folder != nullptr ? folder : "out/debug/fake";
  }
  static std::string Cuda() { return Folder() + "/libcuda.so.1"; }
  static std::string Nvml() { return Folder() + "/libnvidia-ml.so.1"; }
  // CUDA 13.0, or `generation` 12.8, 12.0, ... with what it exported.
  static std::string Cupti(const std::string& generation = "") {
    return Folder() + (generation.empty() ? "" : "/cupti-" + generation) + "/libcupti.so";
  }

  [[nodiscard]] const std::string& log_path() const { return log_path_; }
  // "cuStreamSynchronize() = 0" and so on, in order, without the time.
  [[nodiscard]] std::vector<std::string> Log() const {
    std::vector<std::string> lines;
    std::ifstream file(log_path_);
    for (std::string line; std::getline(file, line);) {
      lines.push_back(line.substr(line.find(' ') + 1));
    }
    return lines;
  }
  // The names alone, from line `from` of the log on.
  [[nodiscard]] std::vector<std::string> Calls(size_t from = 0) const {
    std::vector<std::string> names;
    const std::vector<std::string> log = Log();
    for (size_t i = from; i < log.size(); ++i) names.push_back(log[i].substr(0, log[i].find('(')));
    return names;
  }
  [[nodiscard]] size_t Count(const std::string& name) const {
    size_t count = 0;
    for (const std::string& call : Calls()) count += call == name ? 1 : 0;
    return count;
  }

 private:
  std::string script_path_, log_path_;
};

// What the order checker of the fake saw first; empty when nothing.
inline std::string Violation() {
  const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Cuda()});
  const char* (*violation)() = nullptr;
  REQUIRE(library.value.Load("warpgauge_fake_violation", &violation));
  return violation();
}

inline CudaTable FakeTable(const std::set<std::string>& hidden = {}) {
  const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Cuda()});
  REQUIRE(library.ok());
  const Result<CudaTable> table = ResolveCuda(
      [&](const char* name) { return hidden.contains(name) ? nullptr : library.value.Find(name); },
      "a library with hidden symbols");
  REQUIRE_MESSAGE(table.ok(), table.status.message());
  return table.value;
}

}  // namespace warpgauge
