import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';

const ROOT = new URL('../../../../lib/', import.meta.url);
const SMALL = [
  'addon',
  'arrow',
  'audit',
  'clock',
  'errors',
  'near-match',
  'page-kinds',
  'units',
  'version',
];

/** Which rooms of lib a room may import. Arrows go one way; a room that is not listed is a failure. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  cli: ['view', 'export', 'monitor', 'measure', 'mitigate', 'host', ...SMALL],
  view: ['export', 'monitor', 'measure', 'mitigate', 'host', ...SMALL],
  index: ['monitor', 'measure', 'mitigate', 'host', 'errors'],
  measure: ['mitigate', 'host', ...SMALL],
  export: ['monitor', ...SMALL],
  monitor: ['host', ...SMALL],
  mitigate: ['host', ...SMALL],
  host: SMALL,
  arrow: [],
  audit: [],
  clock: ['addon'],
  units: ['errors'],
  errors: [],
  version: [],
  'page-kinds': [],
  addon: ['addon-loader', 'errors'],
  'addon-loader': ['errors'],
};

/** `measure` may use what mitigate publishes, and the types of it. */
const PUBLIC_MITIGATE = ['mitigate/allocate.ts', 'mitigate/pools.ts', 'mitigate/index.ts'];

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const statements = /^\s*(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'/gm;
  for (const [, type, to = ''] of text.matchAll(statements)) {
    found.push({ from: file, to, typeOnly: type !== undefined });
  }
  for (const [, to = ''] of text.matchAll(/\bimport\('([^']+)'\)|^import '([^']+)'/gm)) {
    found.push({ from: file, to, typeOnly: false });
  }
  return found.map((one) =>
    one.to.startsWith('.')
      ? { ...one, to: posix.normalize(posix.join(posix.dirname(file), one.to)) }
      : one,
  );
}

const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);
const imports = files.flatMap((file) => importsOf(file, readFileSync(new URL(file, ROOT), 'utf8')));
const room = (file: string): string => (file.split('/')[0] ?? '').replace(/\.ts$/, '');

test('every import of lib is found', () => {
  assert.deepEqual(
    importsOf('cli/a.ts', "import { b } from '../b.ts';\nconst c = await import('./c.ts');\n"),
    [
      { from: 'cli/a.ts', to: 'b.ts', typeOnly: false },
      { from: 'cli/a.ts', to: 'cli/c.ts', typeOnly: false },
    ],
  );
  assert.ok(imports.length > 200, String(imports.length));
});

test('rooms import only what lies below them', () => {
  const wrong = imports
    .filter(({ to }) => to.endsWith('.ts') && files.includes(to))
    .filter(({ from, to }) => room(from) !== room(to))
    .filter(({ from, to }) => !MAY[room(from)]?.includes(room(to)))
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(wrong, []);
});

test('measure calls the public functions of mitigate and nothing else there', () => {
  const wrong = imports
    .filter(({ from, to }) => from.startsWith('measure/') && to.startsWith('mitigate/'))
    .filter(({ to, typeOnly }) => !typeOnly && !PUBLIC_MITIGATE.includes(to))
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(wrong, []);
});

test('the native interface and Arrow have one door each', () => {
  const users = (name: string): string[] => [
    ...new Set(imports.filter(({ to, typeOnly }) => !typeOnly && to === name).map((i) => i.from)),
  ];
  assert.deepEqual(users('addon-loader.ts'), ['addon.ts']);
  assert.deepEqual(users('apache-arrow'), ['arrow.ts']);
});

test('what the index imports at once reaches neither Arrow nor a benchmark', () => {
  const eager = (file: string): string[] => {
    const text = readFileSync(new URL(file, ROOT), 'utf8').replace(/\bimport\('[^']+'\)/g, '');
    return importsOf(file, text)
      .filter(({ to, typeOnly }) => !typeOnly && files.includes(to))
      .map(({ to }) => to);
  };
  const reached = new Set(['index.ts']);
  for (const file of reached) for (const next of eager(file)) reached.add(next);
  assert.ok(reached.has('mitigate/allocate.ts'), 'the walk finds what the index does import');
  for (const file of reached) {
    assert.doesNotMatch(file, /^(arrow\.ts|view\/|cli\/|measure\/memcpy\/)/);
  }
});
