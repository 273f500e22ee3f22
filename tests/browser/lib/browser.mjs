// Debian's Chromium, and what every page of the console must hold in it.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { chromium } from 'playwright-core';
import { axeSource, PASSWORD } from './gateway.mjs';

const LIMIT_MS = 60000;

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

/** A visitor of his own: cookies, and whatever the browser complains about. */
export async function visit(browser, gateway, { dark = false, width = 1440, height = 900 } = {}) {
  const context = await browser.newContext({
    baseURL: gateway.url, viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', locale: 'en-GB', reducedMotion: 'reduce',
  });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  page.complaints = [];
  /** Answers that the browser reports by itself: a test that provokes one names it. */
  page.expected = [];
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    if (page.expected.some((status) => message.text().includes(`status of ${status}`))) return;
    page.complaints.push(message.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('dialog', (dialog) => { page.complaints.push(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
  page.on('request', (request) => {
    if (/^https?:/.test(request.url()) && !request.url().startsWith(gateway.url)) page.complaints.push(`another host: ${request.url()}`);
  });
  return page;
}

export async function logIn(page, name, path, password = PASSWORD) {
  await page.goto('/login');
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('navigation', { name: 'Pages' }).or(page.getByRole('button', { name: 'Navigation' })).first().waitFor();
  if (path) await page.goto(path);
}

/** Nothing was said in the browser's console, and nothing that mail brought has run. */
export async function quiet(page) {
  assert.deepEqual(page.complaints, []);
  assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
}

async function findings(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
}

/** No serious or critical finding, in light and in dark. */
export async function accessible(page) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.waitForFunction((dark) => document.documentElement.classList.contains('pf-v6-theme-dark') === dark, colorScheme === 'dark');
    // Colours change with a transition: only what stands still is measured.
    await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations !== Infinity).map((one) => one.finished.catch(() => {}))));
    assert.deepEqual(await findings(page), [], colorScheme);
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
}

/** A picture, where POSTERN_PICTURES names a folder for them. */
export async function picture(page, name) {
  const folder = process.env.POSTERN_PICTURES;
  if (!folder) return;
  const path = `${folder}/${name}.png`;
  mkdirSync(dirname(path), { recursive: true });
  await page.screenshot({ path, animations: 'disabled' });
}
