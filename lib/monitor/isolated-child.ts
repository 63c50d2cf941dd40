/**
 * The helper process of an isolated source: samples it and writes what comes to file descriptor 3 (isolated-frames.ts).
 * A crash of a driver library ends this process and nothing else.
 *
 * It ends when its standard input does, that is, when the parent closes it or dies in whatever way; PR_SET_PDEATHSIG
 * covers the case that this process is too stuck to notice.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { loadBinding } from '../addon.ts';
import { type RecordBatch, RecordBatchStreamWriter, type Schema, Table } from '../arrow.ts';
import { utcOffsetNs } from '../clock.ts';
import { WarpgaugeError } from '../errors.ts';
import { sample } from './index.ts';
import {
  type Command,
  encodeFrame,
  type FrameHeader,
  type StateHeader,
} from './isolated-frames.ts';
import type { Sampler, StateRow } from './types.ts';

const out = new Socket({ fd: 3, readable: false, writable: true });
let sampler: Sampler | undefined;
let statesSent = 0;

async function write(header: FrameHeader, payload?: Uint8Array): Promise<void> {
  let room = true;
  for (const part of encodeFrame(header, payload)) room = out.write(part);
  if (!room) await once(out, 'drain');
}

function ipc(schema: Schema, batch?: RecordBatch): Uint8Array {
  return RecordBatchStreamWriter.writeAll(
    batch === undefined ? new Table(schema) : new Table(schema, batch),
  ).toUint8Array(true);
}

function stateHeader(row: StateRow): StateHeader {
  return { ...row, time: String(row.time) };
}

async function report(running: Sampler): Promise<void> {
  const states = running.states.slice(statesSent);
  statesSent += states.length;
  if (states.length > 0) await write({ kind: 'states', states: states.map(stateHeader) });
  const { tables, cpuNs, memoryBytes } = running.stats();
  await write({ kind: 'stats', tables, cpuNs, memoryBytes });
}

async function run(command: Command & { readonly kind: 'start' }): Promise<void> {
  const running = await sample({
    sources: [{ ...command.spec, optional: false }],
    ...(command.batchMs === undefined ? {} : { batchMs: command.batchMs }),
    ...(command.maxUndeliveredBytes === undefined
      ? {}
      : { maxUndeliveredBytes: command.maxUndeliveredBytes }),
    keepAlive: true,
  });
  sampler = running;
  for (const { schema, ...table } of running.tables) {
    await write({ kind: 'table', table }, ipc(schema));
  }
  await write({ kind: 'ready', utcOffsetNs: String(utcOffsetNs()) });
  await report(running);
  const timer = setInterval(() => void report(running), 500);
  for await (const { batch, ...given } of running) {
    await write({ kind: 'batch', ...given }, ipc(batch.schema, batch));
  }
  clearInterval(timer);
  await report(running);
}

async function start(command: Command & { readonly kind: 'start' }): Promise<void> {
  try {
    await run(command);
  } catch (error) {
    const known = error instanceof WarpgaugeError ? error : undefined;
    const record = known?.toJSON() ?? { code: 'ERR_CHILD_DIED', message: String(error) };
    await write({ kind: 'error', error: { ...record } });
  }
  out.end(() => process.exit(0));
}

process.on('SIGINT', () => {}); // Ctrl-C is for the parent, which then closes this one in order
out.on('error', () => process.exit(0)); // nobody reads any more
loadBinding().enterChild({ parentPid: process.ppid, cpu: -1 });
const lines = createInterface({ input: process.stdin });
lines.on('close', () => process.exit(0));
lines.on('line', (line) => {
  const command = JSON.parse(line) as Command;
  if (command.kind === 'start') void start(command);
  else if (command.kind === 'pause') sampler?.pause();
  else if (command.kind === 'resume') sampler?.resume();
  else if (sampler === undefined) process.exit(0);
  else void sampler.close();
});
