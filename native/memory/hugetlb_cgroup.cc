#include "memory/hugetlb_cgroup.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "memory/kernel_files.h"

namespace warpgauge {
namespace {

struct Mount {
  std::string root;   // which group of the hierarchy is mounted
  std::string point;  // where
};

// mountinfo writes a blank as \040.
std::string Unescape(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool HasOption(std::string_view options, std::string_view wanted) {
  const auto all = SplitFields(options, ',');
  return std::ranges::find(all, wanted) != all.end();
}

// mountinfo: "36 35 98:0 ROOT POINT options [optional...] - TYPE source SUPER_OPTIONS"
std::optional<Mount> FindMount(std::string_view mountinfo, bool v2) {
  for (const std::string_view line : SplitFields(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto head = SplitFields(line.substr(0, dash), ' ');
    const auto tail = SplitFields(line.substr(dash + 3), ' ');
    if (head.size() < 5 || tail.size() < 3) continue;
    const bool matches =
        v2 ? tail[0] == "cgroup2" : tail[0] == "cgroup" && HasOption(tail[2], "hugetlb");
    if (matches) return Mount{Unescape(head[3]), Unescape(head[4])};
  }
  return std::nullopt;
}

// /proc/self/cgroup: "4:hugetlb,memory:/path" for v1, "0::/path" for v2.
std::optional<std::string> FindGroup(std::string_view cgroups, bool v2) {
  for (const std::string_view line : SplitFields(cgroups, '\n')) {
    const auto fields = SplitFields(line, ':');
    if (fields.size() < 3) continue;
    if (v2 ? fields[1].empty() && fields[0] == "0" : HasOption(fields[1], "hugetlb")) {
      // A group's name may hold colons.
      return std::string(line.substr(fields[0].size() + fields[1].size() + 2));
    }
  }
  return std::nullopt;
}

// The group's path below what is mounted.
std::string BelowMount(const Mount& mount, const std::string& group) {
  if (mount.root == "/") return group;
  // In a container without its own cgroup namespace the group is named from the host's root while
  // only a part of the hierarchy is mounted: the mounted part is what the name starts with.
  const bool inside = group.compare(0, mount.root.size(), mount.root) == 0 &&
                      (group.size() == mount.root.size() || group[mount.root.size()] == '/');
  return inside ? group.substr(mount.root.size()) : "/";
}

std::vector<std::string> FoldersUpward(const std::string& root,
                                       const Mount& mount,
                                       const std::string& own_group) {
  std::string group = BelowMount(mount, own_group);
  // A group outside of our cgroup namespace is named "/..": the top is all that we can see of it.
  if (group.compare(0, 3, "/..") == 0) group = "/";
  const std::string top = root + mount.point;
  std::vector<std::string> folders;
  while (group.size() > 1) {
    folders.push_back(top + group);
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) break;
    group.erase(slash);
  }
  folders.push_back(top);
  return folders;
}

std::string SizeName(size_t page_bytes) {
  constexpr size_t kGiB = 1ULL << 30;
  constexpr size_t kMiB = 1ULL << 20;
  if (page_bytes >= kGiB) return std::to_string(page_bytes / kGiB) + "GB";
  if (page_bytes >= kMiB) return std::to_string(page_bytes / kMiB) + "MB";
  return std::to_string(page_bytes / 1024) + "KB";
}

// "max 3" on a line of its own.
uint64_t MaxEvents(std::string_view text) {
  for (const std::string_view line : SplitFields(text, '\n')) {
    if (line.substr(0, 4) != "max ") continue;
    uint64_t number = 0;
    std::from_chars(line.data() + 4, line.data() + line.size(), number);
    return number;
  }
  return 0;
}

}  // namespace

HugetlbCgroup HugetlbCgroup::OfThisProcess(size_t page_bytes, const std::string& root) {
  HugetlbCgroup cgroup;
  cgroup.size_name_ = SizeName(page_bytes);
  const auto mountinfo = ReadKernelFile(root + "/proc/self/mountinfo");
  const auto cgroups = ReadKernelFile(root + "/proc/self/cgroup");
  if (!mountinfo || !cgroups) return cgroup;
  // A controller serves one hierarchy: where v1 has hugetlb, v2 has not.
  for (const bool v2 : {false, true}) {
    const auto mount = FindMount(*mountinfo, v2);
    const auto group = FindGroup(*cgroups, v2);
    if (!mount || !group) continue;
    cgroup.v2_ = v2;
    cgroup.folders_ = FoldersUpward(root, *mount, *group);
    break;
  }
  return cgroup;
}

std::string HugetlbCgroup::Path(const std::string& folder,
                                bool reservations,
                                const char* file) const {
  return folder + "/hugetlb." + size_name_ + (reservations ? ".rsvd." : ".") + file;
}

uint64_t HugetlbCgroup::Refusals() const {
  uint64_t sum = 0;
  for (const std::string& folder : folders_) {
    if (v2_) {
      // One counter for both limits, handed up to every parent.
      const auto events = ReadKernelFile(Path(folder, false, "events"));
      if (events) sum += MaxEvents(*events);
    } else {
      for (const bool reservations : {false, true}) {
        sum += ReadKernelNumber(Path(folder, reservations, "failcnt")).value_or(0);
      }
    }
  }
  return sum;
}

std::optional<HugetlbCgroup::Limit> HugetlbCgroup::Blocking(bool reservations,
                                                            uint64_t bytes) const {
  for (const std::string& folder : folders_) {
    Limit limit;
    limit.knob = Path(folder, reservations, v2_ ? "max" : "limit_in_bytes");
    const auto max = ReadKernelNumber(limit.knob);  // nullopt for "max" and for a missing file
    if (!max) continue;
    limit.limit_bytes = *max;
    limit.used_bytes =
        ReadKernelNumber(Path(folder, reservations, v2_ ? "current" : "usage_in_bytes"))
            .value_or(0);
    const uint64_t left =
        limit.limit_bytes > limit.used_bytes ? limit.limit_bytes - limit.used_bytes : 0;
    if (left < bytes) return limit;
  }
  return std::nullopt;
}

}  // namespace warpgauge
