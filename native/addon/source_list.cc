#include "addon/source_list.h"

#include "os/page_faults_source.h"
#include "os/vmstat_source.h"

namespace warpgauge {
namespace {

struct Entry {
  const char* name;
  SourceFactory factory;
};

constexpr Entry kSources[] = {
    {"page-faults", PageFaultsSource::Open},
    {"vmstat", MakeVmstatSource},
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
