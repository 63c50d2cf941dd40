#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `cpu`: times of each CPU since boot from /proc/stat, keyed by the CPU's number (option per=cpu,
// the default), or one row for all (per=total); and `cpu.system`: context switches, interrupts,
// forks and tasks of the whole system.
//
// Times are ns, in steps of one USER_HZ tick (10 ms). The kernel lets idle and iowait go back a
// little (a waiting task changes its CPU), so a decrease of those two is not reported. guest is
// part of user, guest_nice of nice. A CPU that is taken offline is gone until it is back.
Result<std::unique_ptr<Source>> MakeCpuSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
