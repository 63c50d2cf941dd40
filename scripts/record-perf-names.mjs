// node scripts/record-perf-names.mjs FOLDER [--tree]: what `perf stat -vv -e NAME` makes of every name in
// FOLDER/names.txt, written to FOLDER/perf-stat-vv.txt, for test/native/perf_events_test.cc.
// With --tree perf reads FOLDER/sys/bus/event_source instead of this machine's, through a bind mount that only perf
// sees (root): perf prints the attributes also where the kernel then refuses them.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join, resolve } from 'node:path';

const [folder, flag] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/record-perf-names.mjs FOLDER [--tree]');
  process.exit(2);
}
const EVENT_SOURCE = 'sys/bus/event_source';
const names = readFileSync(join(folder, 'names.txt'), 'utf8').split('\n').filter(Boolean);

function perf(...args) {
  // bash and "$@" keep a name with commas and slashes one argument.
  const command =
    flag === '--tree'
      ? [
          'unshare',
          '-m',
          'sh',
          '-c',
          'mount --bind "$0" /sys/bus/event_source && exec perf "$@"',
          resolve(folder, EVENT_SOURCE),
          ...args,
        ]
      : ['perf', ...args];
  const result = spawnSync(command[0], command.slice(1), {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (result.error) throw result.error;
  return result.stdout + result.stderr;
}

const version = perf('--version').trim();
const out = [
  `# ${version}, Linux ${release()}, ${flag === '--tree' ? 'on the tree of this folder' : 'on this machine'}`,
];
for (const name of names) {
  out.push(`=== ${name}`);
  const text = perf('stat', '-vv', '-e', name, 'true');
  // After a refusal perf tries lesser attributes: those are not what the name means.
  const first = text.split('switching off')[0];
  const blocks = first.match(/perf_event_attr:\n(?: {2}.*\n)+/g);
  if (blocks === null) out.push('rejected');
  else for (const block of new Set(blocks)) out.push(block.trimEnd());
}
writeFileSync(join(folder, 'perf-stat-vv.txt'), `${out.join('\n')}\n`);
