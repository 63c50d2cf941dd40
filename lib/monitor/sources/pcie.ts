import { invalidArgument } from '../../errors.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

const EXPECTS = 'a PCI address such as 0000:65:00.0';

function parseAddress(text: string): string {
  // nvidia-smi writes the domain with eight digits and capitals, sysfs with four small ones.
  const match = /^(?:0000)?([0-9a-f]{4}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i.exec(text);
  if (match === null) throw invalidArgument('device', EXPECTS, text);
  return `${match[1]}:${match[2]}`.toLowerCase();
}

export const pcieDescriptor: SourceDescriptor = {
  name: 'pcie',
  help: 'PCI Express links: speed and width now and at most, and AER errors by name.',
  defaultIntervalMs: 1000,
  options: {
    device: {
      help: 'One PCI address. Default: every device with a link.',
      expects: EXPECTS,
      parse: parseAddress,
    },
  },
  needs: 'a device with a PCI Express link',
};

/** Options of {@link pcie}. */
export interface PcieOptions extends TickOptions {
  /** The one device to watch, as lspci -D or nvidia-smi writes its address; default: all that have a link. */
  readonly device?: string;
}

/**
 * Table `pcie`: one row per tick and PCI device with a link, key `device` (PCI address): `link_speed_transfers_per_second`
 * (of each lane: 16 GT/s are 16e9), `link_width` (lanes), `max_link_...`, and the errors counted by Advanced Error Reporting
 * since boot: `aer_correctable`, `aer_nonfatal`, `aer_fatal` in total, and one column per error name that the kernel has
 * (`aer_correctable_bad_tlp`). A device without AER has nulls there, with a row in `state`. A suspended device is not woken:
 * its link is null, reason `asleep`.
 *
 * The kernel counts no bytes on the link; source `gpu` does.
 *
 * Default interval 1 s; up to six files per device. Errors: `ERR_GONE` for a device that is not there, `ERR_UNAVAILABLE`
 * where no device has a link.
 */
export function pcie(options: PcieOptions = {}): SourceSpec {
  const { device, ...ticks } = options;
  return {
    source: 'pcie',
    ...ticks,
    options: device === undefined ? {} : { device: parseAddress(device) },
  };
}
