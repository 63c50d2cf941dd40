// See crash-sweep.ts.
import { sweep } from './crash-sweep.js';

sweep({
  name: 'MIG switched on by a reset, as on an A100',
  given: {
    board: 'A100-80',
    mode: false,
    script: 'nvml.0.mig_reset = 1\nnvml.mig_without_reset = 0\nnvml.0.mig_lasts = 1',
  },
  want: { '3g.40gb': 1 },
  enabled: true,
  before: 'mode 0',
  after: 'mode 1 9@4:3@0',
  rebooted: ['mode 0', 'mode 1'],
  mutations: 3,
});
