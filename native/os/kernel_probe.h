#pragma once

namespace warpgauge {

// Whether the running kernel lets this process use a feature: the feature is really used, on memory
// of our own, and let go again; versions are never compared, because distributions backport and
// containers forbid. 0: it works; else the errno. Any thread; no allocation.

// io_uring_setup and close. EPERM: kernel.io_uring_disabled or a container's seccomp profile.
int ProbeIoUring();

// PAGEMAP_SCAN on one page. ENOTTY: before Linux 6.7. ENOENT, EACCES: no /proc, or not readable
// after setuid (a fresh exec is).
int ProbePagemapScan();

// MADV_POPULATE_WRITE on one page. EINVAL: before Linux 5.14.
int ProbePopulateWrite();

// prctl(PR_GET_THP_DISABLE) of this process: 0 enabled, 1 disabled, 3 disabled except where
// advised; negative errno when the kernel does not tell.
int ThpDisabled();

}  // namespace warpgauge
