// The example, started by its own command, against the real binary.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory, startLungo } from '../../../client/test/server.js';

const SERVER = fileURLToPath(new URL('../server.js', import.meta.url));
const LUNGO = { lines: [{ item_id: 'lungo', quantity: 1 }], total: { amount: 350, currency: 'EUR' } };

let lungo;
before(async () => { lungo = await startLungo(); });
after(() => lungo.stop());

async function startApp(t, kept) {
  const env = { PATH: process.env.PATH, PORT: '0', APP_DATA: kept ?? await directory(t) };
  const child = spawn(process.execPath, [SERVER, join(lungo.data, 'demo.env')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const kill9 = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  t.after(kill9);
  const [line] = await once(child.stdout, 'data');
  return { url: /http:\S+/.exec(line)[0], kill9 };
}

/** A phone with its session. */
async function signedIn({ url }, name) {
  const post = (path, body, headers) => fetch(url + path, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers },
  });
  const cookie = (await post('/api/session', { name })).headers.get('set-cookie').split(';')[0];
  const answer = async (response) => ({ status: response.status, ...await response.json() });
  return {
    get: async (path) => answer(await fetch(url + path, { headers: { cookie } })),
    post: async (path, body) => answer(await post(path, body, { cookie })),
    /** The orders that the stream tells of, until it says that this is the end. */
    async *progress(id) {
      const response = await fetch(`${url}/api/orders/${id}/progress`, { headers: { cookie } });
      let text = '';
      for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
        text += part;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          if (event.startsWith('event: end')) return;
          yield JSON.parse(event.slice('data: '.length));
        }
      }
      assert.fail('the stream broke');
    },
  };
}

test('a customer signs in, sees the menu, orders, and watches it come', async (t) => {
  const phone = await signedIn(await startApp(t), 'ada');
  assert.ok((await phone.get('/api/menu')).items.some((item) => item.item_id === 'lungo'));
  assert.deepEqual((await phone.get('/api/orders')).orders, []);
  const { order_id } = await phone.post('/api/orders', LUNGO);
  const statuses = [];
  for await (const order of phone.progress(order_id)) statuses.push(order.status);
  assert.equal(statuses.at(-1), 'completed');
  assert.ok(statuses.length > 2, String(statuses));
  assert.equal((await phone.get('/api/orders')).recently_closed[0].order_id, order_id);
});

test('a second tap asks first, and the answer "another one" orders it', async (t) => {
  const phone = await signedIn(await startApp(t), 'bob');
  const first = await phone.post('/api/orders', LUNGO);
  const refused = await phone.post('/api/orders', LUNGO);
  assert.deepEqual([refused.status, refused.code, refused.order.order_id], [409, 'similar_order_ongoing', first.order_id]);
  const second = await phone.post('/api/orders', { ...LUNGO, revision: refused.revision });
  assert.notEqual(second.order_id, first.order_id);
  assert.equal((await phone.post(`/api/orders/${second.order_id}/cancel`, {})).status, 'cancelled');
});

test('a backend that dies and comes back asks the customer to look again instead of trusting an old list', async (t) => {
  const kept = await directory(t);
  const app = await startApp(t, kept);
  const phone = await signedIn(app, 'cleo');
  await phone.post('/api/orders', LUNGO);
  const { revision } = await phone.post('/api/orders', LUNGO);
  await app.kill9();
  const again = await signedIn(await startApp(t, kept), 'cleo');
  assert.equal((await again.post('/api/orders', { ...LUNGO, revision })).code, 'look_again');
  assert.equal((await again.get('/api/orders')).orders.length, 1);
});

test('nobody sees or touches what is not his', async (t) => {
  const app = await startApp(t);
  const [ada, eve] = [await signedIn(app, 'ada2'), await signedIn(app, 'eve')];
  const { order_id } = await ada.post('/api/orders', LUNGO);
  assert.equal((await eve.post(`/api/orders/${order_id}/cancel`, {})).status, 404);
  assert.equal((await eve.get(`/api/orders/${order_id}/progress`)).status, 404);
  assert.equal((await fetch(`${app.url}/api/orders`)).status, 401);
});

test('what a phone should not send is refused', async (t) => {
  const app = await startApp(t);
  const phone = await signedIn(app, 'fay');
  assert.equal((await phone.post('/api/orders', { ...LUNGO, total: { amount: 1, currency: 'EUR' } })).present_total.amount, 350);
  assert.equal((await phone.post('/api/orders', null)).status, 400);
  assert.equal((await phone.post('/api/orders', { lines: 'x'.repeat(20_000) })).status, 413);
  assert.equal((await phone.get('/api/orders/../../etc/progress')).status, 404);
  assert.equal((await phone.post('/api/session', { name: '<b>' })).status, 422);
  assert.equal((await fetch(`${app.url}/api/session`, { method: 'POST', body: '{"name":"x"}' })).status, 415);
});

test('a body is JSON by its type, whatever charset it names, and is decoded as a whole', async (t) => {
  const { url } = await startApp(t);
  const typed = (type) => fetch(`${url}/api/session`, { method: 'POST', body: '{"name":"Zoë"}', headers: { 'content-type': type } });
  for (const type of ['application/json; charset=utf-8', 'Application/JSON;charset="utf-8"']) assert.equal((await typed(type)).status, 200, type);
  for (const type of ['application/jsonp', 'text/plain; application/json']) assert.equal((await typed(type)).status, 415, type);

  const sent = async (...parts) => {
    const request = httpRequest(`${url}/api/session`, { method: 'POST', headers: { 'content-type': 'application/json' } });
    request.setNoDelay(true);
    const answered = once(request, 'response');
    for (const part of parts) await new Promise((done) => request.write(part, () => setImmediate(done)));
    request.end();
    const [response] = await answered;
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return { status: response.statusCode, ...JSON.parse(text) };
  };
  const body = Buffer.from('{"name":"Zoë"}');
  const inside = body.indexOf(0xc3) + 1;
  assert.deepEqual(await sent(body.subarray(0, inside), body.subarray(inside)), { status: 200, name: 'Zoë' });
  assert.deepEqual(await sent(Buffer.from([...Buffer.from('{"name":"Zo'), 0xc3, 0x22, 0x7d])), { status: 400, code: 'bad_json' });
});

test('the page shows amounts by the decimals of their currency', async (t) => {
  const page = await (await fetch((await startApp(t)).url)).text();
  const [, code] = /const price = ([\s\S]*?\n  \});?\n/.exec(page);
  const price = new Function(`return ${code.replace(/;$/, '')}`)();
  const told = [['EUR', 350], ['JPY', 500], ['KWD', 1250], ['ISK', 650]].map(([currency, amount]) => price({ amount, currency }).replace(/\s/g, ' '));
  assert.deepEqual(told, ['€3.50', '¥500', 'KWD 1.250', 'ISK 650']);
});

test('the page is there', async (t) => {
  const page = await fetch((await startApp(t)).url);
  assert.match(await page.text(), /<h1>Coffee/);
});
