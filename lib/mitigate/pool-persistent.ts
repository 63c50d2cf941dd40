import { formatBytes, GiB, KiB, MiB } from '../units.ts';
import type { PlanStep } from './pool-plan.ts';

/**
 * The same pools after every boot, as text for a person to put in place: warpgauge never writes it. Pages made at boot find
 * contiguous memory; a running machine may have none left for 1 GiB pages.
 */
export interface PersistentPools {
  /** For the kernel's command line: before anything else takes memory. */
  readonly kernelParameters: string;
  /** A line for /etc/sysctl.d, or null: it knows pages of the default size, on no certain node, alone. */
  readonly sysctl: string | null;
  /** A systemd unit that writes the pools' files. */
  readonly unit: string;
}

export function persistentPools(
  steps: readonly PlanStep[],
  defaultPageBytes: number | null,
): PersistentPools {
  const sizes = [...new Set(steps.map(({ pageBytes }) => pageBytes))];
  const kernelParameters = sizes
    .map((pageBytes) => {
      const same = steps.filter((step) => step.pageBytes === pageBytes);
      const counts = same.map(({ node, to }) => (node === null ? `${to}` : `${node}:${to}`));
      return `hugepagesz=${kernelSize(pageBytes)} hugepages=${counts.join(',')}`;
    })
    .join(' ');
  const [only] = steps;
  const isDefault =
    steps.length === 1 && only?.node === null && only.pageBytes === defaultPageBytes;
  const writes = steps.map(({ file, to }) => `ExecStart=/bin/sh -c 'echo ${to} > ${file}'`);
  const what = steps.map(
    ({ to, pageBytes, node }) =>
      `${to} x ${formatBytes(pageBytes)}${node === null ? '' : ` on node ${node}`}`,
  );
  return {
    kernelParameters,
    sysctl: isDefault ? `vm.nr_hugepages = ${only.to}` : null,
    unit: [
      '[Unit]',
      `Description=Huge pages: ${what.join(', ')}`,
      'DefaultDependencies=no',
      'Before=sysinit.target',
      '',
      '[Service]',
      'Type=oneshot',
      ...writes,
      '',
      '[Install]',
      'WantedBy=sysinit.target',
      '',
    ].join('\n'),
  };
}

/** As the kernel's parser reads sizes: 2M, 1G. */
function kernelSize(pageBytes: number): string {
  if (pageBytes % GiB === 0) return `${pageBytes / GiB}G`;
  return pageBytes % MiB === 0 ? `${pageBytes / MiB}M` : `${pageBytes / KiB}K`;
}
