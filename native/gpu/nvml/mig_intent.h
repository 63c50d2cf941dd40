#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warpgauge {

// What other processes of warpgauge are about to do to a GPU, by the lock file of the device
// (lib/mitigate/transaction/lock.ts writes it, docs/transactions.md has its form). Reading needs no
// lock and no right.

// Where lock files lie: below `root`/run, and, for whoever is not root, his own folder. Reads the
// environment: once, at a start.
std::vector<std::string> LockFolders(const std::string& root);

// What a lock file says; pid -1: nothing. Of other changes than of MIG (power, clocks) nobody has
// to let go of anything.
struct Announcement {
  int64_t pid = -1, pid_start = -1;
  bool is_mig = false;
};
Announcement ParseAnnouncement(std::string_view text);

// Whether a process that lives has announced that it changes how the GPU is divided.
bool MigChangeAnnounced(const std::vector<std::string>& folders, const std::string& uuid);

// Field 22 of /proc/PID/stat, ticks since boot; -1 when there is no such process.
int64_t ProcessStartTicks(int64_t pid);

}  // namespace warpgauge
