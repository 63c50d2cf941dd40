import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  readBasePageBytes,
  readCapabilities,
  readContainer,
  readCpu,
  readMemlock,
  readNuma,
  readPageReporting,
  readVirtualization,
} from '#lib/host/machine';
import { auxv, SERVER, tree } from './tree.js';

test('cpu: the first CPU, the largest data cache, who may run where', (t) => {
  assert.deepEqual(readCpu(tree(t, SERVER)), {
    model: 'Intel(R) Xeon(R) Platinum 8480+',
    count: 112,
    allowed: 8,
    governor: 'performance',
    llc_bytes: 107520 * 1024,
    pdpe1gb: true,
  });
});

test('a machine that tells nothing is null everywhere, and nothing throws', (t) => {
  const root = tree(t, {});
  assert.deepEqual(readCpu(root), {
    model: null,
    count: null,
    allowed: null,
    governor: null,
    llc_bytes: null,
    pdpe1gb: null,
  });
  assert.equal(readBasePageBytes(root), null);
  assert.equal(readCapabilities(root), null);
  assert.equal(readMemlock(root), null);
  assert.equal(readPageReporting(root), null);
  assert.equal(readContainer(root), null);
  assert.deepEqual(readNuma(root), { nodes: [], balancing: null });
  assert.deepEqual(readVirtualization(root), { virtual: null, hypervisor: null, product: null });
});

test('base page: from the auxiliary vector, also on a 64 KiB kernel', (t) => {
  assert.equal(readBasePageBytes(tree(t, { '/proc/self/auxv': auxv(65536) })), 65536);
  assert.equal(readBasePageBytes(tree(t, { '/proc/self/auxv': 'short' })), null);
});

test('hypervisor: none, KVM by its clock, named by the firmware', (t) => {
  assert.deepEqual(readVirtualization(tree(t, SERVER)), {
    virtual: false,
    hypervisor: null,
    product: 'Dell Inc. PowerEdge XE9680',
  });
  const clock = '/sys/devices/system/clocksource/clocksource0/available_clocksource';
  const guest = { ...SERVER, '/proc/cpuinfo': 'flags : fpu hypervisor\n' };
  const kvm = readVirtualization(tree(t, { ...guest, [clock]: 'kvm-clock tsc\n' }));
  assert.equal(kvm.virtual, true);
  assert.equal(kvm.hypervisor, 'kvm');
  const vendor = { '/sys/class/dmi/id/sys_vendor': 'VMware, Inc.\n' };
  assert.equal(readVirtualization(tree(t, { ...guest, ...vendor })).hypervisor, 'vmware');
  assert.equal(readVirtualization(tree(t, guest)).hypervisor, null);
});

test('page reporting: active only with an order of the allocator; counters are optional', (t) => {
  const base = '/sys/module/page_reporting/parameters';
  const read = (files: Record<string, string>) => readPageReporting(tree(t, files));
  assert.deepEqual(read({ [`${base}/page_reporting_order`]: '9\n' }), {
    active: true,
    order: 9,
    reported_kib: null,
  });
  assert.deepEqual(
    read({ [`${base}/page_reporting_order`]: '9\n', [`${base}/reported_kib`]: '115600000\n' }),
    { active: true, order: 9, reported_kib: 115600000 },
  );
  assert.equal(read({ [`${base}/page_reporting_order`]: '4294967295\n' })?.active, false);
  assert.equal(read({ [`${base}/page_reporting_order`]: '-1\n' })?.active, false);
});

test('capabilities: bits of CapEff', (t) => {
  const caps = (hex: string) =>
    readCapabilities(tree(t, { '/proc/self/status': `Name:\tnode\nCapEff:\t${hex}\n` }));
  assert.deepEqual(caps('000001ffffffffff'), {
    CAP_IPC_LOCK: true,
    CAP_SYS_ADMIN: true,
    CAP_SYS_NICE: true,
    CAP_PERFMON: true,
  });
  assert.deepEqual(caps('0000004000004000'), {
    CAP_IPC_LOCK: true,
    CAP_SYS_ADMIN: false,
    CAP_SYS_NICE: false,
    CAP_PERFMON: true,
  });
});

test('memlock: unlimited is told apart from unknown', (t) => {
  const limits = (soft: string, hard: string) =>
    readMemlock(tree(t, { '/proc/self/limits': `Max locked memory   ${soft}  ${hard}  bytes\n` }));
  assert.deepEqual(limits('8388608', 'unlimited'), {
    unlimited: false,
    soft_bytes: 8388608,
    hard_bytes: null,
  });
  assert.deepEqual(limits('unlimited', 'unlimited'), {
    unlimited: true,
    soft_bytes: null,
    hard_bytes: null,
  });
});

test('numa: nodes with their CPUs and memory', (t) => {
  assert.deepEqual(readNuma(tree(t, SERVER)), {
    nodes: [
      { node: 0, cpus: '0-55', memory_bytes: 65536 * 1024 },
      { node: 1, cpus: '56-111', memory_bytes: null },
    ],
    balancing: 0,
  });
});

test('container: by its marker file or the name of its control group', (t) => {
  assert.equal(readContainer(tree(t, { '/.dockerenv': '' })), 'docker');
  assert.equal(readContainer(tree(t, { '/run/.containerenv': '' })), 'podman');
  const group = '0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-abc.scope\n';
  assert.equal(readContainer(tree(t, { '/proc/self/cgroup': group })), 'kubepods');
  assert.equal(readContainer(tree(t, SERVER)), null);
});
