import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { accessible, launch, logIn, quiet, visit } from './lib/browser.mjs';
import { Gateway, PASSWORD } from './lib/gateway.mjs';

const OTHER = 'another long password';
let gateway, browser;

before(async () => {
  gateway = await Gateway.start({ accounts: { ann: 'administrator', ben: 'operator', cleo: 'viewer', dora: 'viewer', eve: 'viewer' } });
  browser = await launch();
});
after(async () => { await browser?.close(); await gateway?.stop(); });

/** What an authenticator shows (RFC 6238), of the step `ahead` of now. */
function codeOf(key, ahead = 0) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...key].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const octets = Buffer.from(bits.match(/.{8}/g).map((octet) => parseInt(octet, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + ahead));
  const mac = createHmac('sha1', octets).update(step).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1000000).padStart(6, '0');
}

const menu = async (page, name, item) => {
  await page.getByRole('button', { name: `Actions for ${name}` }).click();
  await page.getByRole('menuitem', { name: item }).click();
};

test('an account is added, changed, and removed', async () => {
  const page = await visit(browser, gateway);
  page.expected = [422, 401];
  await logIn(page, 'ann', '/administrators');
  const accounts = page.getByRole('table', { name: 'Accounts' });
  const dialog = page.getByRole('dialog');
  await accounts.getByText('ben').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Actions for ann' }).count(), 0);

  await page.getByRole('button', { name: 'Add an account' }).click();
  await dialog.getByLabel('Name').fill('<b>zoe</b>');
  await dialog.getByLabel('New password').fill(PASSWORD);
  await dialog.getByLabel('The same again').fill('something else');
  await dialog.getByText('The two passwords differ.').waitFor();
  assert.ok(await dialog.getByRole('button', { name: 'Add' }).isDisabled());
  await dialog.getByLabel('The same again').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Add' }).click();
  await dialog.locator('#account-name-help').waitFor();
  await accessible(page);
  await dialog.getByLabel('Name').fill('zoe');
  await dialog.getByRole('button', { name: 'Add' }).click();
  await accounts.getByText('zoe').waitFor();

  await menu(page, 'zoe', 'Change role');
  await dialog.getByLabel('Role').selectOption('operator');
  await dialog.getByRole('button', { name: 'Change' }).click();
  await accounts.getByRole('row').filter({ hasText: 'zoe' }).getByText('operator').waitFor();
  const zoe = await gateway.logIn('zoe');
  assert.equal((await zoe('GET', '/me')).data.role, 'operator');

  await menu(page, 'zoe', 'Reset password');
  await dialog.getByLabel('New password').fill(OTHER);
  await dialog.getByLabel('The same again').fill(OTHER);
  await dialog.getByRole('button', { name: 'Reset' }).click();
  await page.getByText('The password of zoe is changed').waitFor();
  assert.equal((await zoe('GET', '/me')).status, 401);
  const again = await gateway.logIn('zoe', OTHER);

  await menu(page, 'zoe', 'Remove');
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await dialog.waitFor({ state: 'detached' }); // behind it the table counts as hidden
  await accounts.getByText('zoe').waitFor({ state: 'detached' });
  assert.equal((await again('GET', '/me')).status, 401);
  await accessible(page);
  await quiet(page);
});

test('a token is shown once, works, and is revoked', async () => {
  const page = await visit(browser, gateway);
  await logIn(page, 'ben', '/administrators');
  const dialog = page.getByRole('dialog');
  await page.getByRole('heading', { name: 'There are no tokens' }).waitFor();
  assert.equal(await page.getByRole('table', { name: 'Accounts' }).count(), 0);
  await page.getByRole('button', { name: 'Make a token' }).click();
  await dialog.getByLabel('Name').fill('<img src=x onerror=globalThis.pwned=1>');
  assert.deepEqual(await dialog.getByLabel('Role').locator('option').evaluateAll((all) => all.map((one) => one.value)), ['viewer', 'operator']);
  await dialog.getByLabel('Good for').selectOption('30');
  await dialog.getByRole('button', { name: 'Make' }).click();
  await dialog.getByText('Copy it now').waitFor();
  const token = await dialog.getByLabel('Token', { exact: true }).innerText();
  await dialog.getByRole('button', { name: 'Copy the token' }).click();
  await dialog.getByText('Copied', { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token);
  await accessible(page);
  await dialog.getByRole('button', { name: 'I have copied it' }).click();
  const uses = () => fetch(`${gateway.url}/api/v1/me`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal((await uses()).status, 200);
  assert.ok(!(await page.content()).includes(token));
  await page.getByRole('table', { name: 'Tokens' }).getByText('<img src=x').waitFor();
  await page.getByRole('button', { name: /^Revoke/ }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('heading', { name: 'There are no tokens' }).waitFor();
  assert.equal((await uses()).status, 401);
  await quiet(page);
});

test('one changes the own password, and logs out everywhere', async () => {
  const page = await visit(browser, gateway);
  page.expected = [422, 401];
  const elsewhere = await gateway.logIn('dora');
  await logIn(page, 'dora', '/administrators');
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Change password' }).click();
  await dialog.getByLabel('Your password now').fill('not this one');
  await dialog.getByLabel('New password').fill(OTHER);
  await dialog.getByLabel('The same again').fill(OTHER);
  await dialog.getByRole('button', { name: 'Change' }).click();
  await dialog.getByText('is not the password of this account').waitFor();
  await dialog.getByLabel('Your password now').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Change' }).click();
  await page.getByText('Your password is changed').waitFor();
  assert.equal((await elsewhere('GET', '/me')).status, 401);
  const another = await gateway.logIn('dora', OTHER);
  await page.getByRole('button', { name: 'Log out everywhere' }).click();
  await dialog.getByRole('button', { name: 'Log out everywhere' }).click();
  await page.getByRole('heading', { name: 'Log in' }).waitFor();
  assert.equal((await another('GET', '/me')).status, 401);
  await quiet(page);
});

test('a second factor is added, asked for at the log-in, and turned off', async () => {
  const page = await visit(browser, gateway);
  page.expected = [422, 401];
  await logIn(page, 'eve', '/administrators');
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Add a second factor' }).click();
  await dialog.getByLabel('Your password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Next' }).click();
  const key = (await dialog.getByLabel('Key', { exact: true }).innerText()).replaceAll(' ', '');
  assert.match(await dialog.getByRole('link', { name: 'open it in your authenticator' }).getAttribute('href'), new RegExp(`^otpauth://totp/.*${key}`));
  await dialog.getByLabel('Code').fill('000000');
  await dialog.getByRole('button', { name: 'Turn it on' }).click();
  await dialog.getByText(/does not follow from the key/).waitFor();
  await accessible(page);
  await dialog.getByLabel('Code').fill(codeOf(key));
  await dialog.getByRole('button', { name: 'Turn it on' }).click();
  await dialog.getByRole('list', { name: 'Recovery codes' }).waitFor();
  const spares = await dialog.getByRole('list', { name: 'Recovery codes' }).getByRole('listitem').allInnerTexts();
  assert.equal(spares.length, 10);
  await dialog.getByRole('button', { name: 'I have kept them' }).click();
  await page.getByText('10 recovery codes left').waitFor();

  const other = await visit(browser, gateway);
  other.expected = [401];
  await other.goto('/login');
  await other.getByLabel('Name').fill('eve');
  await other.getByLabel('Password').fill(PASSWORD);
  await other.getByRole('button', { name: 'Log in' }).click();
  await other.getByLabel('Code of the authenticator').fill('nonsense');
  await other.getByRole('button', { name: 'Log in' }).click();
  await other.getByText(/The code is wrong/).waitFor();
  await accessible(other);
  await other.getByLabel('Code of the authenticator').fill(spares[0]);
  await other.getByRole('button', { name: 'Log in' }).click();
  await other.getByRole('heading', { level: 1, name: 'Connections' }).waitFor();
  await quiet(other);

  await page.reload();
  await page.getByText('9 recovery codes left').waitFor();
  await page.getByRole('button', { name: 'Turn the second factor off' }).click();
  await dialog.getByLabel('Your password').fill(PASSWORD);
  await dialog.getByLabel('Code').fill(spares[1]);
  await dialog.getByRole('button', { name: 'Turn it off' }).click();
  await page.getByText('The second factor is off.').waitFor();
  await gateway.logIn('eve');
  await quiet(page);
});
