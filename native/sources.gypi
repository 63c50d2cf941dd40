{
  "variables": {
    "core_sources": [
      "native/core/clock.cc",
      "native/core/clock_anchor.cc",
      "native/core/dynamic_library.cc",
      "native/core/glibc_floor.cc",
      "native/core/name_list.cc",
      "native/core/region_registry.cc",
      "native/core/slab.cc",
      "native/core/table_writer.cc"
    ],
    "os_sources": [
      "native/os/cpu_cache.cc",
      "native/os/fault_ring.cc",
      "native/os/fault_ring_record.cc",
      "native/os/kernel_probe.cc",
      "native/os/maps_snapshot.cc",
      "native/os/named_columns.cc",
      "native/os/page_faults_events.cc",
      "native/os/page_faults_maps.cc",
      "native/os/page_faults_source.cc",
      "native/os/perf_event.cc",
      "native/os/perf_event_name.cc",
      "native/os/perf_event_name_table.cc",
      "native/os/perf_events.cc",
      "native/os/pread_file.cc",
      "native/os/proc_files.cc",
      "native/os/process_tree.cc",
      "native/os/source_support.cc",
      "native/os/vmstat.cc",
      "native/os/vmstat_source.cc"
    ],
    "gpu_sources": [
      "native/gpu/driver_gate.cc",
      "native/gpu/cuda/context.cc",
      "native/gpu/cuda/table.cc",
      "native/gpu/nvml/device.cc",
      "native/gpu/nvml/facts.cc",
      "native/gpu/nvml/reader.cc",
      "native/gpu/nvml/scheme.cc",
      "native/gpu/nvml/table.cc"
    ],
    "memory_sources": [
      "native/memory/failure.cc",
      "native/memory/hugetlb_cgroup.cc",
      "native/memory/kernel_files.cc",
      "native/memory/page_kind.cc",
      "native/memory/page_proof.cc",
      "native/memory/region.cc",
      "native/memory/smaps.cc"
    ],
    "copy_sources": [
      "native/copy/cuda_backend.cc",
      "native/copy/host_backend.cc",
      "native/copy/io_uring_pin.cc",
      "native/copy/pattern.cc",
      "native/copy/sample.cc",
      "native/copy/sample_calibration.cc",
      "native/copy/sample_vector_add.cc"
    ],
    "addon_sources": [
      "native/addon/addon.cc",
      "native/addon/clock_addon.cc",
      "native/addon/copy_addon.cc",
      "native/addon/errors.cc",
      "native/addon/gpu_addon.cc",
      "native/addon/options_reader.cc",
      "native/addon/probe_addon.cc",
      "native/addon/region_addon.cc",
      "native/addon/source_list.cc"
    ]
  }
}
