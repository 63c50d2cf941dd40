/** libnvidia-ml in place of the one that the loader finds, or empty. */
export function nvmlPath(): string {
  return process.env['WARPGAUGE_NVML'] ?? '';
}
