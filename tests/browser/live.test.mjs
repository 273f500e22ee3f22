import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, logIn, quiet, visit } from './lib/browser.mjs';
import { Client, Gateway } from './lib/gateway.mjs';

const XSS = '<svg/onload=globalThis.pwned=1>';
let gateway, browser;

before(async () => {
  gateway = await Gateway.start({ accounts: { ann: 'administrator', ben: 'operator', cleo: 'viewer' } });
  browser = await launch();
});
after(async () => { await browser?.close(); await gateway?.stop(); });

test('nobody is connected: that is said', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/live');
  await page.getByRole('heading', { name: 'Nobody is connected' }).waitFor();
  await accessible(page);
  await quiet(page);
});

test('clients appear by themselves, are filtered, and are disconnected', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/live');
  const one = await gateway.client();
  await one.says(`HELO ${XSS}`);
  await one.says('EHLO one.example');
  await one.says('MAIL FROM:<a@one.example>');
  const six = await Client.connect(gateway.port, { host: '::1' });
  gateway.clients.push(six);
  await six.says('EHLO six.example');
  const table = page.getByRole('table', { name: 'Live connections' });
  await table.getByText('one.example').waitFor();
  await table.getByText('six.example').waitFor();
  assert.match(await table.getByRole('row').filter({ hasText: 'one.example' }).innerText(), /transaction[^]*in clear/);
  await accessible(page);

  await page.getByLabel('Address or group').fill('::/0');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.getByText('1 client is connected from ::/0.').waitFor();
  await page.getByLabel('Address or group').fill('');
  await table.getByText('one.example').waitFor();

  await table.getByRole('row').filter({ hasText: 'one.example' }).getByRole('button', { name: /^Disconnect/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText(/gets 421 and may connect again/).waitFor();
  await accessible(page);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.match(await one.says('NOOP'), /^250/);
  await table.getByRole('row').filter({ hasText: 'one.example' }).getByRole('button', { name: /^Disconnect/ }).click();
  await dialog.getByLabel(/At once/).check();
  await dialog.getByRole('button', { name: 'Disconnect' }).click();
  await one.ended;
  await dialog.waitFor({ state: 'detached' }); // behind it the table counts as hidden
  await table.getByText('one.example').waitFor({ state: 'detached' });
  assert.match(await six.says('NOOP'), /^250/);
  await quiet(page);
});

test('what is no address is told', async () => {
  const page = await visit(browser, gateway);
  page.expected = [400];
  await logIn(page, 'ann', '/live');
  await page.getByLabel('Address or group').fill(XSS);
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.getByText(/address must be one address or a group/).waitFor();
  await quiet(page);
});

test('version and cipher of a client by TLS, and the certificate in the overview', async () => {
  gateway.offersTls();
  const ask = await gateway.logIn('ann');
  assert.equal((await ask('PATCH', '/settings', { connections: { tls: { incoming: true } } })).status, 200);
  const client = await gateway.client();
  const { standardName, version } = await client.secures();
  await client.says('EHLO by-tls.example');
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/live');
  const row = page.getByRole('row').filter({ hasText: 'by-tls.example' });
  await row.getByText(version).waitFor();
  await row.getByText(standardName).waitFor();
  await page.goto('/overview');
  await page.getByText(/(89|90) days left/).waitFor();
  await accessible(page);
  await quiet(page);
});

test('all of it by keyboard: a dialog is opened, left, and the focus is back', async () => {
  const client = await gateway.client();
  await client.says('EHLO keyboard.example');
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/live');
  const button = page.getByRole('row').filter({ hasText: 'keyboard.example' }).getByRole('button', { name: /^Disconnect/ });
  await button.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await page.waitForFunction(() => document.querySelector('[role=dialog]').contains(document.activeElement));
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.waitForFunction(() => /^Disconnect/.test(document.activeElement.getAttribute('aria-label')));
  assert.match(await client.says('NOOP'), /^250/);
  await quiet(page);
});

test('a HELO that is markup stays text, and only administrators disconnect', async () => {
  const client = await gateway.client();
  await client.says('EHLO ok.example');
  for (const name of ['cleo', 'ben']) {
    const page = await visit(browser, gateway);
    await logIn(page, name, '/live');
    await page.getByRole('table', { name: 'Live connections' }).getByText('ok.example').waitFor();
    assert.equal(await page.getByRole('button', { name: /^Disconnect/ }).count(), 0);
    await quiet(page);
  }
});
