/** What a copy from pinned memory should reach on this link, and what to look at when it does not. */
import { listDir } from '../../host/sysfs.ts';
import { formatBytes } from '../../units.ts';
import type { Cell, DeviceInfo } from './types.ts';

/** Raw payload rate of a PCIe link, one direction: GT/s x lanes x encoding / 8 (PCI Express base specification). */
export function linkCeilingGbps(generation: number, width: number): number | null {
  const gtPerSecond = [0, 2.5, 5, 8, 16, 32][generation];
  if (gtPerSecond === undefined || gtPerSecond === 0) return null;
  const encoding = generation <= 2 ? 8 / 10 : 128 / 130;
  return (gtPerSecond * width * encoding) / 8;
}

/** Below this size start-up costs hide the link. */
const MIN_BYTES = 64 * 1024 ** 2;

/**
 * Shares of the raw rate that published pinned copies reach with headers and flow control: 78-82 % on Gen3, 80-85 %
 * on Gen4, 87-91 % on Gen5. Anything below has a cause outside of page sizes.
 */
function expectedShare(generation: number): number {
  return generation >= 5 ? 0.83 : 0.75;
}

/** One sentence for each direction whose pinned copies stay below what the link should give. */
export function diagnosePinned(
  cells: readonly Cell[],
  device: DeviceInfo | null,
  bufferNode: number | null,
  root?: string,
): string[] {
  const { ceiling_gbps: ceiling, pcie_gen: gen, pcie_width: width } = device ?? {};
  if (device === null || device.simulated || !ceiling || !gen || !width) return [];
  const slow: string[] = [];
  for (const dir of ['HtoD', 'DtoH'] as const) {
    const best = cells
      .filter(
        (cell) =>
          cell.dir === dir &&
          cell.pin !== 'none' &&
          cell.metric === 'copy' &&
          cell.bytes >= MIN_BYTES,
      )
      .filter((cell) => cell.stats !== null)
      .sort((a, b) => (b.stats?.median_gbps ?? 0) - (a.stats?.median_gbps ?? 0))[0];
    const gbps = best?.stats?.median_gbps;
    if (best === undefined || gbps === undefined || gbps >= expectedShare(gen) * ceiling) continue;
    const share = Math.round((100 * gbps) / ceiling);
    slow.push(
      `pinned ${dir} reaches ${gbps.toFixed(1)} GB/s at ${formatBytes(best.bytes)}, ${share} % of the negotiated PCIe Gen${gen} x${width} link (${Math.round(100 * expectedShare(gen))} % is usual); look at: ${suspects(device, bufferNode, gen, width, root).join('; ')}`,
    );
  }
  return slow;
}

function suspects(
  device: DeviceInfo,
  bufferNode: number | null,
  gen: number,
  width: number,
  root: string | undefined,
): string[] {
  const found: string[] = [];
  if (device.numa_node !== null && bufferNode !== null && device.numa_node !== bufferNode) {
    found.push(
      `the buffers are on NUMA node ${bufferNode}, the GPU on node ${device.numa_node} (--node ${device.numa_node})`,
    );
  }
  if (device.numa_node === null)
    found.push("the GPU's NUMA node is not known (choose with --node)");
  if (width < 16) found.push(`the link has ${width} of 16 lanes (slot, riser, bifurcation)`);
  if (gen < 4) found.push(`the link runs at Gen${gen} (idle clocks, or an older slot)`);
  if (listDir('/sys/class/iommu', root).length > 0)
    found.push('an IOMMU translates the transfers (iommu=pt)');
  found.push('confidential computing mode', 'PCIe relaxed ordering in the firmware');
  return found;
}
