{
  "includes": ["native/sources.gypi"],
  "variables": { "sanitize%": "" },
  "targets": [{
    "target_name": "warpgauge",
    "sources": [
      "<@(core_sources)", "<@(os_sources)", "<@(gpu_sources)", "<@(memory_sources)", "<@(copy_sources)", "<@(addon_sources)"
    ],
    "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-fvisibility=hidden", "-include", "<(module_root_dir)/native/core/glibc_floor.h"],
    "cflags_c": ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fvisibility=hidden", "-include", "<(module_root_dir)/native/core/glibc_floor.h"],
    "ldflags": ["-Wl,-z,nodelete", "-Wl,--version-script=<(module_root_dir)/native/addon/exports.map"],
    "conditions": [["sanitize != ''", {
      "cflags+": ["-fsanitize=<(sanitize)", "-fno-omit-frame-pointer", "-g", "-O1"],
      "cflags!": ["-O3", "-fomit-frame-pointer"],
      "ldflags+": ["-fsanitize=<(sanitize)"]
    }]]
  }]
}
