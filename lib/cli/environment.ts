import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { WarpgaugeError } from '../errors.ts';
import { diffEnvironments, environment } from '../host/environment.ts';
import { renderDifferences } from '../view/doctor.ts';
import { print, printJson, renderOptions } from './output.ts';

/** An environment record, the one inside a benchmark's result, or that of a recording. */
function readRecord(path: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    const isFolder = statSync(path).isDirectory();
    document = JSON.parse(readFileSync(isFolder ? join(path, 'environment.json') : path, 'utf8'));
  } catch (error) {
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Expected a JSON file or a recording for ${path}: ${(error as Error).message}`,
      { cause: error },
    );
  }
  for (const value of [document, (document as { env?: unknown } | null)?.env]) {
    const schema = (value as { schema?: unknown } | null | undefined)?.schema;
    if (schema === 'warpgauge/environment/2') return value as Readonly<Record<string, unknown>>;
  }
  throw new WarpgaugeError(
    'ERR_INVALID_ARGUMENT',
    `Expected a warpgauge/environment/2 document, or a result with one as its env, in ${path}`,
  );
}

/** `warpgauge environment [--json]` and `warpgauge environment diff A B [--json]` */
export function registerEnvironment(program: Command): void {
  const command = program
    .command('environment')
    .description('record this machine; diff: compare two records or results')
    .option('--json', 'print JSON (the record is JSON in any case)')
    .action(async () => printJson(await environment()));
  command
    .command('diff')
    .description(
      'fields that differ between two records, those that decide about the numbers first',
    )
    .argument(
      '<a>',
      'an environment record, a result of bench memcpy --json (JSON files), or a recording',
    )
    .argument('<b>', 'the other one')
    .option('--json', 'print one JSON document (warpgauge/environment-diff/1)')
    .action((a: string, b: string, _options: unknown, self: Command) => {
      const differences = diffEnvironments(readRecord(a), readRecord(b));
      if (self.optsWithGlobals<{ json?: true }>().json) {
        printJson({ schema: 'warpgauge/environment-diff/1', a, b, differences });
      } else print(renderDifferences(differences, renderOptions()));
    });
}
