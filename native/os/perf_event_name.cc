#include "os/perf_event_name.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <numeric>
#include <utility>

namespace warpgauge {
namespace {

constexpr std::string_view kModifiers = "ukhpPGHSDIWe";
constexpr size_t kLongestName = 1024;
constexpr int kMostCpus = 65536;

Status Unknown(std::string_view text, const std::string& why) {
  return {"ERR_UNKNOWN_EVENT",
          "Expected an event as `perf stat -e` takes it but received \"" +
              std::string(text.substr(0, 80)) + "\": " + why};
}

bool IsNumber(std::string_view text, uint64_t* value) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  if (text.empty()) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return error == std::errc() && end == text.data() + text.size();
}

// r followed by 1 to 16 hexadecimal digits.
bool IsRaw(std::string_view text, uint64_t* value) {
  if (text.size() < 2 || text.size() > 17 || text[0] != 'r') return false;
  const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), *value, 16);
  return error == std::errc() && end == text.data() + text.size();
}

// What becomes part of a path: never a dot in front, never a slash.
bool IsPlainName(std::string_view text) {
  if (text.empty() || text[0] == '.') return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '@';
  });
}

bool AreModifiers(std::string_view text) {
  return !text.empty() && text.find_first_not_of(kModifiers) == std::string_view::npos;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

Result<PerfSyntax> ParsePmu(std::string_view text, size_t slash) {
  PerfSyntax syntax;
  syntax.kind = PerfSyntax::Kind::kPmu;
  const size_t last = text.rfind('/');
  if (last == slash) return Unknown(text, "the second / is missing");
  syntax.name = text.substr(0, slash);
  if (!IsPlainName(syntax.name)) return Unknown(text, "before the first / stands no PMU's name");
  Result<std::vector<PerfTerm>> terms = ParsePerfTerms(text.substr(slash + 1, last - slash - 1));
  if (!terms.ok()) return Unknown(text, terms.status.message());
  syntax.terms = std::move(terms.value);
  syntax.modifiers = text.substr(last + 1);
  if (!syntax.modifiers.empty() && !AreModifiers(syntax.modifiers)) {
    return Unknown(text, "after the last / stand no modifiers");
  }
  return syntax;
}

size_t Distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= left.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= right.size(); j++) {
      const size_t above = row[j];
      const bool same = std::tolower(static_cast<unsigned char>(left[i - 1])) ==
                        std::tolower(static_cast<unsigned char>(right[j - 1]));
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (same ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[right.size()];
}

}  // namespace

std::vector<std::string> SplitPerfEvents(std::string_view text) {
  std::vector<std::string> parts(1);
  bool inside = false;
  for (const char c : text) {
    if (c == '/') inside = !inside;
    if (c == '+' && !inside) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

Result<std::vector<PerfTerm>> ParsePerfTerms(std::string_view text) {
  std::vector<PerfTerm> terms;
  text = Trimmed(text);
  if (text.empty()) return terms;
  for (const std::string_view part : Split(text, ',')) {
    PerfTerm term;
    const size_t equals = part.find('=');
    term.name = part.substr(0, equals);
    if (!IsPlainName(term.name)) {
      return Status("ERR_UNKNOWN_EVENT", "\"" + std::string(part) + "\" is no term");
    }
    if (equals != std::string_view::npos) {
      term.has_value = true;
      term.text = part.substr(equals + 1);
      term.is_number = IsNumber(term.text, &term.value);
      if (term.text.empty()) {
        return Status("ERR_UNKNOWN_EVENT", "\"" + std::string(part) + "\" has no value");
      }
    }
    terms.push_back(std::move(term));
  }
  return terms;
}

Result<PerfSyntax> ParsePerfEvent(std::string_view text) {
  if (text.empty()) return Unknown(text, "it is empty");
  if (text.size() > kLongestName) return Unknown(text, "it is too long");
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    return ParsePmu(text, slash);
  }
  std::vector<std::string_view> parts = Split(text, ':');
  PerfSyntax syntax;
  syntax.name = parts[0];
  if (!IsPlainName(parts[0])) return Unknown(text, "that is no name");
  uint64_t config = 0;
  const bool is_number = IsNumber(parts[0], &syntax.type);
  // The second part is an event or the modifiers; the third can only be modifiers.
  const bool has_event =
      parts.size() > 1 &&
      (is_number ? IsNumber(parts[1], &config) : parts.size() > 2 || !AreModifiers(parts[1]));
  const size_t modifiers_at = has_event ? 2 : 1;
  if (parts.size() > modifiers_at + 1) return Unknown(text, "it has too many colons");
  if (parts.size() == modifiers_at + 1) {
    syntax.modifiers = parts[modifiers_at];
    if (!AreModifiers(syntax.modifiers)) {
      return Unknown(text, "\"" + syntax.modifiers + "\" are no modifiers");
    }
  }
  if (is_number) {
    if (!has_event || syntax.type > UINT32_MAX) return Unknown(text, "that is no type:config");
    syntax.kind = PerfSyntax::Kind::kNumber;
    syntax.config = config;
  } else if (has_event) {
    syntax.kind = PerfSyntax::Kind::kTracepoint;
    syntax.event = parts[1];
    if (!IsPlainName(syntax.event)) return Unknown(text, "that is no tracepoint's name");
  } else if (IsRaw(parts[0], &syntax.config)) {
    syntax.kind = PerfSyntax::Kind::kRaw;
  }
  return syntax;
}

Status ApplyPerfModifiers(std::string_view modifiers, perf_event_attr* attr) {
  if (modifiers.empty()) return Status::Ok();
  const auto has = [&](char c) { return modifiers.find(c) != std::string_view::npos; };
  for (const char c : modifiers) {
    const auto count = std::count(modifiers.begin(), modifiers.end(), c);
    if (kModifiers.find(c) == std::string_view::npos || count > (c == 'p' ? 3 : 1)) {
      return Unknown(modifiers,
                     std::string("\":") + std::string(modifiers) + "\" are no modifiers");
    }
  }
  const bool any_level = has('u') || has('k') || has('h');
  attr->exclude_user = any_level && !has('u') ? 1 : 0;
  attr->exclude_kernel = any_level && !has('k') ? 1 : 0;
  attr->exclude_hv = any_level && !has('h') ? 1 : 0;
  // perf's own rule: guests are left out by :u and :p, by nothing else, unless :G or :H say it.
  const bool any_side = has('G') || has('H');
  attr->exclude_guest = (any_side ? !has('G') : has('u') || has('p')) ? 1 : 0;
  attr->exclude_host = any_side && !has('H') ? 1 : 0;
  attr->exclude_idle = has('I') ? 1 : 0;
  attr->precise_ip = static_cast<uint64_t>(std::count(modifiers.begin(), modifiers.end(), 'p')) & 3;
  attr->pinned = has('D') ? 1 : 0;
  attr->exclusive = has('e') ? 1 : 0;
  return Status::Ok();
}

bool ParsePerfFormat(std::string_view text, PerfFormat* format) {
  text = Trimmed(text);
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view word = text.substr(0, colon);
  PerfFormat result;
  if (word == "config") {
    result.word = PerfFormat::Word::kConfig;
  } else if (word == "config1") {
    result.word = PerfFormat::Word::kConfig1;
  } else if (word == "config2") {
    result.word = PerfFormat::Word::kConfig2;
  } else {
    return false;  // config3 and later: newer than the attribute this is built with
  }
  for (const std::string_view range : Split(text.substr(colon + 1), ',')) {
    const size_t dash = range.find('-');
    uint64_t first = 0;
    if (!IsNumber(range.substr(0, dash), &first)) return false;
    uint64_t last = first;
    if (dash != std::string_view::npos && !IsNumber(range.substr(dash + 1), &last)) return false;
    if (first > last || last > 63) return false;
    for (uint64_t bit = first; bit <= last; bit++) result.bits |= uint64_t{1} << bit;
  }
  *format = result;
  return true;
}

bool PlacePerfValue(const PerfFormat& format, uint64_t value, perf_event_attr* attr) {
  uint64_t placed = 0;
  for (int bit = 0; bit < 64; bit++) {
    if ((format.bits >> bit & 1) == 0) continue;
    placed |= (value & 1) << bit;
    value >>= 1;
  }
  if (value != 0) return false;
  switch (format.word) {
    case PerfFormat::Word::kConfig:
      attr->config |= placed;
      break;
    case PerfFormat::Word::kConfig1:
      attr->config1 |= placed;
      break;
    case PerfFormat::Word::kConfig2:
      attr->config2 |= placed;
      break;
  }
  return true;
}

bool ParseCpuList(std::string_view text, std::vector<int>* cpus) {
  std::string commas(Trimmed(text));
  std::replace(commas.begin(), commas.end(), '+', ',');
  std::vector<int> list;
  for (const std::string_view range : Split(commas, ',')) {
    const size_t dash = range.find('-');
    uint64_t first = 0;
    if (!IsNumber(range.substr(0, dash), &first)) return false;
    uint64_t last = first;
    if (dash != std::string_view::npos && !IsNumber(range.substr(dash + 1), &last)) return false;
    if (first > last || last >= kMostCpus) return false;
    for (uint64_t cpu = first; cpu <= last; cpu++) list.push_back(static_cast<int>(cpu));
    if (list.size() > kMostCpus) return false;
  }
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  *cpus = std::move(list);
  return true;
}

std::string PerfColumnName(std::string_view event) {
  std::string column;
  for (const char c : event) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      column.push_back(static_cast<char>(std::tolower(byte)));
    } else if (!column.empty() && column.back() != '_') {
      column.push_back('_');
    }
  }
  while (!column.empty() && column.back() == '_') column.pop_back();
  if (column.empty()) return "event";
  // A name that starts with a digit (1:2) has to be quoted in every query language.
  return std::isdigit(static_cast<unsigned char>(column[0])) != 0 ? "event_" + column : column;
}

std::vector<std::string> NearNames(std::string_view name,
                                   const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, std::string>> near;
  const size_t most = std::max<size_t>(2, name.size() / 3);
  for (const std::string& candidate : candidates) {
    const size_t longer = std::max(candidate.size(), name.size());
    if (longer - std::min(candidate.size(), name.size()) > most) continue;
    const size_t distance = Distance(name, candidate);
    if (distance <= most) near.emplace_back(distance, candidate);
  }
  std::sort(near.begin(), near.end());
  near.erase(std::unique(near.begin(), near.end()), near.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < near.size() && i < 3; i++) names.push_back(near[i].second);
  return names;
}

}  // namespace warpgauge
