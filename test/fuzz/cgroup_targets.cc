#include <string>

#include "os/cgroup_source_files.h"
#include "os/text_scanner.h"
#include "targets.h"

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every target
                            // here

FUZZ_TARGET(cgroup_io) {
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    CgroupIo io;
    if (!ParseCgroupIoLine(line, &io)) continue;
    // The line begins with the two numbers that were read, but for leading zeros.
    FUZZ_CHECK(line.find(':') != std::string_view::npos);
  }
}

FUZZ_TARGET(cgroup_place) {
  FUZZ_CHECK(Cgroup2MountPoint(text).size() <= text.size());
  const std::string_view path = Cgroup2Path(text);
  FUZZ_CHECK(path.find('\n') == std::string_view::npos);
  HasWord(text, "memory");
}

FUZZ_TARGET(cgroup_hugetlb) {
  std::string size;
  std::string prefix;
  if (!ParseHugetlbName(text, &size, &prefix)) return;
  FUZZ_CHECK(text.substr(0, prefix.size()) == prefix);
  FUZZ_CHECK(size.size() >= 2);
}
