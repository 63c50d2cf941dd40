/* Modules, and the one kernel that the simulated device knows. */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_MODULES_H
#define WARPGAUGE_TEST_FAKE_CUDA_MODULES_H

FAKE_EXPORT Result cuModuleLoadDataEx(
    Module** module, const void* image, unsigned count, const int* options, void** values) {
  Result code = EnterContext("cuModuleLoadDataEx");
  const char* text = image;
  char* log = NULL;
  size_t log_size = 0;
  unsigned i;
  for (i = 0; i < count; ++i) {
    if (options[i] == 5) log = values[i];
    if (options[i] == 6) log_size = (size_t)(uintptr_t)values[i];
  }
  if (code == 0 && (text == NULL || strstr(text, ".version") == NULL ||
                    strlen(text) >= sizeof((*module)->text))) {
    code = kInvalidPtx;
  }
  if (code != 0 && log != NULL && log_size > 0) {
    snprintf(log, log_size, "Simulated assembler: refused with %d", code);
  }
  if (code == 0) {
    *module = NewObject(sizeof(Module));
    memcpy((*module)->text, text, strlen(text) + 1);
    FeedOverhead(1); /* the driver's compiler */
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuModuleLoadDataEx", code, "%u options", count);
}

FAKE_EXPORT Result cuModuleGetFunction(void** function, const Module* module, const char* name) {
  Result code = EnterContext("cuModuleGetFunction");
  char entry[128];
  snprintf(entry, sizeof(entry), ".entry %s(", name);
  /* It carries out what it knows by name; it is no PTX interpreter. */
  if (code == 0 && (module == NULL || strstr(module->text, entry) == NULL ||
                    strcmp(name, "warpgauge_vector_add") != 0)) {
    code = kNotFound;
  }
  if (code == 0) *function = &kernel_token;
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuModuleGetFunction", code, "%s", name);
}

FAKE_EXPORT Result cuModuleUnload(Module* module) {
  Result code = EnterContext("cuModuleUnload");
  if (code == 0 && module == NULL) code = kInvalidValue;
  if (code == 0) FreeObject(module);
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuModuleUnload", code, "%s", "");
}

FAKE_EXPORT Result cuLaunchKernel(const void* function,
                                  unsigned grid_x,
                                  unsigned grid_y,
                                  unsigned grid_z,
                                  unsigned block_x,
                                  unsigned block_y,
                                  unsigned block_z,
                                  unsigned shared_bytes,
                                  Stream* stream,
                                  void** parameters,
                                  void** extra) {
  Result code = EnterContext("cuLaunchKernel");
  char *a = NULL, *b = NULL, *c = NULL;
  uint64_t n = 0;
  if (code == 0 && (function != &kernel_token || stream == NULL || parameters == NULL ||
                    extra != NULL || grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 ||
                    block_x > 1024 || block_y != 1 || block_z != 1 || shared_bytes != 0)) {
    code = kInvalidValue;
  }
  if (code == 0) {
    n = *(const uint64_t*)parameters[3];
    code = Locate(*(const DevicePtr*)parameters[0], n * sizeof(double), &a);
  }
  if (code == 0) code = Locate(*(const DevicePtr*)parameters[1], n * sizeof(double), &b);
  if (code == 0) code = Locate(*(const DevicePtr*)parameters[2], n * sizeof(double), &c);
  if (code == 0) {
    struct fake_activity activity = ActivityOf(10, stream);
    Op op = {.kind = kAdd,
             .stream = stream,
             .to = c,
             .from = a,
             .other = b,
             .bytes = n * sizeof(double)};
    int i;
    for (i = 0; i < 3; ++i) {
      Migrate(FindRange(device_ranges, *(const DevicePtr*)parameters[i], op.bytes), 1, 1);
    }
    activity.name = "warpgauge_vector_add";
    activity.of.kernel.grid[0] = grid_x;
    activity.of.kernel.grid[1] = grid_y;
    activity.of.kernel.grid[2] = grid_z;
    activity.of.kernel.block[0] = block_x;
    activity.of.kernel.block[1] = block_y;
    activity.of.kernel.block[2] = block_z;
    activity.of.kernel.registers_per_thread = 16;
    op.ticket = FeedQueue(activity);
    Enqueue(op);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuLaunchKernel", code, "%u x %u", grid_x, block_x);
}

#endif
