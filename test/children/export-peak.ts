// Exports the recording of the first argument in the format of the second into the folder of the third; the fourth is the
// number of rows per file. Prints the highest memory of this process, or the error, as JSON.
import { WarpgaugeError } from 'warpgauge';
import { type ExportFormat, exportRecording } from 'warpgauge/export';

const [dir = '', format = 'parquet', out = '', rowsPerFile = '1000000'] = process.argv.slice(2);
try {
  const { tables } = await exportRecording(dir, {
    format: format as ExportFormat,
    out,
    rowsPerFile: Number(rowsPerFile),
  });
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  process.stdout.write(`${JSON.stringify({ rows, peakBytes })}\n`);
} catch (error) {
  if (!(error instanceof WarpgaugeError)) throw error;
  process.stdout.write(`${JSON.stringify({ error: error.toJSON() })}\n`);
  process.exitCode = 1;
}
