// Pictures of the pages with realistic data: node tests/browser/pictures.mjs FOLDER [PAGE…]
import { Gateway, Hop } from './lib/gateway.mjs';
import { launch, logIn, picture, visit } from './lib/browser.mjs';

const [folder, ...wanted] = process.argv.slice(2);
process.env.POSTERN_PICTURES = folder;

const hop = await Hop.start((line) => /@slow\.example/.test(line) ? '450 4.2.1 mailbox is over quota, try again later'
  : /@busy\.example/.test(line) ? '451 4.7.1 greylisted, please come back in five minutes' : null);
const gateway = await Gateway.start({ hop, accounts: { ann: 'administrator', ben: 'operator', cleo: 'viewer' } });
const browser = await launch();

async function history(ask) {
  const change = (comment, patch) => ask('PATCH', `/settings?comment=${encodeURIComponent(comment)}`, patch);
  await change('Relay for our own domains', { message_rules: { relay_domains: ['example.com', '*.example.com'], permitted_relay: { hosts: 'same_subnet' } } });
  await change('Scanners seen this morning', { connections: { control: { deny_list: [{ network: '198.51.100.0/24', comment: 'scanner' }, { network: '203.0.113.77', comment: 'spam run', expires: '2030-01-01T00:00:00Z' }, '192.0.2.128/25'] } } });
  await change('At most 500 clients at a time', { connections: { interface: { max_connections: 500, idle_timeout_minutes: 10 } } });
  await change('Range of the old office is no longer ours', { connections: { control: { deny_list: [{ network: '198.51.100.0/24', comment: 'scanner' }, { network: '203.0.113.77', comment: 'spam run', expires: '2030-01-01T00:00:00Z' }, '192.0.2.128/25', ...Array.from({ length: 24 }, (_, i) => `10.7.${i}.0/24`)] } }, message_rules: { max_message_size_mb: 100 } });
  await change('', { connections: { tls: { outgoing: true } } });
  await ask('POST', '/settings/revisions/4/restore?comment=Large%20mail%20was%20refused%20by%20the%20next%20hop');
}

const ask = await gateway.logIn('ann');
await history(ask);
await ask('POST', '/tokens', { name: 'monitoring', role: 'viewer', expires: null });
await ask('POST', '/tokens', { name: 'queue report', role: 'operator', expires: new Date(Date.now() + 90 * 86400000).toISOString() });
gateway.offersTls();
await ask('PATCH', '/settings?comment=STARTTLS%20for%20clients', { connections: { tls: { incoming: true } } });
const names = ['mail.partner.example', 'newsletter.shop.example', 'erp.example.com', 'printer-3.example.com', 'mx2.example.org'];
for (const [i, helo] of names.entries()) {
  const client = await gateway.client();
  if (i % 2 === 0) await client.secures();
  for (let n = 0; n <= i; n++) await client.sends({ helo, from: `notice${i}@${helo}`, to: [`${['anna', 'bob', 'clara'][n % 3]}@${n % 2 ? 'slow' : n % 3 ? 'busy' : 'fine'}.example`], body: 'x'.repeat(900 * (i + 1)) });
}
const waiting = await gateway.client();
await waiting.says('EHLO [192.0.2.7]');
await waiting.says('MAIL FROM:<reports@example.com>');
const queue = await ask('GET', '/queue');
if (queue.data.items[0]) await ask('POST', `/queue/${queue.data.items[0].id}/hold`);

const pages = {
  overview: '/overview', connections: '/connections', live: '/live', queue: '/queue', history: '/history', administrators: '/administrators', audit: '/audit',
};
const inside = {
  'connections-list': ['/connections', async (page) => {
    await page.getByRole('radio', { name: 'Group of computers' }).check();
    await page.locator('#entry-address').fill('192.0.2.77');
    await page.locator('#entry-mask').fill('255.255.255.0');
    await page.getByRole('heading', { name: 'Connection Control' }).evaluate((heading) => heading.scrollIntoView());
  }],
  'history-compare': ['/history', async (page) => { await page.getByRole('button', { name: 'Changes of revision 5' }).click(); await page.getByText('24 entries added').waitFor(); }],
  'history-restore': ['/history', async (page) => { await page.getByRole('button', { name: 'Restore revision 3' }).click(); await page.locator('[data-pointer]').first().waitFor(); }],
  'queue-message': ['/queue', async (page) => { await page.locator('tbody th button').first().click(); await page.getByText('Last reply').waitFor(); }],
  'administrators-token': ['/administrators', async (page) => { await page.getByRole('button', { name: 'Make a token' }).click(); await page.getByLabel('Name').waitFor(); }],
  'administrators-second': ['/administrators', async (page) => { await page.getByRole('button', { name: 'Add a second factor' }).click(); await page.getByLabel('Your password').fill('correct horse battery'); await page.getByRole('button', { name: 'Next' }).click(); await page.getByLabel('Key', { exact: true }).waitFor(); }],
};

for (const [kind, options] of Object.entries({ '': {}, '-dark': { dark: true }, '-narrow': { width: 390, height: 844 } })) {
  const page = await visit(browser, gateway, options);
  await logIn(page, 'ann');
  for (const [name, path] of Object.entries(pages)) {
    if (wanted.length && !wanted.includes(name)) continue;
    await page.goto(path);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.waitForLoadState('networkidle');
    await picture(page, `${name}${kind}`);
  }
  for (const [name, [path, go]] of Object.entries(inside)) {
    if (wanted.length && !wanted.includes(name)) continue;
    await page.goto(path);
    await go(page);
    await picture(page, `${name}${kind}`);
  }
  if (page.complaints.length) console.log(kind, page.complaints);
}
await browser.close();
await gateway.stop();
hop.stop();
