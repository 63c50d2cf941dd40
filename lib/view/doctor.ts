import type { CheckLevel } from '../host/checks.ts';
import { DOCTOR_AREAS, type DoctorArea, type DoctorReport } from '../host/doctor.ts';
import type { EnvironmentDifference } from '../host/environment.ts';
import { painter, type Style } from './colour.ts';
import { printable, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const TITLES: Readonly<Record<DoctorArea, string>> = {
  pages: 'Pages',
  limits: 'Memory and limits',
  counters: 'Counters',
  gpu: 'GPU libraries (opened, never initialized)',
  machine: 'Machine',
};

const STYLES: Readonly<Record<CheckLevel, Style>> = { OK: 'green', WARN: 'yellow', NO: 'red' };

/** The report as text: one group per area, below each line that is not OK its effect and its fix. */
export function renderDoctor(report: DoctorReport, options: RenderOptions): string {
  const paint = painter(options.colour);
  const name = Math.max(...report.lines.map((line) => line.check.length));
  const indent = ' '.repeat(2 + 4 + 2 + name + 2);
  const output: string[] = [];
  const { node, version } = report.tool;
  const host = [report.kernel, report.cpu.model, report.container && `in ${report.container}`];
  output.push(`warpgauge ${version}, Node ${node}, ${host.filter((part) => part).join(', ')}`);
  for (const area of DOCTOR_AREAS) {
    const lines = report.lines.filter((line) => line.area === area);
    if (lines.length === 0) continue;
    output.push('', paint('bold', TITLES[area]));
    for (const line of lines) {
      const head = `  ${paint(STYLES[line.level], line.level.padEnd(4))}  ${line.check.padEnd(name)}  `;
      const [first = '', ...rest] = wrap(line.value, options.width - indent.length);
      output.push(head + first, ...rest.map((text) => indent + text));
      if (line.effect !== null) {
        output.push(...wrap(`effect: ${line.effect}`, options.width, indent, `${indent}  `));
      }
      if (line.fix !== null) output.push(`${indent}${paint('dim', 'fix:')} ${printable(line.fix)}`);
    }
  }
  for (const [variable, value] of Object.entries(report.overrides)) {
    output.push('', `${variable}=${printable(value)}`);
  }
  const { ok, warn, no } = report.summary;
  output.push('', `${ok} OK, ${warn} WARN, ${no} NO`);
  return output.join('\n');
}

/** Fields that differ; those that decide about the numbers are marked. */
export function renderDifferences(
  differences: readonly EnvironmentDifference[],
  options: RenderOptions,
): string {
  const paint = painter(options.colour);
  if (differences.length === 0) return 'no difference';
  const shown = (value: unknown) => printable(value === null ? 'null' : String(value));
  const lines = differences.map(({ field, a, b, decides }) => {
    const text = `${field}: ${shown(a)} -> ${shown(b)}`;
    return decides ? `${paint('yellow', '!')} ${text}` : `  ${text}`;
  });
  if (differences.some((difference) => difference.decides)) {
    lines.push('', '! decides about the numbers: do not compare results across it');
  }
  return lines.join('\n');
}
