#include "gpu/nvml/mig_intent.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace warpgauge {
namespace {

// The beginning of a small file, as it stands now.
std::string ReadStart(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[1024];
  const ssize_t n = read(fd, text, sizeof(text));
  close(fd);
  return n <= 0 ? std::string() : std::string(text, static_cast<size_t>(n));
}

// The whole number behind `"key":`; -1 where there is none that fits.
int64_t NumberOf(std::string_view text, std::string_view key) {
  size_t at = text.find(key);
  if (at == std::string_view::npos) return -1;
  at += key.size();
  int64_t number = -1;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; at++) {
    const int64_t digit = text[at] - '0';
    if (number > (INT64_MAX - digit) / 10) return -1;
    number = (number < 0 ? 0 : number * 10) + digit;
  }
  return number;
}

std::string FromEnvironment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::vector<std::string> LockFolders(const std::string& root) {
  std::vector<std::string> folders = {root + "/run/warpgauge"};
  if (geteuid() == 0) return folders;
  const std::string runtime = FromEnvironment("XDG_RUNTIME_DIR");
  const std::string state = FromEnvironment("WARPGAUGE_STATE_DIR");
  const std::string home = FromEnvironment("XDG_STATE_HOME");
  if (!runtime.empty()) {
    folders.push_back(runtime + "/warpgauge");
  } else if (!state.empty()) {
    folders.push_back(state + "/run");
  } else if (!home.empty()) {
    folders.push_back(home + "/warpgauge/run");
  } else {
    folders.push_back(FromEnvironment("HOME") + "/.local/state/warpgauge/run");
  }
  return folders;
}

int64_t ProcessStartTicks(int64_t pid) {
  const std::string stat = ReadStart("/proc/" + std::to_string(pid) + "/stat");
  // The command's name may hold blanks and parentheses.
  size_t at = stat.rfind(')');
  if (at == std::string::npos) return -1;
  for (int field = 2; field < 22; field++) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return -1;
  }
  return strtoll(stat.c_str() + at + 1, nullptr, 10);
}

Announcement ParseAnnouncement(std::string_view text) {
  Announcement said;
  said.pid = NumberOf(text, R"("pid":)");
  said.pid_start = NumberOf(text, R"("pidStart":)");
  said.is_mig = text.find(R"("intent":"mig: )") != std::string_view::npos;
  return said;
}

bool MigChangeAnnounced(const std::vector<std::string>& folders, const std::string& uuid) {
  for (const std::string& folder : folders) {
    std::string path = folder;
    path.append("/gpu-").append(uuid).append(".lock");
    const Announcement said = ParseAnnouncement(ReadStart(path));
    if (said.is_mig && said.pid > 0 && ProcessStartTicks(said.pid) == said.pid_start) return true;
  }
  return false;
}

}  // namespace warpgauge
