/**
 * A systemd unit that divides the GPUs again at boot, because no instance outlives one. It is printed, never written:
 * where it goes and when it runs is the operator's decision.
 */
export function migUnit(options: {
  /** Absolute path of the file with the layouts. */
  readonly file: string;
  readonly label: string;
  /** The command, such as /usr/bin/node /usr/lib/node_modules/warpgauge/dist/cli/main.js. */
  readonly command: readonly string[];
  readonly allowModeChange: boolean;
}): string {
  const { file, label, command, allowModeChange } = options;
  const call = (...words: readonly string[]): string =>
    [...command, 'mig', ...words].map(quote).join(' ');
  const consent = allowModeChange ? ['--allow-mode-change'] : [];
  return `[Unit]
Description=Divide the GPUs as ${label.replace(/[\n%]/g, ' ')} of ${file.replace(/[\n%]/g, ' ')} says
After=nvidia-persistenced.service
Before=docker.service containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=${call('recover')}
ExecStart=${call('apply', '--file', file, '--config', label, '--yes', ...consent)}

[Install]
WantedBy=multi-user.target
`;
}

/** A word of ExecStart: systemd splits at blanks and expands % and $. */
function quote(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped)
    ? escaped
    : `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
