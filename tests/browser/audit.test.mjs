import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, logIn, quiet, visit } from './lib/browser.mjs';
import { Gateway } from './lib/gateway.mjs';

const XSS = '"><img src=x onerror=globalThis.pwned=1>';
let gateway, browser, ask;

before(async () => {
  gateway = await Gateway.start({ accounts: { ann: 'administrator', cleo: 'viewer' } });
  browser = await launch();
  ask = await gateway.logIn('ann');
  await ask('PATCH', `/settings?comment=${encodeURIComponent(XSS)}`, { connections: { control: { deny_list: [{ network: '192.0.2.7', comment: XSS }] }, interface: { max_connections: 7 } } });
  await ask('PATCH', '/settings', { message_rules: { relay_domains: ['*'] } });
  await ask('POST', '/tokens', { name: 'a token', role: 'viewer' });
});
after(async () => { await browser?.close(); await gateway?.stop(); });

test('who did what, from where, and what changed', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/audit');
  const row = page.getByRole('row').filter({ hasText: XSS });
  assert.match(await row.innerText(), /ann[^]*console, client 127\.0\.0\.1[^]*changed the settings[^]*done/);
  await row.getByText('2 settings changed').click();
  assert.match(await row.locator('[data-pointer="/connections/interface/max_connections"]').innerText(), /no limit[^]*7/);
  assert.ok(await row.getByText(`192.0.2.7 · ${XSS}`).isVisible());
  await page.getByRole('row').filter({ hasText: 'refused' }).first().waitFor();
  await accessible(page);
  await quiet(page);
});

test('it is filtered by person, kind and time, and the filter is cleared', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/audit');
  await page.getByText('made a token').waitFor();
  await page.getByLabel('What').selectOption('settings');
  await page.getByLabel('Who').fill('ann');
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.getByText('made a token').waitFor({ state: 'detached' });
  await page.getByText('1 – 2 of 2 entries').waitFor();
  await page.getByLabel('Until').fill('2001-01-01T00:00');
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.getByRole('heading', { name: 'Nothing of that kind was done' }).waitFor();
  await accessible(page);
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await page.getByText('made a token').waitFor();
  await quiet(page);
});

test('pages of it', async () => {
  for (let n = 0; n < 60; n++) await ask('PATCH', '/settings', { identity: { greeting: `number ${n}` } });
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/audit');
  await page.getByText(/^1 – 50 of/).waitFor();
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.getByText(/^51 – /).waitFor();
  await page.getByText('made a token').waitFor();
  await quiet(page);
});
