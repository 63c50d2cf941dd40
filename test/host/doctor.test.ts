import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { doctor } from 'warpgauge';
import { auxv, pool, SERVER, tree } from './tree.js';

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(
  JSON.parse(
    readFileSync(new URL('../../../../schemas/doctor-1.schema.json', import.meta.url), 'utf8'),
  ) as object,
);

/** The report of a recorded machine, valid by the schema. */
async function report(t: TestContext, changes: Record<string, string | Buffer | null> = {}) {
  const files: Record<string, string | Buffer> = { ...SERVER };
  for (const [path, text] of Object.entries(changes)) {
    if (text === null) delete files[path];
    else files[path] = text;
  }
  const result = await doctor({ root: tree(t, files) });
  assert.ok(validate(JSON.parse(JSON.stringify(result))), JSON.stringify(validate.errors));
  const line = (check: string) => {
    const found = result.lines.find((each) => each.check === check);
    assert.ok(found, `no line ${check}`);
    return found;
  };
  return { result, line };
}

/** Sets variables for one test; the readers look at the environment when they are called. */
function setEnv(t: TestContext, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    process.env[name] = value;
    t.after(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
  }
}

test('this machine: valid by the schema, every line that is not OK says its effect', async () => {
  const result = await doctor();
  assert.ok(validate(JSON.parse(JSON.stringify(result))), JSON.stringify(validate.errors));
  assert.equal(result.addon_error, null);
  for (const { check, level, effect } of result.lines) {
    if (level !== 'OK') assert.ok(effect, check);
  }
  const { ok, warn, no } = result.summary;
  assert.equal(ok + warn + no, result.lines.length);
  assert.equal(result.base_page_bytes, 4096);
  assert.ok(result.perf.events.some((event) => event.name === 'page-faults'));
});

test('the schema refuses what doctor never writes', async () => {
  const result = JSON.parse(JSON.stringify(await doctor())) as Record<string, unknown>;
  assert.ok(validate(result));
  assert.equal(validate({ ...result, schema: 'warpgauge/doctor/2' }), false);
  assert.equal(validate({ ...result, extra: 1 }), false);
  const { probes, ...rest } = result;
  assert.ok(probes);
  assert.equal(validate(rest), false);
});

test('every probe is timed on its own, within the time of the whole', async () => {
  const { probes, duration_ns } = await doctor();
  const sum = probes.reduce((total, probe) => total + probe.duration_ns, 0);
  assert.ok(sum <= duration_ns, `${sum} of ${duration_ns}`);
  const names = probes.map((probe) => probe.name);
  assert.equal(new Set(names).size, names.length);
  for (const name of ['load addon', 'perf page-faults', 'cuda library', 'nvml library']) {
    assert.ok(names.includes(name), name);
  }
});

test('a server where all pages are there', async (t) => {
  const { result, line } = await report(t);
  for (const check of ['4k', 'thp', '2m', '1g', 'cgroup hugetlb', 'memory', 'hypervisor', 'numa']) {
    assert.equal(line(check).level, 'OK', check);
  }
  assert.equal(line('2m').value, '1024 of 1024 pages free');
  assert.equal(line('page reporting').value, 'not in this kernel');
  assert.equal(line('governor').value, 'performance');
  assert.equal(result.kernel, '6.1.0-27-amd64');
  assert.equal(result.capabilities?.CAP_PERFMON, false);
});

test('empty pools: the command that fills them', async (t) => {
  const { line } = await report(t, { ...pool(2048, { nr: 0, free: 0 }) });
  assert.equal(line('2m').level, 'WARN');
  assert.equal(line('2m').value, 'pool is empty');
  assert.equal(
    line('2m').fix,
    'echo 512 | sudo tee /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages',
  );
});

test('a pool whose pages are all promised or used has nothing to give', async (t) => {
  const { line } = await report(t, { ...pool(2048, { nr: 8, free: 4, resv: 4 }) });
  assert.equal(line('2m').level, 'WARN');
  assert.equal(line('2m').value, '4 of 8 pages free, 4 promised');
  assert.match(line('2m').fix ?? '', /echo 520 /);
});

test('page kinds that the machine lacks', async (t) => {
  const none = Object.fromEntries(
    Object.keys({ ...pool(2048, { nr: 0, free: 0 }), ...pool(1048576, { nr: 0, free: 0 }) }).map(
      (path) => [path, null],
    ),
  );
  const { line } = await report(t, {
    ...none,
    '/proc/self/auxv': auxv(65536),
    '/proc/cpuinfo': 'model name : old\nflags : fpu\n',
    '/sys/kernel/mm/transparent_hugepage/enabled': null,
  });
  assert.equal(line('4k').value, 'base page 64 KiB');
  for (const check of ['4k', 'thp', '2m', '1g']) assert.equal(line(check).level, 'NO', check);
  assert.match(line('1g').value, /pdpe1gb/);
  assert.equal(line('1g').fix, null);
});

test('THP: refused by policy, refused for the size, without defragmentation', async (t) => {
  const base = '/sys/kernel/mm/transparent_hugepage';
  const never = await report(t, { [`${base}/enabled`]: 'always madvise [never]\n' });
  assert.equal(never.line('thp').level, 'NO');
  assert.equal(never.line('thp').fix, `echo madvise | sudo tee ${base}/enabled`);
  const size = await report(t, {
    [`${base}/hugepages-2048kB/enabled`]: 'always inherit madvise [never]\n',
  });
  assert.equal(size.line('thp').level, 'NO');
  assert.match(size.line('thp').fix ?? '', /hugepages-2048kB/);
  const own = await report(t, {
    [`${base}/enabled`]: 'always madvise [never]\n',
    [`${base}/hugepages-2048kB/enabled`]: 'always inherit [madvise] never\n',
  });
  assert.equal(own.line('thp').level, 'OK');
  const defrag = await report(t, { [`${base}/defrag`]: 'always defer madvise [never]\n' });
  assert.equal(defrag.line('thp').level, 'WARN');
});

test('control groups: a limit that leaves no page, and one that leaves little memory', async (t) => {
  const own = '/sys/fs/cgroup/user.slice';
  const { line } = await report(t, {
    '/sys/fs/cgroup/cgroup.controllers': 'memory hugetlb\n',
    [`${own}/hugetlb.2MB.max`]: '4194304\n',
    [`${own}/hugetlb.2MB.current`]: '4194304\n',
    [`${own}/memory.max`]: '1073741824\n',
    [`${own}/memory.current`]: '536870912\n',
  });
  assert.equal(line('cgroup hugetlb').level, 'WARN');
  assert.equal(line('cgroup hugetlb').fix, `echo max | sudo tee ${own}/hugetlb.2MB.max`);
  assert.equal(line('memory.max').level, 'WARN');
  assert.match(line('memory.max').value, /^1 GiB, 512 MiB used/);
});

test('perf: what each paranoid level and capability allows', async (t) => {
  const levels = async (text: string | null, capEff = '0') => {
    const { line } = await report(t, {
      '/proc/sys/kernel/perf_event_paranoid': text,
      '/proc/self/status': `CapEff:\t${capEff}\n`,
    });
    return line('perf_event').level;
  };
  assert.equal(await levels('1\n'), 'OK');
  assert.equal(await levels('2\n'), 'WARN');
  assert.equal(await levels('3\n'), 'NO');
  assert.equal(await levels('4\n'), 'NO');
  assert.equal(await levels('4\n', '0000004000000000'), 'OK');
  assert.equal(await levels(null), 'NO');
});

test('limits: pinning as an ordinary user', async (t) => {
  const { line } = await report(t);
  assert.equal(line('memlock').level, 'WARN');
  assert.match(line('memlock').fix ?? '', /^sudo prlimit/);
  const root = await report(t, { '/proc/self/status': 'CapEff:\t0000000000004000\n' });
  assert.equal(root.line('memlock').level, 'OK');
});

test('the machine: guest, page reporting, balancing between nodes, governor, swap', async (t) => {
  const { line } = await report(t, {
    '/proc/cpuinfo': 'flags : fpu hypervisor\n',
    '/sys/module/page_reporting/parameters/page_reporting_order': '9\n',
    '/proc/sys/kernel/numa_balancing': '1\n',
    '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n',
    '/proc/meminfo':
      'MemTotal: 1000000 kB\nMemAvailable: 500000 kB\nSwapTotal: 100 kB\nSwapFree: 50 kB\n',
  });
  for (const check of ['hypervisor', 'page reporting', 'numa', 'governor', 'memory', 'swap']) {
    assert.equal(line(check).level, 'WARN', check);
    assert.ok(line(check).effect, check);
  }
  assert.match(line('page reporting').value, /2 MiB/);
});

test('a machine without any file: no crash, and nothing claimed', async (t) => {
  const result = await doctor({ root: tree(t, {}) });
  assert.ok(validate(JSON.parse(JSON.stringify(result))), JSON.stringify(validate.errors));
  assert.equal(result.kernel, null);
  assert.equal(result.memory.available_bytes, null);
  assert.equal(result.memlock, null);
  assert.deepEqual(result.hugetlb, []);
  for (const check of ['4k', 'thp', '2m', '1g', 'perf_event', 'NVIDIA driver']) {
    assert.equal(result.lines.find((line) => line.check === check)?.level, 'NO', check);
  }
});

test('the GPU driver: version, missing device nodes, GPU without driver, WSL', async (t) => {
  const version =
    'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 12\n';
  const { result, line } = await report(t, {
    '/proc/driver/nvidia/version': version,
    '/dev/nvidia0': '',
    '/dev/nvidiactl': '',
  });
  assert.equal(result.gpu.driver.version, '580.95.05');
  assert.deepEqual(result.gpu.nodes, ['nvidia0', 'nvidiactl']);
  assert.equal(line('NVIDIA driver').level, 'OK');
  const old = await report(t, {
    '/proc/driver/nvidia/version':
      'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Wed\n',
  });
  assert.equal(old.result.gpu.driver.version, '535.309.01');
  assert.equal(old.line('NVIDIA driver').level, 'NO');
  assert.match(old.line('NVIDIA driver').value, /no device node/);
  const bare = await report(t, {
    '/sys/bus/pci/devices/0000:41:00.0/vendor': '0x10de\n',
    '/sys/bus/pci/devices/0000:41:00.0/class': '0x030200\n',
    '/sys/bus/pci/devices/0000:41:00.1/vendor': '0x10de\n',
    '/sys/bus/pci/devices/0000:41:00.1/class': '0x040300\n',
  });
  assert.deepEqual(bare.result.gpu.pci, ['0000:41:00.0']);
  assert.match(bare.line('NVIDIA driver').fix ?? '', /nvidia-driver/);
  const wsl = await report(t, { '/dev/dxg': '', '/usr/lib/wsl/lib/libnvidia-ml.so.1': '' });
  assert.equal(wsl.result.gpu.driver.via, 'WSL');
});

test('an override of a library is the only name tried, and is shown', async (t) => {
  setEnv(t, { WARPGAUGE_CUDA: '/nonexistent/libcuda.so.1' });
  const { result, line } = await report(t);
  const cuda = result.gpu.libraries.find((library) => library.library === 'cuda');
  assert.equal(cuda?.found, false);
  assert.match(cuda?.reason ?? '', /nonexistent/);
  assert.doesNotMatch(cuda?.reason ?? '', /wsl/);
  assert.match(line('CUDA (libcuda)').value, /WARPGAUGE_CUDA/);
  assert.match(line('CUDA (libcuda)').fix ?? '', /WARPGAUGE_CUDA/);
  assert.equal(result.overrides['WARPGAUGE_CUDA'], '/nonexistent/libcuda.so.1');
});

test('a library that loads is shown with its real file', async (t) => {
  setEnv(t, { WARPGAUGE_NVML: 'libm.so.6' });
  const { result, line } = await report(t);
  const nvml = result.gpu.libraries.find((library) => library.library === 'nvml');
  assert.equal(nvml?.found, true);
  assert.match(nvml?.path ?? '', /^\/.*libm/);
  assert.equal(nvml?.version, null);
  assert.equal(line('NVML (libnvidia-ml)').level, 'OK');
});

test('no device node appears', async () => {
  const before = readdirSync('/dev').filter((name) => name.startsWith('nvidia'));
  await doctor();
  assert.deepEqual(
    readdirSync('/dev').filter((name) => name.startsWith('nvidia')),
    before,
  );
});

test('a recorded tree is named, because counters are of this machine all the same', async (t) => {
  const { line } = await report(t);
  assert.equal(line('WARPGAUGE_ROOT').level, 'WARN');
  const here = await doctor({ root: '/' });
  assert.equal(
    here.lines.some((each) => each.check === 'WARPGAUGE_ROOT'),
    false,
  );
});
