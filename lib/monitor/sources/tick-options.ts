/** What every source that is read at ticks can be given. */
export interface TickOptions {
  /** Time between two ticks, ms; 0.05 to 86,400,000. */
  readonly intervalMs?: number;
  /** Names the tables where one source is asked for twice; default: the source's name, then `name@2`. */
  readonly instance?: string;
}
