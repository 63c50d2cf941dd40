// What can be measured on this machine? Run: node out/js/examples/monitor-doctor.js
import { doctor } from 'warpgauge';

const report = await doctor();
for (const line of report.lines.filter((l) => l.level !== 'OK')) {
  console.log(`${line.level} ${line.check}: ${line.value}${line.fix ? `  ->  ${line.fix}` : ''}`);
}
