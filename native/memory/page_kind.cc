#include "memory/page_kind.h"

#include <cstring>

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
  for (const NamedKind& named : kNames) {
    if (std::strcmp(named.name, text) == 0) {
      *kind = named.kind;
      return true;
    }
  }
  return false;
}

const char* PageKindName(PageKind kind) {
  for (const NamedKind& named : kNames) {
    if (named.kind == kind) return named.name;
  }
  return "unknown";
}

}  // namespace warpgauge
