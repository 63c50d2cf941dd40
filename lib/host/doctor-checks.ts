import type { CheckLevel, CheckLine } from './checks.ts';
import type { FeatureReport } from './doctor.ts';
import { type DriverReport, LIBRARY_OVERRIDES, type LibraryReport } from './drivers.ts';
import type { CapabilityName } from './machine.ts';
import type { PerfEventReport } from './perf-events.ts';

/** Lines that only doctor prints: counters, kernel features and GPU libraries. */

/** A kernel feature that was tried. `level` is what its absence means. */
export function checkFeature(
  check: string,
  report: FeatureReport,
  effect: string,
  fix: string,
  level: CheckLevel = 'NO',
): CheckLine {
  if (report.works === true) {
    return { check, level: 'OK', value: 'works', effect: null, fix: null };
  }
  return { check, level, value: report.reason ?? 'unknown', effect, fix };
}

const ALLOW_KERNEL = 'sudo sysctl kernel.perf_event_paranoid=1';

/** What the paranoid level and the capabilities of this process allow, before any event is tried. */
export function checkPerfLevel(
  paranoid: number | null,
  capabilities: Readonly<Record<CapabilityName, boolean>> | null,
): CheckLine {
  const check = 'perf_event';
  if (paranoid === null) {
    const value = 'not in this kernel (no /proc/sys/kernel/perf_event_paranoid)';
    const effect = 'faults are counted by getrusage only, and no cause "translation" is ever named';
    return { check, level: 'NO', value, effect, fix: 'boot a kernel with CONFIG_PERF_EVENTS' };
  }
  const value = `paranoid ${paranoid}`;
  const privileged = capabilities?.CAP_PERFMON === true || capabilities?.CAP_SYS_ADMIN === true;
  if (privileged) {
    const by = capabilities.CAP_PERFMON ? 'CAP_PERFMON' : 'CAP_SYS_ADMIN';
    return { check, level: 'OK', value: `${value}, ${by}`, effect: null, fix: null };
  }
  if (paranoid <= 1) return { check, level: 'OK', value, effect: null, fix: null };
  if (paranoid === 2) {
    const effect =
      'user code only: faults that the kernel takes while it copies (read(2)) are not counted by perf';
    return { check, level: 'WARN', value, effect, fix: ALLOW_KERNEL };
  }
  // Levels 3 (Debian) and 4 (Ubuntu) are patches of distributions: no event at all without privilege.
  const effect = 'no perf event for ordinary users: faults are counted by getrusage only';
  return { check, level: 'NO', value, effect, fix: ALLOW_KERNEL };
}

function refused(reason: string | null): boolean {
  return reason === 'EACCES' || reason === 'EPERM';
}

function inWords(reason: string | null): string {
  if (reason === 'ENOENT') return 'ENOENT (this CPU or hypervisor has no such event)';
  if (refused(reason)) return `${reason} (not allowed for this process)`;
  return reason ?? 'unknown';
}

/** The events that were tried: page faults and TLB misses on their own lines, the others together. */
export function checkPerfEvents(
  events: readonly PerfEventReport[],
  paranoid: number | null,
): CheckLine[] {
  const lines: CheckLine[] = [];
  const single = (name: string, lost: string, partial: string): void => {
    const event = events.find((e) => e.name === name);
    if (event === undefined) return;
    if (event.scope === 'user+kernel') {
      lines.push({ check: name, level: 'OK', value: event.scope, effect: null, fix: null });
      return;
    }
    const fix = refused(event.reason)
      ? paranoid !== null && paranoid > 1
        ? ALLOW_KERNEL
        : 'run with CAP_PERFMON (containers: --cap-add PERFMON and a seccomp profile that allows it)'
      : event.reason === 'ENOENT'
        ? 'measure on the host itself, or give the guest a virtual PMU'
        : null;
    lines.push({
      check: name,
      level: event.scope === 'user' ? 'WARN' : 'NO',
      value: `${event.scope === 'user' ? 'user only: ' : ''}${inWords(event.reason)}`,
      effect: event.scope === 'user' ? partial : lost,
      fix,
    });
  };
  single(
    'page-faults',
    'faults are counted by getrusage only, which cannot tell pinning from touching',
    'faults in kernel copies are seen by getrusage only',
  );
  single(
    'dTLB-load-misses',
    'address translation can be bounded (against 4k-split), not counted: no "page walks" in a verdict',
    'page walks in the kernel, where the copies of the driver run, are not counted',
  );
  const others = events.filter((e) => e.name !== 'page-faults' && e.name !== 'dTLB-load-misses');
  if (others.length === 0) return lines;
  const works = others.filter((e) => e.scope !== null).map((e) => e.name);
  const fails = others.filter((e) => e.scope === null).map((e) => `${e.name} (${e.reason})`);
  const value = [
    works.length > 0 ? `work: ${works.join(', ')}` : '',
    fails.length > 0 ? `fail: ${fails.join(', ')}` : '',
  ];
  lines.push({
    check: 'other events',
    level: fails.length === 0 ? 'OK' : 'WARN',
    value: value.filter((part) => part !== '').join('; '),
    effect:
      fails.length === 0 ? null : 'these columns are null in recordings; no verdict needs them',
    fix: null,
  });
  return lines;
}

/** The kernel half of the GPU driver. */
export function checkDriver(
  driver: DriverReport,
  pci: readonly string[],
  nodes: readonly string[],
): CheckLine {
  const check = 'NVIDIA driver';
  if (driver.via === 'kernel module' && nodes.length === 0) {
    const value = `${driver.version ?? 'version unknown'}, but no device node /dev/nvidia*`;
    const effect = 'no GPU can be opened: bench memcpy uses the host proxy';
    const fix = 'sudo nvidia-modprobe -c 0, or in a container: --gpus all';
    return { check, level: 'NO', value, effect, fix };
  }
  if (driver.present) {
    const value = `${driver.version ?? 'version unknown'} (${driver.via})`;
    return { check, level: 'OK', value, effect: null, fix: null };
  }
  const effect = 'copies to a GPU cannot be measured: bench memcpy uses the host proxy';
  if (pci.length === 0) {
    const value = `${driver.reason}, and no NVIDIA GPU on the PCI bus`;
    return { check, level: 'NO', value, effect, fix: null };
  }
  const value = `${driver.reason}; GPU at ${pci.join(', ')}`;
  const fix = 'sudo apt-get install nvidia-driver (Debian non-free), or in a container: --gpus all';
  return { check, level: 'NO', value, effect, fix };
}

const LIBRARY_TEXT = {
  cuda: {
    check: 'CUDA (libcuda)',
    effect: 'copies to a GPU cannot be measured: bench memcpy uses the host proxy',
    fix: 'sudo apt-get install libcuda1 (Debian non-free), or in a container: --gpus all',
  },
  nvml: {
    check: 'NVML (libnvidia-ml)',
    effect: 'GPU clocks, link state and throttle reasons are not recorded',
    fix: 'sudo apt-get install libnvidia-ml1 (Debian non-free), or in a container: --gpus all',
  },
  cupti: {
    check: 'CUPTI (libcupti)',
    effect: 'CUDA calls and kernels cannot be traced',
    fix: 'install cuda-cupti of the CUDA toolkit, or name the file in WARPGAUGE_CUPTI',
  },
} as const;

const NO_SUCH_FILE = ': cannot open shared object file: No such file or directory';

/** The loader's reasons; where every name just is not there, the names alone. */
function whyNot(reason: string): string {
  const parts = reason.split('; ');
  if (!parts.every((part) => part.endsWith(NO_SUCH_FILE))) return reason;
  return parts.map((part) => part.slice(0, -NO_SUCH_FILE.length)).join(', ');
}

/** A library of the GPU: where it was found, and whether it fits the kernel module. */
export function checkLibrary(
  report: LibraryReport,
  driver: DriverReport,
  pci: readonly string[],
): CheckLine {
  const { check, effect, fix } = LIBRARY_TEXT[report.library];
  const by = report.override === null ? '' : ` by ${LIBRARY_OVERRIDES[report.library]}`;
  if (!report.found) {
    const value = `not found${by}: ${whyNot(report.reason ?? '')}`;
    if (by !== '') {
      const mend = `unset ${LIBRARY_OVERRIDES[report.library]}, or name a library file`;
      return { check, level: 'NO', value, effect, fix: mend };
    }
    // Without a GPU there is nothing to install it for.
    const useful = driver.present || pci.length > 0;
    return { check, level: 'NO', value, effect, fix: useful ? fix : null };
  }
  const version = report.version === null ? '' : `, version ${report.version}`;
  const value = `${report.path}${version}${by}`;
  const partOfDriver = report.library !== 'cupti';
  if (partOfDriver && driver.version !== null && report.version !== null) {
    if (driver.version !== report.version) {
      return {
        check,
        level: 'WARN',
        value,
        effect: `the kernel module is ${driver.version}: initialization will fail with a version mismatch`,
        fix: 'sudo reboot (or unload and load the nvidia modules after an update)',
      };
    }
  }
  if (!driver.present && report.override === null) {
    const why = 'is there, but without the kernel driver it is never initialized';
    return {
      check,
      level: 'WARN',
      value,
      effect: why,
      fix: pci.length > 0 ? 'sudo modprobe nvidia' : null,
    };
  }
  return { check, level: 'OK', value, effect: null, fix: null };
}

/** Files come from a recorded tree, system calls do not: say so beside the results. */
export function checkRoot(root: string): CheckLine {
  return {
    check: 'WARPGAUGE_ROOT',
    level: 'WARN',
    value: root,
    effect:
      'files of /proc and /sys are read there; counters, system calls and libraries are of this machine',
    fix: 'unset WARPGAUGE_ROOT',
  };
}
