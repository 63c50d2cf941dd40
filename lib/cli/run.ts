import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { WarpgaugeError } from '../errors.ts';
import { type RunPages, run } from '../mitigate/index.ts';
import { whyNotStartable } from '../monitor/recording/held-command.ts';
import { renderRun } from '../view/placement.ts';
import { parseCount } from './arguments.ts';
import { documentOf } from './document.ts';
import { complain, OURS_FAILED, reportFailure, USAGE } from './failure.ts';
import { catchInterrupt } from './interrupt.ts';

const SCHEMA = 'warpgauge/run/1';

interface RunFlags {
  readonly nearGpu?: string;
  readonly node?: string;
  readonly pages?: string;
  readonly report?: string;
}

/** `warpgauge run [--near-gpu N] [--pages KIND] -- COMMAND` */
export function registerRun(program: Command): void {
  program
    .command('run')
    .description(
      'run a command with its CPUs, memory and pages in place; tell what its smaps shows',
    )
    .argument('<command...>', 'after --: the command and its arguments')
    .option(
      '--near-gpu <gpu>',
      'CPUs and memory of the node of this GPU: index, UUID or PCI address',
    )
    .option('--node <n>', 'CPUs and memory of this NUMA node')
    .option('--pages <kind>', '4k (prctl), thp or 2m (glibc malloc alone)')
    .option('--report <file>', `write one JSON document (${SCHEMA})`)
    .addHelpText(
      'after',
      `
Exit status: that of the command; 128+n it ended by signal n; 125 warpgauge failed, 126 and 127 it could not be started.`,
    )
    .action(async (command: string[], flags: RunFlags) => {
      process.exitCode = await runCommand(command, flags);
    });
}

async function runCommand(command: readonly string[], flags: RunFlags): Promise<number> {
  const why = whyNotStartable(command[0] as string);
  if (why !== null) {
    complain(why.message);
    return why.code;
  }
  // Ctrl-C of a terminal reaches the command by itself.
  const interrupt = catchInterrupt();
  const forwarded = new AbortController();
  interrupt.signal.addEventListener('abort', () => {
    const reason = interrupt.signal.reason as NodeJS.Signals;
    if (reason !== 'SIGINT' || !process.stdin.isTTY) forwarded.abort(reason);
  });
  try {
    const { nearGpu } = flags;
    const result = await run({
      command,
      signal: forwarded.signal,
      ...(nearGpu === undefined
        ? {}
        : { nearGpu: /^\d+$/.test(nearGpu) ? Number(nearGpu) : nearGpu }),
      ...(flags.node === undefined ? {} : { node: parseCount('--node', flags.node) }),
      ...(flags.pages === undefined ? {} : { pages: flags.pages as RunPages }),
    });
    for (const line of renderRun(result).split('\n')) complain(line);
    if (flags.report !== undefined) {
      const document = documentOf(SCHEMA, 'run', { argv: command, ...result });
      writeFileSync(flags.report, `${JSON.stringify(document, null, 2)}\n`);
    }
    return result.code;
  } catch (error) {
    if (error instanceof WarpgaugeError && error.source === 'spawn') {
      complain(error.message);
      return error.status === 2 ? 127 : 126;
    }
    return reportFailure(error) === USAGE ? USAGE : OURS_FAILED;
  } finally {
    interrupt.close();
  }
}
