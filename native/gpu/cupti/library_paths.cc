#include "gpu/cupti/library_paths.h"

#include <glob.h>

#include <algorithm>
#include <cstdlib>

namespace warpgauge {
namespace {

void AddMatches(const std::string& pattern, std::vector<std::string>* files) {
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    // glob sorts upwards; of several versions the newest is wanted first.
    for (size_t i = found.gl_pathc; i-- > 0;) {
      const std::string file = found.gl_pathv[i];
      if (std::find(files->begin(), files->end(), file) == files->end()) files->push_back(file);
    }
  }
  globfree(&found);
}

// Folders, some with wildcards, in order.
std::vector<std::string> Folders(const std::string& root, const EnvironmentReader& environment) {
  std::vector<std::string> folders;
  const auto toolkit = [&](const std::string& base) {
    for (const char* below : {"/lib64", "/extras/CUPTI/lib64", "/targets/*-linux/lib"}) {
      folders.push_back(root + base + below);
    }
  };
  const auto python = [&](const std::string& base) {
    for (const char* packages : {"/lib/python3*/site-packages", "/lib/python3*/dist-packages"}) {
      // From CUDA 13 on all of a toolkit's wheels share one folder.
      for (const char* wheel : {"/nvidia/cu13/lib", "/nvidia/cuda_cupti/lib"}) {
        folders.push_back(root + base + packages + wheel);
      }
    }
  };
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string base = environment(name); !base.empty()) toolkit(base);
  }
  toolkit("/usr/local/cuda");
  toolkit("/usr/local/cuda-*");
  folders.push_back(root + "/usr/lib/*-linux-gnu");
  folders.push_back(root + "/usr/lib64");
  if (const std::string base = environment("VIRTUAL_ENV"); !base.empty()) python(base);
  if (const std::string base = environment("CONDA_PREFIX"); !base.empty()) {
    folders.push_back(root + base + "/lib");
    python(base);
  }
  if (const std::string base = environment("HOME"); !base.empty()) python(base + "/.local");
  python("/usr/local");
  folders.push_back(root + "/usr/lib/python3/dist-packages/nvidia/cuda_cupti/lib");
  folders.push_back(root + "/opt/conda/lib");
  python("/opt/conda");
  return folders;
}

}  // namespace

std::vector<std::string> CuptiLibraryFiles(const std::string& root,
                                           const std::vector<std::string>& majors,
                                           const EnvironmentReader& environment) {
  std::vector<std::string> files;
  const std::vector<std::string> folders = Folders(root, environment);
  for (const std::string& major : majors) {
    for (const std::string& folder : folders) {
      std::string file = folder;
      file.append("/libcupti.so.").append(major);
      AddMatches(file, &files);
      // Until 11.8 the minor stood in the name the loader asks for.
      if (major == "11") AddMatches(folder + "/libcupti.so.11.[0-9]", &files);
    }
  }
  return files;
}

std::string ReadEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace warpgauge
