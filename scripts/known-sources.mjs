// node scripts/known-sources.mjs: writes schemas/known-sources.json, the tables that sources have where nothing is lacking:
// what `warpgauge sources` lists of a source that a machine does not have. From recorded trees, the fake drivers and this
// machine (as root), which has perf events. test/monitor/sources-list.test.ts holds it to the sources.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const load = (path) => import(pathToFileURL(join(root, path)).href);
const { listSourcesWith } = await load('dist/monitor/sources-list.js');
const { sample } = await load('dist/monitor/sampler.js');
const { SOURCES } = await load('dist/monitor/sources/registry.js');

/** Read where the source runs, and not in a tree. */
const HERE = ['perf', 'page-faults', 'process', 'gpu', 'cuda', 'pm-sampling'];
const trees = readdirSync(join(root, 'test/fixtures/proc'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => join(root, 'test/fixtures/proc', name));

const folder = mkdtempSync(join(tmpdir(), 'warpgauge-known-'));
writeFileSync(join(folder, 'script'), 'nvml.fans = 1\n');
// No recorded machine has a thermal zone. One makes the source name its fields, which do not depend on it.
const zone = join(folder, 'tree/sys/class/thermal/thermal_zone0');
mkdirSync(zone, { recursive: true });
writeFileSync(join(zone, 'type'), 'x86_pkg_temp\n');
writeFileSync(join(zone, 'temp'), '48500\n');
trees.push(join(folder, 'tree'));
process.env.WARPGAUGE_FAKE_SCRIPT = join(folder, 'script');
process.env.WARPGAUGE_NVML = join(root, 'out/debug/fake/nvml-13.2/libnvidia-ml.so.1');
process.env.WARPGAUGE_CUDA = join(root, 'out/debug/fake/libcuda.so.1');
process.env.WARPGAUGE_CUPTI = join(root, 'out/debug/fake/libcupti.so');

const target = join(root, 'schemas/known-sources.json');
// What cannot be read would be told out of the file that this makes.
writeFileSync(target, JSON.stringify({ schema: 'warpgauge/sources/1', sources: [] }));
const fieldsOf = ({ tables }) => tables.reduce((sum, { fields }) => sum + fields.length, 0);
const sources = [];
for (const descriptor of SOURCES) {
  let best = null;
  for (const tree of HERE.includes(descriptor.name) ? [''] : trees) {
    process.env.WARPGAUGE_ROOT = tree;
    const [listed] = (await listSourcesWith(sample, [descriptor])).sources;
    if (best === null || fieldsOf(listed) > fieldsOf(best)) best = listed;
  }
  if (fieldsOf(best) === 0) throw new Error(`${best.name}: ${best.unavailable?.message}`);
  sources.push({
    ...best,
    unavailable: null,
    tables: best.tables.map((table) => ({
      ...table,
      grain: table.grain.replace(/process \d+/, 'a process'), // this one
      simulated: false,
      samples: 0,
      costP50Ns: null,
      costP99Ns: null,
      highestHz: null,
      fields: table.fields.map((field) => ({
        ...field,
        source: field.source.replace(/, read every \d+ ms$/, ''),
        reason: null,
      })),
    })),
  });
}
rmSync(folder, { recursive: true });
// One line per table: whoever reviews a change sees which.
const text = JSON.stringify({ schema: 'warpgauge/sources/1', sources }, null, 1)
  .replace(/\n {5,}/g, ' ')
  .replace(/ {2,}/g, ' ');
writeFileSync(target, `${text}\n`);
console.log(
  `${sources.length} sources, ${sources.reduce((sum, source) => sum + fieldsOf(source), 0)} fields`,
);
