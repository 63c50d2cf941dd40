{
  "variables": {
    "core_sources": ["native/core/dynamic_library.cc"],
    "os_sources": ["native/os/cpu_cache.cc", "native/os/kernel_probe.cc", "native/os/perf_event.cc", "native/os/vmstat.cc"],
    "gpu_sources": [
      "native/gpu/driver_gate.cc",
      "native/gpu/cuda/table.cc",
      "native/gpu/nvml/reader.cc",
      "native/gpu/nvml/table.cc"
    ],
    "memory_sources": [],
    "copy_sources": [],
    "addon_sources": ["native/addon/addon.cc", "native/addon/errors.cc", "native/addon/probe_addon.cc"]
  }
}
