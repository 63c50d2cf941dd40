import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invalidArgument } from '#lib/errors';
import { aim, defaultSources } from '#lib/monitor/default-sources';
import { nameInstances, parseSourceSpec, splitOutsideSlashes } from '#lib/monitor/source-spec';
import type { SourceDescriptor } from '#lib/monitor/sources/descriptor';

const option = (expects: string, right: RegExp) => ({
  help: '',
  expects,
  parse: (text: string): string => {
    if (!right.test(text)) throw invalidArgument('pid', expects, text);
    return text;
  },
});
const descriptor = (name: string, options: SourceDescriptor['options'] = {}): SourceDescriptor => ({
  name,
  help: '',
  needs: '',
  defaultIntervalMs: 100,
  options,
});
const SOURCES = [
  descriptor('vmstat'),
  descriptor('perf', {
    events: option('event names separated by +', /./),
    pid: option('a pid', /^\d+$/),
    command: option('a pid', /^\d+$/),
    cgroup: option('a path', /^\//),
    system: option('true or false', /^(true|false)$/),
  }),
  descriptor('process', { pid: option('a pid', /^\d+$/), tree: option('a pid', /^\d+$/) }),
];

const parse = (text: string) => parseSourceSpec(text, SOURCES);

test('a source with its options', () => {
  const cases: [string, object][] = [
    ['vmstat', { source: 'vmstat', options: {} }],
    ['vmstat:', { source: 'vmstat', options: {} }],
    ['vmstat:interval=100us', { source: 'vmstat', options: {}, intervalMs: 0.1 }],
    ['vmstat:interval=50us', { source: 'vmstat', options: {}, intervalMs: 0.05 }],
    ['vmstat:interval=24h', { source: 'vmstat', options: {}, intervalMs: 86_400_000 }],
    [
      'perf:events=page-faults+context-switches,interval=100us',
      { source: 'perf', options: { events: 'page-faults+context-switches' }, intervalMs: 0.1 },
    ],
    // the name ends at the first colon, commas inside slashes belong to the event
    [
      'perf:events=cpu/event=0x3c,umask=0x1/+sched:sched_switch,pid=12',
      {
        source: 'perf',
        options: { events: 'cpu/event=0x3c,umask=0x1/+sched:sched_switch', pid: '12' },
      },
    ],
    [
      'perf:events=cpu/a=1,b=2/u+uncore_imc_0/c,d/,interval=1ms',
      { source: 'perf', options: { events: 'cpu/a=1,b=2/u+uncore_imc_0/c,d/' }, intervalMs: 1 },
    ],
    // a value that begins with a slash is a path
    [
      'perf:cgroup=/user.slice/a.scope,events=page-faults',
      { source: 'perf', options: { cgroup: '/user.slice/a.scope', events: 'page-faults' } },
    ],
    ['perf:events=a=b', { source: 'perf', options: { events: 'a=b' } }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parse(text), expected, text);
});

test('what is wrong gets one sentence with what was expected and what was given', () => {
  const cases: [string, string, RegExp][] = [
    ['vmstatt', 'ERR_UNKNOWN_SOURCE', /"vmstatt".*did you mean vmstat\?/],
    ['', 'ERR_UNKNOWN_SOURCE', /vmstat, perf, process.*""/],
    ['constructor:a=b', 'ERR_UNKNOWN_SOURCE', /"constructor"$/],
    ['perf:event=a', 'ERR_INVALID_ARGUMENT', /interval, events, pid.*did you mean events\?/],
    ['perf:toString=1', 'ERR_INVALID_ARGUMENT', /option of perf/],
    ['perf:pid=abc', 'ERR_INVALID_ARGUMENT', /a pid.*"abc"/],
    ['perf:pid=', 'ERR_INVALID_ARGUMENT', /a pid/],
    ['perf:pid', 'ERR_INVALID_ARGUMENT', /a pid/],
    ['perf:pid=1,pid=2', 'ERR_INVALID_ARGUMENT', /one value/],
    ['vmstat:interval=1ms,interval=2ms', 'ERR_INVALID_ARGUMENT', /one value/],
    ['vmstat:interval=0', 'ERR_INVALID_ARGUMENT', /50us to 24h.*"0"/],
    ['vmstat:interval=0ms', 'ERR_INVALID_ARGUMENT', /50us to 24h/],
    ['vmstat:interval=49us', 'ERR_INVALID_ARGUMENT', /50us to 24h/],
    ['vmstat:interval=25h', 'ERR_INVALID_ARGUMENT', /50us to 24h/],
    ['vmstat:interval=10', 'ERR_INVALID_ARGUMENT', /50us to 24h/],
    ['vmstat:,', 'ERR_INVALID_ARGUMENT', /option of vmstat/],
  ];
  for (const [text, code, message] of cases) {
    assert.throws(() => parse(text), { code, message }, text);
    assert.throws(
      () => parse(text),
      (error: Error) => !error.message.includes('\n'),
    );
  }
});

test('plus separates outside of slashes only', () => {
  assert.deepEqual(splitOutsideSlashes('a+cpu/b=1+2/u+c', '+'), ['a', 'cpu/b=1+2/u', 'c']);
  assert.deepEqual(splitOutsideSlashes('a/b,c', ','), ['a/b', 'c']);
});

test('instances are numbered from the second one', () => {
  const names = nameInstances([
    parse('perf'),
    parse('vmstat'),
    parse('perf'),
    { ...parse('perf'), instance: 'mine' },
    parse('perf'),
  ]);
  assert.deepEqual(
    names.map(({ instance }) => instance),
    ['perf', 'vmstat', 'perf@2', 'mine', 'perf@3'],
  );
});

test('sources are pointed at what is to be watched, unless they were told', () => {
  const specs = [parse('perf:events=a'), parse('perf:pid=7'), parse('vmstat'), parse('process')];
  const optionsOf = (target: Parameters<typeof aim>[1]) =>
    aim(specs, target, SOURCES).map(({ options }) => options);
  assert.deepEqual(optionsOf({}), [{ events: 'a', system: 'true' }, { pid: '7' }, {}, {}]);
  assert.deepEqual(optionsOf({ pid: 5 }), [
    { events: 'a', pid: '5' },
    { pid: '7' },
    {},
    { pid: '5' },
  ]);
  assert.deepEqual(optionsOf({ command: 5 }), [
    { events: 'a', command: '5' },
    { pid: '7' },
    {},
    { tree: '5' },
  ]);
  assert.deepEqual(optionsOf({ cgroup: '/a' }), [
    { events: 'a', cgroup: '/a' },
    { pid: '7' },
    {},
    {},
  ]);
  const names = (target: Parameters<typeof defaultSources>[0]) =>
    defaultSources(target, SOURCES).map(({ source }) => source);
  assert.deepEqual(names({}), ['vmstat', 'perf']);
  assert.deepEqual(names({ pid: 5 }), ['vmstat', 'perf', 'process']);
  const optional = defaultSources({ pid: 5 }, SOURCES).filter((spec) => spec.optional);
  assert.deepEqual(
    optional.map(({ source }) => source),
    ['vmstat', 'perf'],
  );
});
