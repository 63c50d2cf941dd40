#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace warpgauge {

// The names behind a kName or kNameId column: append-only, so a code once written stays right
// whatever is dropped or delivered later. The producer asks once per *new entity*, never per row;
// JavaScript reads the tail when the count has grown. The lock is therefore rare on both sides.
class NameList {
 public:
  // Beyond this many names Code answers -1 and the cell is to stay null ("too_many_names").
  static constexpr uint32_t kMaxNames = 1U << 20;

  // The code of a name, adding it when it is new. Allocates only then.
  int32_t Code(std::string_view name);
  [[nodiscard]] uint32_t size() const;
  // Names [from, size()).
  [[nodiscard]] std::vector<std::string> Since(uint32_t from) const;

 private:
  // Lets a name be looked up that is no std::string: no copy of one that is known.
  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the library's word
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> codes_;
  std::vector<std::string> names_;
};

}  // namespace warpgauge
