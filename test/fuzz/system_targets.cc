#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/cpu_cache.h"
#include "os/folder_entities.h"
#include "os/named_columns.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"
#include "os/vmstat.h"
#include "targets.h"

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every target
                            // here

namespace {

// The number by the book: digits, wide arithmetic.
std::optional<uint64_t> SlowNumber(std::string_view text, size_t* length) {
  unsigned __int128 number = 0;
  bool is_large = false;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; i++) {
    number = number * 10 + static_cast<unsigned>(text[i] - '0');
    is_large = is_large || number > UINT64_MAX;
    if (is_large) number = UINT64_MAX;
  }
  *length = i;
  if (i == 0 || is_large) return std::nullopt;
  return static_cast<uint64_t>(number);
}

template <typename Parse>
void EachLine(std::string_view text, Parse&& parse) {
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) parse(line);
}

// What a parser hands out points into its input.
void CheckInside(std::string_view part, std::string_view whole) {
  if (part.empty()) return;
  FUZZ_CHECK(part.data() >= whole.data());
  FUZZ_CHECK(part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

FUZZ_TARGET(number) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const char* const stop = ParseU64(text.data(), end, &value);
  size_t length = 0;
  const std::optional<uint64_t> expected = SlowNumber(text, &length);
  FUZZ_CHECK((stop != nullptr) == expected.has_value());
  if (stop != nullptr) {
    FUZZ_CHECK(value == *expected);
    FUZZ_CHECK(stop == text.data() + length);
  }
  ParseNumberFile(text, &value);
  int64_t signed_value = 0;
  ParseSignedNumberFile(text, &signed_value);
  uint64_t nano = 0;
  const char* const decimal = ParseDecimalNano(text.data(), end, &nano);
  FUZZ_CHECK(decimal == nullptr || (decimal >= text.data() && decimal <= end));
  uint32_t number = 0;
  NumberAfter(text, "node", &number);
}

// The fast path of NamedColumns must say what the plain parser of single lines says, for lines in
// their order, in another order, missing and broken.
FUZZ_TARGET(named_lines) {
  // Columns from the first half of the text, values from all of it.
  NamedColumns columns;
  std::vector<std::pair<std::string, bool>> names;
  const auto find = [&](std::string_view name, bool is_bytes) {
    for (size_t i = 0; i < names.size(); i++) {
      if (names[i].first == name && names[i].second == is_bytes) return i;
    }
    return names.size();
  };
  EachLine(text.substr(0, text.size() / 2), [&](std::string_view line) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number)) return;
    CheckInside(number.name, line);
    if (find(number.name, number.is_bytes) != names.size()) return;
    columns.Add(std::string(number.name), static_cast<uint32_t>(names.size()), number.is_bytes);
    names.emplace_back(number.name, number.is_bytes);
  });
  std::map<uint32_t, uint64_t> expected;
  EachLine(text, [&](std::string_view line) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number)) return;
    const size_t column = find(number.name, number.is_bytes);
    if (column != names.size()) expected[static_cast<uint32_t>(column)] = number.value;
  });
  std::map<uint32_t, uint64_t> found;
  columns.Parse(text, [&](uint32_t column, uint64_t value) { found[column] = value; });
  FUZZ_CHECK(found == expected);
  ParseVmStat(text);
  for (const char c : SnakeCase(text)) {
    FUZZ_CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_');
  }
}

FUZZ_TARGET(stat) {
  EachLine(text, [](std::string_view line) {
    CpuTimes times;
    if (ParseCpuLine(line, &times)) FUZZ_CHECK(times.fields <= CpuTimes::kMaxFields);
  });
  FUZZ_CHECK(ParseStealTicks(text, 0) >= -1);
}

FUZZ_TARGET(diskstats) {
  EachLine(text, [](std::string_view line) {
    LineValues disk;
    if (!ParseDiskLine(line, &disk)) return;
    FUZZ_CHECK(disk.fields >= 1 && disk.fields <= LineValues::kMaxFields);
    CheckInside(disk.name, line);
  });
}

FUZZ_TARGET(net_dev) {
  EachLine(text, [](std::string_view line) {
    LineValues interface;
    if (!ParseNetLine(line, &interface)) return;
    FUZZ_CHECK(interface.fields >= 1 && interface.fields <= LineValues::kMaxFields);
    CheckInside(interface.name, line);
  });
}

FUZZ_TARGET(pressure) {
  EachLine(text, [](std::string_view line) {
    PressureLine pressure;
    if (!ParsePressureLine(line, &pressure)) return;
    FUZZ_CHECK(pressure.avg10_ratio >= 0 && pressure.avg300_ratio >= 0);
  });
}

FUZZ_TARGET(link_speed) {
  uint64_t speed = 0;
  ParseLinkSpeed(text, &speed);
  ParseCacheSize(std::string(text));
}
