import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { monitor } from 'warpgauge';
import { auditFile } from '#lib/audit';
import { bootId } from '#lib/host/state-folder';
import { thp } from '#lib/mitigate/thp';
import { SimulatedMachine } from '../mitigate/transaction/crash-points.js';

/** A simulated machine of this boot whose changes stand in the log that a recording reads. */
function machine(t: TestContext): SimulatedMachine {
  const made = new SimulatedMachine(t);
  made.put('/proc/sys/kernel/random/boot_id', bootId());
  process.env['WARPGAUGE_STATE_DIR'] = made.stateDir;
  t.after(() => delete process.env['WARPGAUGE_STATE_DIR']);
  return made;
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'warpgauge-actions-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'run');
}

const record = (out: string) =>
  monitor.record({ out, sources: [monitor.meminfo({ intervalMs: 50 })] });

test('a recording has the changes of its time, and those only', async (t) => {
  const simulated = machine(t);
  const { root, stateDir } = simulated;
  const set = (enabled: string) => {
    simulated.put('/sys/kernel/mm/transparent_hugepage/enabled', 'always [madvise] never');
    return thp.set({ settings: { enabled }, root, stateDir, guardian: false });
  };
  await (await set('never')).undo();
  const out = folder(t);
  const recording = await record(out);
  const before = monitor.now();
  const change = await set('always');
  appendFileSync(auditFile(stateDir), '{"schema":"warpgauge/audit/1","torn');
  await change.undo();
  const after = monitor.now();
  await recording.close();
  const opened = await monitor.openRecording(out);
  const table = await opened.table('action');
  const rows = table.toArray().map((row) => row.toJSON() as Record<string, unknown>);
  assert.deepEqual(
    rows.map(({ op, target, prior, observed, undoes, reason }) => [
      op,
      target,
      prior,
      observed,
      undoes,
      reason,
    ]),
    [
      [
        'file.set',
        '/sys/kernel/mm/transparent_hugepage/enabled',
        '"madvise"',
        '"always"',
        null,
        'apply',
      ],
      [
        'file.set',
        '/sys/kernel/mm/transparent_hugepage/enabled',
        '"always"',
        '"madvise"',
        0n,
        'released',
      ],
    ],
  );
  const values = table.getChild('time')?.data[0]?.values;
  assert.ok(values instanceof BigInt64Array);
  const times = [...values];
  assert.equal(times.length, 2);
  assert.ok(
    times.every((time) => time >= before && time <= after),
    String(times),
  );
});

test('without a change there is no such table', async (t) => {
  machine(t);
  const out = folder(t);
  await (await record(out)).close();
  assert.equal(existsSync(join(out, 'action.arrows')), false);
  const { tables } = await monitor.openRecording(out);
  assert.equal(
    tables.some(({ name }) => name === 'action'),
    false,
  );
});
