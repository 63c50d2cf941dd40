// What a real trace of a command on the simulated driver looks like: the command line from `trace` to a page and a chrome trace.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { warpgauge } from '../cli/run.js';
import { readTrace } from '../export/trace-rules.js';
import { COPIES, FAKE_ENV, NEEDS_FAKE } from '../monitor/trace-fake.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-view-traced-'));
after(() => rmSync(root, { recursive: true, force: true }));

test(
  'a traced command becomes a page and a chrome trace with every copy and kernel, marked Simulated',
  NEEDS_FAKE,
  () => {
    const dir = join(root, 'run');
    const work = [
      '--fresh',
      '--bytes',
      '1048576',
      '--pageable',
      '6',
      '--pinned',
      '4',
      '--dtoh',
      '5',
      '--sleep',
      '60',
    ];
    const traced = warpgauge(
      [
        'trace',
        '--api',
        'all',
        '--out',
        dir,
        '--source',
        'process:interval=10ms',
        '--source',
        'page-faults',
        '--',
        COPIES,
        ...work,
      ],
      FAKE_ENV,
    );
    assert.equal(traced.code, 0, traced.stderr);
    const exported = warpgauge(['export', dir, '--chrome-trace']);
    assert.equal(exported.code, 0, exported.stderr);
    const { traceEvents, otherData } = readTrace(join(root, 'run-chrome-trace.json'));
    assert.ok((otherData['simulated'] as string[]).includes('cuda.memcpy'));
    const slices = traceEvents.filter(({ ph }) => ph === 'X');
    const named = (name: string) => slices.filter((slice) => slice.name === name);
    assert.deepEqual(
      ['HtoD pageable', 'HtoD pinned', 'DtoH pinned', 'warpgauge_vector_add', 'memset'].map(
        (name) => named(name).length,
      ),
      [6, 4, 5, 5, 5],
    );
    assert.ok(named('HtoD pinned').every(({ args }) => args?.['bytes'] === 2 ** 20));
    // All calls are recorded: each copy, kernel and memset has the arrow of its call.
    assert.equal(traceEvents.filter(({ ph }) => ph === 'f').length, 25);
    assert.ok(traceEvents.some(({ ph, name }) => ph === 'i' && name === 'minor page fault'));
    const reported = warpgauge(['report', dir]);
    assert.equal(reported.code, 0, reported.stderr);
    assert.match(reported.stdout, /15 copies, 5 kernels, .*; Simulated/);
    const page = readFileSync(join(root, 'run-report.html'), 'utf8');
    assert.ok(/<td>HtoD pageable<\/td><td[^>]*>6<\/td><td[^>]*>6 MiB<\/td>/.test(page));
    assert.ok(/Summary of the trace[\s\S]*warpgauge_vector_add/.test(page));
    assert.ok(/Host page faults<\/td><td>minor<\/td>/.test(page), 'the faults are real');
  },
);
