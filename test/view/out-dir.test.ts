import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { samplesIpc } from '#lib/measure/memcpy/samples-table';
import { checkOutDir, writeOutput } from '#lib/view/out-dir';
import { syntheticDocument } from '../measure/synthetic-document.ts';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-out-'));
after(() => rmSync(root, { recursive: true }));
const document = syntheticDocument({ blocks: 3 });
const samples = () => samplesIpc(document);
const refused = (part: RegExp) => (error: unknown) => {
  const { code, message } = error as { code: string; message: string };
  assert.equal(code, 'ERR_OUTPUT');
  assert.match(message, part);
  assert.doesNotMatch(message, /\n/);
  return true;
};

test('a missing folder is made, with all files in it and no leftovers', async () => {
  const dir = join(root, 'a', 'b');
  await checkOutDir(dir);
  assert.deepEqual(readdirSync(root), [], 'the check leaves nothing behind');
  const written = await writeOutput(dir, document, samples);
  assert.deepEqual(readdirSync(dir).sort(), [
    'plots',
    'report.html',
    'result.json',
    'samples.arrows',
  ]);
  assert.deepEqual(readdirSync(join(dir, 'plots')).sort(), [
    'faults.svg',
    'phases.svg',
    'samples.svg',
    'speedup.svg',
    'throughput.svg',
  ]);
  assert.equal(written.length, 8);
  assert.equal(written[0], join(dir, 'result.json'));
  assert.deepEqual(
    JSON.parse(readFileSync(join(dir, 'result.json'), 'utf8')),
    JSON.parse(JSON.stringify(document)),
  );
});

test('an empty folder is taken, and stays as it was after the check', async () => {
  const dir = mkdtempSync(join(root, 'empty-'));
  await checkOutDir(dir);
  assert.deepEqual(readdirSync(dir), []);
  await writeOutput(dir, document, samples);
  assert.ok(readdirSync(dir).includes('result.json'));
});

test('a folder that is not empty is refused by check and by write', async () => {
  const dir = mkdtempSync(join(root, 'full-'));
  writeFileSync(join(dir, 'mine'), 'precious');
  await assert.rejects(
    checkOutDir(dir),
    refused(/Expected an empty or absent folder for --out but .* holds 1 entries/),
  );
  await assert.rejects(writeOutput(dir, document, samples), refused(/Expected an empty/));
  assert.deepEqual(readdirSync(dir), ['mine']);
});

test('a file in the place of the folder is refused, also further up', async () => {
  const file = join(root, 'file');
  writeFileSync(file, '');
  await assert.rejects(checkOutDir(file), refused(/is not a folder/));
  await assert.rejects(checkOutDir(join(file, 'x', 'y')), refused(/is not a folder/));
});

test('a place where nothing can be made is refused', async () => {
  await assert.rejects(
    checkOutDir('/proc/warpgauge'),
    refused(/^Cannot write \/proc\/warpgauge: /),
  );
});

test('samples that cannot be made do not lose the result', async () => {
  const dir = join(root, 'broken');
  const broken = () => Promise.reject(new Error('boom'));
  await assert.rejects(
    writeOutput(dir, document, broken),
    refused(/samples\.arrows: boom \(the result itself is safe in .*result\.json\)$/),
  );
  assert.deepEqual(readdirSync(dir), ['result.json']);
});

// A full disk needs a file system of its own: a small tmpfs, in a mount namespace that ends with the child.
const namespaces = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', root]).status === 0;
const child = `
import { writeOutput } from ${JSON.stringify(new URL('../../../../dist/view/out-dir.js', import.meta.url).href)};
import { readFileSync, readdirSync } from 'node:fs';
const [dir, source, much] = process.argv.slice(1);
const document = JSON.parse(readFileSync(source, 'utf8'));
const error = await writeOutput(dir, document, async () => new Uint8Array(Number(much))).catch((thrown) => thrown);
console.log(JSON.stringify({ code: error.code, message: error.message, fix: error.fix, files: readdirSync(dir) }));
`;

function onFullDisk(size: string, sampleBytes: number) {
  const place = mkdtempSync(join(root, 'disk-'));
  const source = join(root, 'document.json');
  writeFileSync(source, JSON.stringify(document));
  const script =
    'mount -t tmpfs -o size="$1" none "$2" && exec "$3" --input-type=module -e "$4" "$2/out" "$5" "$6"';
  const output = execFileSync('unshare', [
    '-m',
    'sh',
    '-c',
    script,
    'sh',
    size,
    place,
    process.execPath,
    child,
    source,
    String(sampleBytes),
  ]);
  return JSON.parse(output.toString()) as {
    code: string;
    message: string;
    fix: string;
    files: string[];
  };
}

test('a disk that fills up after the JSON says so and keeps the JSON', {
  skip: namespaces ? false : 'needs unshare -m and mount',
}, () => {
  const result = onFullDisk('8m', 16 * 1024 ** 2);
  assert.equal(result.code, 'ERR_OUTPUT');
  assert.match(
    result.message,
    /samples\.arrows: no space left on the device \(the result itself is safe in /,
  );
  assert.match(result.fix, /free some space/);
  assert.deepEqual(result.files, ['result.json']);
});

test('a disk that is full from the start leaves no half file', {
  skip: namespaces ? false : 'needs unshare -m and mount',
}, () => {
  const result = onFullDisk('64k', 0);
  assert.ok(JSON.stringify(document).length > 64 * 1024);
  assert.equal(result.code, 'ERR_OUTPUT');
  assert.deepEqual(result.files, []);
});
