#include <string>

#include "gpu/nvml/mig_intent.h"
#include "memory/kernel_files.h"
#include "memory/smaps.h"
#include "os/maps_snapshot.h"
#include "os/proc_files.h"
#include "targets.h"

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every target
                            // here

FUZZ_TARGET(process_stat) {
  ProcStat stat;
  if (!ParseProcStat(text, &stat)) return;
  FUZZ_CHECK(stat.comm.empty() ||
             (stat.comm.data() >= text.data() &&
              stat.comm.data() + stat.comm.size() <= text.data() + text.size()));
}

FUZZ_TARGET(process_status) {
  ParseProcStatus(text);
  ParseProcIo(text);
}

FUZZ_TARGET(smaps_rollup) { ParseSmapsRollup(text); }

FUZZ_TARGET(maps) {
  const std::string_view whole = text;
  MapsEntry entry;
  size_t before = text.size();
  while (NextMapping(&text, &entry)) {
    FUZZ_CHECK(text.size() < before);
    before = text.size();
    FUZZ_CHECK(entry.name.empty() ||
               (entry.name.data() >= whole.data() &&
                entry.name.data() + entry.name.size() <= whole.data() + whole.size()));
  }
}

FUZZ_TARGET(smaps) {
  for (const SmapsEntry& entry : ParseSmaps(text, 0, UINT64_MAX)) {
    FUZZ_CHECK(entry.start < entry.end);
  }
}

FUZZ_TARGET(kernel_words) {
  ChosenWord(text);
  FUZZ_CHECK(!SplitFields(text, ':').empty());
}

FUZZ_TARGET(lock_intent) {
  const Announcement said = ParseAnnouncement(text);
  FUZZ_CHECK(said.pid >= -1 && said.pid_start >= -1);
}
