// How a call goes on when the answer is late, odd, or none.

import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, test } from 'node:test';
import { connect, UnavailableError, UnexpectedAnswerError } from 'lungo-client';
import { seconds } from '../exchange.js';
import { accepted, fakeLungo, list, LUNGO, order, problem } from './server.js';

const KEY = 'lungo_partner_secret';
const api = (url, members) => connect({ url, key: KEY, customerId: 'ada', timeoutMs: 20_000, attemptTimeoutMs: 1500, ...members });
const json = { 'content-type': 'application/json' };
const hang = () => {};
const cut = (response) => response.socket.destroy();
const cutInside = (response) => { response.writeHead(202, { ...json, 'content-length': 500 }); response.write('{"order_id":'); setTimeout(() => response.destroy(), 20); };
const trickle = (response) => {
  response.writeHead(200, json);
  const drop = setInterval(() => response.write(' '), 20);
  response.on('close', () => clearInterval(drop));
};

const UNDECIDED = {
  'no answer': hang,
  'a cut connection': cut,
  'an answer that is cut off': cutInside,
  'an answer that trickles': trickle,
  'a page of a gateway': { status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad Gateway</h1>' },
  'a success that is no JSON': { status: 202, body: 'OK' },
  'a success of another shape': { status: 200, body: {} },
  'an unknown outcome': problem(503, 'outcome_unknown', {}, { 'retry-after': '1' }),
  'an internal error': problem(500, 'internal_error'),
};

// They mostly wait.
describe('a call', { concurrency: 6 }, () => {
  for (const [what, step] of Object.entries(UNDECIDED)) {
    test(`after ${what} the order is sent again with the same key`, async (t) => {
      const { url, requests } = await fakeLungo(t, step, accepted);
      assert.equal((await api(url).createOrder(LUNGO)).status, 'new');
      assert.ok(requests.length >= 2);
      assert.equal(new Set(requests.map((request) => request.headers['idempotency-key'])).size, 1);
      assert.equal(new Set(requests.map((request) => request.body)).size, 1);
    });

    test(`${what} is never an empty list`, async (t) => {
      const { url } = await fakeLungo(t, step);
      await assert.rejects(api(url, { timeoutMs: 700 }).getOngoingOrders(), UnavailableError);
    });
  }

  test('Retry-After is obeyed, as seconds and as a date', async (t) => {
    for (const value of ['1', () => new Date(Date.now() + 2000).toUTCString()]) {
      const busy = (response) => response.writeHead(429, { 'retry-after': typeof value === 'string' ? value : value() }).end();
      const { url, requests } = await fakeLungo(t, busy, list());
      await api(url).getOngoingOrders();
      assert.ok(requests[1].at - requests[0].at >= 990, `${requests[1].at - requests[0].at} ms`);
    }
  });

  test('Retry-After is read in all forms of HTTP, whatever the time zone, and garbage is ignored', () => {
    const now = Date.UTC(2026, 0, 2, 3, 4, 5);
    for (const [text, expected] of [
      ['7', 7], [' 7 ', 7], ['0', 0], ['99999999999999999999999', 999_999_999],
      ['Fri, 02 Jan 2026 03:04:35 GMT', 30], ['Friday, 02-Jan-26 03:04:35 GMT', 30], ['Fri Jan  2 03:04:35 2026', 30],
      ['Thu, 01 Jan 2026 00:00:00 GMT', 0], ['Sunday, 06-Nov-94 08:49:37 GMT', 0], ['Sun Nov  6 08:49:37 1994', 0],
      ['', undefined], ['-1', undefined], ['1.5', undefined], ['soon', undefined], ['2026-01-02T03:04:35Z', undefined],
      ['Fri, 02 Foo 2026 03:04:35 GMT', undefined], ['Fri, 31 Feb 2026 03:04:35 GMT', undefined],
      ['Fri, 02 Jan 2026 25:04:35 GMT', undefined], [null, undefined],
    ]) assert.equal(seconds(text, now), expected, `${text}`);
  });

  test('a Retry-After beyond the deadline ends the call at once, and is told', async (t) => {
    const { url, requests } = await fakeLungo(t, problem(503, 'overloaded', {}, { 'retry-after': '3600' }));
    const error = await api(url).createOrder(LUNGO).catch((error) => error);
    assert.ok(error instanceof UnavailableError);
    assert.deepEqual([error.status, error.retryAfter, error.outcomeUnknown, requests.length], [503, 3600, false, 1]);
  });

  test('a call without an answer ends at its deadline, and says that it may have been done', async (t) => {
    const { url } = await fakeLungo(t, hang);
    const started = performance.now();
    const error = await api(url, { timeoutMs: 800 }).createOrder(LUNGO).catch((error) => error);
    assert.ok(error instanceof UnavailableError && error.outcomeUnknown);
    assert.ok(performance.now() - started < 5000);
  });

  test('a fetch that does not listen to its signal cannot hold a call', async () => {
    const error = await api('http://localhost', { fetch: () => new Promise(() => {}), timeoutMs: 400 }).listShops().catch((error) => error);
    assert.ok(error instanceof UnavailableError);
  });

  test('what is no answer of Lungo ends the call: a redirect, a wrong address, a flood', async (t) => {
    const flood = (response) => {
      response.writeHead(200, json);
      const more = () => { while (response.write('x'.repeat(65_536))); };
      response.on('drain', more);
      more();
    };
    for (const step of [{ status: 307, headers: { location: 'http://127.0.0.1:1/' } }, { status: 404, body: 'no such page' }, flood]) {
      const { url, requests } = await fakeLungo(t, step);
      const error = await api(url, { attemptTimeoutMs: 8000 }).createOrder(LUNGO).catch((error) => error);
      assert.ok(error instanceof UnexpectedAnswerError, inspect(error));
      assert.ok(error.outcomeUnknown);
      assert.equal(requests.length, 1);
    }
  });

  test('an abort ends a call wherever it is, with its own reason', async (t) => {
    for (const step of [hang, problem(503, 'not_ready', {}, { 'retry-after': '5' })]) {
      const { url } = await fakeLungo(t, step);
      const signal = AbortSignal.timeout(100);
      await assert.rejects(api(url, { attemptTimeoutMs: 5000 }).createOrder(LUNGO, { signal }), (error) => error === signal.reason);
    }
    await assert.rejects(api('http://localhost').listShops({ signal: AbortSignal.abort('enough') }), (error) => error === 'enough');
  });

  test('the key stands in no error, and goes nowhere in the clear', async (t) => {
    const { url } = await fakeLungo(t, { status: 502 });
    const error = await api(url, { timeoutMs: 300 }).createOrder(LUNGO).catch((error) => error);
    assert.ok(!inspect(error, { depth: 9 }).includes(KEY));
    assert.throws(() => api(url, { key: `${KEY}\n` }), (error) => error instanceof TypeError && !inspect(error).includes(KEY));
    const bad = await api(url, { headers: { cookie: `${KEY}\nx` } }).listShops().catch((error) => error);
    assert.ok(bad instanceof TypeError && !inspect(bad, { depth: 9 }).includes(KEY));
    assert.throws(() => api('http://lungo.example'), TypeError);
    for (const fine of ['https://lungo.example', 'http://localhost:8080', 'http://[::1]:1', 'http://127.0.0.2']) api(fine);
    api('http://lungo.example', { allowPlainHttp: true });
    for (const odd of ['https://u:p@lungo.example', 'https://lungo.example/?a=1', 'file:///etc', 'not a url']) assert.throws(() => api(odd), TypeError);
  });

  test('further headers are asked for before each attempt, and a path of the URL is kept', async (t) => {
    const { url, requests } = await fakeLungo(t, { status: 503 }, list());
    let session = 0;
    await connect({ url: `${url}/coffee/`, customerId: 'a&b', headers: () => ({ cookie: `session=${++session}` }) }).getOngoingOrders();
    assert.deepEqual(requests.map((request) => request.headers.cookie), ['session=1', 'session=2']);
    assert.equal(requests[0].url, '/coffee/v1/orders/ongoing?customer_id=a%26b');
    assert.equal(requests[0].headers.authorization, undefined);
  });

  test('what could change the path is no id', async (t) => {
    const { url, requests } = await fakeLungo(t, accepted);
    for (const id of ['', '..', 'a/b', '%2e', 'a?b', undefined]) await assert.rejects(async () => api(url).deleteOrder(id), TypeError);
    assert.equal(requests.length, 0);
  });

  test('a deletion whose answer was lost is a success; one that came too late is not', async (t) => {
    const gone = problem(410, 'order_deleted', { order_id: 'o', deleted_at: 'then', payment: { status: 'none' } });
    const { url } = await fakeLungo(t, cut, gone);
    assert.deepEqual(await api(url).deleteOrder('o'), { order_id: 'o', deleted_at: 'then', payment: { status: 'none' } });
    await assert.rejects(api(url).deleteOrder('o'), { code: 'order_deleted' });
  });

  test('an order is followed through outages, each version once', async (t) => {
    const at = (version, ongoing = true) => ({ status: 200, headers: { 'retry-after': '1' }, body: order({ version, ongoing }) });
    const { url, requests } = await fakeLungo(t, at(1), at(1), problem(503, 'overloaded', {}, { 'retry-after': '1' }), cut, at(3), at(4, false));
    const versions = [];
    for await (const { version } of api(url).follow('o')) versions.push(version);
    assert.deepEqual(versions, [1, 3, 4]);
    assert.ok(requests[1].at - requests[0].at >= 990);
  });

  test('following survives a call that gave up, ends with its signal, and does not survive a deletion', async (t) => {
    const outage = problem(503, 'overloaded', {}, { 'retry-after': '1' });
    const { url } = await fakeLungo(t, outage, { status: 200, headers: { 'retry-after': '90' }, body: order() });
    const signal = AbortSignal.timeout(5000);
    const seen = [];
    await assert.rejects(async () => {
      for await (const { version } of api(url, { timeoutMs: 500 }).follow('o', { signal })) seen.push(version);
    }, (error) => error === signal.reason);
    assert.deepEqual(seen, [1]);
    const deleted = await fakeLungo(t, problem(410, 'order_deleted'));
    await assert.rejects(api(deleted.url).follow('o').next(), { code: 'order_deleted' });
  });
});
