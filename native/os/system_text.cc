#include "os/system_text.h"

#include <limits>

#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr uint64_t kLargestSigned = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

// Numbers up to the first word that is none; returns how many.
uint32_t ParseFields(WordScanner* words, uint64_t* values, uint32_t most) {
  uint32_t count = 0;
  while (count < most && words->U64(&values[count])) count++;
  return count;
}

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// "avg10=0.12" as a ratio: 0.0012.
bool ParsePercent(std::string_view word, std::string_view name, double* ratio) {
  if (!StartsWith(word, name)) return false;
  const char* const end = word.data() + word.size();
  uint64_t nano = 0;
  if (ParseDecimalNano(word.data() + name.size(), end, &nano) != end) return false;
  constexpr double kNanoPerRatio = 1e11;  // 1e9 and per cent
  *ratio = static_cast<double>(nano) / kNanoPerRatio;
  return true;
}

}  // namespace

bool ParseCpuLine(std::string_view line, CpuTimes* times) {
  constexpr std::string_view kCpu = "cpu";
  if (!StartsWith(line, kCpu) || line.size() == kCpu.size()) return false;
  times->is_total = IsBlank(line[kCpu.size()]);
  WordScanner words(line.substr(kCpu.size()));
  if (!times->is_total) {
    uint64_t cpu = 0;
    if (!words.U64(&cpu) || cpu > std::numeric_limits<uint32_t>::max()) return false;
    times->cpu = static_cast<uint32_t>(cpu);
  }
  times->fields = ParseFields(&words, times->ticks, CpuTimes::kMaxFields);
  return true;
}

int64_t ParseStealTicks(std::string_view text, int cpu) {
  constexpr uint32_t kSteal = 7;
  LineScanner lines(text);
  std::string_view line;
  CpuTimes times;
  while (lines.Next(&line) && ParseCpuLine(line, &times)) {  // the CPU lines come first
    if (times.is_total || times.cpu != static_cast<uint32_t>(cpu)) continue;
    if (times.fields <= kSteal || times.ticks[kSteal] > kLargestSigned) return -1;
    return static_cast<int64_t>(times.ticks[kSteal]);
  }
  return -1;
}

bool ParseDiskLine(std::string_view line, LineValues* disk) {
  WordScanner words(line);
  uint64_t number = 0;
  if (!words.U64(&number) || !words.U64(&number)) return false;
  disk->name = words.Word();
  if (disk->name.empty()) return false;
  disk->fields = ParseFields(&words, disk->values, LineValues::kMaxFields);
  return disk->fields > 0;
}

bool ParseNetLine(std::string_view line, LineValues* interface) {
  constexpr uint32_t kNetFields = 16;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  WordScanner name(line.substr(0, colon));
  interface->name = name.Word();
  if (interface->name.empty() || !name.Word().empty()) return false;
  WordScanner words(line.substr(colon + 1));
  interface->fields = ParseFields(&words, interface->values, kNetFields);
  return interface->fields > 0;
}

bool ParsePressureLine(std::string_view line, PressureLine* pressure) {
  constexpr std::string_view kTotal = "total=";
  WordScanner words(line);
  const std::string_view kind = words.Word();
  pressure->is_full = kind == "full";
  if (!pressure->is_full && kind != "some") return false;
  if (!ParsePercent(words.Word(), "avg10=", &pressure->avg10_ratio) ||
      !ParsePercent(words.Word(), "avg60=", &pressure->avg60_ratio) ||
      !ParsePercent(words.Word(), "avg300=", &pressure->avg300_ratio)) {
    return false;
  }
  const std::string_view total = words.Word();
  const char* const end = total.data() + total.size();
  return StartsWith(total, kTotal) &&
         ParseU64(total.data() + kTotal.size(), end, &pressure->total_us) == end &&
         words.Word().empty();
}

const char* ParseDecimalNano(const char* at, const char* end, uint64_t* nano) {
  constexpr uint64_t kNano = 1'000'000'000;
  uint64_t whole = 0;
  at = ParseU64(at, end, &whole);
  if (at == nullptr || __builtin_mul_overflow(whole, kNano, &whole)) return nullptr;
  uint64_t fraction = 0;
  if (at < end && *at == '.') {
    uint64_t unit = kNano;
    const char* const first = ++at;
    for (; at < end; at++) {
      const auto digit = static_cast<unsigned>(*at) - '0';
      if (digit > 9) break;
      unit /= 10;
      if (unit == 0) return nullptr;  // finer than we can say
      fraction += digit * unit;
    }
    if (at == first) return nullptr;
  }
  if (__builtin_add_overflow(whole, fraction, nano)) return nullptr;
  return at;
}

bool ParseLinkSpeed(std::string_view text, uint64_t* transfers_per_second) {
  std::string_view line;
  if (!LineScanner(text).Next(&line)) return false;
  WordScanner words(line);
  const std::string_view number = words.Word();
  const char* const end = number.data() + number.size();
  uint64_t nano = 0;
  // Giga is the inverse of nano: 2.5 GT/s are 2.5e9 transfers per second.
  if (ParseDecimalNano(number.data(), end, &nano) != end || words.Word() != "GT/s") return false;
  *transfers_per_second = nano;
  return true;
}

bool ParseSignedNumberFile(std::string_view text, int64_t* value) {
  const bool is_negative = !text.empty() && text[0] == '-';
  if (is_negative && (text.size() < 2 || IsBlank(text[1]))) return false;
  uint64_t number = 0;
  if (!ParseNumberFile(text.substr(is_negative ? 1 : 0), &number) || number > kLargestSigned) {
    return false;
  }
  *value = is_negative ? -static_cast<int64_t>(number) : static_cast<int64_t>(number);
  return true;
}

}  // namespace warpgauge
