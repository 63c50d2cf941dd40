// What CUDA_INJECTION64_PATH does, seen in NVIDIA's own libcuda without a GPU, and the same expected of the
// simulated one: all that is traced through the simulated driver rests on it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const out = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(out, 'debug/programs/cuda_init');
const injection = join(out, 'debug/fake/libinjection_log.so');
const libraries = {
  simulated: join(out, 'debug/fake/libcuda.so.1'),
  /** Unpacked by .ci/run from Debian's package libcuda1. */
  real: join(out, 'libcuda/libcuda.so.1'),
};

/** As root NVIDIA's libcuda creates a device node: it is run as nobody, who must be able to read all of it. */
const folder = mkdtempSync(join(tmpdir(), 'warpgauge-injection-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true, force: true }));
const isRoot = process.getuid?.() === 0;

function open(name: string, from: string): string {
  const path = join(folder, name);
  if (!existsSync(path)) copyFileSync(from, path);
  chmodSync(path, 0o755);
  return path;
}

let runs = 0;
/** Runs the steps of test/programs/cuda_init.c; `p0 main loaded` and so on, in order. */
function follow(library: string, steps: string, environment: Record<string, string> = {}) {
  const log = join(folder, `log-${++runs}`);
  writeFileSync(log, '');
  chmodSync(log, 0o666);
  const script = join(folder, 'script');
  // The machine on which the real one was watched.
  writeFileSync(script, 'devices = 0\n');
  const { status, stderr } = spawnSync(open('cuda_init', program), [library, ...steps.split(' ')], {
    cwd: folder,
    encoding: 'utf8',
    ...(isRoot ? { uid: 65534, gid: 65534 } : {}),
    env: {
      WARPGAUGE_FAKE_SCRIPT: script,
      WARPGAUGE_INJECTION_LOG: log,
      CUDA_INJECTION64_PATH: open('injection.so', injection),
      ...environment,
    },
  });
  assert.equal(status, 0, stderr);
  const processes: string[] = [];
  return readFileSync(log, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [pid = '', tid, ...event] = line.split(' ');
      if (!processes.includes(pid)) processes.push(pid);
      return `p${processes.indexOf(pid)} ${pid === tid ? 'main' : 'thread'} ${event.join(' ')}`;
    });
}

for (const [name, file] of Object.entries(libraries)) {
  const needed = [program, injection, file].filter((path) => !existsSync(path));
  const skip =
    needed.length === 0
      ? existsSync('/proc/driver/nvidia/version') && name === 'real'
        ? 'a driver is loaded here: this libcuda is not the one that belongs to it'
        : false
      : name === 'real' && needed.includes(file)
        ? 'no libcuda in out/libcuda (.ci/run fetches it)'
        : 'the fake driver libraries are not built (node scripts/setup.mjs --tests)';
  describe(`CUDA_INJECTION64_PATH in the ${name} libcuda`, { skip }, () => {
    const library = skip === false ? open(`${name}.so`, file) : file;

    test('loads within the first valid cuInit, in its thread, before devices are looked for', () => {
      assert.deepEqual(follow(library, 'version count init1 thread init'), [
        'p0 main opened 0',
        'p0 main version 0',
        'p0 main count 3',
        'p0 main init1 1',
        'p0 thread loaded',
        'p0 thread initialize',
        'p0 thread init 100',
        'p0 main unloaded',
      ]);
    });

    test('calls a library that answers anything but 0 once per process, again after a fork', () => {
      for (const answer of ['1', '-1']) {
        assert.deepEqual(
          follow(library, 'init init fork init init', { WARPGAUGE_INJECTION_RETURN: answer }),
          [
            'p0 main opened 0',
            'p0 main loaded',
            'p0 main initialize',
            'p0 main init 100',
            'p0 main init 100',
            // In the mapping that the child inherited: no constructor.
            'p1 main initialize',
            'p1 main init 100',
            'p1 main init 100',
            'p1 main unloaded',
            'p0 main unloaded',
          ],
        );
      }
    });

    test('calls it once when several threads begin at the same time', () => {
      const events = follow(library, 'race').map((event) => event.replace(/^p0 \w+ /, ''));
      assert.deepEqual(events.toSorted(), [
        'init 100',
        'init 100',
        'init 100',
        'init 100',
        'initialize',
        'loaded',
        'opened 0',
        'unloaded',
      ]);
    });

    test('closes a library that answers 0 and tries it again in every further cuInit', () => {
      const once = ['loaded', 'initialize', 'unloaded', 'init 100'];
      assert.deepEqual(
        follow(library, 'init init fork init', { WARPGAUGE_INJECTION_RETURN: '0' }),
        [
          'p0 main opened 0',
          ...once.map((event) => `p0 main ${event}`),
          ...once.map((event) => `p0 main ${event}`),
          ...once.map((event) => `p1 main ${event}`),
        ],
      );
    });

    test('reaches a program that the process executes, and a child forked before cuInit', () => {
      const begin = [
        'p0 main opened 0',
        'p0 main loaded',
        'p0 main initialize',
        'p0 main init 100',
      ];
      assert.deepEqual(follow(library, 'init exec init'), [...begin, ...begin, 'p0 main unloaded']);
      assert.deepEqual(follow(library, 'fork init'), [
        'p0 main opened 0',
        'p1 main loaded',
        'p1 main initialize',
        'p1 main init 100',
        'p1 main unloaded',
      ]);
    });

    test('takes any name that the loader knows, and no list; ignores what cannot be opened', () => {
      const path = open('injection.so', injection);
      const plain = ['p0 main opened 0', 'p0 main init 100'];
      for (const value of ['', 'none', join(folder, 'absent.so'), `${path}:${path}`, library]) {
        assert.deepEqual(
          follow(library, 'init', { CUDA_INJECTION64_PATH: value }),
          plain,
          `CUDA_INJECTION64_PATH=${value}`,
        );
      }
      const loaded = follow(library, 'init');
      assert.deepEqual(loaded.length, 5);
      for (const value of ['./injection.so', 'injection.so']) {
        const found = { CUDA_INJECTION64_PATH: value, LD_LIBRARY_PATH: folder };
        assert.deepEqual(follow(library, 'init', found), loaded, value);
      }
    });
  });
}
