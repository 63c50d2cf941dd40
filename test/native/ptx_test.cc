// Assembles the hand-written PTX for every target the installed ptxas knows. The driver does the
// same at run time; a machine without GPU can only ask the assembler.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gpu/cuda/vector_add_ptx.h"

namespace warpgauge {
namespace {

struct Output {
  int status = -1;
  std::string text;
};

Output Run(const std::string& command) {
  Output output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof(buffer), pipe)) output.text.append(buffer, n);
  output.status = pclose(pipe);
  return output;
}

TEST_CASE("the PTX is of the oldest version and target that every supported driver takes") {
  const std::string ptx = kVectorAddPtx;
  CHECK(ptx.find(".version 6.0\n") != std::string::npos);
  CHECK(ptx.find(".target sm_50\n") != std::string::npos);
  CHECK(ptx.find(".address_size 64\n") != std::string::npos);
  CHECK(ptx.find(std::string(".visible .entry ") + kVectorAddName + "(") != std::string::npos);
}

TEST_CASE("ptxas assembles the PTX for every target it knows") {
  std::string ptxas = "ptxas";
  if (Run(ptxas + " --version").status != 0) ptxas = "/usr/local/cuda/bin/ptxas";
  if (Run(ptxas + " --version").status != 0) {
    std::printf("ptx: skipped: no ptxas in PATH and none in /usr/local/cuda/bin\n");
    return;
  }
  char path[] = "/tmp/warpgauge-ptx-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  const std::string ptx = kVectorAddPtx;
  REQUIRE(write(fd, ptx.data(), ptx.size()) == static_cast<ssize_t>(ptx.size()));
  close(fd);
  const std::string help = Run(ptxas + " --help").text;
  std::string done;
  int assembled = 0;
  for (const char* target : {"sm_50",
                             "sm_60",
                             "sm_70",
                             "sm_75",
                             "sm_80",
                             "sm_86",
                             "sm_87",
                             "sm_88",
                             "sm_89",
                             "sm_90",
                             "sm_90a",
                             "sm_100",
                             "sm_100a",
                             "sm_103",
                             "sm_110",
                             "sm_120",
                             "sm_121"}) {
    if (help.find("'" + std::string(target) + "'") == std::string::npos) continue;
    const Output output = Run(ptxas + " -arch=" + target + " " + path + " -o /dev/null");
    CAPTURE(target);
    CHECK_MESSAGE(output.status == 0, output.text);
    done += std::string(" ") + target;
    ++assembled;
  }
  unlink(path);
  CHECK(assembled > 0);
  std::printf("ptx: assembled for %d targets:%s\n", assembled, done.c_str());
}

}  // namespace
}  // namespace warpgauge
