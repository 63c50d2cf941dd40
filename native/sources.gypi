{
  "variables": {
    "core_sources": ["native/core/dynamic_library.cc"],
    "os_sources": [],
    "gpu_sources": [],
    "memory_sources": [],
    "copy_sources": [],
    "addon_sources": ["native/addon/addon.cc", "native/addon/errors.cc"]
  }
}
