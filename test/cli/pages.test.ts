import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { writeJournal } from '../mitigate/journal-file.js';
import { SimulatedPools } from '../mitigate/simulated-pools.js';

const MAIN = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));
const schema = JSON.parse(
  readFileSync(new URL('../../../../schemas/pages-1.schema.json', import.meta.url), 'utf8'),
) as object;
const validate = new Ajv2020({
  allErrors: true,
  validateFormats: false,
  allowUnionTypes: true,
}).compile(schema);

/** A machine without pages; the command line writes its files as if they were those of the kernel. */
function machine(t: TestContext, total = 0): SimulatedPools {
  return new SimulatedPools(t, { nodes: [{ total, free: total, surplus: 0 }], spare: 100 });
}

function pages(at: SimulatedPools, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'pages', ...args], {
    encoding: 'utf8',
    env: { ...process.env, WARPGAUGE_ROOT: at.root, WARPGAUGE_STATE_DIR: at.stateDir },
  });
  return { status, stdout, stderr };
}

function document(text: string): Record<string, unknown> {
  const parsed = JSON.parse(text) as Record<string, unknown>;
  assert.equal(validate(parsed), true, JSON.stringify(validate.errors));
  return parsed;
}

test('status shows every pool, and its JSON keeps to the schema', (t) => {
  const at = machine(t, 12);
  at.put('/sys/kernel/mm/transparent_hugepage/enabled', 'always [madvise] never\n');
  at.put('/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled', 'always [never]\n');
  writeJournal(at, [
    { type: 'intent', step: 0, op: 'pool.grow', target: at.file(), prior: 4, asked: 8 },
    { type: 'done', step: 0, observed: 8 },
  ]);
  const text = pages(at, 'status');
  assert.equal(text.status, 0, text.stderr);
  assert.match(text.stdout, /2 MiB +all +12 +12 +0 +0 +0 +12/);
  assert.match(text.stdout, /enabled madvise/);
  assert.match(text.stdout, /abandoned +\d+ +8 x 2 MiB pages +node killed\.js/);
  assert.match(text.stdout, /pages recover/);
  const json = document(pages(at, 'status', '--json').stdout) as {
    pools: { nr: number }[];
    thp: object;
  };
  assert.deepEqual(
    json.pools.map(({ nr }) => nr),
    [12, 12],
  );
  assert.equal(validate({ ...json, extra: 1 }), false);
  assert.equal(validate({ ...json, pools: [{ ...json.pools[0], nr: -1 }] }), false);
});

test('--bytes is rounded up to whole pages; --persistent prints how to keep them and writes nothing', (t) => {
  const at = machine(t, 3);
  const { stdout } = pages(at, 'plan', '--pages', '2m', '--bytes', '9MiB', '--json');
  const { steps, persistent } = document(stdout) as {
    steps: { count: number }[];
    persistent: { kernel_parameters: string; sysctl: string; unit: string };
  };
  assert.equal(steps[0]?.count, 5);
  assert.equal(persistent.kernel_parameters, 'hugepagesz=2M hugepages=5');
  assert.equal(persistent.sysctl, 'vm.nr_hugepages = 5');
  const text = pages(at, 'plan', '--pages', '2m=5', '--persistent').stdout;
  assert.match(text, /hugepagesz=2M hugepages=5/);
  assert.ok(text.includes(`ExecStart=/bin/sh -c 'echo 5 > ${at.file()}'`), text);
  assert.deepEqual([at.sum('total'), at.writes], [3, []]);
});

test('plan tells what would change; one that would be refused is exit 1, its JSON still printed', (t) => {
  const at = machine(t, 3);
  const good = pages(at, 'plan', '--pages', '2m=5', '--json');
  assert.equal(good.status, 0, good.stderr);
  const { steps, refusal } = document(good.stdout) as { steps: unknown[]; refusal: null };
  assert.deepEqual(steps, [
    {
      page_bytes: 2 ** 21,
      node: null,
      count: 5,
      available: 3,
      demote: null,
      growth: 2,
      file: at.file(),
      from: 3,
      to: 5,
      command: `sudo sh -c 'echo 5 > ${at.file()}'`,
    },
  ]);
  assert.equal(refusal, null);
  const bad = pages(at, 'plan', '--pages', '2m=5000', '--node', '0', '--json');
  assert.equal(bad.status, 1);
  assert.equal((document(bad.stdout)['refusal'] as { code: string }).code, 'ERR_RESERVE_LIMIT');
  assert.match(pages(at, 'plan', '--pages', '2m=5000').stdout, /refused: .*ERR_RESERVE_LIMIT/);
  assert.equal(pages(at, 'plan', '--pages', '2m=5000', '--limit', '16GiB').status, 0);
  assert.equal(at.read(at.file()), '3');
});

test('recover gives back what a killed run left; then there is nothing', (t) => {
  const at = machine(t, 12);
  writeJournal(at, [
    { type: 'intent', step: 0, op: 'pool.grow', target: at.file(), prior: 4, asked: 8 },
  ]);
  const first = pages(at, 'recover', '--json');
  assert.equal(first.status, 0, first.stderr);
  assert.equal(document(first.stdout)['complete'], true);
  // A plain file stands for the kernel's: only what was written can be seen.
  assert.equal(at.read(at.file()), '4');
  const second = pages(at, 'recover');
  assert.equal(second.status, 0);
  assert.equal(second.stdout, `nothing to recover (looked in ${at.stateDir})\n`);
  assert.equal(document(pages(at, 'release', '--json').stdout)['complete'], true);
});

test('a corrupt journal is exit 1 with its line', (t) => {
  const at = machine(t, 12);
  const path = writeJournal(at, [{ type: 'commit' }, { type: 'commit' }]);
  at.put(path.slice(at.root.length), readFileSync(path, 'utf8').replace('commit', 'cammit'));
  const { status, stdout } = pages(at, 'recover');
  assert.equal(status, 1);
  assert.match(stdout, /line 2: wrong checksum.*ERR_JOURNAL.*fix: /);
});

test('bad arguments are one line and exit 2', (t) => {
  const at = machine(t);
  for (const args of [
    ['plan'],
    ['plan', '--pages', '2m'],
    ['plan', '--pages', '2m=x'],
    ['plan', '--pages', '2m=-1'],
    ['plan', '--pages', '2m=0'],
    ['plan', '--pages', '=4'],
    ['plan', '--pages', '2m=4,2m=4'],
    ['plan', '--pages', '2m=4', '--node', 'x'],
    ['plan', '--pages', '2m=4', '--limit', 'lots'],
    ['reserve', '--pages', '2m=99999999999999999999'],
    ['shrink'],
  ]) {
    const { status, stderr } = pages(at, ...args);
    assert.equal(status, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, /^warpgauge: [^\n]+\n$/, args.join(' '));
  }
});

test('a size or node that the machine lacks is exit 1 with the choice', (t) => {
  const at = machine(t);
  const size = pages(at, 'plan', '--pages', '16MiB=4');
  assert.equal(size.status, 1);
  assert.match(size.stderr, /ERR_PAGE_KIND_UNSUPPORTED\) - fix: Choose a size that exists: 2 MiB/);
  assert.match(pages(at, 'plan', '--pages', '2m=4', '--node', '9').stderr, /ERR_NUMA_NODE/);
});
