#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/status.h"
#include "gpu/cupti/trace_ring.h"

namespace warpgauge {

// One lane as its reader sees it: an iterator over the records that a foreign process writes.
// Everything is copied before it is looked at, positions are kept here and never read back, and a
// writer whose numbers cannot be makes the lane `broken`: from then on nothing is taken. Belongs to
// one thread.
class LaneReader {
 public:
  LaneReader() = default;
  LaneReader(const LaneReader&) = delete;
  LaneReader& operator=(const LaneReader&) = delete;
  virtual ~LaneReader() = default;

  // The state word alone; a value that is none is WG_LANE_ENDED.
  virtual enum wg_lane_state State() = 0;
  // A copy of the lane's first page with terminated texts. False when it cannot be read.
  virtual bool Look(wg_lane* lane) = 0;
  // Copies up to `most` records, oldest first, and gives their room back to the writer. 0: there is
  // none now, or the lane is broken.
  virtual size_t Take(wg_record* records, size_t most) = 0;

  [[nodiscard]] uint64_t taken() const { return taken_; }
  // Records of a file that the writer overwrote before they were read.
  [[nodiscard]] uint64_t overwritten() const { return overwritten_; }
  // Why nothing is taken any more, a fixed word; nullptr while all is well.
  [[nodiscard]] const char* broken() const { return broken_; }
  // Its writer was seen to break the rules: nothing is taken any more.
  void Break() { broken_ = "torn"; }

 protected:
  uint64_t taken_ = 0;
  uint64_t overwritten_ = 0;
  const char* broken_ = nullptr;
};

// A lane in the shared memory of a TraceBuffer.
class MemoryLaneReader final : public LaneReader {
 public:
  // `lane` and the records behind it outlive this.
  MemoryLaneReader(wg_lane* lane, uint32_t capacity) : lane_(lane), capacity_(capacity) {}

  enum wg_lane_state State() override;
  bool Look(wg_lane* lane) override;
  size_t Take(wg_record* records, size_t most) override;
  // Makes the lane free for the next process: only when its writer is dead or has said that it
  // ended.
  void Free();
  // Whether a process is about to attach, and the pid that it gave.
  bool IsClaimed(uint32_t* pid) const;
  // Makes a lane free that `pid` claimed. Should it live all the same it finds its claim gone, and
  // takes another lane. False when it attached meanwhile.
  bool TakeBack(uint32_t pid);

 private:
  wg_lane* lane_;
  uint32_t capacity_;
  uint64_t tail_ = 0;
};

// A lane in a file that its writer made, read with pread and never mapped: a file that is cut
// short is an end of the file here, and no SIGBUS.
class FileLaneReader final : public LaneReader {
 public:
  // Opens `name` in the folder `dir` (a descriptor). ERR_UNAVAILABLE for what is no lane (yet):
  // no regular file, no magic, a capacity beyond `most_capacity`, a file shorter than it says.
  static Result<std::unique_ptr<FileLaneReader>> Open(int dir,
                                                      const std::string& name,
                                                      uint32_t most_capacity);
  ~FileLaneReader() override;

  enum wg_lane_state State() override;
  bool Look(wg_lane* lane) override;
  size_t Take(wg_record* records, size_t most) override;
  // Owner of the file: what the lane says of its user can be anything.
  [[nodiscard]] uint32_t owner() const { return owner_; }

 private:
  FileLaneReader(int fd, uint32_t capacity, uint32_t owner)
      : fd_(fd), capacity_(capacity), owner_(owner) {}
  bool Head(uint64_t* head);
  bool Read(void* to, size_t bytes, uint64_t at);

  int fd_;
  uint32_t capacity_;
  uint32_t owner_;
  uint64_t tail_ = 0;
};

// Ends the texts of a lane and replaces words that are none; for copies only.
void TidyLane(wg_lane* lane);

}  // namespace warpgauge
