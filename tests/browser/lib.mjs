// What connections.test.mjs has beside lib/: one browser for many gateways, and saving.
import assert from 'node:assert/strict';
import { launch } from './lib/browser.mjs';
import { LIMIT_MS, PASSWORD } from './lib/gateway.mjs';

/** A browser, and what it complains about: a test that leaves anything there fails. */
export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await launch();
    return browser;
  }

  complaints = [];
  contexts = [];

  async page(url, { expected = [], ...options } = {}) {
    const context = await this.chromium.newContext({ viewport: { width: 1400, height: 1000 }, acceptDownloads: true, ...options });
    this.contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    const origin = new URL(url).origin;
    page.on('console', (message) => {
      // What the server refuses on purpose is told as a failed resource too.
      if (['error', 'warning'].includes(message.type()) && !expected.some((one) => one.test(message.text())))
        this.complaints.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.complaints.push(`error: ${error.stack}`));
    page.on('request', (request) => {
      const asked = new URL(request.url());
      if (asked.origin !== origin && !['blob:', 'data:'].includes(asked.protocol))
        this.complaints.push(`it asked another host: ${request.url()}`);
    });
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`)));
    await page.goto(url);
    return page;
  }

  async logIn(gateway, { name = 'ann', ...options } = {}) {
    const page = await this.page(gateway.url, options);
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Connections', level: 1 }).waitFor();
    await page.getByRole('button', { name: 'Save', exact: true }).or(page.getByText('You may look at these settings')).waitFor();
    return page;
  }

  /** Closes what a test has opened, before its gateway ends. */
  async close() {
    await Promise.all(this.contexts.splice(0).map((one) => one.close()));
  }

  clean() {
    assert.deepEqual(this.complaints.splice(0), []);
  }

  stop() {
    return this.chromium.close();
  }
}

/** "Saved: revision N is in force." */
export async function saved(page) {
  await page.getByText(/Saved: revision \S+ is in force/).last().waitFor();
  // It goes by itself too.
  await page.getByRole('button', { name: /^Close: Saved/ }).last().click({ timeout: 3000 }).catch(() => {});
}

export const save = async (page) => {
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await saved(page);
};
