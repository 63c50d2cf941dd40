import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const PLACES = [
  process.env['WARPGAUGE_TEST_CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

/** A browser of this machine, or the reason why a test of pages skips. */
export const CHROMIUM: string | undefined = PLACES.find((path) => path !== '' && existsSync(path));
export const WHY_NO_BROWSER: string | false =
  CHROMIUM === undefined
    ? 'no Chromium here (apt-get install -y chromium, or WARPGAUGE_TEST_CHROMIUM=PATH)'
    : false;

export interface OpenPage {
  readonly page: Page;
  /** What the page complained about, and what it asked the network for. */
  readonly complaints: string[];
  /** Ms from the beginning of the navigation to plots on the screen, as the page itself measured it. */
  readonly readyMs: number;
}

export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM as string,
    // A sandbox needs user namespaces, which containers often lack; what is opened is our own file.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

/** Opens a report of this machine and waits until its plots are there. */
export async function openReport(
  browser: Browser,
  path: string,
  options: { readonly dark?: boolean; readonly hash?: string } = {},
): Promise<OpenPage> {
  const page = await browser.newPage({
    viewport: { width: 1280, height: 1000 },
    colorScheme: options.dark === true ? 'dark' : 'light',
  });
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith('file:')) complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(pathToFileURL(path).href + (options.hash ?? ''));
  const html = page.locator('html[data-ready]');
  await html.waitFor({ timeout: 60_000 });
  const ready = await html.getAttribute('data-ready');
  return { page, complaints, readyMs: Number(ready) };
}
