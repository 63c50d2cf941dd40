// A sweep of the real THP policy and of a real pool: each holds while its workload runs, and the machine is left as found.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { sweep } from '#lib/mitigate/sweep';
import { Guardian, poolUse } from '../guardian.js';
import { SimulatedMachine } from './transaction/crash-points.js';

const FILE = '/sys/kernel/mm/transparent_hugepage/enabled';
const chosen = (): string => /\[(.*)\]/.exec(readFileSync(FILE, 'utf8'))?.[1] ?? '';
const PAGES = 4;

test('THP and a pool are swept for real', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root');
  const { root } = new SimulatedMachine(t);
  const guard = Guardian.start(t);
  const policy = chosen();
  guard.set(FILE, policy);
  const { total } = poolUse(2048);
  guard.onEnd(`echo ${total} > /proc/sys/vm/nr_hugepages`);
  const seen: string[] = [];
  const { settings, energyReason } = await sweep({
    stateDir: `${root}/real-state`,
    settings: [
      { name: 'as it is' },
      { name: 'always', thp: { enabled: 'always' } },
      { name: 'never', thp: { enabled: 'never' } },
      { name: 'pool', pools: [{ pageBytes: 2 * 2 ** 20, count: total + PAGES }] },
    ],
    repetitions: 2,
    gpus: [],
    workload({ setting }) {
      seen.push(`${setting}: ${chosen()}, ${poolUse(2048).total - total} pages more`);
      return 1;
    },
  });
  const short = settings.find(({ name }) => name === 'pool')?.error;
  const expected = [
    `as it is: ${policy}, 0 pages more`,
    'always: always, 0 pages more',
    'never: never, 0 pages more',
    ...(short ? [] : [`pool: ${policy}, ${PAGES} pages more`]),
  ];
  if (short) t.diagnostic(`the machine has no ${PAGES} pages to give: ${short.message}`);
  assert.deepEqual(seen, [...expected, ...expected.toReversed()]);
  assert.equal(energyReason, 'no GPU was asked for');
  assert.deepEqual([chosen(), poolUse(2048).total], [policy, total]);
});
