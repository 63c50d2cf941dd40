import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './addon-loader.ts';

/**
 * A file that the native build makes beside the addon: where the local build puts it, else the prebuilt one. Absent, it is
 * a reason in words, for the report of what cannot be done without it.
 */
export function findNativeFile(
  name: string,
  mode: number = constants.R_OK,
): { readonly path: string } | { readonly reason: string } {
  const base = process.env['WARPGAUGE_PREBUILD'] || packageRoot();
  const places = [
    ...(process.env['PREBUILDS_ONLY'] ? [] : [join(base, 'build/Release', name)]),
    join(base, 'prebuilds', `${process.platform}-${process.arch}`, name),
  ];
  const reasons: string[] = [];
  for (const path of places) {
    try {
      accessSync(path, mode);
      return { path };
    } catch (error) {
      reasons.push(`${path}: ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return { reason: reasons.join(', ') };
}
