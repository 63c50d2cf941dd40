#include "cupti_library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The names by their major version; 11 had the minor in its name. */
struct soname {
  uint32_t major;
  const char* name;
};
static const struct soname kSonames[] = {
    {13, "libcupti.so.13"},
    {12, "libcupti.so.12"},
    {11, "libcupti.so.11.8"},
    {11, "libcupti.so.11.7"},
    {11, "libcupti.so.11.6"},
    {11, "libcupti.so.11.5"},
    {11, "libcupti.so.11.4"},
    {11, "libcupti.so.11.3"},
    {11, "libcupti.so.11.2"},
    {11, "libcupti.so.11.1"},
    {11, "libcupti.so.11.0"},
};
enum { kSonameCount = sizeof kSonames / sizeof kSonames[0] };

static const char* const kBelowToolkit[] = {
    "lib64",
    "extras/CUPTI/lib64",
    "lib",
#if defined(__aarch64__)
    "targets/sbsa-linux/lib",
#else
    "targets/x86_64-linux/lib",
#endif
};
static const char* const kBelowSystem[] = {
#if defined(__aarch64__)
    "/usr/lib/aarch64-linux-gnu",
#else
    "/usr/lib/x86_64-linux-gnu",
#endif
    "/usr/lib64",
};

/* dlopen by name or path. The path is what the loader mapped. */
static void* open_library(const char* name, int flags, char* path, size_t path_bytes) {
  void* const handle = dlopen(name, RTLD_NOW | RTLD_LOCAL | flags);
  if (handle == NULL) return NULL;
  struct link_map* map = NULL;
  const char* mapped = name;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != NULL && map->l_name[0] != 0) {
    mapped = map->l_name;
  }
  snprintf(path, path_bytes, "%s", mapped);
  return handle;
}

static void* open_in(const char* folder, const char* name, char* path, size_t path_bytes) {
  char full[512];
  const int length = snprintf(full, sizeof full, "%s/%s", folder, name);
  if (length < 0 || (size_t)length >= sizeof full || access(full, R_OK) != 0) return NULL;
  return open_library(full, 0, path, path_bytes);
}

static void* open_in_toolkit(const char* root, const char* name, char* path, size_t path_bytes) {
  for (size_t i = 0; i < sizeof kBelowToolkit / sizeof kBelowToolkit[0]; i++) {
    char folder[448];
    const int length = snprintf(folder, sizeof folder, "%s/%s", root, kBelowToolkit[i]);
    if (length < 0 || (size_t)length >= sizeof folder) continue;
    void* const handle = open_in(folder, name, path, path_bytes);
    if (handle != NULL) return handle;
  }
  return NULL;
}

/* /usr/local/cuda, /usr/local/cuda-12.4 ... */
static void* open_in_local(const char* name, char* path, size_t path_bytes) {
  DIR* const folder = opendir("/usr/local");
  if (folder == NULL) return NULL;
  void* handle = NULL;
  for (struct dirent* entry = readdir(folder); entry != NULL && handle == NULL;
       entry = readdir(folder)) {
    if (strncmp(entry->d_name, "cuda", 4) != 0) continue;
    char root[sizeof entry->d_name + 16];
    snprintf(root, sizeof root, "/usr/local/%s", entry->d_name);
    handle = open_in_toolkit(root, name, path, path_bytes);
  }
  closedir(folder);
  return handle;
}

/* Of `paths` joined by ':' the first that ends in `name`, or, with name NULL, the first that has
 * none of the versioned names and opens. */
static void* open_listed(const char* paths, const char* name, char* path, size_t path_bytes) {
  while (paths != NULL && *paths != 0) {
    const char* const colon = strchr(paths, ':');
    const size_t length = colon == NULL ? strlen(paths) : (size_t)(colon - paths);
    char one[512];
    if (length > 0 && length < sizeof one) {
      memcpy(one, paths, length);
      one[length] = 0;
      const char* const slash = strrchr(one, '/');
      const char* const base = slash == NULL ? one : slash + 1;
      int is_versioned = 0;
      for (int i = 0; i < kSonameCount; i++) is_versioned |= strcmp(base, kSonames[i].name) == 0;
      const int is_meant = name == NULL ? !is_versioned : strcmp(base, name) == 0;
      if (is_meant && access(one, R_OK) == 0) {
        void* const handle = open_library(one, 0, path, path_bytes);
        if (handle != NULL) return handle;
      }
    }
    paths = colon == NULL ? NULL : colon + 1;
  }
  return NULL;
}

static void* open_named(const char* name, const char* more_paths, char* path, size_t path_bytes) {
  void* handle = open_library(name, 0, path, path_bytes);
  if (handle == NULL) handle = open_listed(more_paths, name, path, path_bytes);
  static const char* const roots[] = {"CUDA_HOME", "CUDA_PATH"};
  for (int i = 0; i < 2 && handle == NULL; i++) {
    const char* const root = getenv(roots[i]);
    if (root != NULL && *root != 0) handle = open_in_toolkit(root, name, path, path_bytes);
  }
  if (handle == NULL) handle = open_in_local(name, path, path_bytes);
  for (size_t i = 0; i < sizeof kBelowSystem / sizeof kBelowSystem[0] && handle == NULL; i++) {
    handle = open_in(kBelowSystem[i], name, path, path_bytes);
  }
  return handle;
}

static void* search(const struct wg_driver* driver,
                    const char* more_paths,
                    char* path,
                    size_t path_bytes) {
  for (int i = 0; i < kSonameCount; i++) {
    void* const handle = open_library(kSonames[i].name, RTLD_NOLOAD, path, path_bytes);
    if (handle != NULL) return handle;
  }
  /* A CUPTI that is newer than its driver does not start: those only when there is no other. */
  const uint32_t allowed = driver->version == 0 ? UINT32_MAX : driver->version / 1000;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < kSonameCount; i++) {
      if ((kSonames[i].major <= allowed) != (pass == 0)) continue;
      void* const handle = open_named(kSonames[i].name, more_paths, path, path_bytes);
      if (handle != NULL) return handle;
    }
    if (pass == 0) {
      void* const handle = open_listed(more_paths, NULL, path, path_bytes);
      if (handle != NULL) return handle;
    }
  }
  return NULL;
}

int wg_cupti_open(struct wg_cupti* cupti,
                  const struct wg_driver* driver,
                  const char* override_path,
                  const char* more_paths,
                  char* detail,
                  size_t detail_bytes) {
  memset(cupti, 0, sizeof *cupti);
  void* handle = NULL;
  if (override_path != NULL && *override_path != 0) {
    handle = open_library(override_path, 0, cupti->path, sizeof cupti->path);
    if (handle == NULL) {
      const char* const why = dlerror();
      snprintf(detail, detail_bytes, "%s", why == NULL ? override_path : why);
      return 1;
    }
  } else {
    handle = search(driver, more_paths, cupti->path, sizeof cupti->path);
    if (handle == NULL) {
      snprintf(
          detail,
          detail_bytes,
          "no libcupti.so.13, .12 or .11.x is loaded, found by the loader, or below CUDA_HOME, "
          "/usr/local/cuda* or the system's library folders");
      return 1;
    }
  }
#define RESOLVE(name, required, arguments)                                    \
  *(void**)&cupti->name = dlsym(handle, #name);                               \
  if ((required) && cupti->name == NULL) {                                    \
    snprintf(detail, detail_bytes, "%s has no function " #name, cupti->path); \
    return 2;                                                                 \
  }
  WG_CUPTI_FUNCTIONS(RESOLVE)
#undef RESOLVE
  if (cupti->cuptiGetVersion(&cupti->version) != WG_CUPTI_SUCCESS) cupti->version = 0;
  return 0;
}

/* A loaded object whose file name begins with libcuda.so. */
static int is_libcuda(struct dl_phdr_info* info, size_t size, void* path) {
  (void)size;
  const char* const name = info->dlpi_name;
  if (name == NULL) return 0;
  const char* const slash = strrchr(name, '/');
  if (strncmp(slash == NULL ? name : slash + 1, "libcuda.so", 10) != 0) return 0;
  snprintf(path, 512, "%s", name);
  return 1;
}

void wg_driver_find(struct wg_driver* driver, const void* code) {
  memset(driver, 0, sizeof *driver);
  void* handle = NULL;
  Dl_info info;
  if (code != NULL && dladdr(code, &info) != 0 && info.dli_fname != NULL) {
    handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (handle != NULL && dlsym(handle, "cuDriverGetVersion") == NULL) handle = NULL;
  }
  if (handle == NULL) handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  char path[512];
  if (handle == NULL && dl_iterate_phdr(is_libcuda, path) != 0) {
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  }
  if (handle == NULL) return;
  *(void**)&driver->cuDriverGetVersion = dlsym(handle, "cuDriverGetVersion");
  *(void**)&driver->cuDeviceGetCount = dlsym(handle, "cuDeviceGetCount");
  *(void**)&driver->cuDeviceGet = dlsym(handle, "cuDeviceGet");
  *(void**)&driver->cuDeviceGetName = dlsym(handle, "cuDeviceGetName");
  *(void**)&driver->cuDeviceGetPCIBusId = dlsym(handle, "cuDeviceGetPCIBusId");
  *(void**)&driver->cuDeviceGetUuid = dlsym(handle, "cuDeviceGetUuid_v2");
  if (driver->cuDeviceGetUuid == NULL) {
    *(void**)&driver->cuDeviceGetUuid = dlsym(handle, "cuDeviceGetUuid");
  }
  int version = 0;
  if (driver->cuDriverGetVersion != NULL && driver->cuDriverGetVersion(&version) == 0 &&
      version > 0) {
    driver->version = (uint32_t)version;
  }
}

static const uint8_t kProbedKinds[] = {
    WG_CUPTI_MEMCPY,
    WG_CUPTI_MEMSET,
    WG_CUPTI_DRIVER,
    WG_CUPTI_RUNTIME,
    WG_CUPTI_CONCURRENT_KERNEL,
    WG_CUPTI_MARKER,
    WG_CUPTI_OVERHEAD,
    WG_CUPTI_PEER_MEMCPY,
    WG_CUPTI_UNIFIED_MEMORY,
    WG_CUPTI_SYNCHRONIZATION,
    WG_CUPTI_EXTERNAL_CORRELATION,
};

/* Filled with the kind at every place where a record can begin, the buffer holds records of that
 * kind however long the library takes them to be. */
static uint16_t probe_kind(const struct wg_cupti* cupti, uint32_t kind) {
  uint64_t buffer[512];
  for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++) buffer[i] = kind;
  struct wg_cupti_activity* record = NULL;
  uint8_t* const bytes = (uint8_t*)buffer;
  if (cupti->cuptiActivityGetNextRecord(bytes, sizeof buffer, &record) != WG_CUPTI_SUCCESS)
    return 0;
  const uint8_t* const first = (const uint8_t*)record;
  if (cupti->cuptiActivityGetNextRecord(bytes, sizeof buffer, &record) != WG_CUPTI_SUCCESS)
    return 0;
  const uint8_t* const second = (const uint8_t*)record;
  if (first != bytes || second <= first || second >= bytes + sizeof buffer) return 0;
  return (uint16_t)(second - first);
}

uint32_t wg_cupti_probe(const struct wg_cupti* cupti, struct wg_converter* converter) {
  uint32_t refused = 0;
  memset(converter->lengths, 0, sizeof converter->lengths);
  for (size_t i = 0; i < sizeof kProbedKinds; i++) {
    const uint32_t kind = kProbedKinds[i];
    const uint16_t length = probe_kind(cupti, kind);
    if (length >= wg_cupti_prefix_bytes(kind)) {
      converter->lengths[kind] = length;
    } else {
      refused |= 1U << wg_record_kind_of(kind);
    }
  }
  return refused;
}

static int mark_calls(const struct wg_cupti* cupti, int domain, uint8_t bits[WG_CBIDS / 8]) {
  int found = 0;
  memset(bits, 0, WG_CBIDS / 8);
  for (uint32_t cbid = 1; cbid < WG_CBIDS; cbid++) {
    const char* name = NULL;
    if (cupti->cuptiGetCallbackName(domain, cbid, &name) != WG_CUPTI_SUCCESS || name == NULL) {
      continue;
    }
    /* cu64...: the 64-bit names of 3.2. Not the calls that put copies into graphs: they copy
     * nothing. */
    if (strncmp(name, "cudaMemcpy", 10) == 0 || strncmp(name, "cuMemcpy", 8) == 0 ||
        strncmp(name, "cu64Memcpy", 10) == 0) {
      bits[cbid / 8] |= (uint8_t)(1U << (cbid % 8));
      found = 1;
    }
  }
  return found;
}

int wg_cupti_memcpy_calls(const struct wg_cupti* cupti,
                          uint8_t driver[WG_CBIDS / 8],
                          uint8_t runtime[WG_CBIDS / 8]) {
  if (cupti->cuptiGetCallbackName == NULL) return -1;
  const int has_driver = mark_calls(cupti, WG_CUPTI_DOMAIN_DRIVER, driver);
  const int has_runtime = mark_calls(cupti, WG_CUPTI_DOMAIN_RUNTIME, runtime);
  return has_driver && has_runtime ? 0 : -1;
}

uint32_t wg_cupti_cuda_version(uint32_t version) {
  if (version >= 130000) return version / 10000 * 1000 + version / 100 % 100 * 10;
  static const uint16_t before_13[][2] = {
      {28, 12090},
      {27, 12090},
      {26, 12080},
      {24, 12060},
      {23, 12050},
      {22, 12040},
      {21, 12030},
      {20, 12020},
      {19, 12000},
      {18, 11080},
      {17, 11060},
      {16, 11050},
      {15, 11020},
      {14, 11010},
      {13, 11000},
  };
  for (size_t i = 0; i < sizeof before_13 / sizeof before_13[0]; i++) {
    if (version >= before_13[i][0]) return before_13[i][1];
  }
  return 0;
}
