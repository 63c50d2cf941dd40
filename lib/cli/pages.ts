import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import {
  type GuardianReport,
  type PlanOptions,
  type PoolChange,
  pools,
} from '../mitigate/index.ts';
import { describeChange } from '../mitigate/pool-change.ts';
import { parseBytes } from '../units.ts';
import {
  renderPagesPlan,
  renderPagesStatus,
  renderPersistent,
  renderSettled,
} from '../view/pages.ts';
import { parseCount } from './arguments.ts';
import { documentOf } from './document.ts';
import { FAILED } from './failure.ts';
import { type HoldFlags, holdOptions, leaseOf, whileHeld } from './hold.ts';
import { catchInterrupt } from './interrupt.ts';
import { explain, print, printJson, renderOptions } from './output.ts';

const SCHEMA = 'warpgauge/pages/1';

interface PagesOptions extends HoldFlags {
  readonly pages: string;
  readonly bytes?: string;
  readonly node?: string;
  readonly demote?: true;
  readonly compactions?: string;
  readonly limit?: string;
  readonly persistent?: true;
  readonly json?: true;
}

/** `warpgauge pages status|plan|reserve|release|recover` */
export function registerPages(program: Command): void {
  const pages = program.command('pages').description('huge page pools: show, grow, give back');
  pages
    .command('status')
    .description('every size and node, cgroup limits, THP policy, what warpgauge has added')
    .option('--json', `print one JSON document (${SCHEMA})`)
    .action(async ({ json }: { json?: true }) => {
      const status = await pools.status();
      if (json) printJson(pagesDocument('status', status));
      else print(renderPagesStatus(status, renderOptions()));
    });
  request(pages.command('plan'))
    .description('what reserve would do; changes nothing')
    .option('--persistent', 'how to have these pools after every boot; prints it, writes nothing')
    .action(async (options: PagesOptions) => {
      const plan = await pools.plan(planOptions(options));
      if (options.json) printJson(pagesDocument('plan', plan));
      else print(renderPagesPlan(plan, renderOptions()));
      if (options.persistent && !options.json) print(renderPersistent(plan.persistent));
      if (plan.refusal !== null) process.exitCode = FAILED;
    });
  const growing = request(pages.command('reserve')).description(
    'grow the pools by what is missing; give back with: pages release',
  );
  holdOptions(growing, 'give the pages back', 'pages recover').action(reserve);
  for (const mode of ['release', 'recover'] as const) {
    pages
      .command(mode)
      .description(
        mode === 'release' ? 'give back what reserve added' : 'give back what killed runs left',
      )
      .option('--json', `print one JSON document (${SCHEMA})`)
      .action(async ({ json }: { json?: true }) => {
        const report = await pools[mode]();
        if (json) printJson(pagesDocument(mode, report));
        else print(renderSettled(report, mode));
        if (!report.complete) process.exitCode = FAILED;
      });
  }
}

function request(command: Command): Command {
  return command
    .requiredOption(
      '--pages <list>',
      'pages that must be available: 2m=512,1g=1, or one size with --bytes',
    )
    .option('--bytes <size>', 'as many pages of that size as hold so much, such as 256MiB')
    .option('--node <n>', 'NUMA node they must lie on')
    .option('--demote', 'split free pages of the next larger size before making new ones')
    .option('--compactions <n>', 'how often to compact memory where too few pages are made', '1')
    .option(
      '--limit <size>',
      'most to add (default: the smaller of 4GiB and 25 % of available memory)',
    )
    .option('--json', `print one JSON document (${SCHEMA})`);
}

async function reserve(options: PagesOptions): Promise<void> {
  const interrupt = catchInterrupt();
  try {
    const { signal } = interrupt;
    const hold = options.hold ?? false;
    const lease = leaseOf(options);
    const held = await pools.reserve({ ...planOptions(options), signal, ...lease });
    for (const note of held.notes) explain(note);
    if (!hold) await held.commit();
    const { id, grown, split, guardian, expires } = held;
    if (options.json) {
      printJson(pagesDocument('reserve', { id, held: hold, grown, split, guardian, expires }));
    } else {
      if (split.length > 0) print(`split ${listPages(split)}`);
      if (grown.length > 0) print(`added ${listPages(grown)}`);
      if (id === null) print('enough pages are available');
    }
    if (id !== null && (hold || expires !== null)) explain(whoGivesBack(guardian, expires));
    if (!hold) {
      if (id !== null) explain('give them back with: warpgauge pages release');
      return;
    }
    await whileHeld(signal, { ttlMs: lease.ttlMs, expires });
    const { returned, remaining, gone } = await held.release();
    if (returned.length > 0) explain(`gave back ${listPages(returned)}`);
    if (gone.length > 0) explain(`taken by others meanwhile: ${listPages(gone)}`);
    if (remaining.length > 0) {
      explain(`still in use: ${listPages(remaining)}; later: warpgauge pages recover`);
      process.exitCode = FAILED;
    }
  } finally {
    interrupt.close();
  }
}

function planOptions(options: PagesOptions): PlanOptions {
  const node = options.node === undefined ? {} : { node: parseCount('--node', options.node) };
  const parts = options.pages.split(',');
  const bytes = options.bytes === undefined ? null : parseBytes('--bytes', options.bytes);
  if (bytes !== null && parts.length > 1) {
    throw invalidArgument('--pages', 'one size such as 2m beside --bytes', options.pages);
  }
  const pages = parts.map((part) => {
    const [kind = '', count, ...rest] = part.split('=');
    if ((count === undefined) !== (bytes !== null) || rest.length > 0) {
      throw invalidArgument(
        '--pages',
        bytes === null
          ? 'size=count such as 2m=512,1g=1'
          : 'a size without a count, such as 2m, beside --bytes',
        options.pages,
      );
    }
    const pageBytes = parseBytes('--pages', kind);
    return {
      pageBytes,
      count:
        bytes === null
          ? parseCount('--pages', count ?? '')
          : Math.ceil(bytes / Math.max(1, pageBytes)),
      ...node,
    };
  });
  return {
    pages,
    compactions: parseCount('--compactions', options.compactions ?? '1'),
    ...(options.demote ? { demote: true } : {}),
    ...(options.limit === undefined ? {} : { limitBytes: parseBytes('--limit', options.limit) }),
  };
}

function whoGivesBack({ pid, reason }: GuardianReport, expires: string | null): string {
  const when =
    expires === null ? 'if this process is killed' : `at ${expires}, whatever happens here`;
  return pid === null
    ? `no guardian (${reason}): when nobody gives them back, warpgauge pages recover does`
    : `guardian: pid ${pid} gives them back ${when}`;
}

const listPages = (changes: readonly PoolChange[]): string =>
  changes.map(describeChange).join(', ');

const pagesDocument = (command: string, body: object): unknown => documentOf(SCHEMA, command, body);
