// clang-tidy over native/: used by scripts/check.mjs.
//
// Nearly all of its time goes into the headers of the standard library, again for each file: so files that are compiled
// in the same way are looked at in batches, as one source that includes them. What is found in a batch counts, and is
// shown, only where it is found in a part of it too, and in the end in one file alone.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';

const BATCH = 12;

const known = new Map();

/**
 * What stands at the beginning of a line of a file and of the headers of ours that it includes: names, each with the
 * file that has it. Two files of one batch must not have a name from different places.
 */
function namesOf(file) {
  if (known.has(file)) return known.get(file);
  const names = new Map();
  known.set(file, names);
  const text = readFileSync(file, 'utf8');
  for (const [, header] of text.matchAll(/^#include "([^"]+)"/gm)) {
    const path = join('native', header);
    if (existsSync(path)) for (const [name, place] of namesOf(path)) names.set(name, place);
  }
  const patterns = [
    /^#define (\w+)/gm,
    /^(?:struct|class|union|enum(?: class)?) (\w+)(?!.*;$)/gm,
    /^using (\w+) =/gm,
    /^(?:inline )?(?:static )?constexpr [\w:<>,* ]*[ *](\w+)\s*(?:\[|\{|=)/gm,
  ];
  // Functions; members of classes (A::B) are not of the file, and headers declare what others define.
  if (extname(file) !== '.h') {
    patterns.push(
      /^(?!return|using|namespace|else|typedef)[A-Za-z_][\w:<>,*& ]*[ *&](\w+)\s*(?:\(|\[|\{|=|;)/gm,
    );
  }
  for (const pattern of patterns) {
    for (const [, name] of text.matchAll(pattern)) names.set(name, file);
  }
  return names;
}

/** Batches of files that have the same flags, and no name in common. */
function batchesOf(commands) {
  const batches = [];
  for (const { file, command } of commands) {
    // "c++ FLAGS -o OBJECT -c FILE"
    const flags = command.replace(/^\S+ /, '').replace(/ -o \S+ -c \S+$/, '');
    const names = namesOf(file);
    const fits = (batch) =>
      batch.flags === flags &&
      extname(batch.files[0]) === extname(file) &&
      batch.files.length < BATCH &&
      ![...names].some(([name, place]) => (batch.names.get(name) ?? place) !== place);
    let batch = batches.find(fits);
    if (batch === undefined) {
      batch = { flags, files: [], names: new Map() };
      batches.push(batch);
    }
    batch.files.push(file);
    for (const [name, place] of names) batch.names.set(name, place);
  }
  return batches;
}

/**
 * @param tool path of clang-tidy
 * @param folder a build folder with compile_commands.json
 * @param wanted which of its files
 * @param run runs a command: (command, args) => Promise<{ code, text }>
 * @returns how many files passed and failed
 */
export async function clangTidy(tool, folder, wanted, run) {
  const file = join(folder, 'compile_commands.json');
  const commands = JSON.parse(readFileSync(file, 'utf8')).filter((one) => wanted(one.file));
  const place = join(process.cwd(), folder, 'tidy');
  if (existsSync(place)) rmSync(place, { recursive: true });
  mkdirSync(place, { recursive: true });
  const result = { passed: 0, failed: 0, skipped: 0 };

  async function judge(files, flags, name) {
    let source = files[0];
    if (files.length > 1) {
      source = join(place, name + extname(source));
      const lines = files.map(
        (one) => `#include "${one}"  // NOLINT(bugprone-suspicious-include)\n`,
      );
      writeFileSync(source, lines.join(''));
    }
    const { code, text } = await run(tool, ['--quiet', source, '--', ...flags.split(' ')]);
    if (code === 0) {
      result.passed += files.length;
    } else if (files.length === 1) {
      result.failed++;
      console.log(text.replace(/^\d+ warnings? .*\n/gm, '').trimEnd());
    } else {
      const half = Math.ceil(files.length / 2);
      await judge(files.slice(0, half), flags, `${name}a`);
      await judge(files.slice(half), flags, `${name}b`);
    }
  }

  // The largest first: the last one alone should be short.
  const queue = batchesOf(commands)
    .sort((a, b) => b.files.length - a.files.length)
    .map(
      ({ files, flags }, index) =>
        () =>
          judge(files, flags, String(index)),
    );
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await next();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return result;
}
