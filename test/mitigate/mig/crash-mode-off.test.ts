// See crash-sweep.ts.
import { sweep } from './crash-sweep.js';

sweep({
  name: 'MIG switched off where the mode ends with the driver, as on an H100',
  given: { instances: ['19@2:1@0'], script: 'nvml.0.mig_lasts = 0' },
  want: {},
  enabled: false,
  before: 'mode 1 19@2:1@0',
  after: 'mode 0',
  rebooted: ['mode 0'],
  mutations: 3,
});
