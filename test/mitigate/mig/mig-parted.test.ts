import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mig } from '#lib/mitigate/mig';
import { parseMigParted, selectMigConfig } from '#lib/mitigate/mig/mig-parted';
import { migUnit } from '#lib/mitigate/mig/unit';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { GPU, SimulatedMig } from './simulated-mig.js';

const FILE = `
version: v1
mig-configs:
  mixed:
    - devices: [0]
      mig-enabled: true
      mig-devices: {"3g.40gb": 1, "1g.10gb": 2}
    - devices: [1, 2]
      mig-enabled: false
  hopper:
    - devices: all
      device-filter: ["0x233010DE"]
      mig-enabled: true
      mig-devices: {}
    - devices: all
      device-filter: 0x20B010DE
      mig-enabled: false
      mig-devices: {}
`;

test('a file is read as its grammar says', () => {
  const { labels } = parseMigParted(FILE, 'x.yaml');
  assert.deepEqual([...labels.keys()], ['mixed', 'hopper']);
  assert.deepEqual(labels.get('mixed'), [
    { devices: [0], deviceFilter: [], enabled: true, instances: { '3g.40gb': 1, '1g.10gb': 2 } },
    { devices: [1, 2], deviceFilter: [], enabled: false, instances: {} },
  ]);
  assert.deepEqual(
    labels.get('hopper')?.map(({ deviceFilter }) => deviceFilter),
    [[0x233010de], [0x20b010de]],
  );
});

test('what is wrong is named with its place, and nothing unknown is overlooked', () => {
  const rule = (text: string) => `version: v1\nmig-configs:\n  a:\n    - ${text}\n`;
  for (const [text, expected] of [
    ['', /a map with version/],
    ['version: v2\nmig-configs: {}', /version: expected v1, found "v2"/],
    ['version: v1\nmig-config: {}', /unknown key mig-config; did you mean mig-configs/],
    ['version: v1\nmig-configs: []', /a map from labels/],
    ['version: v1\nversion: v1', /unique/],
    ['version: [', /./],
    [
      rule('{devices: some, mig-enabled: true, mig-devices: {}}'),
      /a, rule 1: devices: expected all/,
    ],
    [rule('{devices: [-1], mig-enabled: false}'), /devices: expected all/],
    [rule('{devices: all, mig-devices: {}}'), /mig-enabled: expected true or false, found nothing/],
    [rule('{devices: all, mig-enabled: true}'), /mig-devices: expected a map/],
    [rule('{devices: all, mig-enabled: false, mig-devices: {1g.10gb: 1}}'), /expected none/],
    [
      rule('{devices: all, mig-enabled: true, mig-devices: {1g.10gb: x}}'),
      /1g\.10gb: expected a count/,
    ],
    [
      rule('{devices: all, mig-enabled: true, mig-devices: {}, mig_devices: {}}'),
      /did you mean mig-devices/,
    ],
    [
      rule('{devices: all, device-filter: H100, mig-enabled: false}'),
      /device-filter: expected PCI ids/,
    ],
  ] as const) {
    assert.throws(
      () => parseMigParted(text, 'x.yaml'),
      (error: Error & { code?: string }) =>
        error.code === 'ERR_INVALID_ARGUMENT' &&
        error.message.startsWith('x.yaml: ') &&
        expected.test(error.message),
      text,
    );
  }
});

test('rules meet GPUs by index and PCI id; a GPU of two rules is refused', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({ script: 'devices = 3' });
  const gpus = await mig.status();
  assert.equal(gpus.length, 3);
  const chosen = (text: string, label: string) =>
    selectMigConfig(parseMigParted(text, 'x'), label, gpus, machine.root).map(
      ({ gpu, rule }) => [gpus.indexOf(gpu), rule.enabled] as const,
    );
  assert.deepEqual(chosen(FILE, 'mixed'), [
    [0, true],
    [1, false],
    [2, false],
  ]);
  // Without sysfs nobody knows the PCI id, and a filter meets nothing.
  assert.deepEqual(chosen(FILE, 'hopper'), []);
  for (const [bus, device] of [
    ['83', '0x2330'],
    ['84', '0x20b0'],
  ]) {
    const folder = join(machine.root, `sys/bus/pci/devices/0000:${bus}:00.0`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'vendor'), '0x10de\n');
    writeFileSync(join(folder, 'device'), `${device}\n`);
  }
  assert.deepEqual(chosen(FILE, 'hopper'), [
    [0, true],
    [1, false],
  ]);
  assert.throws(() => chosen(FILE, 'mixd'), /mixed, hopper.*did you mean mixed/);
  const twice = FILE.replace('devices: [1, 2]', 'devices: all');
  assert.throws(() => chosen(twice, 'mixed'), /Several rules of mixed are about GPU 0/);
});

test('what is exported is what is there, also in parts', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({ instances: ['9@0:1@0+2@1', '20@5:1@0'] });
  const text = await mig.exportFile({ label: 'now' });
  assert.deepEqual(parseMigParted(text, 'x').labels.get('now'), [
    {
      devices: [0],
      deviceFilter: [],
      enabled: true,
      instances: { '1c.3g.40gb': 1, '2c.3g.40gb': 1, '1g.10gb+me': 1 },
    },
  ]);
  const file = join(machine.folder, 'now.yaml');
  writeFileSync(file, text);
  const [plan] = await mig.planFile({ file, config: 'now' });
  assert.deepEqual([plan?.gpu, plan?.steps], [GPU, []]);
  const [same] = await mig.assert({ file, config: 'now' });
  assert.equal(same?.matches, true);
});

test('the unit quotes what systemd would take apart', () => {
  const unit = migUnit({
    file: '/etc/my layouts/100%.yaml',
    label: 'a$b',
    command: ['/usr/bin/node', '/opt/main.js'],
    allowModeChange: true,
  });
  assert.match(
    unit,
    /^ExecStart=\/usr\/bin\/node \/opt\/main\.js mig apply --file "\/etc\/my layouts\/100%%\.yaml" --config a\$\$b --yes --allow-mode-change$/m,
  );
});
