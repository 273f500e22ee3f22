import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, logIn, quiet, visit } from './lib/browser.mjs';
import { Gateway, Hop, until } from './lib/gateway.mjs';

const XSS = '<img/src=x/onerror=globalThis.pwned=1>';
let gateway, hop, browser, ask;
let open = false;

before(async () => {
  hop = await Hop.start((line) => !open && /@slow\.example/.test(line) ? `450 4.2.1 ${XSS} is over quota` : null);
  gateway = await Gateway.start({ hop, accounts: { ann: 'administrator', ben: 'operator', cleo: 'viewer' } });
  browser = await launch();
  ask = await gateway.logIn('ann');
});
after(async () => { await browser?.close(); await gateway?.stop(); hop?.stop(); });

const queued = async () => (await ask('GET', '/queue')).data.items;

test('an empty queue says so', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/queue');
  await page.getByRole('heading', { name: 'The queue is empty' }).waitFor();
  await accessible(page);
  await quiet(page);
});

test('messages are held, released, retried, bounced and deleted', async () => {
  const client = await gateway.client();
  for (const from of [`"${XSS}"@a.example`, 'b@b.example', 'c@c.example', 'd@d.example'])
    await client.sends({ from, to: 'x@slow.example', helo: 'client.example' });
  await until(async () => (await queued()).length === 4 && (await queued()).every((one) => one.recipients[0].state === 'deferred'), 'all four are deferred');
  const page = await visit(browser, gateway);
  await logIn(page, 'ben', '/queue');
  const table = page.getByRole('table', { name: 'Queued messages' });
  const dialog = page.getByRole('dialog');
  const row = (text) => table.getByRole('row').filter({ hasText: text });
  await row('b@b.example').waitFor();
  await row(XSS).first().waitFor();
  await accessible(page);

  const act = async (text, verb, chosen = () => {}) => {
    await row(text).getByRole('checkbox').check();
    await page.getByRole('group', { name: 'Selected messages' }).getByRole('button', { name: verb }).click();
    chosen();
    await dialog.getByRole('button', { name: verb }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  await act('b@b.example', 'Hold');
  await row('b@b.example').getByText('held').waitFor();
  await row('b@b.example').getByRole('button').click();
  await dialog.getByText('client.example').waitFor();
  await dialog.getByText(/450 4\.2\.1/).waitFor();
  await accessible(page);
  await dialog.getByRole('button', { name: 'Release' }).click();
  await dialog.getByRole('button', { name: 'Release' }).click();
  await dialog.waitFor({ state: 'detached' });
  await row('b@b.example').getByText('held').waitFor({ state: 'detached' });

  await act('c@c.example', 'Delete');
  await row('c@c.example').waitFor({ state: 'detached' });
  const arrived = hop.messages.length;
  await act('d@d.example', 'Bounce');
  await row('d@d.example').waitFor({ state: 'detached' });
  await until(() => hop.messages.length > arrived, 'the bounce has arrived');

  await page.getByLabel('Sender').fill('b@b.example');
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.getByText('1 – 1 of 1 messages').waitFor();
  await act('b@b.example', 'Retry now', () => { open = true; });
  await page.getByRole('heading', { name: 'No message is like that' }).waitFor();
  await until(() => hop.messages.length > arrived + 1, 'it was delivered');
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await row('a.example').waitFor();
  open = false;
  await quiet(page);
});

test('a viewer sees the queue, and no way to change it', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/queue');
  const message = page.getByRole('table', { name: 'Queued messages' }).locator('tbody th button').first();
  await message.click();
  await page.getByRole('dialog').getByText('Last reply').waitFor();
  for (const name of ['Retry now', 'Hold', 'Release', 'Bounce', 'Delete'])
    assert.equal(await page.getByRole('button', { name, includeHidden: true }).count(), 0, name);
  await quiet(page);
});

test('the overview counts it, and leads to it', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'cleo', '/overview');
  await page.getByText('All is well: mail comes in and goes out.').waitFor();
  await page.getByRole('table', { name: 'Destinations' }).getByText(`127.0.0.1:${hop.port}`).waitFor();
  await accessible(page);
  await page.getByRole('link', { name: 'in the queue' }).click();
  await page.getByRole('heading', { level: 1, name: 'Queue' }).waitFor();
  await quiet(page);
});
