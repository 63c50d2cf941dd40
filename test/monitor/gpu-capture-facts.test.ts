// Real GPUs as nvidia-smi showed them, played by the fake NVML, read once through our own reader and compared with the
// text. The sampled tables are compared in gpu-capture-tables.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadBinding } from '#lib/addon';
import {
  amountAt,
  CAPTURES,
  captureScript,
  exportedSymbols,
  instances,
  queryTree,
  schemeOf,
  valueAt,
} from './gpu-capture.ts';
import { FakeGpus, fakeLibrary, functionNames, NEEDS_FAKE, SCHEMES } from './gpu-fake.ts';

test('the fake has no function that the driver of the captures lacks', NEEDS_FAKE, () => {
  const real = new Set(exportedSymbols());
  const ours = functionNames(fakeLibrary());
  assert(real.size > 380 && ours.length > 100, `${real.size} real, ${ours.length} ours`);
  assert.deepEqual(
    ours.filter((name) => !real.has(name)),
    [],
  );
});

test(
  'a function that the driver lacks blanks its own fact, with the reason',
  NEEDS_FAKE,
  async () => {
    using fake = new FakeGpus();
    const whole = (await loadBinding().readGpus(fakeLibrary(), '')).gpus[0];
    const library = fake.without('nvmlDeviceGetVbiosVersion');
    const lacking = (await loadBinding().readGpus(library, '')).gpus[0];
    assert(whole !== undefined && lacking !== undefined);
    assert.notEqual(whole.values['vbios'], null);
    assert.deepEqual(lacking.values, { ...whole.values, vbios: null });
    assert.notEqual(lacking.reasons['vbios'], undefined);
  },
);

for (const capture of CAPTURES) {
  for (const state of ['idle', 'load'] as const) {
    test(`${capture}, ${state}: facts are those of nvidia-smi`, NEEDS_FAKE, async () => {
      using fake = new FakeGpus(captureScript(capture, state), fakeLibrary(schemeOf(capture)));
      const system = await loadBinding().readGpus(fakeLibrary(schemeOf(capture)), '');
      assert.equal(system.simulated, true);
      assert.match(system.driverVersion ?? '', /^Simulated /);
      const gpu = queryTree(capture, state);
      const [read] = system.gpus;
      assert(read !== undefined && system.gpus.length === 1);
      const fact = (name: string) => read.values[name];
      assert.equal(fact('name'), `Simulated ${valueAt(gpu, 'Product Name')}`);
      assert.equal(
        fact('pciAddress'),
        valueAt(gpu, 'PCI', 'Bus Id')?.toLowerCase().replace(/^0000/, ''),
      );
      assert.equal(fact('memoryBytes'), amountAt(gpu, 'FB Memory Usage', 'Total'));
      assert.equal(fact('eccEnabled'), valueAt(gpu, 'ECC Mode', 'Current') === 'Enabled');
      assert.equal(fact('migEnabled'), valueAt(gpu, 'MIG Mode', 'Current') === 'Enabled');
      const watts = (name: string) => (amountAt(gpu, 'GPU Power Readings', name) ?? 0) / 1000;
      assert.equal(fact('powerLimitWatts'), watts('Requested Power Limit'));
      assert.equal(fact('powerMinLimitWatts'), watts('Min Power Limit'));
      assert.equal(fact('powerMaxLimitWatts'), watts('Max Power Limit'));
      assert.equal(fact('powerDefaultLimitWatts'), watts('Default Power Limit'));
      assert.equal(fact('powerEnforcedLimitWatts'), watts('Current Power Limit'));
      assert.equal(fact('clockSmMaxHertz'), (amountAt(gpu, 'Max Clocks', 'SM') ?? 0) * 1e6);
      assert.equal(fact('clockMemoryMaxHertz'), (amountAt(gpu, 'Max Clocks', 'Memory') ?? 0) * 1e6);
      assert.equal(
        fact('pcieGenerationMax'),
        amountAt(gpu, 'PCI', 'GPU Link Info', 'PCIe Generation', 'Max'),
      );
      assert.equal(
        fact('pcieWidthMax'),
        amountAt(gpu, 'PCI', 'GPU Link Info', 'Link Width', 'Max'),
      );

      const captured = instances(capture, state);
      assert.deepEqual(
        read.instances.map(({ gpuInstance, computeInstance, multiprocessors }) => ({
          gpuInstance,
          computeInstance,
          multiprocessors,
        })),
        captured.map(({ gpuInstance, computeInstance, node }) => ({
          gpuInstance,
          computeInstance,
          multiprocessors: amountAt(node, 'Device Attributes', 'Shared', 'Multiprocessor count'),
        })),
      );
      assert.equal(new Set(read.instances.map((instance) => instance.uuid)).size, captured.length);
      assert(fake.count('nvmlDeviceGetName') >= 1);
    });
  }
}

for (const scheme of SCHEMES) {
  test(`driver ${scheme}: facts come through its own functions`, NEEDS_FAKE, async () => {
    using _fake = new FakeGpus('nvml.power_limit = 650000\n');
    const system = await loadBinding().readGpus(fakeLibrary(scheme), '');
    assert.equal(system.gpus[0]?.values['powerLimitWatts'], 650);
    assert.equal(system.gpus[0]?.values['memoryBytes'], 143771 * 2 ** 20);
  });
}
