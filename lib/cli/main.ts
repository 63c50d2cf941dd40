#!/usr/bin/env node
import type { Command, CommanderError } from 'commander';
import { WarpgaugeError } from '../errors.ts';
import { packageVersion } from '../version.ts';

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
];

/** Exit codes: 0 sound, 1 failed or refused, 2 usage, 130 interrupted. */
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

/** One line for a usage error: commander puts its suggestion on a second one. */
function oneLine(text: string): string {
  return text
    .trim()
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ');
}

function complain(text: string): void {
  process.stderr.write(`warpgauge: ${text}\n`);
}

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

function exitCodeOf(error: unknown): number {
  if (error instanceof Error && error.name === 'CommanderError') {
    // Help and version end that way too; everything else is a usage error, already told.
    return (error as CommanderError).exitCode === 0 ? 0 : USAGE;
  }
  if (!(error instanceof WarpgaugeError)) {
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return FAILED;
  }
  if (error.code === 'ERR_INVALID_ARGUMENT') {
    complain(oneLine(error.message));
    return USAGE;
  }
  complain(`${error.message} (${error.code})`);
  if (error.fix !== undefined) process.stderr.write(`fix: ${error.fix}\n`);
  return error.code === 'ERR_INTERRUPTED' ? INTERRUPTED : FAILED;
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
    process.exitCode = exitCodeOf(error);
  }
}

void main();
