import { mitigate } from 'warpgauge';

/**
 * Whether memory that was read and never written lies on the kernel's zero page here: under some hypervisors it gets pages of
 * its own.
 *
 * @returns false where it does, else why a test of it should be skipped.
 */
export async function whyNoZeroPage(): Promise<string | false> {
  const region = await mitigate.allocate({ bytes: 2 ** 20, pages: '4k', populate: false });
  let sum = 0;
  const bytes = region.view();
  for (let at = 0; at < bytes.length; at += 4096) sum += bytes[at] ?? 0;
  const { zeroPageBytes } = region.prove();
  region.close();
  return sum === 0 && zeroPageBytes > 0
    ? false
    : 'reading memory gives no zero page on this machine';
}
