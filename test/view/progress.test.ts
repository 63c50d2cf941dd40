import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProgress } from '#lib/view/progress';

function recorder(isTTY: boolean, columns = 100) {
  const writes: string[] = [];
  return { isTTY, columns, writes, write: (text: string) => writes.push(text) };
}
const state = { block: 3, blocks: 10, cell: 'dtoh/none/cold/2m/67108864', remainingNs: 21e9 };

test('a terminal gets a bar with block, time, rest and cell, at most ten times a second', () => {
  const stream = recorder(true);
  let ms = 0;
  const progress = createProgress({ stream, now: () => ms, environment: { NO_COLOR: '1' } });
  for (ms = 0; ms < 1000; ms += 10) progress.update(state);
  assert.equal(stream.writes.length, 10);
  assert.match(
    stream.writes.at(-1) ?? '',
    /\[#{7}\.{17}\] block 3\/10, 900 ms, 21\.0 s left, dtoh\/none\/cold\/2m\/67108864$/,
  );
  progress.close();
  assert.equal(stream.writes.at(-1), '\r\u001b[2K');
});

test('the bar never fills the last column of a narrow terminal', () => {
  const stream = recorder(true, 60);
  const progress = createProgress({ stream, now: () => 0, environment: { NO_COLOR: '1' } });
  progress.update(state);
  assert.equal((stream.writes[0] ?? '').replace('\r\u001b[2K', '').length, 59);
});

test('without a terminal a line comes every ten seconds', () => {
  const stream = recorder(false);
  let ms = 0;
  const progress = createProgress({ stream, now: () => ms, environment: {} });
  for (ms = 0; ms <= 35_000; ms += 500) progress.update(state);
  assert.deepEqual(stream.writes.length, 3);
  assert.match(
    stream.writes[0] ?? '',
    /^30 %, block 3\/10, 10\.0 s, 21\.0 s left, dtoh\/none\/cold\/2m\/67108864\n$/,
  );
});

test('quiet writes nothing; a closed bar stays closed; close twice is one clear', () => {
  const quiet = recorder(true);
  const silent = createProgress({ stream: quiet, quiet: true, environment: {} });
  silent.update(state);
  silent.log('hello');
  silent.close();
  assert.deepEqual(quiet.writes, []);

  const stream = recorder(true);
  const progress = createProgress({ stream, now: () => 0, environment: {} });
  progress.update(state);
  progress.close();
  progress.close();
  progress.update(state);
  assert.equal(stream.writes.length, 2);
});

test('a logged line removes the bar first, and the bar comes back', () => {
  const stream = recorder(true);
  const progress = createProgress({ stream, now: () => 0, environment: {} });
  progress.update(state);
  progress.log('a child died');
  progress.update(state);
  assert.deepEqual(stream.writes.slice(1, 3), ['\r\u001b[2K', 'a child died\n']);
  assert.equal(stream.writes.length, 4);
});

test('shares beyond the plan do not break the bar', () => {
  const stream = recorder(true);
  const progress = createProgress({ stream, now: () => 0, environment: { NO_COLOR: '1' } });
  progress.update({ ...state, block: 12, blocks: 10, remainingNs: null });
  assert.match(stream.writes[0] ?? '', /\[#{24}\] block 12\/10, 0 ns, dtoh/);
});
