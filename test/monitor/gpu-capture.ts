// nvidia-smi texts of real GPUs (test/fixtures/captures), as facts and as scripts for the fake NVML.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Scheme } from './gpu-fake.ts';

/** A line of `nvidia-smi -q` with what is indented below it. */
export interface Node {
  readonly name: string;
  readonly value: string;
  readonly children: Node[];
}

const FOLDER = new URL('../../../../test/fixtures/captures/', import.meta.url);
const FILES = {
  'nvidia-h200': 'nvidia-h200__590.48.01.txt',
  'nvidia-h200-mig': 'nvidia-h200-mig__590.48.01.txt',
  'nvidia-h100-mig': 'nvidia-h100-mig__590.48.01.txt',
  'nvidia-h200-guest': 'nvidia-h200__580.159.04.txt',
} as const;
export type CaptureName = keyof typeof FILES;
export const CAPTURES = Object.keys(FILES) as CaptureName[];

/** The scheme of the fake that plays the driver of a capture. */
export function schemeOf(capture: CaptureName): Scheme {
  return FILES[capture].includes('580.159') ? '580.159' : '13.1';
}

function captureText(capture: CaptureName): string {
  return readFileSync(new URL(FILES[capture], FOLDER), 'utf8');
}

/** The text below `## <title>` of a capture. */
export function section(capture: CaptureName, title: string): string {
  const text = captureText(capture);
  const begin = text.indexOf(`## ${title}\n`);
  assert.notEqual(begin, -1, `${capture} has no section ${title}`);
  const end = text.indexOf('\n## ', begin + 1);
  return text.slice(begin, end === -1 ? undefined : end);
}

/** Every function that the captured driver library exports. */
export function exportedSymbols(): readonly string[] {
  return captureText('nvidia-h100-mig').match(/^nvml\w+$/gm) ?? [];
}

/** The tree of the one GPU in `nvidia-smi -q`. */
export function queryTree(capture: CaptureName, state: 'idle' | 'load'): Node {
  const root: Node = { name: '', value: '', children: [] };
  const open = [{ indent: -1, node: root }];
  for (const line of section(capture, `${state}: query`).split('\n')) {
    if (!line.startsWith(' ') && !line.startsWith('GPU ')) continue;
    const indent = line.search(/\S/);
    if (indent === -1) continue;
    const colon = line.startsWith('GPU ') ? -1 : line.indexOf(' : ');
    const node: Node = {
      name: (colon === -1 ? line : line.slice(0, colon)).trim(),
      value: colon === -1 ? '' : line.slice(colon + 3).trim(),
      children: [],
    };
    while ((open.at(-1)?.indent ?? -1) >= indent) open.pop();
    open.at(-1)?.node.children.push(node);
    open.push({ indent, node });
  }
  const gpu = root.children.find((node) => node.name.startsWith('GPU '));
  assert(gpu !== undefined);
  return gpu;
}

export function children(node: Node, name: string): readonly Node[] {
  return node.children.filter((child) => child.name === name);
}

/** The value at a path of names, undefined where it is not there or is N/A. */
export function valueAt(node: Node, ...path: string[]): string | undefined {
  let at: Node | undefined = node;
  for (const name of path) at = at?.children.find((child) => child.name === name);
  return at === undefined || at.value === '' || at.value === 'N/A' ? undefined : at.value;
}

const UNITS: Readonly<Record<string, number>> = {
  MiB: 1048576, // to bytes
  W: 1000, // to mW, as NVML has it
  MHz: 1,
  C: 1,
  '%': 1,
  us: 1000, // to ns
  'KB/s': 1000,
  'bank(s)': 1,
};

/** A number with its unit in NVML's base unit; undefined where the capture has none. */
export function amountAt(node: Node, ...path: string[]): number | undefined {
  const text = valueAt(node, ...path);
  if (text === undefined) return undefined;
  if (text === 'No' || text === 'Disabled' || text === 'Not Active') return 0;
  if (text === 'Yes' || text === 'Enabled' || text === 'Active') return 1;
  const match = /^P?(-?\d+(?:\.\d+)?)(?:x| ?(MiB|W|MHz|C|%|us|KB\/s|bank\(s\)))?$/.exec(text);
  assert(match !== null, `${path.join(' / ')}: cannot read ${text}`);
  return Math.round(
    Number(match[1]) * (match[2] === undefined ? 1 : (UNITS[match[2]] ?? Number.NaN)),
  );
}

/** Where the fields of the fake (test/native/fake/nvml_values.h) stand in the text of a GPU. */
const GPU_FIELDS: readonly (readonly [field: string, ...path: string[]])[] = [
  ['memory_total', 'FB Memory Usage', 'Total'],
  ['memory_reserved', 'FB Memory Usage', 'Reserved'],
  ['memory_used', 'FB Memory Usage', 'Used'],
  ['memory_free', 'FB Memory Usage', 'Free'],
  ['bar1_total', 'BAR1 Memory Usage', 'Total'],
  ['bar1_used', 'BAR1 Memory Usage', 'Used'],
  ['bar1_free', 'BAR1 Memory Usage', 'Free'],
  ['utilization_gpu', 'Utilization', 'GPU'],
  ['utilization_memory', 'Utilization', 'Memory'],
  ['utilization_encoder', 'Utilization', 'Encoder'],
  ['utilization_decoder', 'Utilization', 'Decoder'],
  ['utilization_jpeg', 'Utilization', 'JPEG'],
  ['utilization_ofa', 'Utilization', 'OFA'],
  ['temperature', 'Temperature', 'GPU Current Temp'],
  ['temperature_margin', 'Temperature', 'GPU T.Limit Temp'],
  ['temperature_memory', 'Temperature', 'Memory Current Temp'],
  ['margin_shutdown', 'Temperature', 'GPU Shutdown T.Limit Temp'],
  ['margin_slowdown', 'Temperature', 'GPU Slowdown T.Limit Temp'],
  ['margin_gpu_max', 'Temperature', 'GPU Max Operating T.Limit Temp'],
  ['margin_memory_max', 'Temperature', 'Memory Max Operating T.Limit Temp'],
  ['power_average', 'GPU Power Readings', 'Average Power Draw'],
  ['power_instant', 'GPU Power Readings', 'Instantaneous Power Draw'],
  ['power_limit_enforced', 'GPU Power Readings', 'Current Power Limit'],
  ['power_limit', 'GPU Power Readings', 'Requested Power Limit'],
  ['power_limit_default', 'GPU Power Readings', 'Default Power Limit'],
  ['power_limit_min', 'GPU Power Readings', 'Min Power Limit'],
  ['power_limit_max', 'GPU Power Readings', 'Max Power Limit'],
  ['power_memory_average', 'GPU Memory Power Readings', 'Average Power Draw'],
  ['graphics_mhz', 'Clocks', 'Graphics'],
  ['sm_mhz', 'Clocks', 'SM'],
  ['memory_mhz', 'Clocks', 'Memory'],
  ['video_mhz', 'Clocks', 'Video'],
  ['graphics_mhz_max', 'Max Clocks', 'Graphics'],
  ['sm_mhz_max', 'Max Clocks', 'SM'],
  ['memory_mhz_max', 'Max Clocks', 'Memory'],
  ['video_mhz_max', 'Max Clocks', 'Video'],
  ['pcie_gen', 'PCI', 'GPU Link Info', 'PCIe Generation', 'Current'],
  ['pcie_gen_max', 'PCI', 'GPU Link Info', 'PCIe Generation', 'Max'],
  ['pcie_gen_max_gpu', 'PCI', 'GPU Link Info', 'PCIe Generation', 'Device Max'],
  ['pcie_width', 'PCI', 'GPU Link Info', 'Link Width', 'Current'],
  ['pcie_width_max', 'PCI', 'GPU Link Info', 'Link Width', 'Max'],
  ['replays', 'PCI', 'Replays Since Reset'],
  ['replay_rollovers', 'PCI', 'Replay Number Rollovers'],
  ['pstate', 'Performance State'],
  ['violation_0', 'Clocks Event Reasons Counters', 'SW Power Capping'],
  ['violation_2', 'Clocks Event Reasons Counters', 'Sync Boost'],
  ['ecc_mode', 'ECC Mode', 'Current'],
  ['ecc_corrected_volatile_2', 'ECC Errors', 'Volatile', 'DRAM Correctable'],
  ['ecc_uncorrected_volatile_2', 'ECC Errors', 'Volatile', 'DRAM Uncorrectable'],
  ['ecc_corrected_aggregate_2', 'ECC Errors', 'Aggregate', 'DRAM Correctable'],
  ['ecc_uncorrected_aggregate_2', 'ECC Errors', 'Aggregate', 'DRAM Uncorrectable'],
  ['sram_volatile_corrected', 'ECC Errors', 'Volatile', 'SRAM Correctable'],
  ['sram_volatile_parity', 'ECC Errors', 'Volatile', 'SRAM Uncorrectable Parity'],
  ['sram_volatile_secded', 'ECC Errors', 'Volatile', 'SRAM Uncorrectable SEC-DED'],
  ['sram_aggregate_corrected', 'ECC Errors', 'Aggregate', 'SRAM Correctable'],
  ['sram_aggregate_parity', 'ECC Errors', 'Aggregate', 'SRAM Uncorrectable Parity'],
  ['sram_aggregate_secded', 'ECC Errors', 'Aggregate', 'SRAM Uncorrectable SEC-DED'],
  ['remapped_corrected', 'Remapped Rows', 'Correctable Error'],
  ['remapped_uncorrected', 'Remapped Rows', 'Uncorrectable Error'],
  ['remapped_pending', 'Remapped Rows', 'Pending'],
  ['remapped_failure', 'Remapped Rows', 'Remapping Failure Occurred'],
  ['remapper_banks_max', 'Remapped Rows', 'Bank Remap Availability Histogram', 'Max'],
];

/** NVML's totals are sums over the places that the text lists. */
export const ECC_TOTALS: readonly (readonly [field: string, kind: string, ...names: string[]])[] = [
  ['ecc_corrected_volatile', 'Volatile', 'SRAM Correctable', 'DRAM Correctable'],
  [
    'ecc_uncorrected_volatile',
    'Volatile',
    'SRAM Uncorrectable Parity',
    'SRAM Uncorrectable SEC-DED',
    'DRAM Uncorrectable',
  ],
  ['ecc_corrected_aggregate', 'Aggregate', 'SRAM Correctable', 'DRAM Correctable'],
  [
    'ecc_uncorrected_aggregate',
    'Aggregate',
    'SRAM Uncorrectable Parity',
    'SRAM Uncorrectable SEC-DED',
    'DRAM Uncorrectable',
  ],
];

export function eccTotal(gpu: Node, kind: string, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (amountAt(gpu, 'ECC Errors', kind, name) ?? 0), 0);
}

const REASONS: readonly (readonly [bit: number, ...path: string[]])[] = [
  [0x1, 'Idle'],
  [0x2, 'Applications Clocks Setting'],
  [0x4, 'SW Power Cap'],
  [0x8, 'HW Slowdown'],
  [0x10, 'Sync Boost'],
  [0x20, 'SW Thermal Slowdown'],
  [0x40, 'HW Slowdown', 'HW Thermal Slowdown'],
  [0x80, 'HW Slowdown', 'HW Power Brake Slowdown'],
  [0x100, 'Display Clock Setting'],
];

/** The clocks-event reasons of a capture as NVML's bits. */
export function reasonBits(gpu: Node): number {
  return REASONS.reduce(
    (bits, [bit, ...path]) =>
      bits | (valueAt(gpu, 'Clocks Event Reasons', ...path) === 'Active' ? bit : 0),
    0,
  );
}

export interface CapturedInstance {
  readonly gpuInstance: number;
  readonly computeInstance: number;
  readonly profile: string;
  readonly node: Node;
}

/** The MIG devices of a capture, in the order of their indices. */
export function instances(capture: CaptureName, state: 'idle' | 'load'): CapturedInstance[] {
  const names = section(capture, 'capabilities: list').match(/(?<= {2}MIG )\S+/g) ?? [];
  return children(queryTree(capture, state), 'MIG Device').map((node, index) => ({
    gpuInstance: amountAt(node, 'GPU Instance ID') ?? Number.NaN,
    computeInstance: amountAt(node, 'Compute Instance ID') ?? Number.NaN,
    profile: names[index] ?? '',
    node,
  }));
}

const GI_FIELDS: readonly (readonly [field: string, ...path: string[]])[] = [
  ['memory_total', 'Shared FB Memory Usage', 'Total'],
  ['memory_reserved', 'Shared FB Memory Usage', 'Reserved'],
  ['memory_used', 'Shared FB Memory Usage', 'Used'],
  ['memory_free', 'Shared FB Memory Usage', 'Free'],
  ['bar1_total', 'Shared BAR1 Memory', 'Total'],
  ['bar1_used', 'Shared BAR1 Memory', 'Used'],
  ['bar1_free', 'Shared BAR1 Memory', 'Free'],
  ['ecc_uncorrected_volatile_7', 'ECC Errors', 'Volatile', 'SRAM Uncorrectable'],
];

const CI_FIELDS: readonly (readonly [field: string, ...path: string[]])[] = [
  ['sms', 'Device Attributes', 'Shared', 'Multiprocessor count'],
  ['copy_engines', 'Device Attributes', 'Shared', 'Copy Engine count'],
  ['encoders', 'Device Attributes', 'Shared', 'Encoder count'],
  ['decoders', 'Device Attributes', 'Shared', 'Decoder count'],
  ['ofas', 'Device Attributes', 'Shared', 'OFA count'],
  ['jpegs', 'Device Attributes', 'Shared', 'JPG count'],
];

function processes(gpu: Node): string {
  const list: string[] = [];
  let gpuInstance = '-1';
  let computeInstance = '-1';
  for (const node of gpu.children.find((child) => child.name === 'Processes')?.children ?? []) {
    const id = node.value === 'N/A' ? '-1' : node.value;
    if (node.name === 'GPU instance ID') gpuInstance = id;
    if (node.name === 'Compute instance ID') computeInstance = id;
    if (node.name !== 'Process ID') continue;
    const used = (valueAt(node, 'Used GPU Memory') ?? '').replace(' ', '');
    list.push(`${node.value}:${valueAt(node, 'Type')}:${used}:${gpuInstance}:${computeInstance}`);
  }
  return list.join(', ');
}

/** A script that makes the fake NVML the GPU of a capture. What the capture says is N/A is NOT_SUPPORTED. */
export function captureScript(capture: CaptureName, state: 'idle' | 'load'): string {
  const gpu = queryTree(capture, state);
  const line = (prefix: string, from: Node, [field, ...path]: readonly [string, ...string[]]) =>
    `${prefix}.${field} = ${amountAt(from, ...path) ?? '!3'}`;
  const lines = [
    `name = ${valueAt(gpu, 'Product Name')}`,
    `pci = ${valueAt(gpu, 'PCI', 'Bus Id')}`,
    `nvml.reasons = ${reasonBits(gpu)}`,
    `nvml.processes = ${processes(gpu)}`,
    `nvml.pcie_tx_bytes = counter(0, ${amountAt(gpu, 'PCI', 'Tx Throughput')})`,
    `nvml.pcie_rx_bytes = counter(0, ${amountAt(gpu, 'PCI', 'Rx Throughput')})`,
    ...ECC_TOTALS.map(([field, kind, ...names]) => `nvml.${field} = ${eccTotal(gpu, kind, names)}`),
    ...GPU_FIELDS.map((field) => line('nvml', gpu, field)),
  ];
  const list = instances(capture, state);
  if (valueAt(gpu, 'MIG Mode', 'Current') === 'Enabled') {
    const names = list.map((i) => `${i.gpuInstance}:${i.computeInstance}:${i.profile}`);
    lines.push(`nvml.0.mig = ${names.join(', ')}`);
  }
  for (const { gpuInstance, computeInstance, node } of list) {
    for (const field of GI_FIELDS) lines.push(line(`nvml.0.gi.${gpuInstance}`, node, field));
    for (const field of CI_FIELDS) {
      lines.push(line(`nvml.0.ci.${gpuInstance}.${computeInstance}`, node, field));
    }
  }
  return `${lines.join('\n')}\n`;
}
