// node scripts/check-signatures.mjs [ROOT]: does native code do what TypeScript thinks it does?
//
// Every function of the interface Binding in lib/addon.ts has, above its C++ function in native/addon/, a comment
// `// TypeScript: name(arguments): type` with the same text, and the other way round. A comment may go on over
// several lines; it ends with the comment block or with an empty comment line.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
const withoutSpaces = (text) => text.replace(/\s+/g, '').replace(/,\)/g, ')').replace(/;}/g, '}');
const nameOf = (signature) => /^\w+/.exec(signature.trim())?.[0] ?? signature;

/** The members of Binding by name. */
function readInterface() {
  const source = readFileSync(join(root, 'lib/addon.ts'), 'utf8');
  const body = /^export interface Binding \{\n([\s\S]*?)^\}/m.exec(source)?.[1];
  if (body === undefined) throw new Error('lib/addon.ts has no interface Binding');
  const code = body.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
  const members = new Map();
  let depth = 0;
  let start = 0;
  for (let i = 0; i < code.length; i++) {
    if ('({['.includes(code[i])) depth++;
    else if (')}]'.includes(code[i])) depth--;
    else if (code[i] === ';' && depth === 0) {
      const member = code.slice(start, i).trim();
      members.set(nameOf(member), member);
      start = i + 1;
    }
  }
  return members;
}

/** The signatures that native/addon/*.cc claims, by name. */
function readNative(report) {
  const claims = new Map();
  const folder = join(root, 'native/addon');
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.cc'))
    .sort()) {
    const lines = readFileSync(join(folder, file), 'utf8').split('\n');
    for (const [index, line] of lines.entries()) {
      const first = /^\s*\/\/.*\bTypeScript: (.*)$/.exec(line)?.[1];
      if (first === undefined) continue;
      let signature = first;
      for (let next = index + 1; /^\s*\/\/\s*\S/.test(lines[next] ?? ''); next++) {
        signature += ` ${lines[next].replace(/^\s*\/\/\s*/, '')}`;
      }
      const name = nameOf(signature);
      if (claims.has(name)) report(`${file}:${index + 1}: ${name} is described twice`);
      claims.set(name, { signature, where: `native/addon/${file}:${index + 1}` });
      // The name under which the function is exported stands in the same file.
      if (!lines.some((text) => text.includes(`"${name}"`))) {
        report(
          `native/addon/${file}:${index + 1}: ${name} is described but "${name}" is not exported`,
        );
      }
    }
  }
  return claims;
}

const problems = [];
const members = readInterface();
const claims = readNative((text) => problems.push(text));
for (const [name, member] of members) {
  const claim = claims.get(name);
  if (claim === undefined) {
    problems.push(`lib/addon.ts: ${name} has no native function in native/addon`);
  } else if (withoutSpaces(claim.signature) !== withoutSpaces(member)) {
    problems.push(
      `${claim.where}: ${claim.signature}\n  lib/addon.ts: ${member.replace(/\s+/g, ' ')}`,
    );
  }
}
for (const [name, { where }] of claims) {
  if (!members.has(name)) problems.push(`${where}: ${name} is not in lib/addon.ts`);
}
for (const problem of problems) console.error(problem);
console.log(`${members.size} native functions, ${problems.length} differences`);
process.exitCode = problems.length > 0 || members.size === 0 ? 1 : 0;
