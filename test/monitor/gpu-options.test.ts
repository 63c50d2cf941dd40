import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monitor } from 'warpgauge';
import { parseSourceSpec } from '#lib/monitor/source-spec';

const invalid = { code: 'ERR_INVALID_ARGUMENT' };

test('the builder and the text give native code the same options', () => {
  assert.deepEqual(
    monitor.gpu({
      intervalMs: 10,
      devices: ['GPU-1-2', 'MIG-3'],
      tables: ['main', 'pcie'],
      pcie: 'exact',
      driverShare: 0.01,
      wake: true,
      gpmIntervalMs: 200,
    }),
    parseSourceSpec(
      'gpu:interval=10ms,devices=GPU-1-2+MIG-3,tables=main+pcie,pcie=exact,driverShare=1%,wake=true,gpm=200ms',
    ),
  );
  assert.deepEqual(monitor.gpu().options, {});
});

test('a GPM window below 100 ms is refused, not returned', () => {
  assert.throws(() => monitor.gpu({ gpmIntervalMs: 50 }), invalid);
  assert.throws(() => parseSourceSpec('gpu:gpm=50ms'), invalid);
  assert.equal(monitor.gpu({ gpmIntervalMs: 100 }).options['gpm'], '100000000');
});

test('other bad options are told before anything is opened', () => {
  for (const text of [
    'gpu:pcie=often',
    'gpu:driverShare=0',
    'gpu:driverShare=2',
    'gpu:tables=power',
    'gpu:devices=0',
    'gpu:slow=soon',
    'gpu:wake=yes',
  ]) {
    assert.throws(() => parseSourceSpec(text), invalid, text);
  }
});
