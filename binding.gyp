{
  "includes": ["native/sources.gypi"],
  "variables": { "sanitize%": "" },
  "targets": [{
    "target_name": "warpgauge",
    "sources": [
      "<@(core_sources)", "<@(os_sources)", "<@(gpu_sources)", "<@(trace_sources)", "<@(memory_sources)", "<@(copy_sources)", "<@(addon_sources)"
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
  }, {
    # Loaded into traced processes: C, one exported symbol, and the oldest glibc that can be had. On old systems libpthread
    # and libdl are files of their own, which no program is bound to have loaded; libstdc++ is what g++ would add.
    "target_name": "warpgauge_inject",
    "product_prefix": "lib",
    "sources": ["<@(trace_sources)", "<@(inject_sources)"],
    "include_dirs": ["native"],
    "cflags_c": ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fvisibility=hidden", "-include", "<(module_root_dir)/native/core/glibc_floor.h"],
    "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,defs", "<!@(node -p \"process.report.getReport().header.glibcVersionRuntime ? '-Wl,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2 -Wl,--as-needed' : '-Wl,--as-needed'\")"],
    # node-gyp calls every loadable module .node in a condition of this kind, and the last one holds.
    "target_conditions": [["_type == 'loadable_module'", { "product_extension": "so" }]]
  }, {
    "target_name": "warpgauge-guardian",
    "type": "executable",
    "sources": ["native/guardian/main.c", "<@(guardian_sources)"],
    "include_dirs": ["native"],
    "cflags_c": ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
  }]
}
