// Changes the machine under ROOT, and changes it back: `pools` (two sizes), `thp` (three settings). With `hold` it dies as by
// kill -9 when the change stands, with `commit` it leaves it; `recover` and `release` settle what others left. A last
// argument `guarded` is a change with a guardian.
import { reservePages } from '#lib/mitigate/pool-reserve';
import { thp } from '#lib/mitigate/thp';
import { settle } from '#lib/mitigate/transaction/settle';

const [root = '', what = '', then = 'undo', guarded = ''] = process.argv.slice(2);
const state = { root, stateDir: `${root}/state`, guardian: guarded === 'guarded' };

async function change() {
  if (what === 'thp') {
    const settings = { enabled: 'always', defrag: 'never', shmem_enabled: 'advise' };
    return await thp.set({ ...state, settings });
  }
  const pages = [
    { pageBytes: 2 ** 21, count: 1008 },
    { pageBytes: 2 ** 30, count: 1001 },
  ];
  const held = await reservePages({ ...state, pages, touch: false, limitBytes: 2 ** 40 });
  return { undo: () => held.release(), commit: () => held.commit() };
}

if (what === 'recover' || what === 'release') {
  await settle(what, state);
} else {
  const changed = await change();
  if (then === 'hold') process.kill(process.pid, 'SIGKILL');
  else if (then === 'commit') await changed.commit();
  else await changed.undo();
}
