// A Simulated GPU of which power, clocks and persistence can be set; see test/native/fake/nvml_power.h.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { SimulatedMig } from '../mig/simulated-mig.js';

export { GPU, SECOND_GPU as SECOND } from '../mig/simulated-mig.js';

export interface PowerState {
  /** W; 0: nobody has asked for any, and the script says what holds. */
  readonly limitW?: number;
  readonly persistence?: boolean;
  readonly sm?: readonly [number, number];
  readonly memory?: readonly [number, number];
}

export class SimulatedPower extends SimulatedMig {
  constructor(script = '') {
    super({ mode: false, script });
  }

  /** What the driver holds, as it was set: `limit 400 persistence on sm 345-1200 memory -`. */
  held(gpu = 0): string {
    const line = readFileSync(this.state, 'utf8')
      .split('\n')
      .find((text) => text.startsWith(`power ${gpu} `));
    const [limit = 0, persistence = 0, ...mhz] = (line ?? '').split(' ').slice(2).map(Number);
    const lock = ([min, max]: number[]): string => (max ? `${min}-${max}` : '-');
    const limitText = limit === 0 ? 'as found' : limit / 1000;
    const on = ['as found', 'off', 'on'][persistence];
    return `limit ${limitText} persistence ${on} sm ${lock(mhz.slice(0, 2))} memory ${lock(mhz.slice(2))}`;
  }

  override now(): string {
    return this.held();
  }

  /** Somebody else sets something, with another program. */
  interfere(to: PowerState, gpu = 0): void {
    const lines = readFileSync(this.state, 'utf8')
      .split('\n')
      .filter((text) => text !== '' && !text.startsWith(`power ${gpu} `));
    const { limitW = 0, persistence, sm = [0, 0], memory = [0, 0] } = to;
    const word = persistence === undefined ? 0 : persistence ? 2 : 1;
    lines.push(['power', gpu, limitW * 1000, word, ...sm, ...memory].join(' '));
    writeFileSync(`${this.state}.new`, `${lines.join('\n')}\n`);
    renameSync(`${this.state}.new`, this.state);
  }
}
