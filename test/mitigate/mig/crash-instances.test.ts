// See crash-sweep.ts.
import { sweep } from './crash-sweep.js';

sweep({
  name: 'other instances, one with two compute instances',
  given: { instances: ['9@0:1@0+1@1', '19@4:1@0'] },
  want: { '2g.20gb': 1, '1g.10gb': 1 },
  enabled: true,
  before: 'mode 1 19@4:1@0 9@0:1@0+1@1',
  after: 'mode 1 14@0:2@0 19@4:1@0',
  rebooted: ['mode 1'],
  mutations: 5,
});
