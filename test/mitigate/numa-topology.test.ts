import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { numa } from '#lib/mitigate/numa';
import { renderNumaStatus } from '#lib/view/placement';
import { FakeGpus, NEEDS_FAKE } from '../monitor/gpu-fake.js';

test('the driver is asked first: NVML knows a node where sysfs says -1, and where both do they are compared', {
  ...NEEDS_FAKE,
}, async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-numa-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  };
  put('sys/devices/system/node/node0/cpulist', '0-1');
  put('sys/devices/system/node/node1/cpulist', '2-3');
  const place = async (says: { sysfs: number; memory: string; cpus: string }) => {
    put('sys/bus/pci/devices/0000:17:00.0/numa_node', `${says.sysfs}`);
    using _gpus = new FakeGpus(`pci = 0000:17:00.0
nvml.0.memory_affinity = ${says.memory}
nvml.0.cpu_affinity = ${says.cpus}`);
    const [gpu] = (await numa.status({ root })).gpus;
    assert.equal(gpu?.simulated, true);
    return gpu;
  };
  const byMemory = 'nvmlDeviceGetMemoryAffinity';
  const byCpus = 'nvmlDeviceGetCpuAffinityWithinScope';
  const file = '/sys/bus/pci/devices/0000:17:00.0/numa_node';
  for (const [says, node, source] of [
    [{ sysfs: -1, memory: '0x2', cpus: '0xc' }, 1, byMemory],
    [{ sysfs: 1, memory: '0x2', cpus: '0xc' }, 1, byMemory],
    // Memory that is not told, or all of it: the CPUs tell, then sysfs.
    [{ sysfs: -1, memory: '!3', cpus: '0x8' }, 1, byCpus],
    [{ sysfs: -1, memory: '0x3', cpus: '0x3' }, 0, byCpus],
    [{ sysfs: 1, memory: '0x3', cpus: '0xf' }, 1, file],
    [{ sysfs: 1, memory: '!3', cpus: '!3' }, 1, file],
  ] as const) {
    const gpu = await place(says);
    const what = JSON.stringify(says);
    assert.deepEqual([gpu?.node, gpu?.source, gpu?.disagreement], [node, source, null], what);
    assert.deepEqual(gpu?.cpus, node === 1 ? [2, 3] : [0, 1], what);
  }
  const unknown = await place({ sysfs: -1, memory: '0x3', cpus: '0xf' });
  assert.equal(unknown?.node, null);
  assert.match(unknown?.source ?? '', /^unknown: .*names nodes 0, 1; .* says -1/);
  const differ = await place({ sysfs: 0, memory: '0x2', cpus: '0xc' });
  assert.deepEqual([differ?.node, differ?.source], [1, byMemory]);
  assert.equal(differ?.disagreement, `${byMemory} says node 1, ${file} node 0`);
  const shown = { ...(await numa.status({ root })), gpus: [differ as NonNullable<typeof differ>] };
  assert.match(renderNumaStatus(shown, { colour: false, width: 200 }), /GPU 0: .*says node 1/);
  const odd = await place({ sysfs: -1, memory: '0x2', cpus: '0x3' });
  assert.match(odd?.disagreement ?? '', /names no CPU of node 1/);
  const absent = await place({ sysfs: -1, memory: '0x10', cpus: '!3' });
  assert.match(absent?.disagreement ?? '', /node 4, which is not in/);
});
