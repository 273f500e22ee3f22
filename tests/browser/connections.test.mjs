// Every control of the Connections page, and what it does to clients that speak SMTP.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { accessible } from './lib/browser.mjs';
import { Client, freePort, Gateway, greeting, Hop, PASSWORD, until } from './lib/gateway.mjs';
import { Browser, save, saved } from './lib.mjs';

let browser, hop;
before(async () => { browser = await Browser.start(); hop = await Hop.start(); });
after(async () => { await browser.stop(); hop.stop(); });
afterEach(() => browser.clean());

/** A gateway of the test's own, which ends with it. */
async function gatewayFor(t, options = {}) {
  const gateway = await Gateway.start({ hop, ...options });
  t.after(async () => {
    await browser.close();
    await gateway.stop();
  });
  return gateway;
}

const box = (page, name) => page.getByRole('checkbox', { name });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const settle = (page) => page.getByText('There are unsaved changes.').waitFor();
const SAMPLE = ['192.168.1.1', '192.168.2.0:255.255.255.0', '192.168.3.1:255.255.255.128', '192.168.4.100',
  '192.168.5.32:255.255.255.192', '2001:db8:10ff::ae:44f2', '2001:db8::/32'].join('\r\n');

/** Save where it cuts somebody off: the review comes up, and is answered with Save. */
async function saveReviewed(page) {
  await button(page, 'Save').click();
  const review = page.getByRole('dialog', { name: 'Review changes' });
  await review.getByRole('button', { name: 'Save', exact: true }).click();
  await saved(page);
}

async function addSingle(page, address) {
  await page.getByRole('radio', { name: 'Single computer' }).check();
  await page.locator('#entry-address').fill(address);
  await button(page, '>> Add to the list').click();
  await page.getByRole('row').filter({ hasText: address }).first().waitFor();
}

async function addGroup(page, family, address, mask) {
  await page.getByRole('radio', { name: 'Group of computers' }).check();
  await page.getByLabel('IP version').selectOption(family);
  await page.locator('#entry-address').fill(address);
  await page.locator('#entry-mask').fill(mask);
}

test('from the set-up link to the first relayed message', async (t) => {
  const gateway = await gatewayFor(t, { accounts: {} });
  const page = await browser.page(gateway.setup);
  await page.getByRole('heading', { name: 'The first administrator' }).waitFor();
  await accessible(page);
  await page.getByLabel('Password').fill('short');
  await page.getByText('At least 8 characters.').waitFor();
  assert.equal(await button(page, 'Make the account').isDisabled(), true);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByLabel('The same again').fill(PASSWORD);
  await button(page, 'Make the account').click();
  await page.getByRole('heading', { name: 'Connections', level: 1 }).waitFor();

  const client = await Client.connect(gateway.port);
  assert.match(await client.sends({ from: 'a@client.example', to: 'b@example.net', subject: 'first of all' }), /^250/);
  client.end();
  await until(() => hop.messages.some((one) => one.includes('first of all')), 'it is delivered');
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByText('messages accepted').waitFor();
  await accessible(page);

  await page.goto(gateway.setup);
  await page.getByRole('heading', { name: 'Connections', level: 1 }).waitFor(); // logged in already
  const other = await browser.page(gateway.setup);
  await other.getByRole('heading', { name: 'This link is of no use' }).waitFor();
});

test('SMTP interface: address, port, silence and places', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway);
  await accessible(page);

  const port = await freePort();
  await page.getByLabel('Port', { exact: true }).fill('0');
  await page.getByText('Enter a whole number from 1 to 65535.').waitFor();
  assert.equal(await button(page, 'Save').isDisabled(), true);
  await page.getByLabel('Port', { exact: true }).fill(String(port));
  await page.getByLabel('Disconnect after minutes of inactivity').fill('1');
  await page.getByText('RFC 5321 asks for five minutes').waitFor();
  await page.getByRole('radio', { name: 'Allow up to' }).check();
  await page.getByLabel('Allow up to connections').fill('2');
  await button(page, 'Save').click();
  await saved(page); // with the warning about silence
  gateway.port = port;
  const first = await Client.connect(port), second = await Client.connect(port);
  assert.match(first.greeting + second.greeting, /^220.*220/s);
  assert.match(await greeting(port), /^421 4\.3\.2/);
  assert.equal(gateway.settings().connections.interface.idle_timeout_minutes, 1);

  await page.getByRole('radio', { name: 'No limit' }).check();
  await page.getByLabel('IP address', { exact: true }).first().selectOption('all');
  await save(page);
  assert.match(await greeting(port), /^220/);
  assert.equal(gateway.settings().connections.interface.address, 'all');
  first.end();
  second.end();
});

test('what the server refuses stands at its field', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway, { expected: [/status of (409|422)/] });
  await page.getByLabel('Port', { exact: true }).fill(String(hop.port)); // taken
  await button(page, 'Save').click();
  await page.locator('#port-help').getByText('is taken by another program').waitFor();
  assert.match(await greeting(gateway.port), /^220/);
  await button(page, 'Cancel').click();
  assert.equal(await page.getByLabel('Port', { exact: true }).inputValue(), String(gateway.port));
});

test('single computers and groups, in both modes', async (t) => {
  const gateway = await gatewayFor(t, { settings: { connections: { interface: { address: 'loopback' } } } });
  (await Client.connect(gateway.port)).end();
  const page = await browser.logIn(gateway, { expected: [/status of 422/] });

  await page.locator('#entry-address').fill('300.1.1.1');
  await page.getByText('An IPv4 address has four numbers').waitFor();
  await addSingle(page, '127.0.0.1');
  await addGroup(page, '4', '198.51.100.77', '255.0.255.0');
  await page.getByText('This mask has holes').waitFor();
  await page.locator('#entry-mask').fill('255.255.255.0');
  await page.getByText('Becomes 198.51.100.0/24: host bits are cleared.').waitFor();
  await page.getByRole('button', { name: 'Comment and expiry' }).click();
  await page.locator('#entry-comment').fill('sends <b>spam</b>');
  await page.locator('#entry-expires').fill('2031-01-01T12:00');
  await button(page, '>> Add to the list').click();
  await addGroup(page, '6', '2001:db8::', '32');
  await button(page, '>> Add to the list').click();
  await settle(page);
  await accessible(page);

  // Who would be cut off is said before.
  await button(page, 'Save').click();
  const review = page.getByRole('dialog', { name: 'Review changes' });
  await review.getByText('THIS REFUSES').first().waitFor();
  await review.getByRole('row').filter({ hasText: '127.0.0.1' }).waitFor();
  await accessible(page);
  await button(review, 'Back').click();
  assert.match(await greeting(gateway.port), /^220/);
  await saveReviewed(page);
  assert.match(await greeting(gateway.port), /^554 5\.7\.1/);
  const { control } = gateway.settings().connections;
  assert.deepEqual(control.deny_list.map((one) => one.network ?? one), ['127.0.0.1', '198.51.100.0/24', '2001:db8::/32']);
  assert.equal(control.deny_list[1].comment, 'sends <b>spam</b>');

  // Its hits; then edited, and removed.
  await page.getByLabel('Search the deny list').fill('127.0.0.1');
  await page.getByText('1 found').waitFor();
  await until(async () => (await page.locator('tbody .pt-table__hits').first().textContent()) !== '0', 'hits are shown');
  await page.getByLabel('Search the deny list').fill('');
  await button(page, 'Edit 127.0.0.1').click();
  await page.getByLabel('Comment', { exact: true }).last().fill('ours');
  await accessible(page);
  await button(page, 'Done').click();
  await save(page); // nobody is cut off by a comment
  await until(async () => gateway.settings().connections.control.deny_list[0].comment === 'ours', 'the comment is saved');
  await button(page, 'Remove 127.0.0.1').click();
  await save(page);
  assert.match(await greeting(gateway.port), /^220/);

  // The other mode has a list of its own; an empty one must be confirmed.
  await page.getByRole('radio', { name: 'Deny all, except the following list' }).check();
  await page.getByText('The permit list is empty').waitFor();
  await button(page, 'Save').click();
  const confirm = page.getByRole('dialog', { name: 'Review changes' });
  await confirm.getByRole('checkbox').waitFor();
  assert.equal(await button(confirm, 'Save').isDisabled(), true);
  await confirm.getByRole('checkbox').check();
  await button(confirm, 'Save').click();
  await saved(page);
  assert.match(await greeting(gateway.port), /^554/);
  await addSingle(page, '127.0.0.1');
  await save(page);
  assert.match(await greeting(gateway.port), /^220/);
  assert.match(await greeting(gateway.port, { from: '127.0.0.9' }), /^554/);
  assert.equal(gateway.settings().connections.control.deny_list.length, 2);
});

test('would this address be let in', async (t) => {
  const gateway = await gatewayFor(t, { settings: { connections: { control: { mode: 'accept_all_except', deny_list: ['10.0.0.0/8'] } } } });
  const page = await browser.logIn(gateway);
  const answer = page.getByRole('region', { name: 'Would this address be let in?' });
  const ask = async (address) => {
    await page.getByLabel('Address of a client').fill(address);
    await button(answer, 'Ask').click();
  };
  await ask('10.1.2.3');
  await answer.getByText('Refused', { exact: true }).waitFor();
  await answer.getByText('10.0.0.0/8').first().waitFor();
  await answer.getByText('554 5.7.1').waitFor();
  await ask('nonsense');
  await answer.getByText('A name is not possible here').waitFor();
  await button(page, 'Remove 10.0.0.0/8').click();
  await ask('10.1.2.3');
  await answer.getByText('Let in', { exact: true }).waitFor();
  await box(page, 'with my unsaved changes').uncheck();
  await ask('10.1.2.3');
  await answer.getByText('Refused', { exact: true }).waitFor();
  await button(page, 'Cancel').click();
});

test('a file of seven lines, its preview, append, replace and export', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway);
  const sample = join(gateway.folder, 'sample.txt'), wrong = join(gateway.folder, 'wrong.txt');
  writeFileSync(sample, `\ufeff${SAMPLE}\r\n`);
  writeFileSync(wrong, '192.0.2.1\n10.0.0.0:255.0.255.0\nmail.example.com\n');
  await button(page, 'Import from file').click();
  const dialog = page.getByRole('dialog', { name: 'Import from file' });
  await dialog.locator('input[type=file]').setInputFiles(sample);
  const fact = (name) => dialog.getByRole('row').filter({ has: page.getByRole('rowheader', { name, exact: true }) });
  await fact('Added').getByText('7', { exact: true }).waitFor();
  await fact('Normalised').getByText('2', { exact: true }).waitFor();
  await fact('Covered').getByText('1', { exact: true }).waitFor();
  await accessible(page);
  await button(dialog, 'Import 7 entries').click();
  await page.getByText('7 entries will be added when you save').waitFor();
  assert.equal(gateway.settings().connections.control.deny_list.length, 0);
  await save(page);
  assert.deepEqual(gateway.settings().connections.control.deny_list.map((one) => one.network ?? one),
    ['192.168.1.1', '192.168.2.0:255.255.255.0', '192.168.3.0/25', '192.168.4.100', '192.168.5.0/26', '2001:db8:10ff::ae:44f2', '2001:db8::/32']);

  await button(page, 'Import from file').click();
  await dialog.locator('input[type=file]').setInputFiles(wrong);
  await fact('Wrong').getByText('2', { exact: true }).waitFor();
  assert.equal(await dialog.getByRole('button', { name: /^Import/ }).isDisabled(), true);
  await dialog.getByText('Wrong lines (2)').click();
  await dialog.getByText('mail.example.com').waitFor();
  await dialog.getByRole('radio', { name: 'Replace the list' }).check();
  await dialog.getByRole('checkbox', { name: 'Leave them out' }).check();
  await button(dialog, 'Import 1 entry').click();
  await save(page);
  assert.deepEqual(gateway.settings().connections.control.deny_list.map((one) => one.network ?? one), ['192.0.2.1']);

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export' }).click()]);
  assert.equal(readFileSync(await download.path(), 'utf8').trim(), '192.0.2.1');
});

test('200,000 entries stay fluent, and only what changes is sent', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway);
  const large = join(gateway.folder, 'large.txt');
  const line = (i) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
  writeFileSync(large, Array.from({ length: 200000 }, (_, i) => line(i)).join('\n'));
  await button(page, 'Import from file').click();
  await page.locator('#root ~ * input[type=file], input[data-for=import-file]').setInputFiles(large);
  await page.getByRole('button', { name: 'Import 200,000 entries' }).click();
  await save(page);
  await page.getByText('200,000 entries').waitFor();
  assert.ok((await page.getByRole('row').count()) < 60); // of the page alone

  const sent = [];
  page.on('request', (request) => { if (request.method() === 'PATCH') sent.push(request.postData().length); });
  await page.getByLabel('Search the deny list').fill('10.1.2.3');
  await page.getByText('1 found').waitFor();
  await button(page, 'Remove 10.1.2.3').click();
  await page.getByLabel('Search the deny list').fill('');
  await page.getByText('200,000 entries').waitFor();
  await page.getByRole('button', { name: 'Last hit' }).click();
  await page.locator('th[aria-sort=descending]').waitFor();
  await page.getByRole('button', { name: 'Address' }).click();
  await button(page, 'Go to next page').click();
  await page.getByRole('rowheader', { name: '10.0.0.20', exact: true }).waitFor();
  await save(page);
  assert.ok(sent.length >= 2 && sent.every((octets) => octets < 1000), `${sent}`);
  await page.getByText('199,999 entries').waitFor();

  await page.getByLabel('Search the deny list').fill('10.0.7.0/24');
  await page.getByText('256 found').waitFor();
  await box(page, 'Select all entries of this page').check();
  await page.getByRole('button', { name: 'Select all 256 found' }).click();
  await page.getByRole('button', { name: 'Remove 256' }).click();
  await save(page);
  await page.getByText('0 found').waitFor();
  assert.equal(JSON.parse(gateway.cli(['access', 'list', '--list', 'deny', '--json'])).total, 199743);
});

test('TLS: upload, findings, offered, required, really served', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway, { expected: [/status of 422/] });
  const make = (name, cn) => {
    const key = join(gateway.folder, `${name}.key`), certificate = join(gateway.folder, `${name}.pem`);
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate,
      '-days', '90', '-subj', `/CN=${cn}`, '-addext', `subjectAltName=DNS:${cn}`], { stdio: 'ignore' });
    return { key, certificate };
  };
  const one = make('one', 'gw.example'), two = make('two', 'other.example');
  const choose = (part, file) => page.locator(`input[data-for=${part}]`).setInputFiles(file);

  await box(page, 'Enable Incoming Transport Layer Security').check();
  await page.getByText('Upload a certificate and its private key first.').waitFor();
  await choose('certificate', one.certificate);
  await button(page, 'Upload SMTP server certification').click();
  await page.getByText('upload that too').waitFor();
  await choose('private_key', two.key);
  await button(page, 'Upload Private key').click();
  await page.locator('#private_key-help, #certificate-help').getByText(/does not belong|not.*match|another/i).first().waitFor();
  await choose('ca_certificate', one.certificate);
  await button(page, 'Upload CA certificate').click();
  await choose('private_key', one.key);
  await button(page, 'Upload SMTP server certification').click();
  await button(page, 'Upload Private key').click();
  await page.getByText('Uploaded, in force once you save').waitFor();
  await page.getByText('signed by itself').first().waitFor();
  await box(page, 'Enable Outgoing Transport Layer Security').check();
  await accessible(page);
  await save(page);
  await page.getByText(/Really served at/).waitFor();
  const client = await Client.connect(gateway.port);
  await client.secures();
  assert.equal(client.socket.getPeerCertificate().subject.CN, 'gw.example');
  client.end();
  assert.equal(gateway.settings().connections.tls.outgoing, true);

  await box(page, 'Only accept SMTP connection by TLS').check();
  await button(page, 'Save').click();
  await page.getByText(/Saved: revision/).or(page.getByRole('dialog', { name: 'Review changes' })).first().waitFor();
  if (await page.getByRole('dialog').isVisible()) await button(page.getByRole('dialog'), 'Save').click();
  await until(async () => gateway.settings().connections.tls.incoming_required, 'TLS is required');
  const clear = await Client.connect(gateway.port);
  await clear.says('EHLO client.example');
  assert.match(await clear.says('MAIL FROM:<a@client.example>'), /^530 5\.7\.0/);
  clear.end();
});

test('two administrators at once overwrite nothing', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway, { expected: [/status of (412|422)/] });
  await page.getByLabel('Disconnect after minutes of inactivity').fill('20');
  await addSingle(page, '192.0.2.1');
  gateway.change((document) => {
    document.connections.interface.idle_timeout_minutes = 30;
    document.connections.interface.max_connections = 77;
    document.connections.control.deny_list = ['192.0.2.9'];
  });
  await button(page, 'Save').click();
  await page.getByText(/has saved revision \S+ while you were editing/).waitFor();
  assert.equal(gateway.settings().connections.interface.idle_timeout_minutes, 30);
  await page.getByText('theirs is “30”, yours is “20”').waitFor();
  await page.getByText('Taken over: Simultaneous connections').waitFor();
  await accessible(page);
  await button(page, 'Take theirs').click();
  assert.equal(await page.getByLabel('Disconnect after minutes of inactivity').inputValue(), '30');
  await save(page);
  const { connections } = gateway.settings();
  assert.equal(connections.interface.max_connections, 77);
  assert.deepEqual(connections.control.deny_list.map((one) => one.network ?? one), ['192.0.2.9', '192.0.2.1']);
});

test('a change that is not confirmed goes back, also over a reload', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway);
  const within = async (seconds) => {
    await page.getByLabel('Disconnect after minutes of inactivity').fill('44');
    await button(page, 'Review changes').click();
    const review = page.getByRole('dialog', { name: 'Review changes' });
    await review.getByLabel('Seconds to confirm within').fill(String(seconds));
    await review.getByRole('button', { name: /^Save, and go back by itself/ }).click();
    await page.getByRole('region', { name: 'Change to be confirmed' }).waitFor();
  };
  const minutes = async () => gateway.settings().connections.interface.idle_timeout_minutes;
  await within(6);
  assert.equal(await minutes(), 44);
  await page.reload();
  await page.getByRole('timer').or(page.getByLabel('Disconnect after minutes of inactivity')).first().waitFor();
  await until(async () => (await minutes()) === 5, 'it goes back');
  await page.getByRole('region', { name: 'Change to be confirmed' }).waitFor({ state: 'detached' });
  await until(async () => (await page.getByLabel('Disconnect after minutes of inactivity').inputValue()) === '5', 'the page follows');

  await within(600);
  await page.reload();
  await page.getByRole('timer').waitFor();
  await accessible(page);
  await button(page, 'Keep the change').click();
  await page.getByRole('region', { name: 'Change to be confirmed' }).waitFor({ state: 'detached' });
  assert.equal(await minutes(), 44);
});

test('unsaved changes are not left by accident; a viewer changes nothing', async (t) => {
  const gateway = await gatewayFor(t);
  gateway.account('vera', 'viewer');
  const page = await browser.logIn(gateway);
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await page.getByRole('link', { name: 'Connections', exact: true }).click();
  await addSingle(page, '192.0.2.1');
  await page.goBack();
  await page.getByRole('dialog', { name: 'Leave without saving?' }).waitFor();
  await button(page, 'Stay').click();
  await page.getByRole('row').filter({ hasText: '192.0.2.1' }).waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();
  await button(page, 'Leave, and discard them').click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();

  const viewer = await browser.logIn(gateway, { name: 'vera' });
  await viewer.getByText('You may look at these settings').waitFor();
  assert.equal(await viewer.getByLabel('Port', { exact: true }).isDisabled(), true);
  assert.equal(await button(viewer, 'Save').count(), 0);
  assert.equal(await button(viewer, 'Import from file').count(), 0);
  await accessible(viewer);
});

test('a session that has ended asks for the password and loses nothing', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway, { expected: [/status of 401/] });
  await addSingle(page, '192.0.2.1');
  await page.context().clearCookies();
  await button(page, 'Save').click();
  const again = page.getByRole('dialog', { name: 'Your session has ended' });
  await again.getByLabel('Password').fill(PASSWORD);
  await button(again, 'Log in').click();
  await again.waitFor({ state: 'detached' });
  await save(page);
  assert.deepEqual(gateway.settings().connections.control.deny_list.map((one) => one.network ?? one), ['192.0.2.1']);
});

test('by keyboard alone, and on a narrow screen', async (t) => {
  const gateway = await gatewayFor(t);
  const page = await browser.logIn(gateway, { viewport: { width: 390, height: 844 } });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'nothing sticks out');
  await accessible(page);
  await page.locator('#entry-address').focus();
  await page.keyboard.type('192.0.2.55');
  await page.keyboard.press('Enter');
  await settle(page);
  for (let i = 0; i < 60 && (await page.evaluate(() => document.activeElement?.textContent)) !== 'Save'; i++)
    await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await saved(page);
  assert.equal(gateway.settings().connections.control.deny_list.length, 1);
});
