// A real Lungo on a directory of its own, and a fake one for the answers that the real one gives rarely.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY = resolve(process.env.LUNGO_BIN
  ?? join(dirname(fileURLToPath(import.meta.url)), '../../target/debug/lungo'));
const PATIENCE_MS = 45_000;

/** The demo's shops: simulated; and one where nobody ever answers by himself. */
export const CENTRAL = '01970000-0000-7000-8000-000000000011';
export const BY_HAND = '01970000-0000-7000-8000-000000000013';

/** One oat milk lungo at Lungo Central. */
export const LUNGO = {
  shop_id: CENTRAL,
  lines: [{ item_id: 'lungo', quantity: 1, options: ['milk_oat'] }],
  total: { amount: 410, currency: 'EUR' },
  payment: { method: 'pm_card_visa' },
};
export const ESPRESSO = {
  ...LUNGO, lines: [{ item_id: 'espresso', quantity: 1 }], total: { amount: 250, currency: 'EUR' },
};

let customers = 0;
export const freshCustomer = () => `cus-${process.pid}-${customers++}`;

/** A directory that goes with the test. */
export async function directory(t) {
  const path = await mkdtemp(join(tmpdir(), 'lungo-client-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Starts the binary. `stop` it in an `after`. */
export async function startLungo(...flags) {
  const data = await mkdtemp(join(tmpdir(), 'lungo-data-'));
  let { child, url } = await start(data, '127.0.0.1:0', flags);
  const env = Object.fromEntries((await readFile(join(data, 'demo.env'), 'utf8')).trim().split('\n')
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));

  const kill9 = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  return {
    url,
    data,
    key: env.LUNGO_PARTNER_KEY,
    shopKey: env.LUNGO_SHOP_KEY,
    /** Ends it as a power cut would. */
    kill9,
    /** The same directory and address again. */
    async restart() {
      const end = Date.now() + PATIENCE_MS;
      for (;;) {
        try {
          ({ child } = await start(data, new URL(url).host, flags));
          return;
        } catch (error) {
          // Somebody's outgoing connection may have the port for a moment.
          if (!error.message.includes('cannot listen on') || Date.now() > end) throw error;
        }
      }
    },
    async stop() {
      await kill9();
      await rm(data, { recursive: true, force: true });
    },
  };
}

async function start(data, listen, flags) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LUNGO_')));
  const child = spawn(BINARY, ['--data', data, '--listen', listen, '--log', 'warn', ...flags], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => { child.kill('SIGKILL'); reject(new Error(`not ready in time: ${said}`)); }, PATIENCE_MS);
    const hear = (bytes) => {
      said = (said + bytes).slice(-4000);
      const url = /listening on (http:\S+)/.exec(said)?.[1];
      if (url) { clearTimeout(timer); resolve(url); }
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('error', (error) => { clearTimeout(timer); reject(new Error(`${BINARY} does not start (cargo build makes it): ${error.message}`)); });
    child.once('exit', (code) => { clearTimeout(timer); reject(new Error(`ended with ${code}: ${said}`)); });
  });
  return { child, url };
}

/**
 * A server that answers by a script, one entry a request, the last one for ever: `{status, headers, body}` or a function
 * of the request's response. `requests` has what arrived.
 */
export async function fakeLungo(t, ...script) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body, at: performance.now() });
    const step = script[Math.min(requests.length, script.length) - 1];
    if (typeof step === 'function') return step(response, requests.at(-1));
    const { status = 200, headers = {}, body: answer = '' } = step;
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
  });
  await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, requests, server };
}

/** An order as far as the client looks at it. */
export const order = (members = {}) => ({ order_id: '01970000-0000-7000-8000-0000000000aa', ongoing: true, version: 1, status: 'new', ...members });
export const accepted = { status: 202, headers: { 'lungo-position': 'p1' }, body: order() };
export const list = (revision = 'r1', orders = []) => ({ status: 200, body: { orders, recently_closed: [], revision } });
export const problem = (status, code, members = {}, headers = {}) => ({
  status, headers: { 'content-type': 'application/problem+json', ...headers },
  body: { type: `urn:lungo:problem:${code}`, title: code, detail: `It is ${code}.`, status, code, retryable: false, request_id: 'q', ...members },
});
