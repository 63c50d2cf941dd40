import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fewer } from '#lib/measure/memcpy/reserve';

test('a refused reservation asks for fewer of the largest pages before it does without them', () => {
  const small = { pageBytes: 2 ** 21, count: 512 };
  const asked: string[] = [];
  for (let wanted = [small, { pageBytes: 2 ** 30, count: 3 }]; wanted.length > 0; ) {
    asked.push(wanted.map(({ count }) => count).join('+'));
    wanted = fewer(wanted);
  }
  assert.deepEqual(asked.slice(0, 6), ['512+3', '512+2', '512+1', '512', '256', '128']);
  assert.equal(asked.at(-1), '1');
  assert.ok(asked.length < 20);
});
