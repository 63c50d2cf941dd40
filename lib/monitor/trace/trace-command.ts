import { loadBinding } from '../../addon.ts';
import { MiB } from '../../units.ts';
import { aim } from '../default-sources.ts';
import { HeldCommand } from '../recording/held-command.ts';
import { sample } from '../sampler.ts';
import { checkBufferBytes, checkFlushMs } from '../sources/cuda.ts';
import type { SourceSpec } from '../types.ts';
import {
  checkTraceable,
  makeTraceFolder,
  removeTraceFolder,
  tracedEnvironment,
} from './environment.ts';
import { checkApi, checkKinds, DEFAULT_KINDS, kindBits } from './kinds.ts';
import { checkTraceOptions, type TraceCommandOptions } from './trace-options.ts';
import { TracedSampler } from './traced-command.ts';

const BUFFER_BYTES = 64 * MiB;
const FLUSH_MS = 20;
/** A second of two million records waits for a script that is busy: more than a sampler of counters needs. */
const UNDELIVERED_BYTES = 512 * MiB;

/** The public function of the same name: see lib/monitor/trace/index.ts. */
export async function traceCommand(options: TraceCommandOptions): Promise<TracedSampler> {
  const { command, env = process.env, cwd, output, ...more } = options;
  const { kinds: names, api, bufferBytes, flushMs, traceDir, sources, ...others } = more;
  const { delayMs, durationMs, startMark, stopMark, ...sampling } = others;
  checkTraceOptions(options);
  const kinds = checkKinds('kinds', names ?? DEFAULT_KINDS);
  const wanted = kindBits(kinds, checkApi('api', api ?? 'memcpy'));
  const bytes = checkBufferBytes('bufferBytes', bufferBytes ?? BUFFER_BYTES);
  const flush = checkFlushMs('flushMs', flushMs ?? FLUSH_MS);
  const library = checkTraceable(env);
  const binding = loadBinding();
  const dir = await makeTraceFolder(traceDir);
  let child: HeldCommand | null = null;
  let id: number | null = null;
  try {
    const trace = binding.createTrace({
      bytes,
      kinds: wanted.bits,
      api: wanted.api,
      flushMs: flush,
      tracing: delayMs === undefined && startMark === undefined,
      dir,
    });
    id = trace.id;
    child = await HeldCommand.start(command, {
      env: tracedEnvironment(env, { library, fd: trace.fd, dir, kinds }),
      ...(cwd === undefined ? {} : { cwd }),
      ...(output === undefined ? {} : { output }),
    });
    const cuda: SourceSpec = {
      source: 'cuda',
      options: {
        trace: String(id),
        cuda: env['WARPGAUGE_CUDA'] ?? '',
        cupti: env['WARPGAUGE_CUPTI'] ?? '',
      },
    };
    const sampler = await sample({
      maxUndeliveredBytes: UNDELIVERED_BYTES,
      ...sampling,
      sources: [cuda, ...aim(sources ?? [], { command: child.pid })],
    });
    const window = { delayMs, durationMs, startMark, stopMark };
    const traced = new TracedSampler(sampler, child, binding, trace, dir, window);
    traced.start();
    return traced;
  } catch (error) {
    child?.abandon();
    if (id !== null) binding.releaseTrace(id);
    await removeTraceFolder(dir);
    throw error;
  }
}
