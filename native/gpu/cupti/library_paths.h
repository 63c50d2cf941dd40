#pragma once

#include <functional>
#include <string>
#include <vector>

namespace warpgauge {

// Answers an environment variable, "" where it is not set.
using EnvironmentReader = std::function<std::string(const char*)>;

// Every file `libcupti.so.<something>` of `majors` ("13", "12", "11") in the places where toolkits,
// distributions, pip and conda put it: newest major first, then in the order of places
// ($CUDA_HOME, $CUDA_PATH, /usr/local/cuda*, the distribution, $VIRTUAL_ENV, $CONDA_PREFIX,
// Python's folders). `root` stands before every absolute path. Any thread; reads folders, opens no
// library.
std::vector<std::string> CuptiLibraryFiles(const std::string& root,
                                           const std::vector<std::string>& majors,
                                           const EnvironmentReader& environment);

// The environment of this process.
std::string ReadEnvironment(const char* name);

}  // namespace warpgauge
