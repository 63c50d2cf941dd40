#!/usr/bin/env node
import type { Command } from 'commander';
import { packageVersion } from '../version.ts';
import { complain, FAILED, oneLine, reportFailure } from './failure.ts';

interface Entry {
  readonly name: string;
  readonly description: string;
  /** Imports the command's file, and with it the room it needs: only when it is the command asked for. */
  readonly load: () => Promise<(program: Command) => void>;
}

const COMMANDS: readonly Entry[] = [
  {
    name: 'doctor',
    description: 'what this machine can and cannot measure, with the reason and the fix',
    load: async () => (await import('./doctor.ts')).registerDoctor,
  },
  {
    name: 'bench',
    description:
      'bench memcpy: do larger host pages make copies faster here, by how much, and why?',
    load: async () => (await import('./bench.ts')).registerBench,
  },
  {
    name: 'environment',
    description: 'record this machine; diff: compare two records or results',
    load: async () => (await import('./environment.ts')).registerEnvironment,
  },
  {
    name: 'pages',
    description: 'huge page pools: show, plan, grow, give back',
    load: async () => (await import('./pages.ts')).registerPages,
  },
  {
    name: 'mig',
    description: 'MIG partitions: show, plan, apply, assert, export',
    load: async () => (await import('./mig.ts')).registerMig,
  },
  {
    name: 'power',
    description: 'power limit, clock locks and persistence of GPUs: show, plan, set, put back',
    load: async () => (await import('./power.ts')).registerPower,
  },
  {
    name: 'thp',
    description: 'transparent huge pages: show and set the policy, put back what was there',
    load: async () => (await import('./thp.ts')).registerThp,
  },
  {
    name: 'numa',
    description: 'NUMA nodes and the GPUs on them',
    load: async () => (await import('./numa.ts')).registerNuma,
  },
  {
    name: 'run',
    description: 'run a command near a GPU, on 4k, thp or 2m pages, and tell what it got',
    load: async () => (await import('./run.ts')).registerRun,
  },
  {
    name: 'record',
    description: 'sample counters of the machine, a process or a command into a folder',
    load: async () => (await import('./record.ts')).registerRecord,
  },
  {
    name: 'trace',
    description: 'record every copy, kernel and API call of CUDA in a command and all it starts',
    load: async () => (await import('./trace.ts')).registerTrace,
  },
  {
    name: 'show',
    description: 'what a recording holds: rows, losses, what moved',
    load: async () => (await import('./show.ts')).registerShow,
  },
  {
    name: 'recover',
    description: 'make a recording whole whose recorder was killed',
    load: async () => (await import('./recover.ts')).registerRecover,
  },
  {
    name: 'mark',
    description: 'name this moment in a recording that is being written',
    load: async () => (await import('./mark.ts')).registerMark,
  },
  {
    name: 'export',
    description: 'write a recording as Parquet, CSV or Arrow files, or as a trace for Perfetto',
    load: async () => (await import('./export.ts')).registerExport,
  },
  {
    name: 'report',
    description: 'a recording, or a result of bench memcpy, as one HTML page',
    load: async () => (await import('./report.ts')).registerReport,
  },
  {
    name: 'sources',
    description: 'every source, table and field that record can sample, with its cost here',
    load: async () => (await import('./sources.ts')).registerSources,
  },
];

/** The first word that is no option names the command. */
function commandOf(args: readonly string[]): string | undefined {
  const words = args.filter((arg) => !arg.startsWith('-'));
  return words[0] === 'help' ? words[1] : words[0];
}

async function build(args: readonly string[]): Promise<Command> {
  const { Command } = await import('commander');
  const program = new Command('warpgauge');
  program
    .description('GPU and OS telemetry for Linux inference machines: monitor, measure, mitigate')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text) => complain(oneLine(text)) });
  const wanted = commandOf(args);
  for (const { name, description, load } of COMMANDS) {
    if (name === wanted) (await load())(program);
    else program.command(name).description(description);
  }
  return program;
}

/** `doctor` and `doctor --json` have nothing to parse; an agent may ask often, so the parser is not loaded. */
function isPlainDoctor(args: readonly string[]): boolean {
  return args[0] === 'doctor' && (args.length === 1 || (args.length === 2 && args[1] === '--json'));
}

async function main(): Promise<void> {
  // Whatever happens to the streams, the command runs to its end, because it may have pages to give back. A reader
  // that went away (`| head`, a closed terminal) is no failure of ours; a full disk is.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EIO') return;
    complain(`cannot write to standard output: ${error.message}`);
    process.exitCode = FAILED;
  });
  process.stderr.on('error', () => {});
  const args = process.argv.slice(2);
  try {
    if (isPlainDoctor(args)) {
      const { runDoctor } = await import('./doctor.ts');
      return await runDoctor({ json: args.length === 2 });
    }
    const program = await build(args);
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = reportFailure(error);
  }
}

void main();
