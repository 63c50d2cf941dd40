// The report page in a real browser. WARPGAUGE_TEST_LARGE_REPORT=1 adds an hour at 10 kHz with 2 million copies, which takes some
// minutes to make.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { writeReport } from '#lib/view/report/write-report';
import { launch, openReport, WHY_NO_BROWSER } from './browser.js';
import { copyAt, Plan, recordCuda } from './cuda-recording.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-report-'));
const html = join(root, 'run.html');
const plan = new Plan(2, 400);
/** The recording begins with the call of the first copy, a third of a unit before it. */
const lead = Math.round(plan.unit / 3);
let browser: Browser;

const options = { skip: WHY_NO_BROWSER };
before(async () => {
  if (WHY_NO_BROWSER) return;
  await recordCuda(join(root, 'run'), { seconds: 2 });
  await writeReport(join(root, 'run'), { html });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await rm(root, { recursive: true, force: true });
});

/** Left edge of the time axis, and its width, in pixels of the page. */
async function axis(page: Page): Promise<{ left: number; width: number }> {
  const box = await page.locator('.plots').boundingBox();
  assert.ok(box !== null);
  return { left: box.x + 86, width: box.width - 86 - 14 };
}

const panel = (page: Page, title: string) =>
  page.locator('section.plot', { has: page.locator('h2', { hasText: title }) }).locator('canvas');

/** What the tooltip says at a time, with the view from `from` to `to`, ns since the start of the recording. */
async function tipAt(
  page: Page,
  title: string,
  time: number,
  from: number,
  to: number,
  down = 0.5,
): Promise<string> {
  await page.evaluate(`location.hash = '#${Math.round(from)}ns-${Math.round(to)}ns'`);
  const canvas = panel(page, title);
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  assert.ok(box !== null);
  const { left, width } = await axis(page);
  await page.mouse.move(left + ((time - from) / (to - from)) * width, box.y + box.height * down);
  await page.locator('.tip').waitFor();
  // The frame after the move has drawn it.
  await page.evaluate(
    'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))',
  );
  return page.locator('.tip').innerText();
}

test(
  'opens without a complaint, a request or a script from elsewhere, light and dark',
  options,
  async () => {
    const back: string[] = [];
    for (const dark of [false, true]) {
      const { page, complaints, readyMs } = await openReport(browser, html, { dark });
      assert.deepEqual(complaints, []);
      assert.ok(readyMs > 0);
      back.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      assert.match(await page.title(), /Simulated/);
      const titles = await page.locator('section.plot h2').allInnerTexts();
      assert.deepEqual(titles.map((title) => title.replace(/\s+Simulated$/, '')).slice(0, 6), [
        'Copies between host and GPU',
        'Each copy',
        'Host page faults',
        'PCIe bytes',
        'GPU utilization',
        'Kernels: busy share of the time',
      ]);
      assert.ok(
        titles.every((title) => /Simulated$/.test(title)),
        'each plot says so',
      );
      await page.close();
    }
    assert.notEqual(back[0], back[1]);
    const text = await readFile(html, 'utf8');
    assert.doesNotMatch(text, /\b(src|href)=|@import|url\(/, 'nothing is loaded');
  },
);

test(
  'a copy that is zoomed in on says its bytes, time, rate and memory; so does each line',
  options,
  async () => {
    const { page, complaints } = await openReport(browser, html);
    for (const n of [2, 3, 18]) {
      const copy = copyAt(n, plan);
      const middle = lead + copy.begin + copy.length / 2;
      const lane = copy.out ? 1 : copy.pageable ? 2 : 0;
      const text = await tipAt(
        page,
        'Each copy',
        middle,
        middle - 2e6,
        middle + 2e6,
        (lane + 0.5) / 3,
      );
      const mib = copy.bytes / 2 ** 20;
      assert.ok(text.includes(`${mib} MiB in `), `copy ${n}: ${text}`);
      const rate = copy.bytes / copy.length;
      const shown = Number(/= ([\d.]+) GB\/s/.exec(text)?.[1]);
      assert.ok(Math.abs(shown / rate - 1) < 0.001, `copy ${n}: ${text} instead of ${rate}`);
      const memory = copy.out
        ? 'device to pinned'
        : copy.pageable
          ? 'pageable to device'
          : 'pinned to device';
      assert.ok(text.includes(memory), text);
      // The rate over a pixel within the copy is that of the copy.
      const whole = await tipAt(page, 'Copies between', middle, middle - 2e6, middle + 2e6);
      const of = copy.out ? 'DtoH pinned' : copy.pageable ? 'HtoD pageable' : 'HtoD pinned';
      const there = Number(new RegExp(`${of}\\s*([\\d.]+) GB/s`).exec(whole)?.[1]);
      assert.ok(Math.abs(there / rate - 1) < 0.01, `${whole} instead of ${rate}`);
    }
    // NVML's utilization holds for 100 ms: row 7 from 0.7 s on.
    const share = Math.round(
      100 * (1 * (0.5 + 0.4 * (0.5 + 0.5 * Math.sin((1.4 / 3) * 2 * Math.PI)))),
    );
    const text = await tipAt(page, 'GPU utilization', lead + 1.45e9, 1.4e9, 1.5e9);
    assert.match(text, new RegExp(`NVML: a kernel runs\\s*${share}`), text);
    assert.deepEqual(complaints, []);
    await page.close();
  },
);

test('wheel, drag, keys, double click and the buttons move and zoom', options, async () => {
  const { page, complaints } = await openReport(browser, html);
  const view = async (): Promise<number[]> => {
    await page.evaluate(
      'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))',
    );
    const hash = String(await page.evaluate('location.hash'));
    return hash === '' ? [] : (/^#(\d+)ns-(\d+)ns$/.exec(hash) ?? []).slice(1).map(Number);
  };
  const { left, width } = await axis(page);
  const y = (await panel(page, 'Copies between').boundingBox())?.y ?? 0;
  const pixels = async (): Promise<string> =>
    page.evaluate('document.querySelector("section.plot canvas").toDataURL()');
  const before = await pixels();
  assert.deepEqual(await view(), []);
  await page.mouse.move(left + width / 4, y + 40);
  await page.mouse.wheel(0, -600);
  const zoomed = await view();
  const [from = 0, to = 0] = zoomed;
  const at = from + (to - from) / 4;
  assert.ok(
    to - from < 1e9 && Math.abs(at - 5e8) < 2e7,
    `what was under the pointer stays: ${zoomed}`,
  );
  assert.notEqual(await pixels(), before);
  await page.mouse.down();
  await page.mouse.move(left + width / 4 - 200, y + 40, { steps: 3 });
  await page.mouse.up();
  const [moved = 0, movedTo = 0] = await view();
  assert.ok(
    Math.abs((moved - from) / (to - from) - 200 / width) < 0.01,
    'a drag moves by what it was dragged',
  );
  assert.ok(Math.abs(movedTo - moved - (to - from)) <= 2, 'and does not zoom');
  await page.locator('.plots').focus();
  await page.keyboard.press('ArrowUp');
  const [closer = 0, closerTo = 0] = await view();
  assert.ok(Math.abs((closerTo - closer) / (movedTo - moved) - 0.7) < 0.001);
  await page.keyboard.press('n');
  await page.keyboard.press('n');
  assert.match(await page.locator('.status').innerText(), /copy \d+ at .*(HtoD|DtoH)/);
  await page.mouse.dblclick(left + width / 2, y + 40);
  assert.deepEqual(await view(), []);
  assert.equal(await pixels(), await pixels());
  await page.getByRole('button', { name: '+' }).click();
  assert.ok((await view()).length === 2);
  assert.deepEqual(complaints, []);
  await page.close();
});

const wanted = process.env['WARPGAUGE_TEST_LARGE_REPORT'] === '1';
const large = {
  skip: WHY_NO_BROWSER || (wanted ? false : 'takes minutes: WARPGAUGE_TEST_LARGE_REPORT=1 runs it'),
  timeout: 20 * 60_000,
};
test(
  'an hour at 10 kHz with 2 million copies opens in less than 5 s, and each copy is there',
  large,
  async (context) => {
    const dir = join(root, 'large');
    const copies = 2_000_000;
    await recordCuda(dir, { seconds: 3600, copies, hertz: 10_000, kernels: 0 });
    const page = join(root, 'large.html');
    const { bytes } = await writeReport(dir, { html: page });
    const opened = await openReport(browser, page);
    context.diagnostic(`${(bytes / 2 ** 20).toFixed(1)} MiB, ready after ${opened.readyMs} ms`);
    assert.ok(opened.readyMs < 5000, `${opened.readyMs} ms`);
    assert.deepEqual(opened.complaints, []);
    const hour = new Plan(3600, copies);
    const copy = copyAt(1_234_566, hour);
    const middle = copy.begin + Math.round(hour.unit / 3) + copy.length / 2;
    const text = await tipAt(
      opened.page,
      'Each copy',
      middle,
      middle - 5e5,
      middle + 5e5,
      (copy.out ? 1.5 : copy.pageable ? 2.5 : 0.5) / 3,
    );
    assert.ok(text.includes(`${copy.bytes / 2 ** 20} MiB in `), text);
  },
);
