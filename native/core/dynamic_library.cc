#include "core/dynamic_library.h"

#include <dlfcn.h>
#include <link.h>

namespace warpgauge {

Result<DynamicLibrary> DynamicLibrary::Open(const std::vector<std::string>& names) {
  std::string tried;
  for (const std::string& name : names) {
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      DynamicLibrary library;
      library.handle_ = handle;
      library.path_ = name;
      link_map* map = nullptr;
      if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name[0] != '\0') {
        library.path_ = map->l_name;
      }
      return library;
    }
    const char* reason = dlerror();
    if (!tried.empty()) tried += "; ";
    // The loader's text starts with the name that was asked for; do not say it twice.
    tried += reason != nullptr ? reason : name + ": unknown reason";
  }
  return Status("ERR_LIBRARY_MISSING", tried.empty() ? "no library name was given" : tried);
}

void* DynamicLibrary::Find(const char* symbol) const {
  return handle_ == nullptr ? nullptr : dlsym(handle_, symbol);
}

}  // namespace warpgauge
