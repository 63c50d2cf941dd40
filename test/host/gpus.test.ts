import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadBinding } from '#lib/addon';
import { readDriver } from '#lib/host/drivers';

test('without a driver there is nothing to ask, and no library is opened', async (t) => {
  if (readDriver().present) return t.skip('this machine has an NVIDIA driver');
  await assert.rejects(loadBinding().readGpus('', ''), { code: 'ERR_NO_DRIVER' });
});

test('a library that is not there is named', async () => {
  await assert.rejects(loadBinding().readGpus('/nowhere/libnvidia-ml.so.1', ''), {
    code: 'ERR_LIBRARY_MISSING',
  });
});
