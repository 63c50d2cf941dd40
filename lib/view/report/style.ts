/** Colours of the page; the viewer reads them for its canvases. */
const LIGHT = `--back: #ffffff; --ink: #1a1a1a; --muted: #595959; --grid: #dddddd; --line: #c8c8c8; --soft: #f4f4f4; --mark: #8a2be2;
  --badge: #fff4d6; --badge-ink: #5c3c00; --badge-line: #8a5a00; color-scheme: light;`;
const DARK = `--back: #16181b; --ink: #ececec; --muted: #a9adb3; --grid: #34383d; --line: #4a4f55; --soft: #22262a; --mark: #c9a0ff;
  --badge: #3a2c08; --badge-ink: #ffd98a; --badge-line: #b98a2b; color-scheme: dark;`;

export const REPORT_STYLE: string = `
:root { ${LIGHT} }
@media (prefers-color-scheme: dark) { :root { ${DARK} } }
:root[data-scheme="light"] { ${LIGHT} }
:root[data-scheme="dark"] { ${DARK} }
body { margin: 0 auto; padding: 20px 24px 48px; max-width: 1500px; background: var(--back); color: var(--ink);
  font: 14px/1.5 system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 32px 0 6px; }
p { margin: 4px 0; } .note { color: var(--muted); font-size: 13px; } code { background: var(--soft); padding: 1px 5px; overflow-wrap: anywhere; }
.origin { display: inline-block; padding: 0 9px; border: 1px solid var(--badge-line); border-radius: 10px; background: var(--badge);
  color: var(--badge-ink); font-size: 12px; font-weight: bold; vertical-align: 1px; }
#viewer { margin-top: 14px; }
.toolbar { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin: 8px 0; }
.toolbar button { font: inherit; font-size: 13px; padding: 2px 10px; color: var(--ink); background: var(--soft); border: 1px solid var(--line);
  border-radius: 5px; cursor: pointer; }
.toolbar button:hover { border-color: var(--ink); } .toolbar button:focus-visible, .plots:focus-visible { outline: 2px solid #4f9cf0; outline-offset: 1px; }
.status { margin: 0 0 0 8px; font-variant-numeric: tabular-nums; color: var(--muted); font-size: 13px; }
.ruler { position: sticky; top: 0; z-index: 2; background: var(--back); padding-top: 4px; border-bottom: 1px solid var(--line); }
.ruler .overview { cursor: grab; margin-bottom: 2px; }
canvas { display: block; width: 100%; }
.plots { position: relative; touch-action: pan-y; user-select: none; -webkit-user-select: none; cursor: crosshair; }
.plot .head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 18px; margin: 12px 0 3px; padding-left: 86px; cursor: default; }
.plot h2 { font-size: 13px; margin: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0; padding: 0; list-style: none; font-size: 12px; color: var(--muted); }
.legend i, .tip i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; flex: none; }
.selection { position: absolute; top: 0; bottom: 0; background: #4f9cf033; border: solid #4f9cf0; border-width: 0 1px; pointer-events: none; }
.tip { position: fixed; z-index: 3; max-width: 460px; padding: 7px 10px; background: var(--back); border: 1px solid var(--line); border-radius: 6px;
  box-shadow: 0 3px 14px #0003; font-size: 12px; pointer-events: none; font-variant-numeric: tabular-nums; }
.tip p { display: flex; align-items: baseline; margin: 1px 0; overflow-wrap: anywhere; } .tip b { margin-left: auto; padding-left: 14px; white-space: nowrap; }
.tip .when { font-weight: bold; font-size: 13px; } .tip .clock, .tip .fact { color: var(--muted); } .tip .name { margin-top: 5px; font-weight: bold; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px 3px 0; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; }
th { color: var(--muted); font-weight: normal; border-bottom-color: var(--line); white-space: nowrap; } td.number, th.number { text-align: right; white-space: nowrap; }
pre { font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; margin: 0; } .broken { color: #b00020; font-weight: bold; }
@media print { .toolbar, .tip { display: none; } .ruler { position: static; } }
`;
