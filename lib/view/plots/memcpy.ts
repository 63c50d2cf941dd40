import type { MemcpyDocument } from '../../measure/memcpy/types.ts';
import { faultsPlot } from './faults.ts';
import { phasesPlot } from './phases.ts';
import { samplesPlot } from './samples.ts';
import { speedupPlot } from './speedup.ts';
import type { Plot } from './svg.ts';
import { throughputPlot } from './throughput.ts';

/** All plots of a memcpy result, in reading order; each says "No data" with the reason where it has none. */
export function memcpyPlots(document: MemcpyDocument): Plot[] {
  return [
    throughputPlot(document),
    speedupPlot(document),
    phasesPlot(document),
    faultsPlot(document),
    samplesPlot(document),
  ];
}
