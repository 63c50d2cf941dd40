import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

// The addon is only called through validated TypeScript, but it lives in the user's process: whatever reaches
// it must come back as an exception. Each function has a process of its own, which an abort would end.
const program = `
const binding = require(process.argv[1]);
const name = process.argv[2];
binding.setErrorClass(class extends Error {
  constructor(code, message) { super(message); this.code = code; }
});
const host = { backend: 'host', device: 0, cudaPath: '', nvmlPath: '' };
const sample = { op: 'DtoH', pin: 'none', state: 'cold', kind: '4k', bytes: 65536, patternSeed: 1, numaNode: -1,
  condition: false, fill: true, flushBytes: 0, dropPage: -1, stretch: 0, witness: false };
const region = { bytes: 65536, pages: '4k', numaNode: -1, lock: false, shared: false, populate: true, threads: 0 };
const child = { parentPid: 1, cpu: -1 };
const sampler = { sources: [], batchNs: 1e8, maxUndeliveredBytes: 1e6, mayLackAll: false };
const whole = { openSampler: sampler, openBackend: host, runSample: sample, allocateRegion: region, enterChild: child }[name];
if (name === 'runSample') binding.openBackend(host);
const wrong = [undefined, null, true, -1e300, NaN, 0.5, 2 ** 60, 'x', {}, [], Symbol('s'), 1n, () => 1, new ArrayBuffer(8)];
const throwing = new Proxy({}, { get() { throw new RangeError('getter'); } });
const calls = [...wrong, throwing].map((value) => [value, value, value]);
for (const key of Object.keys(whole ?? {})) {
  for (const value of wrong) {
    if (typeof value !== typeof whole[key]) calls.push([{ ...whole, [key]: value }]);
  }
  if (typeof whole[key] === 'number' && key !== 'stretch') {
    for (const value of [NaN, -1e300, 0.5, Infinity]) calls.push([{ ...whole, [key]: value }]);
  }
}
const accepted = [];
for (const values of calls) {
  try { binding[name](...values); accepted.push(String(JSON.stringify(values[0]))); }
  catch (error) { if (!(error instanceof Error)) accepted.push('threw ' + String(error)); }
}
console.log(JSON.stringify({ calls: calls.length, accepted }));
`;

describe('the addon and arguments of the wrong type', () => {
  const addon = join(process.cwd(), 'build/Release/warpgauge.node');
  for (const name of [
    'setErrorClass',
    'allocateRegion',
    'releaseRegion',
    'proveRegion',
    'openBackend',
    'runSample',
    'enterChild',
    'lockFile',
    'threadAffinity',
    'setThreadAffinity',
    'setMemoryPolicy',
    'moveRegion',
    'regionNodes',
    'adviseRegion',
    'probeLibrary',
    'probePerfEvent',
    'openSampler',
    'openedSampler',
    'startSampler',
    'drainSampler',
    'samplerLayout',
    'samplerNames',
    'samplerStates',
    'samplerLatest',
    'samplerEventCounts',
    'samplerStats',
    'pauseSampler',
    'flushSampler',
    'holdSampler',
    'stopSampler',
    'releaseSampler',
  ]) {
    it(`${name} throws and never ends the process`, () => {
      const result = spawnSync(process.execPath, ['--eval', program, addon, name], {
        encoding: 'utf8',
      });
      assert.equal(result.signal, null, result.stderr);
      assert.equal(result.status, 0, result.stderr);
      const { calls, accepted } = JSON.parse(result.stdout) as {
        calls: number;
        accepted: string[];
      };
      assert.ok(calls >= 15);
      // A function is a class to setErrorClass, an empty list a list of libraries to probeLibrary.
      const harmless: Record<string, number> = { setErrorClass: 1, probeLibrary: 1 };
      assert.equal(accepted.length, harmless[name] ?? 0, accepted.join(', '));
    });
  }
});
