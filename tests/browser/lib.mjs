// What the browser's tests share: the real program, a next hop, a client, Debian's Chromium.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { connect as connectTls } from 'node:tls';
import { chromium } from 'playwright-core';

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..');
const BINARY = resolve(process.env.POSTERN_BINARY ?? join(ROOT, 'build/postern'));
export const PASSWORD = 'correct horse battery';
/** For a loaded machine; nothing is ever waited for by time alone. */
export const LIMIT_MS = 60_000;
const CHROMIUM = {
  executablePath: '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
};

export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** A next hop that takes everything and keeps what it got. */
export class Hop {
  messages = [];

  static async start() {
    const hop = new Hop();
    hop.server = createServer((socket) => hop.talk(socket));
    await new Promise((done) => hop.server.listen(0, '127.0.0.1', done));
    hop.port = hop.server.address().port;
    return hop;
  }

  talk(socket) {
    let text = '', content = false;
    socket.on('error', () => {});
    socket.write('220 hop ESMTP\r\n');
    socket.on('data', (octets) => {
      text += octets.toString('latin1');
      for (;;) {
        const end = text.indexOf(content ? '\r\n.\r\n' : '\r\n');
        if (end < 0) return;
        const piece = text.slice(0, end);
        text = text.slice(end + (content ? 5 : 2));
        if (content) {
          this.messages.push(piece);
          content = false;
          socket.write('250 taken\r\n');
        } else if (/^DATA/i.test(piece)) {
          content = true;
          socket.write('354 go on\r\n');
        } else if (/^QUIT/i.test(piece)) {
          socket.end('221 bye\r\n');
        } else {
          socket.write(/^EHLO/i.test(piece) ? '250-hop\r\n250 PIPELINING\r\n' : '250 ok\r\n');
        }
      }
    });
  }

  stop() {
    this.server.close();
  }
}

/** A client that speaks SMTP, a reply at a time. */
export class Client {
  static async connect(port, { host = '127.0.0.1', from } = {}) {
    const client = new Client();
    client.socket = connect({ host, port, localAddress: from });
    await new Promise((done, fail) => client.socket.once('connect', done).once('error', fail));
    client.listen();
    client.greeting = await client.reply();
    return client;
  }

  text = '';
  waiting = [];
  closed = false;

  listen() {
    this.socket.on('data', (octets) => { this.text += octets.toString(); this.wake(); });
    for (const event of ['close', 'error']) this.socket.on(event, () => { this.closed = true; this.wake(); });
  }

  wake() {
    for (const then of this.waiting.splice(0)) then();
  }

  async reply() {
    for (;;) {
      const found = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n/.exec(this.text);
      if (found) {
        this.text = this.text.slice(found[0].length);
        return found[0].trim();
      }
      if (this.closed) return '';
      await new Promise((done) => this.waiting.push(done));
    }
  }

  async say(line) {
    this.socket.write(`${line}\r\n`);
    return this.reply();
  }

  /** The last reply: 250 where it was taken. */
  async send(subject) {
    await this.say('EHLO client.example');
    await this.say('MAIL FROM:<a@client.example>');
    await this.say('RCPT TO:<b@example.net>');
    await this.say('DATA');
    return this.say(`Subject: ${subject}\r\n\r\ntext\r\n.`);
  }

  /** STARTTLS; the certificate that the server shows. */
  async startTls() {
    await this.say('EHLO client.example');
    const answer = await this.say('STARTTLS');
    assert.match(answer, /^220/);
    this.socket.removeAllListeners('data');
    this.socket = connectTls({ socket: this.socket, rejectUnauthorized: false });
    await new Promise((done, fail) => this.socket.once('secureConnect', done).once('error', fail));
    this.listen();
    return this.socket.getPeerCertificate();
  }

  async gone() {
    while (!this.closed) await new Promise((done) => this.waiting.push(done));
  }

  close() {
    this.socket.destroy();
  }
}

export async function greeting(port, options) {
  const client = await Client.connect(port, options);
  client.close();
  return client.greeting;
}

/** Waits until `what` holds; it says why it does not by throwing or by a value that is not true. */
export async function until(what, description) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    let last;
    try {
      last = await what();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${description}: not within ${LIMIT_MS} ms (${last})`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** The gateway and its console, with a state folder of their own. */
export class Gateway {
  static async start({ settings = {}, hop, account = true } = {}) {
    const gateway = new Gateway();
    gateway.folder = await mkdtemp(join(process.env.TMPDIR ?? tmpdir(), 'postern-browser-'));
    gateway.state = join(gateway.folder, 'state');
    gateway.port = await freePort();
    const document = {
      identity: { hostname: 'gw.example' },
      ...settings,
      connections: {
        ...settings.connections,
        interface: { address: 'loopback', port: gateway.port, ...settings.connections?.interface },
      },
      ...(hop ? { delivery: { routes: [{ domain: '*', next_hops: [{ host: '127.0.0.1', port: hop.port }] }] } } : {}),
    };
    await writeFile(join(gateway.folder, 'settings.json'), JSON.stringify(document));
    if (account) await gateway.account('ann');
    await gateway.launch('--apply', join(gateway.folder, 'settings.json'));
    return gateway;
  }

  async launch(...words) {
    this.process = spawn(BINARY, ['run', '--state', this.state, '--console', '127.0.0.1:0', ...words],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((done) => this.process.once('exit', done));
    this.log = '';
    let out = '';
    this.process.stderr.on('data', (octets) => { this.log += octets; });
    this.process.stdout.on('data', (octets) => { out += octets; });
    await until(() => {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.log}`);
      return /^ready /m.test(out);
    }, 'the gateway is ready');
    this.url = /console=(\S+)/.exec(out)[1];
    this.setupUrl = /^setup (\S+)/m.exec(out)?.[1];
  }

  async cli(words, input = '') {
    const child = run(BINARY, [...words, '--state', this.state]);
    child.child.stdin.on('error', () => {}); // most commands read nothing and may be gone by now
    child.child.stdin.end(input);
    return (await child).stdout;
  }

  account(name, role = 'administrator') {
    return this.cli(['admin', 'add', name, '--role', role], `${PASSWORD}\n`);
  }

  async settings() {
    return JSON.parse(await this.cli(['settings', 'export']));
  }

  async revision() {
    return JSON.parse(await this.cli(['status', '--json'])).revision;
  }

  /** One value set from elsewhere, as another administrator would. */
  async change(change) {
    const document = await this.settings();
    change(document);
    const path = join(this.folder, 'other.json');
    await writeFile(path, JSON.stringify(document));
    await this.cli(['settings', 'apply', path, '--yes']);
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A browser, and what it complains about: a test that leaves anything there fails. */
export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch(CHROMIUM);
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

const axe = await readFile(join(ROOT, 'node_modules/axe-core/axe.min.js'), 'utf8');

/** No serious and no critical finding, in both themes. */
export async function accessible(page, themes = ['light', 'dark']) {
  for (const theme of themes) {
    await page.evaluate((dark) => document.documentElement.classList.toggle('pf-v6-theme-dark', dark), theme === 'dark');
    // Colours change with a transition: only what stands still is measured.
    await page.evaluate(() => Promise.all(document.getAnimations().map((one) => one.finished.catch(() => {}))));
    await page.evaluate(`(() => { ${axe}; window.axe = axe; })()`);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const bad = violations.filter((one) => ['serious', 'critical'].includes(one.impact))
      .map((one) => `${theme}: ${one.id}: ${one.help}\n${one.nodes.slice(0, 4).map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`);
    assert.deepEqual(bad, [], bad.join('\n'));
  }
  await page.evaluate(() => document.documentElement.classList.remove('pf-v6-theme-dark'));
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
