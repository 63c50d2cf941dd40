#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "guardian/journal.h"
#include "targets.h"

// Most inputs end at the first checksum: each line is also given one that is right, so that what is
// behind it is reached.
FUZZ_TARGET(guardian_journal) {
  auto journal = std::make_unique<Journal>();
  ParseJournal(text.data(), text.size(), journal.get());
  FUZZ_CHECK(journal->valid_bytes <= text.size());
  FUZZ_CHECK(journal->step_count <= kMaxSteps && journal->lock_count <= kMaxLocks);
  for (int i = 0; i < journal->step_count; i++) {
    FUZZ_CHECK(std::memchr(journal->steps[i].target, '\0', kMaxText) != nullptr);
    FUZZ_CHECK(std::memchr(journal->steps[i].observed, '\0', kMaxValue) != nullptr);
  }
  std::string mended;
  std::string line(8192, '\0');
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    std::string body(text.substr(at, end - at));
    at = end + 1;
    const size_t crc = body.rfind(",\"crc\":\"");
    if (crc != std::string::npos) body.resize(crc);
    if (body.find('\0') != std::string::npos) continue;
    mended.append(line.data(), EncodeLine(body.c_str(), line.data(), line.size()));
  }
  ParseJournal(mended.data(), mended.size(), journal.get());
  FUZZ_CHECK(journal->valid_bytes <= mended.size());
}
