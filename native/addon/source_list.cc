#include "addon/source_list.h"

#include "gpu/cupti/pm_source.h"
#include "gpu/cupti/trace_source.h"
#include "gpu/nvml/gpu_source.h"
#include "os/cgroup_source.h"
#include "os/cpu_source.h"
#include "os/disk_source.h"
#include "os/hugepages_source.h"
#include "os/meminfo_source.h"
#include "os/net_source.h"
#include "os/numa_source.h"
#include "os/page_faults_source.h"
#include "os/pcie_source.h"
#include "os/perf_source.h"
#include "os/pressure_source.h"
#include "os/process_source.h"
#include "os/thermal_source.h"
#include "os/vmstat_source.h"

namespace warpgauge {
namespace {

struct Entry {
  const char* name;
  SourceFactory factory;
};

constexpr Entry kSources[] = {
    {"gpu", OpenGpuSource},
    {"pm-sampling", OpenPmSource},
    {"cuda", OpenTraceSource},
    {"perf", MakePerfSource},
    {"page-faults", PageFaultsSource::Open},
    {"process", MakeProcessSource},
    {"cgroup", MakeCgroupSource},
    {"vmstat", MakeVmstatSource},
    {"meminfo", MakeMeminfoSource},
    {"hugepages", MakeHugepagesSource},
    {"pressure", MakePressureSource},
    {"cpu", MakeCpuSource},
    {"disk", MakeDiskSource},
    {"net", MakeNetSource},
    {"numa", MakeNumaSource},
    {"pcie", MakePcieSource},
    {"thermal", MakeThermalSource},
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
