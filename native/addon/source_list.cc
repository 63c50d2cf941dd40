#include "addon/source_list.h"

namespace warpgauge {
namespace {

struct Entry {
  const char* name;
  SourceFactory factory;
};

constexpr Entry kSources[] = {
    {nullptr, nullptr},  // ends the list
};

}  // namespace

SourceFactory FindSourceFactory(const std::string& name) {
  for (const Entry* entry = kSources; entry->name != nullptr; entry++) {
    if (name == entry->name) return entry->factory;
  }
  return nullptr;
}

}  // namespace warpgauge
