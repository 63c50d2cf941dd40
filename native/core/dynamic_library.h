#pragma once

#include <string>
#include <vector>

#include "core/status.h"

namespace warpgauge {

// A driver library opened at run time. Never closed: NVML, libcuda and CUPTI keep threads and
// atexit handlers, and closing them under those crashes the process. Any thread.
class DynamicLibrary {
 public:
  DynamicLibrary() = default;

  // Tries the names in order; the status lists every name with the loader's own reason.
  static Result<DynamicLibrary> Open(const std::vector<std::string>& names);

  // nullptr where the library lacks the symbol: the caller decides whether that is a
  // missing column or an unusable library. Pass the exact versioned name; unsuffixed driver
  // symbols are older ABIs.
  [[nodiscard]] void* Find(const char* symbol) const;

  template <typename F>
  bool Load(const char* symbol, F** function) const {
    *function = reinterpret_cast<F*>(Find(symbol));
    return *function != nullptr;
  }

  [[nodiscard]] bool loaded() const { return handle_ != nullptr; }
  // The file that was really mapped, by the loader's own list; the name asked for if unknown.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void* handle_ = nullptr;
  std::string path_;
};

}  // namespace warpgauge
