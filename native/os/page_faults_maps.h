#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/name_list.h"
#include "os/fault_ring_record.h"
#include "os/pread_file.h"

namespace warpgauge {

// Names the mapping behind an address of one process, from two witnesses:
//
// - before the fault: a reading of /proc/PID/maps plus the mmap records since, in order of time.
//   munmap leaves no record, so this alone goes stale.
// - after the fault: the kernel asked again at the end of the same look (PROCMAP_QUERY, Linux 6.11;
//   the whole file before that). A mapping may have gone meanwhile, so this alone is late.
//
// What both name is the answer; where they disagree there is none. Two cases count as agreement:
// a mapping that one record announced since the look before and that is gone by now (the record is
// newer than the older witness, and nothing contradicts it), and one that grew without a record
// (a stack).
//
//   maps.BeginLook(now);
//   for each record in order of time: OnMmap, OnExec or Find
//   maps.EndLook(true);
//
// One thread at a time. Costs about 2 us for each mapping that was touched since the look before.
class ProcessMaps {
 public:
  struct Answer {
    int32_t name = -1;        // of the NameList; -1: the witnesses disagree or one is missing
    uint64_t page_bytes = 0;  // of the mapping's pages where the kernel told, else 0
  };

  // `may_query` false keeps to reading the whole file, as before Linux 6.11.
  ProcessMaps(pid_t pid, NameList& names, bool may_query);
  ProcessMaps(const ProcessMaps&) = delete;
  ProcessMaps& operator=(const ProcessMaps&) = delete;
  ~ProcessMaps();

  // Reads all mappings now, so that the look that follows has an older witness.
  void ReadAll();
  // What a child of fork begins with.
  void CopyFrom(const ProcessMaps& parent);

  void BeginLook(int64_t now_ns);
  void OnMmap(const RingRecord& record);
  void OnExec();
  // Records were lost: what is known of the older witness is not to be trusted any more.
  void OnLost();
  Answer Find(uint64_t address);
  // `keep_open`: whether the file that is queried stays open to the next look.
  void EndLook(bool keep_open);

  [[nodiscard]] int64_t last_look_ns() const { return look_ns_; }
  // Before this time Find has no newer witness where the kernel cannot be asked for one mapping.
  [[nodiscard]] int64_t next_read_ns() const { return next_read_ns_; }
  // errno of the last attempt to read the maps; 0 when it went well.
  [[nodiscard]] int error() const { return error_; }

 private:
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t inode = 0;
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
    int32_t name = -1;
    uint64_t page_bytes = 0;
    bool is_recorded = false;      // by an mmap record since the look before
    bool is_private_name = false;  // "[anon:...]", which records call "//anon"
    bool is_hole = false;          // nothing is mapped here (answers of queries only)
  };

  static const Range* FindIn(const std::vector<Range>& ranges, uint64_t address);
  // Puts `range` in, cutting away what it covers.
  static void Put(std::vector<Range>* ranges, const Range& range);
  void SetName(std::string_view name, Range* range);
  [[nodiscard]] bool IsSame(const Range& a, const Range& b) const;
  // The later witness; nullptr when there is none, a hole when nothing is mapped.
  const Range* After(uint64_t address);
  const Range* Query(uint64_t address);
  bool ReadMaps(std::vector<Range>* ranges);

  pid_t pid_;
  NameList& names_;
  bool may_query_;
  PreadFile file_;
  int query_fd_ = -1;
  int error_ = 0;
  int32_t anonymous_ = -1;  // code of "//anon"
  int64_t look_ns_ = 0;
  int64_t next_read_ns_ = 0;  // whole readings may take 5 % of the time at most
  bool has_baseline_ = false;
  bool has_after_ = false;  // `after_` is a whole reading of this look
  std::vector<Range> before_;
  std::vector<Range> after_;
};

}  // namespace warpgauge
