import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/**
 * Files of the viewer, each after those that it uses. They are ES modules for the compiler and one script for the page: the
 * page must work from a file, where a browser loads no modules, and the package brings no bundler. Their names share one scope;
 * two of the same name would be a syntax error, which the test of the page finds.
 */
const FILES = [
  'data',
  'line',
  'slices',
  'words',
  'plot',
  'plot-lines',
  'plot-copies',
  'plot-lanes',
  'panel',
  'ruler',
  'navigation',
  'main',
] as const;

/** The code of a compiled module without its imports, and with its exports as plain declarations. */
export function plainScript(code: string): string {
  return code
    .replace(/^import\s[^;]*?from\s+'[^']+';$/gm, '')
    .replace(/^export\s+\{[^}]*\};$/gm, '')
    .replace(/^export\s+(?=(async\s+)?(class|function|const|let)\b)/gm, '');
}

/** The viewer as the text of one script element, and the hash by which the page's policy allows it and nothing else. */
export async function viewerScript(): Promise<{ readonly code: string; readonly hash: string }> {
  const parts = await Promise.all(
    FILES.map((name) => readFile(new URL(`./viewer/${name}.js`, import.meta.url), 'utf8')),
  );
  const code = `(() => {\n'use strict';\n${parts.map(plainScript).join('')}})();\n`.replace(
    /<(?=\/script|!--)/gi,
    '\\x3c',
  );
  return { code, hash: createHash('sha256').update(code).digest('base64') };
}
