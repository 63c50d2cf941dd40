#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/text_scanner.h"

namespace warpgauge {

// One line "name value" (vmstat, numastat, AER), "name: value" or "name: value kB" (meminfo). The
// name ends at the first ':' where the line has one, else at the first blank: "Node 0 MemFree".
struct NamedNumber {
  std::string_view name;
  uint64_t value = 0;  // in bytes where the line says kB
  bool is_bytes = false;
};

// False for lines of any other form, and for numbers that do not fit in 64 bits.
bool ParseNamedNumber(std::string_view line, NamedNumber* result);

// Which line of such a file goes to which column of a row, and the parser of the whole file.
//
// Lines are expected in the order in which they were added, which is the file's own: the steady
// state compares each line with one name and looks nothing up. Lines may nevertheless be missing,
// unknown, or in another order. Filled at opening; Parse never allocates.
class NamedColumns {
 public:
  void Add(std::string name, uint32_t column, bool is_bytes) {
    const bool needs_colon = name.find_first_of(" \t\r") != std::string::npos;
    lines_.push_back({std::move(name), column, is_bytes, needs_colon});
  }
  [[nodiscard]] size_t size() const { return lines_.size(); }

  // Calls set(column, value) for every known line of `text`.
  template <typename Set>
  void Parse(std::string_view text, Set&& set) const {
    const char* at = text.data();
    const char* const end = at + text.size();
    size_t expected = 0;
    while (at < end) {
      if (expected < lines_.size()) {
        const Line& line = lines_[expected];
        const size_t length = line.name.size();
        uint64_t value = 0;
        if (static_cast<size_t>(end - at) > length &&
            std::memcmp(at, line.name.data(), length) == 0) {
          const char* const next = ParseRest(at + length, end, line, &value);
          if (next != nullptr) {
            set(line.column, value);
            at = next;
            expected++;
            continue;
          }
        }
      }
      const auto* newline =
          static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
      if (newline == nullptr) return;  // torn
      NamedNumber number;
      if (ParseNamedNumber({at, static_cast<size_t>(newline - at)}, &number)) {
        const size_t found = Find(number, expected);
        if (found < lines_.size()) {
          set(lines_[found].column, number.value);
          expected = found + 1;
        }
      }
      at = newline + 1;
    }
  }

 private:
  struct Line {
    std::string name;
    uint32_t column;
    bool is_bytes;
    bool needs_colon;  // a name with blanks ends at a colon only
  };

  // What follows an expected name, up to and including the newline; returns where the next line
  // begins, or nullptr when this is not simply the expected number.
  static const char* ParseRest(const char* at, const char* end, const Line& line, uint64_t* value) {
    if (*at == ':') {
      at++;
    } else if (line.needs_colon || !IsBlank(*at)) {
      return nullptr;
    }
    at = ParseU64(SkipBlanks(at, end), end, value);
    if (at == nullptr) return nullptr;
    if (at < end && *at == '\n' && !line.is_bytes) return at + 1;
    return ParseUnit(at, end, line.is_bytes, value);
  }
  static const char* ParseUnit(const char* at, const char* end, bool is_bytes, uint64_t* value);
  // Index of the line that says this, lines_.size() where there is none. Looks from `from` on
  // first: a line that is missing costs one short walk.
  [[nodiscard]] size_t Find(const NamedNumber& number, size_t from) const;

  std::vector<Line> lines_;
};

}  // namespace warpgauge
