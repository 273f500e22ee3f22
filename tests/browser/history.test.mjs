import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, logIn, quiet, visit } from './lib/browser.mjs';
import { Gateway, until } from './lib/gateway.mjs';

const XSS = '<img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script>';
let gateway, browser, ask;

before(async () => {
  gateway = await Gateway.start({ accounts: { ann: 'administrator', ben: 'operator', cleo: 'viewer' } });
  browser = await launch();
  ask = await gateway.logIn('ann');
  const change = (comment, patch) => ask('PATCH', `/settings?comment=${encodeURIComponent(comment)}`, patch);
  await change('a limit', { connections: { interface: { max_connections: 500 } } });
  await change(XSS, { connections: { control: { deny_list: [{ network: '192.0.2.7', comment: XSS }, ...Array.from({ length: 300 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`)] } } });
  await change('open', { message_rules: { relay_domains: ['*'] }, confirm: ['open_relay'] });
  await change('closed again', { message_rules: { relay_domains: ['example.com'] }, connections: { control: { deny_list: ['192.0.2.0/24'] } } });
});
after(async () => { await browser?.close(); await gateway?.stop(); });

const revision = async () => (await ask('GET', '/status')).data.revision;

test('revisions are listed, compared in words, and as JSON', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/history');
  await page.locator('tr[data-key="5"]').getByText('in force').waitFor();
  assert.equal(await page.locator('tr[data-key="3"]').getByText(XSS).count(), 1);
  await page.getByLabel('Compare revision 1', { exact: true }).check();
  await page.getByLabel('Compare revision 3', { exact: true }).check();
  await page.getByRole('button', { name: 'Compare 1 with 3' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('301 entries added; 301 entries now, 0 before').click();
  const limit = dialog.locator('[data-pointer="/connections/interface/max_connections"]');
  assert.match(await limit.innerText(), /Simultaneous connections[^]*no limit[^]*→[^]*500/);
  assert.ok(await dialog.getByText(`192.0.2.7 · ${XSS}`).isVisible());
  await accessible(page);
  await dialog.getByRole('button', { name: 'To the next revision' }).click();
  await dialog.locator('[data-pointer="/message_rules/relay_domains"]').getByText('*').waitFor();
  await dialog.getByText('As JSON').click();
  assert.match(await dialog.getByLabel('Document of revision 4').innerText(), /"relay_domains": \[\s+"\*"/);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await accessible(page);
  await quiet(page);
});

test('a dangerous revision is restored once that is confirmed', async () => {
  const page = await visit(browser, gateway);
  page.expected = [422];
  await logIn(page, 'ann', '/history');
  await page.getByRole('button', { name: 'Restore revision 4' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.locator('[data-pointer="/message_rules/relay_domains"]').waitFor();
  await dialog.getByLabel('Comment').fill('a drill');
  const before = await revision();
  await dialog.getByRole('button', { name: 'Restore' }).click();
  await dialog.getByText('This needs your word').waitFor();
  assert.equal(await revision(), before);
  assert.ok(await dialog.getByRole('button', { name: 'Restore' }).isDisabled());
  await accessible(page);
  await dialog.getByLabel(/anybody can send mail/).check();
  await dialog.getByRole('button', { name: 'Restore' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.locator(`tr[data-key="${before + 1}"]`).getByText('a drill').waitFor();
  await page.locator(`tr[data-key="${before + 1}"]`).getByText('as revision 4').waitFor();
  assert.deepEqual((await ask('GET', '/settings')).data.message_rules.relay_domains, ['*']);
  await quiet(page);
});

test('a change by somebody else meanwhile is shown, and nothing is overwritten', async () => {
  const page = await visit(browser, gateway);
  page.expected = [412];
  await logIn(page, 'ann', '/history');
  await page.getByRole('button', { name: 'Restore revision 2' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.locator('[data-pointer]').first().waitFor();
  await ask('PATCH', '/settings', { identity: { greeting: 'changed meanwhile' } });
  const head = await revision();
  await dialog.getByRole('button', { name: 'Restore' }).click();
  await dialog.getByText('Somebody has changed the settings meanwhile').waitFor();
  assert.equal(await revision(), head);
  await dialog.locator('[data-pointer="/identity/greeting"]').getByText('changed meanwhile').waitFor();
  await dialog.getByLabel(/Go back by itself/).check();
  await dialog.getByRole('button', { name: 'Restore' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Go back now' }).click();
  await until(async () => (await ask('GET', '/settings')).data.identity.greeting === 'changed meanwhile', 'it went back');
  await quiet(page);
});

test('pages of revisions go back and forth', async () => {
  for (let n = 0; n < 30; n++) await ask('PATCH', '/settings', { identity: { greeting: `number ${n}` } });
  const page = await visit(browser, gateway);
  await logIn(page, 'ann', '/history');
  await page.getByText(/^1 – 25 of /).waitFor();
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.getByText(/^26 – /).waitFor();
  await page.locator('tr[data-key="1"]').waitFor();
  await page.getByRole('button', { name: 'Previous page' }).click();
  await page.getByText(/^1 – 25 of /).waitFor();
  await quiet(page);
});

test('viewers and operators compare, and cannot restore', async () => {
  for (const name of ['cleo', 'ben']) {
    const page = await visit(browser, gateway);
    await logIn(page, name, '/history');
    await page.getByRole('button', { name: /^Changes of revision/ }).first().waitFor();
    assert.equal(await page.getByRole('button', { name: /^Restore/ }).count(), 0);
    await quiet(page);
  }
});
