// The real program with a state folder of its own, a next hop, and clients that speak SMTP to it.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const BINARY = process.env.POSTERN_BINARY ?? join(root, 'build', 'postern');
export const PASSWORD = 'correct horse battery';
/** For a loaded machine; nothing is ever waited for by time alone. */
export const LIMIT_MS = 60000;

export function freePort() {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks until it is so; what it threw last counts as not yet, and is told. */
export async function until(condition, what) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    let last;
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${LIMIT_MS} ms: ${what} (${last})`);
    await pause(50);
  }
}

/** A next hop that takes and keeps everything, but for recipients that `refuses` gives a reply for. */
export class Hop {
  messages = [];

  static async start(refuses = () => null) {
    const hop = new Hop();
    hop.server = createServer((socket) => hop.serve(socket, refuses));
    await new Promise((resolve) => { hop.server.listen(0, '127.0.0.1', resolve); });
    hop.port = hop.server.address().port;
    return hop;
  }

  serve(socket, refuses) {
    let content = null;
    socket.on('error', () => {});
    socket.write('220 hop.example ESMTP\r\n');
    createInterface({ input: socket }).on('line', (line) => {
      if (content) {
        if (line !== '.') {
          content.push(line);
          return;
        }
        this.messages.push(content.join('\n'));
        content = null;
        socket.write('250 2.0.0 kept\r\n');
        return;
      }
      const verb = line.slice(0, 4).toUpperCase();
      if (verb === 'DATA') content = [];
      const replies = { EHLO: '250 hop.example', DATA: '354 go on', QUIT: '221 2.0.0 bye' };
      socket.write(`${(verb === 'RCPT' && refuses(line)) || (replies[verb] ?? '250 2.0.0 OK')}\r\n`);
      if (verb === 'QUIT') socket.end();
    });
  }

  stop() { this.server.close(); }
}

/** One side of an SMTP conversation, line by line. */
export class Client {
  /** `from`: the address to connect from. */
  static async connect(port, { host = '127.0.0.1', from } = {}) {
    const client = new Client();
    client.socket = connect({ port, host, localAddress: from });
    client.lines = createInterface({ input: client.socket })[Symbol.asyncIterator]();
    client.ended = new Promise((resolve) => { client.socket.once('close', resolve); });
    client.socket.on('error', () => {});
    client.greeting = await client.reply();
    return client;
  }

  async reply() {
    let text = '';
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) return text;
      text += `${value}\n`;
      if (/^\d{3} /.test(value)) return text;
    }
  }

  async says(line) {
    this.socket.write(`${line}\r\n`);
    return this.reply();
  }

  /** STARTTLS, and the cipher that was agreed on. */
  async secures() {
    await this.says('EHLO secure.example');
    await this.says('STARTTLS');
    this.socket = connectTls({ socket: this.socket, rejectUnauthorized: false });
    await new Promise((resolve, reject) => { this.socket.once('secureConnect', resolve).once('error', reject); });
    this.lines = createInterface({ input: this.socket })[Symbol.asyncIterator]();
    return this.socket.getCipher();
  }

  async sends({ from, to, helo = 'client.example', subject = 'a test', body = 'Hello.' }) {
    if (helo) await this.says(`EHLO ${helo}`);
    await this.says(`MAIL FROM:<${from}>`);
    for (const one of [to].flat()) await this.says(`RCPT TO:<${one}>`);
    await this.says('DATA');
    const reply = await this.says(`From: <${from}>\r\nSubject: ${subject}\r\n\r\n${body}\r\n.`);
    if (!reply.startsWith('250')) throw new Error(`not taken: ${reply}`);
    return reply;
  }

  end() { this.socket.destroy(); }
}

/** What a client reads first. */
export async function greeting(port, options) {
  const client = await Client.connect(port, options);
  client.end();
  return client.greeting;
}

export class Gateway {
  clients = [];

  /**
   * `settings` is what goes beside hostname and listener; `hop` is the next hop of everything. With
   * no accounts there is a link to set the first one up, in `setup`.
   */
  static async start({ hop, settings = {}, accounts = { ann: 'administrator' } } = {}) {
    const gateway = new Gateway();
    gateway.folder = mkdtempSync(join(tmpdir(), 'postern-browser-'));
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
    writeFileSync(join(gateway.folder, 'settings.json'), JSON.stringify(document));
    await gateway.run();
    for (const [name, role] of Object.entries(accounts)) gateway.account(name, role);
    return gateway;
  }

  async run() {
    this.process = spawn(BINARY, ['run', '--state', this.state, '--console', '127.0.0.1:0', '--apply', join(this.folder, 'settings.json')],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = '';
    this.process.stderr.on('data', (octets) => { this.log += octets; });
    const ended = new Promise((resolve) => { this.process.once('exit', resolve); });
    this.ended = ended;
    const ready = (async () => {
      for await (const line of createInterface({ input: this.process.stdout })) {
        if (line.startsWith('setup ')) this.setup = line.slice(6);
        if (line.startsWith('ready ')) return / console=(\S+)/.exec(line)[1].replace(/\/$/, '');
      }
      return null;
    })();
    this.url = await ready;
    if (!this.url) throw new Error(`no ready line:\n${this.log}`);
    this.process.stdout.resume();
  }

  cli(words, input = '') {
    const run = spawnSync(BINARY, [...words, '--state', this.state], { input, encoding: 'utf8', maxBuffer: 1 << 28 });
    if (run.status !== 0) throw new Error(`postern ${words.join(' ')}: ${run.stderr}`);
    return run.stdout;
  }

  account(name, role) {
    this.cli(['admin', 'add', name, '--role', role], PASSWORD);
  }

  settings() {
    return JSON.parse(this.cli(['settings', 'export']));
  }

  /** Settings changed from elsewhere, as another administrator would. */
  change(change) {
    const document = this.settings(), path = join(this.folder, 'other.json');
    change(document);
    writeFileSync(path, JSON.stringify(document));
    this.cli(['settings', 'apply', path, '--yes']);
  }

  /** A certificate of its own, in force. */
  offersTls() {
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(this.folder, name));
    const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '90',
      '-subj', '/CN=gw.example', '-addext', 'subjectAltName=DNS:gw.example', '-keyout', key, '-out', cert], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(made.stderr);
    this.cli(['tls', 'install', '--cert', cert, '--key', key]);
  }

  async client() {
    const client = await Client.connect(this.port);
    this.clients.push(client);
    return client;
  }

  /** A program that is logged in: ask(method, path, body) gives { status, data }. */
  async logIn(name, password = PASSWORD) {
    const answer = await fetch(`${this.url}/api/v1/login`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name, password }),
    });
    const { csrf } = await answer.json();
    const cookie = answer.headers.get('set-cookie').split(';')[0];
    return async (method, path, body) => {
      const response = await fetch(`${this.url}/api/v1${path}`, {
        method,
        headers: { Cookie: cookie, 'X-CSRF-Token': csrf, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, data: text ? JSON.parse(text) : null };
    };
  }

  async stop() {
    for (const client of this.clients) client.end();
    this.process.kill('SIGTERM');
    await this.ended;
    if (/AddressSanitizer|runtime error:|postern: bug at/.test(this.log)) throw new Error(this.log);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const axeSource = readFileSync(join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8');
