// Real GPUs as nvidia-smi showed them, played by the fake NVML and sampled: every cell beside the captured text.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as monitor from '#lib/monitor/index';
import type { Row } from '#lib/monitor/types';
import {
  amountAt,
  CAPTURES,
  type CapturedInstance,
  captureScript,
  ECC_TOTALS,
  eccTotal,
  instances,
  type Node,
  queryTree,
  reasonBits,
  schemeOf,
  valueAt,
} from './gpu-capture.ts';
import { FakeGpus, fakeLibrary, NEEDS_FAKE } from './gpu-fake.ts';
import { collect, rowsOf } from './gpu-rows.ts';

type Expected = readonly [column: string, scale: number, ...path: string[]];

const MAIN: readonly Expected[] = [
  ['gpu_utilization_ratio', 0.01, 'Utilization', 'GPU'],
  ['memory_utilization_ratio', 0.01, 'Utilization', 'Memory'],
  ['encoder_utilization_ratio', 0.01, 'Utilization', 'Encoder'],
  ['decoder_utilization_ratio', 0.01, 'Utilization', 'Decoder'],
  ['jpeg_utilization_ratio', 0.01, 'Utilization', 'JPEG'],
  ['ofa_utilization_ratio', 0.01, 'Utilization', 'OFA'],
  ['memory_total_bytes', 1, 'FB Memory Usage', 'Total'],
  ['memory_used_bytes', 1, 'FB Memory Usage', 'Used'],
  ['memory_free_bytes', 1, 'FB Memory Usage', 'Free'],
  ['memory_reserved_bytes', 1, 'FB Memory Usage', 'Reserved'],
  ['power_watts', 1e-3, 'GPU Power Readings', 'Instantaneous Power Draw'],
  ['power_average_watts', 1e-3, 'GPU Power Readings', 'Average Power Draw'],
  ['clock_graphics_hertz', 1e6, 'Clocks', 'Graphics'],
  ['clock_sm_hertz', 1e6, 'Clocks', 'SM'],
  ['clock_memory_hertz', 1e6, 'Clocks', 'Memory'],
  ['clock_video_hertz', 1e6, 'Clocks', 'Video'],
  ['temperature_celsius', 1, 'Temperature', 'GPU Current Temp'],
  ['pstate', 1, 'Performance State'],
];

const SLOW: readonly Expected[] = [
  ['power_limit_watts', 1e-3, 'GPU Power Readings', 'Requested Power Limit'],
  ['power_limit_enforced_watts', 1e-3, 'GPU Power Readings', 'Current Power Limit'],
  ['power_limit_default_watts', 1e-3, 'GPU Power Readings', 'Default Power Limit'],
  ['power_limit_min_watts', 1e-3, 'GPU Power Readings', 'Min Power Limit'],
  ['power_limit_max_watts', 1e-3, 'GPU Power Readings', 'Max Power Limit'],
  ['bar1_total_bytes', 1, 'BAR1 Memory Usage', 'Total'],
  ['bar1_used_bytes', 1, 'BAR1 Memory Usage', 'Used'],
  ['bar1_free_bytes', 1, 'BAR1 Memory Usage', 'Free'],
  ['memory_temperature_celsius', 1, 'Temperature', 'Memory Current Temp'],
  ['margin_celsius', 1, 'Temperature', 'GPU T.Limit Temp'],
  ['margin_shutdown_celsius', 1, 'Temperature', 'GPU Shutdown T.Limit Temp'],
  ['margin_slowdown_celsius', 1, 'Temperature', 'GPU Slowdown T.Limit Temp'],
  ['margin_gpu_celsius', 1, 'Temperature', 'GPU Max Operating T.Limit Temp'],
  ['margin_memory_celsius', 1, 'Temperature', 'Memory Max Operating T.Limit Temp'],
  ['throttle_power_ns', 1, 'Clocks Event Reasons Counters', 'SW Power Capping'],
  ['throttle_sync_boost_ns', 1, 'Clocks Event Reasons Counters', 'Sync Boost'],
  ['pcie_generation', 1, 'PCI', 'GPU Link Info', 'PCIe Generation', 'Current'],
  ['pcie_generation_max', 1, 'PCI', 'GPU Link Info', 'PCIe Generation', 'Max'],
  ['pcie_width', 1, 'PCI', 'GPU Link Info', 'Link Width', 'Current'],
  ['pcie_width_max', 1, 'PCI', 'GPU Link Info', 'Link Width', 'Max'],
  ['pcie_replays', 1, 'PCI', 'Replays Since Reset'],
  ['pcie_replay_rollovers', 1, 'PCI', 'Replay Number Rollovers'],
  ['remapped_correctable_rows', 1, 'Remapped Rows', 'Correctable Error'],
  ['remapped_uncorrectable_rows', 1, 'Remapped Rows', 'Uncorrectable Error'],
];

const INSTANCE: readonly Expected[] = [
  ['memory_total_bytes', 1, 'Shared FB Memory Usage', 'Total'],
  ['memory_used_bytes', 1, 'Shared FB Memory Usage', 'Used'],
  ['memory_free_bytes', 1, 'Shared FB Memory Usage', 'Free'],
  ['memory_reserved_bytes', 1, 'Shared FB Memory Usage', 'Reserved'],
];

function compare(row: Row, from: Node, expected: readonly Expected[]): void {
  for (const [column, scale, ...path] of expected) {
    const captured = amountAt(from, ...path);
    const value = row[column];
    if (captured === undefined) assert.equal(value, null, `${column}: N/A in the capture`);
    else {
      assert.notEqual(value ?? null, null, `${column} is null`);
      const error = Math.abs(Number(value) - captured * scale);
      assert(error <= Math.abs(captured * scale) * 1e-12, `${column}: ${value}, ${captured}`);
    }
  }
}

for (const capture of CAPTURES) {
  for (const state of ['idle', 'load'] as const) {
    test(`${capture}, ${state}: rows are those of nvidia-smi`, NEEDS_FAKE, async () => {
      using _fake = new FakeGpus(captureScript(capture, state), fakeLibrary(schemeOf(capture)));
      const gpu = queryTree(capture, state);
      const captured = instances(capture, state);
      await using sampler = await monitor.sample({
        sources: [
          monitor.gpu({
            intervalMs: 20,
            driverShare: 1,
            slowIntervalMs: 100,
            processIntervalMs: 100,
          }),
        ],
        batchMs: 20,
      });
      const processes = (valueAt(gpu, 'Processes') ?? '') !== 'None' && state === 'load';
      const rows = await collect(
        sampler,
        (all) =>
          (all.get('gpu')?.length ?? 0) > captured.length &&
          all.has('gpu.slow') &&
          (!processes || all.has('gpu.process')),
      );
      const main = rowsOf(rows, 'gpu', captured.length + 1);
      const whole = main.find((row) => row['gpu_instance'] === null) as Row;
      compare(whole, gpu, MAIN);
      assert.equal(whole['throttle_reasons'], BigInt(reasonBits(gpu)));
      const slow = rowsOf(rows, 'gpu.slow')[0] as Row;
      compare(slow, gpu, SLOW);
      const [single, double] = ['ecc_corrected_volatile', 'ecc_uncorrected_volatile'].map(
        (name) => {
          const [, kind = '', ...names] = ECC_TOTALS.find(([field]) => field === name) ?? [];
          return BigInt(eccTotal(gpu, kind, names));
        },
      );
      assert.equal(slow['ecc_single_bit_errors'], single);
      assert.equal(slow['ecc_double_bit_errors'], double);
      for (const instance of captured) compareInstance(main, whole, instance);
      compareProcesses(processes ? rowsOf(rows, 'gpu.process') : [], gpu);
    });
  }
}

function compareInstance(main: Row[], whole: Row, instance: CapturedInstance): void {
  const row = main.find(
    (candidate) =>
      candidate['gpu_instance'] === instance.gpuInstance &&
      candidate['compute_instance'] === instance.computeInstance,
  );
  assert(row !== undefined, `${instance.gpuInstance}:${instance.computeInstance} has no row`);
  assert.equal(row['parent'], whole['gpu']);
  assert.match(String(row['gpu']), /^MIG-/);
  compare(row, instance.node, INSTANCE);
}

function compareProcesses(rows: Row[], gpu: Node): void {
  const captured = gpu.children
    .filter((node) => node.name === 'Processes')
    .flatMap((node) => node.children)
    .filter((node) => node.name === 'Process ID');
  for (const node of captured) {
    const row = rows.find((candidate) => candidate['pid'] === Number(node.value));
    assert.equal(row?.['memory_bytes'], BigInt(amountAt(node, 'Used GPU Memory') ?? -1));
    assert.equal(row['compute'], valueAt(node, 'Type')?.includes('C'));
  }
}
