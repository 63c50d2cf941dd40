import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnosePinned, linkCeilingGbps } from '#lib/measure/memcpy/link';
import type { Cell, CellStats, DeviceInfo } from '#lib/measure/memcpy/types';
import { MiB } from '#lib/units';
import { emptyCell } from './synthetic-document.ts';

const device = (more: Partial<DeviceInfo> = {}): DeviceInfo => ({
  name: 'NVIDIA H200',
  uuid: null,
  pci_address: null,
  compute_capability: '9.0',
  driver: null,
  cuda: null,
  memory_bytes: null,
  pcie_gen: 5,
  pcie_width: 16,
  ceiling_gbps: linkCeilingGbps(5, 16),
  numa_node: 0,
  pageable_access: false,
  host_page_tables: false,
  simulated: false,
  ...more,
});
const pinned = (gbps: number, bytes = 64 * MiB): Cell => ({
  ...emptyCell({ dir: 'HtoD', pin: 'hostalloc', state: 'warm', kind: 'driver', bytes }),
  metric: 'copy',
  stats: { median_gbps: gbps } as CellStats,
});

test('the ceiling of a link is rate x lanes x encoding', () => {
  assert.equal(linkCeilingGbps(3, 16)?.toFixed(2), '15.75');
  assert.equal(linkCeilingGbps(4, 16)?.toFixed(2), '31.51');
  assert.equal(linkCeilingGbps(5, 16)?.toFixed(2), '63.02');
  assert.equal(linkCeilingGbps(1, 16)?.toFixed(2), '4.00');
  assert.equal(linkCeilingGbps(9, 16), null);
});

test('R9: pinned copies at the usual share need no diagnosis, slower ones get one', () => {
  assert.deepEqual(diagnosePinned([pinned(55)], device(), 0), []);
  const [line] = diagnosePinned([pinned(40)], device(), 0);
  assert.match(
    line ?? '',
    /pinned HtoD reaches 40\.0 GB\/s at 64 MiB, 63 % of the negotiated PCIe Gen5 x16 link/,
  );
  assert.match(line ?? '', /relaxed ordering/);
});

test('the diagnosis names remote memory and a narrow link where it sees them', () => {
  const [remote] = diagnosePinned([pinned(20)], device({ numa_node: 1 }), 0);
  assert.match(remote ?? '', /buffers are on NUMA node 0, the GPU on node 1 \(--node 1\)/);
  const narrow = device({ pcie_width: 8, ceiling_gbps: linkCeilingGbps(5, 8) });
  assert.match(diagnosePinned([pinned(20)], narrow, 0)[0] ?? '', /8 of 16 lanes/);
});

test('no link, a simulated device or small copies: nothing to diagnose', () => {
  assert.deepEqual(diagnosePinned([pinned(1)], null, 0), []);
  assert.deepEqual(diagnosePinned([pinned(1)], device({ simulated: true }), 0), []);
  assert.deepEqual(
    diagnosePinned([pinned(1)], device({ ceiling_gbps: null, pcie_gen: null }), 0),
    [],
  );
  assert.deepEqual(diagnosePinned([pinned(1, MiB)], device(), 0), []);
});
