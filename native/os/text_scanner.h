#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

// The smallest parts of a parser of /proc and /sys text: no allocation, no copy, never a read
// beyond `end`, any bytes as input (fuzzed by test/fuzz).

namespace warpgauge {

inline bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

inline const char* SkipBlanks(const char* at, const char* end) {
  while (at < end && IsBlank(*at)) at++;
  return at;
}

// The decimal number at `at`; returns where it ends, or nullptr when there is no digit or the
// number is beyond 2^64-1: a cell is then null, never a cut number.
inline const char* ParseU64(const char* at, const char* end, uint64_t* value) {
  constexpr int kSafeDigits = 19;  // 10^19 - 1 fits in 64 bits
  const char* const start = at;
  const char* const safe = end - at > kSafeDigits ? at + kSafeDigits : end;
  uint64_t number = 0;
  for (; at < safe; at++) {
    const auto digit = static_cast<unsigned>(*at) - '0';
    if (digit > 9) break;
    number = number * 10 + digit;
  }
  if (at == start) return nullptr;
  for (; at < end && at >= start + kSafeDigits; at++) {
    const auto digit = static_cast<unsigned>(*at) - '0';
    if (digit > 9) break;
    if (__builtin_mul_overflow(number, uint64_t{10}, &number) ||
        __builtin_add_overflow(number, uint64_t{digit}, &number)) {
      return nullptr;
    }
  }
  *value = number;
  return at;
}

// Walks a text line by line. A last line without its newline is torn (its number may be cut) and
// is not given out.
class LineScanner {
 public:
  explicit LineScanner(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

  bool Next(std::string_view* line) {
    if (at_ == end_) return false;
    const auto* newline =
        static_cast<const char*>(std::memchr(at_, '\n', static_cast<size_t>(end_ - at_)));
    if (newline == nullptr) return false;
    *line = {at_, static_cast<size_t>(newline - at_)};
    at_ = newline + 1;
    return true;
  }

 private:
  const char* at_;
  const char* end_;
};

// Walks a line word by word; words are separated by any number of blanks.
class WordScanner {
 public:
  explicit WordScanner(std::string_view line) : at_(line.data()), end_(at_ + line.size()) {}

  // Empty at the end of the line.
  std::string_view Word() {
    at_ = SkipBlanks(at_, end_);
    const char* const start = at_;
    while (at_ < end_ && !IsBlank(*at_)) at_++;
    return {start, static_cast<size_t>(at_ - start)};
  }

  // The next word as a number; false (and nothing consumed) when it is none: "-", "12x", 2^64.
  bool U64(uint64_t* value) {
    const char* const start = SkipBlanks(at_, end_);
    const char* const stop = ParseU64(start, end_, value);
    if (stop == nullptr || (stop < end_ && !IsBlank(*stop))) return false;
    at_ = stop;
    return true;
  }

 private:
  const char* at_;
  const char* end_;
};

// A whole file that is one number, such as those of /sys: "2048\n". The newline must be there.
inline bool ParseNumberFile(std::string_view text, uint64_t* value) {
  std::string_view line;
  if (!LineScanner(text).Next(&line)) return false;
  WordScanner words(line);
  return words.U64(value) && words.Word().empty();
}

}  // namespace warpgauge
