import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import { type PageRequest, type PoolChange, pools } from '../mitigate/index.ts';
import { describeChange } from '../mitigate/pool-change.ts';
import { parseBytes } from '../units.ts';
import { renderPagesPlan, renderPagesStatus, renderSettled } from '../view/pages.ts';
import { documentOf } from './document.ts';
import { catchInterrupt, untilAborted } from './interrupt.ts';
import { print, printJson, renderOptions } from './output.ts';

const SCHEMA = 'warpgauge/pages/1';
const FAILED = 1;
const INTERRUPTED = 130;

interface PagesOptions {
  readonly pages: string;
  readonly node?: string;
  readonly limit?: string;
  readonly hold?: true;
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
    .action(async (options: PagesOptions) => {
      const plan = await pools.plan(planOptions(options));
      if (options.json) printJson(pagesDocument('plan', plan));
      else print(renderPagesPlan(plan, renderOptions()));
      if (plan.refusal !== null) process.exitCode = FAILED;
    });
  request(pages.command('reserve'))
    .description('grow the pools by what is missing; give back with: pages release')
    .option('--hold', 'keep the pages until Ctrl-C, then give them back')
    .action(reserve);
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
    .requiredOption('--pages <list>', 'pages that must be available, such as 2m=512,1g=1')
    .option('--node <n>', 'NUMA node they must lie on')
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
    const held = await pools.reserve({ ...planOptions(options), signal });
    for (const note of held.notes) explain(note);
    const hold = options.hold ?? false;
    if (!hold) await held.commit();
    const { id, grown } = held;
    if (options.json) printJson(pagesDocument('reserve', { id, held: hold, grown }));
    else print(grown.length === 0 ? 'enough pages are available' : `added ${listPages(grown)}`);
    if (!hold) {
      if (grown.length > 0) explain('give them back with: warpgauge pages release');
      return;
    }
    explain(`held by pid ${process.pid} until Ctrl-C`);
    await untilAborted(signal);
    const { returned, remaining, gone } = await held.release();
    if (returned.length > 0) explain(`gave back ${listPages(returned)}`);
    if (gone.length > 0) explain(`taken by others meanwhile: ${listPages(gone)}`);
    process.exitCode = INTERRUPTED;
    if (remaining.length > 0) {
      explain(`still in use: ${listPages(remaining)}; later: warpgauge pages recover`);
      process.exitCode = FAILED;
    }
  } finally {
    interrupt.close();
  }
}

function planOptions(options: PagesOptions): {
  readonly pages: readonly PageRequest[];
  readonly limitBytes?: number;
} {
  const node = options.node === undefined ? {} : { node: wholeNumber('--node', options.node) };
  const pages = options.pages.split(',').map((part) => {
    const [kind = '', count, ...rest] = part.split('=');
    if (count === undefined || rest.length > 0) {
      throw invalidArgument('--pages', 'size=count such as 2m=512,1g=1', options.pages);
    }
    return {
      pageBytes: parseBytes('--pages', kind),
      count: wholeNumber('--pages', count),
      ...node,
    };
  });
  return options.limit === undefined
    ? { pages }
    : { pages, limitBytes: parseBytes('--limit', options.limit) };
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw invalidArgument(name, 'a whole number', text);
  return Number(text);
}

const listPages = (changes: readonly PoolChange[]): string =>
  changes.map(describeChange).join(', ');

function explain(text: string): void {
  process.stderr.write(`${text}\n`);
}

const pagesDocument = (command: string, body: object): unknown => documentOf(SCHEMA, command, body);
