#include "memory/smaps.h"

#include <charconv>

#include "memory/kernel_files.h"

namespace warpgauge {
namespace {

// Header lines are "7f0000000000-7f0000200000 rw-p ..."; all others start with an upper-case word.
bool ParseHeader(std::string_view line, SmapsEntry* entry) {
  const char* last = line.data() + line.size();
  const auto from = std::from_chars(line.data(), last, entry->start, 16);
  if (from.ec != std::errc() || from.ptr == last || *from.ptr != '-') return false;
  const auto to = std::from_chars(from.ptr + 1, last, entry->end, 16);
  return to.ec == std::errc() && to.ptr != last && *to.ptr == ' ' && entry->start < entry->end;
}

// "Rss:               65536 kB" as bytes.
uint64_t ParseKilobytes(std::string_view value) {
  const size_t first = value.find_first_not_of(' ');
  if (first == std::string_view::npos) return 0;
  uint64_t number = 0;
  std::from_chars(value.data() + first, value.data() + value.size(), number);
  return number * 1024;
}

void AddField(std::string_view name, std::string_view value, SmapsEntry* entry) {
  if (name == "Rss") {
    entry->rss = ParseKilobytes(value);
  } else if (name == "AnonHugePages" || name == "ShmemPmdMapped" || name == "FilePmdMapped") {
    entry->huge += ParseKilobytes(value);
  } else if (name == "Private_Hugetlb" || name == "Shared_Hugetlb") {
    entry->hugetlb += ParseKilobytes(value);
  } else if (name == "KernelPageSize") {
    entry->kernel_page_size = ParseKilobytes(value);
  } else if (name == "VmFlags") {
    for (const std::string_view flag : SplitFields(value, ' ')) {
      if (flag == "ht") entry->is_hugetlb = true;
    }
  }
}

}  // namespace

std::vector<SmapsEntry> ParseSmaps(std::string_view text, uint64_t start, uint64_t end) {
  std::vector<SmapsEntry> entries;
  bool wanted = false;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    SmapsEntry header;
    if (ParseHeader(line, &header)) {
      wanted = header.start < end && start < header.end;
      if (wanted) entries.push_back(header);
      continue;
    }
    const size_t colon = line.find(':');
    if (wanted && colon != std::string_view::npos) {
      AddField(line.substr(0, colon), line.substr(colon + 1), &entries.back());
    }
  }
  return entries;
}

}  // namespace warpgauge
