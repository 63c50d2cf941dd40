#include "os/named_columns.h"

namespace warpgauge {
namespace {

constexpr std::string_view kKilobytes = "kB";

}  // namespace

bool ParseNamedNumber(std::string_view line, NamedNumber* result) {
  const char* const start = line.data();
  const char* const end = start + line.size();
  size_t length = line.find(':');
  const char* at = nullptr;
  if (length != std::string_view::npos) {
    at = start + length + 1;
  } else {
    length = 0;
    while (length < line.size() && !IsBlank(line[length])) length++;
    at = start + length;
  }
  if (length == 0) return false;
  at = ParseU64(SkipBlanks(at, end), end, &result->value);
  if (at == nullptr || (at < end && !IsBlank(*at))) return false;
  at = SkipBlanks(at, end);
  result->is_bytes = static_cast<size_t>(end - at) >= kKilobytes.size() &&
                     std::memcmp(at, kKilobytes.data(), kKilobytes.size()) == 0;
  if (result->is_bytes) {
    if (__builtin_mul_overflow(result->value, uint64_t{1024}, &result->value)) return false;
    at = SkipBlanks(at + kKilobytes.size(), end);
  }
  result->name = line.substr(0, length);
  return at == end;
}

const char* NamedColumns::ParseUnit(const char* at,
                                    const char* end,
                                    bool is_bytes,
                                    uint64_t* value) {
  if (at == end || !IsBlank(*at)) return nullptr;  // "12kB" and "12x" are no numbers
  at = SkipBlanks(at, end);
  if (is_bytes) {
    if (static_cast<size_t>(end - at) < kKilobytes.size() ||
        std::memcmp(at, kKilobytes.data(), kKilobytes.size()) != 0 ||
        __builtin_mul_overflow(*value, uint64_t{1024}, value)) {
      return nullptr;
    }
    at = SkipBlanks(at + kKilobytes.size(), end);
  }
  return at < end && *at == '\n' ? at + 1 : nullptr;
}

size_t NamedColumns::Find(const NamedNumber& number, size_t from) const {
  const auto matches = [&](const Line& line) {
    return line.is_bytes == number.is_bytes && line.name == number.name;
  };
  for (size_t i = from; i < lines_.size(); i++) {
    if (matches(lines_[i])) return i;
  }
  for (size_t i = 0; i < from && i < lines_.size(); i++) {
    if (matches(lines_[i])) return i;
  }
  return lines_.size();
}

}  // namespace warpgauge
