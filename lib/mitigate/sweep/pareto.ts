/** A candidate: more throughput is better, less energy is better; null where energy is not known. */
export interface Candidate {
  readonly name: string;
  readonly throughput: number;
  readonly energy: number | null;
}

/**
 * Names of the candidates that no other beats in one respect while it is at least as good in the other, the most throughput
 * first. Where any energy is not known all are compared by throughput alone.
 */
export function paretoFront(candidates: readonly Candidate[]): string[] {
  const byEnergy = candidates.every(({ energy }) => energy !== null);
  const energyOf = ({ energy }: Candidate): number => (byEnergy ? (energy as number) : 0);
  const beats = (a: Candidate, b: Candidate): boolean =>
    a.throughput >= b.throughput &&
    energyOf(a) <= energyOf(b) &&
    (a.throughput > b.throughput || energyOf(a) < energyOf(b));
  return candidates
    .filter((one) => !candidates.some((other) => beats(other, one)))
    .toSorted((a, b) => b.throughput - a.throughput)
    .map(({ name }) => name);
}
