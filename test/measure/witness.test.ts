// What CUPTI saw of a cell, judged: bytes and memory must be those that the cell is about.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeSample, NativeWitness } from '#lib/addon';
import type { PlannedCell } from '#lib/measure/memcpy/design';
import type { Measured } from '#lib/measure/memcpy/runner';
import { witnessOf } from '#lib/measure/memcpy/witness';

const BYTES = 1 << 20;

function cellWith(
  item: Partial<PlannedCell>,
  ...seen: readonly Partial<NativeWitness>[]
): Measured<PlannedCell> {
  const witnessed = seen.map((each, i) => ({
    hostNs: 1000 + i,
    eventNs: i === 0 ? null : 900,
    cupti: {
      copyNs: 500 + i,
      records: 1,
      bytesHtoD: BYTES,
      bytesDtoH: 0,
      memory: ['pageable'],
      ...each,
    },
    cuptiWhy: null,
  })) as unknown as NativeSample[];
  return {
    item: { dir: 'HtoD', pin: 'none', bytes: BYTES, ...item },
    witnessed,
    whyNotWitnessed: null,
  } as unknown as Measured<PlannedCell>;
}

test('medians over the operations, and a timer that was not there for all is null', () => {
  const { cupti, cupti_why: why } = witnessOf(cellWith({}, {}, {}, {}));
  assert.equal(why, null);
  assert.deepEqual(cupti, {
    n: 3,
    copy_ns: 501,
    host_ns: 1001,
    event_ns: null,
    records: 1,
    bytes: BYTES,
    memory: ['pageable'],
    agrees: true,
    disagreement: null,
  });
});

test('other bytes than were copied, in one operation of three, are told', () => {
  const { cupti } = witnessOf(cellWith({}, {}, { bytesHtoD: BYTES - 4096 }, {}));
  assert.equal(cupti?.agrees, false);
  assert.match(cupti?.disagreement ?? '', /1044480 bytes to the device and 0 back where 1048576/);
});

test('bytes in the wrong direction do not pass for those of the cell', () => {
  const { cupti } = witnessOf(cellWith({ dir: 'DtoH' }, {}));
  assert.equal(cupti?.agrees, false);
});

test('memory that was to be pinned and is not, or only now and then, is told', () => {
  const never = witnessOf(cellWith({ pin: 'register' }, {}, {}));
  assert.match(never.cupti?.disagreement ?? '', /calls the host memory pageable, not pinned/);
  const once = witnessOf(cellWith({ pin: 'register' }, { memory: ['pinned'] }, {}));
  assert.match(once.cupti?.disagreement ?? '', /pinned and pageable, not pinned/);
});

test('vectorAdd copies two vectors up and one back', () => {
  const seen = { bytesHtoD: 2 * BYTES, bytesDtoH: BYTES };
  assert.equal(witnessOf(cellWith({ dir: 'vectorAdd' }, seen)).cupti?.agrees, true);
  assert.equal(witnessOf(cellWith({ dir: 'vectorAdd' }, {})).cupti?.agrees, false);
});

test('without a watched operation there is the reason', () => {
  const cell = { ...cellWith({}), whyNotWitnessed: 'no libcupti' };
  assert.deepEqual(witnessOf(cell), { cupti: null, cupti_why: 'no libcupti' });
});
