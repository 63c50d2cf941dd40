import { parseDocument, stringify } from 'yaml';
import { WarpgaugeError } from '../../errors.ts';
import { readText } from '../../host/sysfs.ts';
import { didYouMean } from '../../near-match.ts';
import { migDevices } from './apply.ts';
import type { MigGpu } from './device.ts';
import type { MigWant } from './want.ts';

/**
 * Layouts as nvidia-mig-parted declares them: `version: v1` and `mig-configs`, from a label to rules about GPUs. Read as
 * strictly as that tool does: an unknown key is an error, not a wish that is silently not granted.
 */
export interface MigPartedFile {
  readonly labels: ReadonlyMap<string, readonly MigPartedRule[]>;
}

export interface MigPartedRule {
  /** Indices of the driver, or all. */
  readonly devices: 'all' | readonly number[];
  /** PCI ids such as 0x233510DE (device, vendor); empty: any. */
  readonly deviceFilter: readonly number[];
  readonly enabled: boolean;
  readonly instances: MigWant;
}

const RULE_KEYS = ['devices', 'device-filter', 'mig-enabled', 'mig-devices'] as const;

/** Throws `ERR_INVALID_ARGUMENT` with the place of the first mistake. */
export function parseMigParted(text: string, file: string): MigPartedFile {
  const wrong = (where: string, why: string): WarpgaugeError =>
    new WarpgaugeError('ERR_INVALID_ARGUMENT', `${file}: ${where}${why}`, { source: file });
  const document = parseDocument(text, { uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw wrong('', error.message.split('\n', 1)[0] ?? 'no YAML');
  const top = record(document.toJS({ maxAliasCount: 100 }));
  if (top === null) throw wrong('', 'expected a map with version and mig-configs');
  onlyKeys(top, ['version', 'mig-configs'], (key, hint) => wrong('', `unknown key ${key}${hint}`));
  if (top['version'] !== 'v1')
    throw wrong('version: ', `expected v1, found ${show(top['version'])}`);
  const configs = record(top['mig-configs']);
  if (configs === null) throw wrong('mig-configs: ', 'expected a map from labels to rules');
  const labels = new Map<string, readonly MigPartedRule[]>();
  for (const [label, rules] of Object.entries(configs)) {
    if (!Array.isArray(rules)) throw wrong(`${label}: `, 'expected a list of rules');
    labels.set(
      label,
      rules.map((rule, i) => toRule(rule, (why) => wrong(`${label}, rule ${i + 1}: `, why))),
    );
  }
  return { labels };
}

function toRule(value: unknown, wrong: (why: string) => WarpgaugeError): MigPartedRule {
  const rule = record(value);
  if (rule === null) throw wrong('expected a map');
  onlyKeys(rule, RULE_KEYS, (key, hint) => wrong(`unknown key ${key}${hint}`));
  const devices = rule['devices'];
  if (devices !== 'all' && !isList(devices, isCount)) {
    throw wrong(`devices: expected all or a list of indices, found ${show(devices)}`);
  }
  const enabled = rule['mig-enabled'];
  if (typeof enabled !== 'boolean') {
    throw wrong(`mig-enabled: expected true or false, found ${show(enabled)}`);
  }
  const instances = rule['mig-devices'] === undefined ? null : record(rule['mig-devices']);
  if (enabled && instances === null) {
    throw wrong('mig-devices: expected a map from profiles to counts, possibly empty');
  }
  if (!enabled && Object.keys(instances ?? {}).length > 0) {
    throw wrong('mig-devices: expected none where MIG is not enabled');
  }
  for (const [name, count] of Object.entries(instances ?? {})) {
    if (!isCount(count))
      throw wrong(`mig-devices, ${name}: expected a count, found ${show(count)}`);
  }
  return {
    devices: devices as MigPartedRule['devices'],
    deviceFilter: toFilter(rule['device-filter'], wrong),
    enabled,
    instances: (instances ?? {}) as MigWant,
  };
}

function toFilter(value: unknown, wrong: (why: string) => WarpgaugeError): number[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map((one) => {
    // YAML reads 0x233510DE without quotes as a number.
    const number = typeof one === 'string' && /^0x[0-9a-f]+$/i.test(one) ? Number(one) : one;
    if (typeof number === 'number' && isCount(number) && number <= 0xffff_ffff) return number;
    throw wrong(`device-filter: expected PCI ids such as "0x233510DE", found ${show(one)}`);
  });
}

const isCount = (value: unknown): boolean =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const isList = (value: unknown, each: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(each);
const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function onlyKeys(
  value: Record<string, unknown>,
  known: readonly string[],
  wrong: (key: string, hint: string) => WarpgaugeError,
): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw wrong(unknown, didYouMean(unknown, known));
}

/** What a label wants of each GPU, by the driver's order; GPUs that no rule names are left out. */
export function selectMigConfig(
  config: MigPartedFile,
  label: string,
  gpus: readonly MigGpu[],
  root?: string,
): { readonly gpu: MigGpu; readonly rule: MigPartedRule }[] {
  const rules = config.labels.get(label);
  if (rules === undefined) {
    const labels = [...config.labels.keys()];
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Expected a label of the file (${labels.join(', ')}) for --config but received ${show(label)}${didYouMean(label, labels)}`,
    );
  }
  return gpus.flatMap((gpu, index) => {
    const id = pciId(gpu.pciAddress, root);
    const matching = rules.filter(
      ({ devices, deviceFilter }) =>
        (devices === 'all' || devices.includes(index)) &&
        (deviceFilter.length === 0 || (id !== null && deviceFilter.includes(id))),
    );
    const [rule, second] = matching;
    if (second !== undefined) {
      throw new WarpgaugeError(
        'ERR_INVALID_ARGUMENT',
        `Several rules of ${label} are about GPU ${index} (${gpu.uuid}): which one counts would be a guess`,
      );
    }
    return rule === undefined ? [] : [{ gpu, rule }];
  });
}

/** 0x233510DE: device and vendor in one number, as NVML and mig-parted write it. */
function pciId(address: string, root?: string): number | null {
  const folder = `/sys/bus/pci/devices/${address}`;
  const [device, vendor] = ['device', 'vendor'].map((name) => readText(`${folder}/${name}`, root));
  if (!device || !vendor) return null;
  return Number(device) * 0x10000 + Number(vendor);
}

/** The layout of all GPUs that have MIG, as a file for mig-parted and for us. */
export function exportMigParted(gpus: readonly MigGpu[], label: string): string {
  const rules = gpus.flatMap((gpu, index) => {
    if (gpu.mode === null) return [];
    if (!gpu.mode.enabled) return [{ devices: [index], 'mig-enabled': false, 'mig-devices': {} }];
    const counts: Record<string, number> = {};
    for (const { profile } of migDevices(gpu)) counts[profile] = (counts[profile] ?? 0) + 1;
    return [{ devices: [index], 'mig-enabled': true, 'mig-devices': counts }];
  });
  return stringify({ version: 'v1', 'mig-configs': { [label]: rules } });
}
