#include "memory/page_kind.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace warpgauge {
namespace {

struct NamedKind {
  PageKind kind;
  const char* name;
};

constexpr NamedKind kNames[] = {
    {PageKind::k4K, "4k"},
    {PageKind::kThp, "thp"},
    {PageKind::k2M, "2m"},
    {PageKind::k1G, "1g"},
    {PageKind::k4KSplit, "4k-split"},
};

}  // namespace

bool ParsePageKind(const char* text, PageKind* kind) {
  const auto* named = std::ranges::find_if(
      kNames, [text](const NamedKind& one) { return std::strcmp(one.name, text) == 0; });
  if (named == std::end(kNames)) return false;
  *kind = named->kind;
  return true;
}

const char* PageKindName(PageKind kind) {
  for (const NamedKind& named : kNames) {
    if (named.kind == kind) return named.name;
  }
  return "unknown";
}

}  // namespace warpgauge
