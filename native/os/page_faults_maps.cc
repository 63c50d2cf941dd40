#include "os/page_faults_maps.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "core/clock.h"
#include "os/kernel_abi.h"
#include "os/maps_snapshot.h"

namespace warpgauge {
namespace {

constexpr std::string_view kAnonymous = "//anon";
constexpr int64_t kReadShare = 20;  // whole readings: one part of the time in this many
constexpr uint64_t kHoleBytes = 4096;

std::string MapsPath(pid_t pid) { return "/proc/" + std::to_string(pid) + "/maps"; }

}  // namespace

ProcessMaps::ProcessMaps(pid_t pid, NameList& names, bool may_query)
    : pid_(pid),
      names_(names),
      may_query_(may_query),
      file_(MapsPath(pid), PreadFile::Shape::kRecords, size_t{64} * 1024, /*keep_open=*/false),
      anonymous_(names.Code(kAnonymous)) {}

ProcessMaps::~ProcessMaps() {
  if (query_fd_ >= 0) close(query_fd_);
}

const ProcessMaps::Range* ProcessMaps::FindIn(const std::vector<Range>& ranges, uint64_t address) {
  const auto next =
      std::upper_bound(ranges.begin(), ranges.end(), address, [](uint64_t a, const Range& r) {
        return a < r.start;
      });
  if (next == ranges.begin()) return nullptr;
  const Range& range = *(next - 1);
  return address < range.end ? &range : nullptr;
}

void ProcessMaps::Put(std::vector<Range>* ranges, const Range& range) {
  auto first = std::lower_bound(
      ranges->begin(), ranges->end(), range.start, [](const Range& r, uint64_t start) {
        return r.end <= start;
      });
  auto last = first;
  while (last != ranges->end() && last->start < range.end) ++last;
  Range parts[3];
  size_t count = 0;
  if (first != last && first->start < range.start) {
    parts[count] = *first;
    parts[count++].end = range.start;
  }
  if (!range.is_hole) parts[count++] = range;
  if (first != last && (last - 1)->end > range.end) {
    parts[count] = *(last - 1);
    parts[count++].start = range.end;
  }
  const auto covered = static_cast<size_t>(last - first);
  const size_t reused = std::min(covered, count);
  first = std::copy(parts, parts + reused, first);
  if (covered > count) {
    ranges->erase(first, first + static_cast<ptrdiff_t>(covered - count));
  } else {
    ranges->insert(first, parts + reused, parts + count);
  }
}

void ProcessMaps::SetName(std::string_view name, Range* range) {
  constexpr std::string_view kDeleted = " (deleted)";
  constexpr std::string_view kNamed = "[anon:";
  if (name.size() > kDeleted.size() && name.substr(name.size() - kDeleted.size()) == kDeleted) {
    name.remove_suffix(kDeleted.size());
  }
  range->is_private_name = name.substr(0, kNamed.size()) == kNamed;
  range->name = name.empty() ? anonymous_ : names_.Code(name);
}

bool ProcessMaps::IsSame(const Range& a, const Range& b) const {
  if (a.inode != 0 || b.inode != 0) {
    return a.inode == b.inode && a.device_major == b.device_major &&
           a.device_minor == b.device_minor;
  }
  return a.name == b.name || (a.name == anonymous_ && b.is_private_name) ||
         (b.name == anonymous_ && a.is_private_name);
}

bool ProcessMaps::ReadMaps(std::vector<Range>* ranges) {
  const int64_t begin = MonotonicNs();
  ranges->clear();
  std::string_view text;
  if (!file_.Read(&text)) {
    error_ = file_.error();
    return false;
  }
  error_ = 0;
  MapsEntry entry;
  while (NextMapping(&text, &entry)) {
    // In order already, but that is the kernel's promise and not ours.
    if (!ranges->empty() && entry.start < ranges->back().end) continue;
    Range range;
    range.start = entry.start;
    range.end = entry.end;
    range.inode = entry.inode;
    range.device_major = entry.device_major;
    range.device_minor = entry.device_minor;
    SetName(entry.name, &range);
    ranges->push_back(range);
  }
  const int64_t end = MonotonicNs();
  next_read_ns_ = end + kReadShare * (end - begin);
  return !ranges->empty();  // a process that is ending has none
}

void ProcessMaps::ReadAll() { has_baseline_ = ReadMaps(&before_); }

void ProcessMaps::CopyFrom(const ProcessMaps& parent) {
  before_ = parent.before_;
  has_baseline_ = parent.has_baseline_;
}

void ProcessMaps::BeginLook(int64_t now_ns) {
  look_ns_ = now_ns;
  after_.clear();
  has_after_ = false;
}

void ProcessMaps::OnMmap(const RingRecord& record) {
  if (record.start >= record.end) return;
  Range range;
  range.start = record.start;
  range.end = record.end;
  range.inode = record.inode;
  range.device_major = record.device_major;
  range.device_minor = record.device_minor;
  range.is_recorded = true;
  SetName(record.name, &range);
  Put(&before_, range);
}

// The new stack leaves no record, so there is no whole older witness until the next reading.
void ProcessMaps::OnExec() {
  before_.clear();
  after_.clear();
  has_after_ = false;
  has_baseline_ = false;
  if (query_fd_ >= 0) close(query_fd_);  // it shows the memory from before
  query_fd_ = -1;
}

void ProcessMaps::OnLost() {
  before_.clear();
  has_baseline_ = false;
  next_read_ns_ = 0;
}

const ProcessMaps::Range* ProcessMaps::Query(uint64_t address) {
  // Backwards: faults come in runs.
  for (size_t i = after_.size(); i > 0; i--) {
    const Range& range = after_[i - 1];
    if (address >= range.start && address < range.end) return &range;
  }
  if (query_fd_ < 0) {
    query_fd_ = open(MapsPath(pid_).c_str(), O_RDONLY | O_CLOEXEC);
    if (query_fd_ < 0) {
      error_ = errno;
      return nullptr;
    }
  }
  char name[PATH_MAX];
  ProcMapQuery query{};
  query.size = sizeof(query);
  query.address = address;
  query.name_bytes = sizeof(name);
  query.name = reinterpret_cast<uintptr_t>(name);
  Range range;
  if (ioctl(query_fd_, kProcMapQuery, &query) == 0) {
    range.start = query.start;
    range.end = query.end;
    range.inode = query.inode;
    range.device_major = query.device_major;
    range.device_minor = query.device_minor;
    range.page_bytes = query.page_bytes;
    // Its length counts the zero byte.
    SetName(
        query.name_bytes > 1 ? std::string_view(name, query.name_bytes - 1) : std::string_view(),
        &range);
  } else if (errno == ENOENT) {
    range.start = address & ~(kHoleBytes - 1);
    range.end = range.start + kHoleBytes;
    range.is_hole = true;
  } else {
    error_ = errno;
    if (errno == ENOTTY || errno == EINVAL) may_query_ = false;  // Linux before 6.11
    return nullptr;
  }
  error_ = 0;
  after_.push_back(range);
  return &after_.back();
}

const ProcessMaps::Range* ProcessMaps::After(uint64_t address) {
  if (may_query_) {
    const Range* range = Query(address);
    if (may_query_) return range;
  }
  if (!has_after_) {
    if (MonotonicNs() < next_read_ns_) return nullptr;
    has_after_ = ReadMaps(&after_);
    if (!has_after_) return nullptr;
  }
  static constexpr Range kHole = {.is_hole = true};
  const Range* range = FindIn(after_, address);
  return range == nullptr ? &kHole : range;
}

ProcessMaps::Answer ProcessMaps::Find(uint64_t address) {
  const Range* before = FindIn(before_, address);
  const Range* after = After(address);
  if (after == nullptr || after->is_hole) {
    if (before != nullptr && before->is_recorded) return {before->name, before->page_bytes};
    return {};
  }
  if (before != nullptr) {
    if (!IsSame(*before, *after)) return {};
    return {after->name, after->page_bytes};
  }
  if (!has_baseline_) return {after->name, after->page_bytes};
  for (const Range& range : before_) {
    const bool overlaps = range.start < after->end && after->start < range.end;
    if (overlaps && IsSame(range, *after)) return {after->name, after->page_bytes};
  }
  return {};
}

void ProcessMaps::EndLook(bool keep_open) {
  if (!keep_open && query_fd_ >= 0) {
    close(query_fd_);
    query_fd_ = -1;
  }
  if (has_after_) {
    before_.swap(after_);
    has_baseline_ = true;
  } else {
    for (const Range& range : after_) Put(&before_, range);
    if (!after_.empty()) {
      for (Range& range : before_) range.is_recorded = false;
    }
  }
  after_.clear();
  has_after_ = false;
}

}  // namespace warpgauge
