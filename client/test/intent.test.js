// Which key an order is sent with, and what is kept until it is answered.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, memoryStorage, SimilarOrderError, StorageError, UnavailableError, UnseenRevisionError } from 'lungo-client';
import { accepted, ESPRESSO, fakeLungo, list, LUNGO, order, problem } from './server.js';

const customerId = 'ada';
const busy = problem(503, 'outcome_unknown', { retryable: true }, { 'retry-after': '60' });
const INTENT = /:intent$/;

/** Two lives of an app with one storage, and what the server was sent. */
async function app(t, ...script) {
  const storage = memoryStorage();
  const fake = await fakeLungo(t, ...script);
  const start = (members) => connect({ url: fake.url, key: 'k', customerId, storage, ...members });
  const keys = () => fake.requests.map((request) => request.headers['idempotency-key']);
  return { ...fake, storage, start, keys };
}

test('key and body are saved together before anything is sent', async (t) => {
  const { url, requests } = await fakeLungo(t, accepted);
  const writes = [];
  const storage = memoryStorage();
  const watched = { ...storage, set: (name, value) => { writes.push([name, value, requests.length]); storage.set(name, value); } };
  await connect({ url, key: 'k', customerId, storage: watched }).createOrder(LUNGO);
  const [name, value, sentBefore] = writes[0];
  assert.match(name, INTENT);
  assert.equal(sentBefore, 0);
  assert.equal(`"${JSON.parse(value).key}"`, requests[0].headers['idempotency-key']);
  assert.equal(JSON.parse(value).text, requests[0].body);
});

test('an unanswered order that is placed again is the same call, byte for byte', async (t) => {
  const { start, keys, requests } = await app(t, busy, accepted);
  await assert.rejects(start().createOrder({ ...LUNGO, metadata: { a: '1', b: '2' } }), UnavailableError);
  const shuffled = { metadata: { b: '2', a: '1' }, pickup: null, ...LUNGO };
  await start().createOrder(shuffled);
  assert.equal(keys()[0], keys()[1]);
  assert.equal(requests[0].body, requests[1].body);
});

test('another order has another key', async (t) => {
  const { start, keys } = await app(t, busy, accepted);
  const api = start();
  await assert.rejects(api.createOrder(LUNGO), UnavailableError);
  await api.createOrder(ESPRESSO);
  assert.notEqual(keys()[0], keys()[1]);
});

test('after ten minutes, or if the clock jumped by as much, it is a new wish', async (t) => {
  for (const [minutes, isSame] of [[9, true], [11, false], [-9, true], [-11, false]]) {
    const { start, keys, storage } = await app(t, busy, accepted);
    let name;
    const spy = { ...storage, set: (at, value) => { if (INTENT.test(at)) name = at; storage.set(at, value); } };
    await assert.rejects(start({ storage: spy }).createOrder(LUNGO), UnavailableError);
    const intent = JSON.parse(storage.get(name));
    storage.set(name, JSON.stringify({ ...intent, at: intent.at - minutes * 60_000 }));
    await start().createOrder(LUNGO);
    assert.equal(keys()[0] === keys()[1], isSame, `${minutes} minutes`);
  }
});

test('an answered order is forgotten, whether it was accepted or refused', async (t) => {
  for (const answer of [accepted, problem(409, 'price_mismatch'), problem(422, 'idempotency_key_reused'), problem(410, 'order_deleted')]) {
    const { start, keys } = await app(t, answer, accepted);
    await start().createOrder(LUNGO).catch(() => {});
    await start().createOrder(LUNGO);
    assert.notEqual(keys()[0], keys()[1], JSON.stringify(answer.body));
  }
});

const over = (status) => ({ ...accepted, body: order({ status, ongoing: false }) });

test('an unanswered order that ended meanwhile is not the answer to the next wish', async (t) => {
  const ends = ['cancelled', 'rejected', 'failed', 'completed', 'not_collected'].map(over);
  for (const end of [...ends, problem(410, 'order_deleted')]) {
    const { start, keys, requests } = await app(t, busy, end, accepted, accepted);
    await assert.rejects(start().createOrder(LUNGO), UnavailableError);
    const next = await start().createOrder(LUNGO);
    assert.equal(next.status, 'new', JSON.stringify(end.body));
    assert.equal(keys()[0], keys()[1]);
    assert.notEqual(keys()[1], keys()[2]);
    assert.equal(requests[2].body, requests[0].body);
    await start().createOrder(LUNGO);
    assert.notEqual(keys()[2], keys()[3]);
  }
});

test('the guard on the service still decides about an order that was collected meanwhile', async (t) => {
  const similar = problem(409, 'similar_order_ongoing', { revision: 'r2', order: order({ status: 'completed', ongoing: false }) });
  const { start, requests } = await app(t, busy, over('completed'), similar, accepted);
  await assert.rejects(start().createOrder(LUNGO), UnavailableError);
  const api = start();
  const refused = await api.createOrder(LUNGO).catch((error) => error);
  assert.ok(refused instanceof SimilarOrderError);
  assert.equal(requests[2].headers['if-match'], undefined);
  await api.createOrder(LUNGO, { revision: refused.revision });
});

test('a first call is answered with what its own attempts came to, even if that is over', async (t) => {
  for (const end of [over('failed'), problem(410, 'order_deleted')]) {
    const { start, requests, keys } = await app(t, problem(503, 'outcome_unknown', { retryable: true }, { 'retry-after': '0' }), end, accepted);
    const answer = await start().createOrder(LUNGO).catch((error) => error.problem);
    assert.equal(answer.code ?? answer.status, end.body.code ?? 'failed');
    assert.equal(requests.length, 2);
    assert.equal(keys()[0], keys()[1]);
  }
});

test('neither of two taps at once is answered with an order that ended meanwhile', async (t) => {
  const seen = new Map();
  const answer = (response, { headers }) => {
    const key = headers['idempotency-key'];
    if (!seen.has(key)) seen.set(key, seen.size);
    const body = JSON.stringify(seen.get(key) === 0 ? order({ status: 'cancelled', ongoing: false }) : order());
    response.writeHead(202, { 'content-type': 'application/json' }).end(body);
  };
  const { start, keys } = await app(t, busy, answer);
  await assert.rejects(start().createOrder(LUNGO), UnavailableError);
  seen.set(keys()[0], 0);
  const api = start();
  const both = await Promise.all([api.createOrder(LUNGO), api.createOrder(LUNGO)]);
  assert.deepEqual(both.map((one) => one.status), ['new', 'new']);
  assert.equal(keys().filter((key) => key === keys()[0]).length, 3);
});

test('a wish that ended meanwhile does not outlast the time of the call', async (t) => {
  const { start, requests } = await app(t, busy, over('cancelled'), () => {});
  await assert.rejects(start().createOrder(LUNGO), UnavailableError);
  await assert.rejects(start({ timeoutMs: 300 }).createOrder(LUNGO), { name: 'UnavailableError', outcomeUnknown: true });
  assert.ok(requests.length <= 3);
});

test('a refused credential decides nothing: the key is kept', async (t) => {
  const { start, keys } = await app(t, problem(401, 'unauthenticated'), accepted);
  await assert.rejects(start().createOrder(LUNGO), { code: 'unauthenticated' });
  await start().createOrder(LUNGO);
  assert.equal(keys()[0], keys()[1]);
});

test('who has seen a newer list and orders the same again means another one', async (t) => {
  const { start, keys, requests } = await app(t, busy, list('r7', [order()]), accepted);
  const api = start();
  await assert.rejects(api.createOrder(LUNGO), UnavailableError);
  const { revision } = await api.getOngoingOrders();
  await api.createOrder(LUNGO, { revision });
  assert.notEqual(keys()[0], keys()[2]);
  assert.equal(requests[2].headers['if-match'], '"r7"');
});

test('If-Match is sent only if the caller says so, with what this very client has shown', async (t) => {
  const { start, requests } = await app(t, list('r1'), accepted, problem(409, 'similar_order_ongoing', { revision: 'r2', order: order() }), accepted);
  const api = start();
  await api.getOngoingOrders();
  await api.createOrder(LUNGO);
  await assert.rejects(api.createOrder(LUNGO, { revision: 'r2' }), UnseenRevisionError);
  await assert.rejects(api.confirmDraft('d', { revision: 'r2' }), UnseenRevisionError);
  await assert.rejects(api.createOrder(LUNGO), SimilarOrderError);
  await assert.rejects(start().createOrder(LUNGO, { revision: 'r2' }), UnseenRevisionError);
  await api.createOrder(LUNGO, { revision: 'r2' });
  assert.deepEqual(requests.map((request) => request.headers['if-match']), [undefined, undefined, undefined, '"r2"']);
});

test('409 and 412 are never sent again by themselves', async (t) => {
  for (const [status, code] of [[409, 'similar_order_ongoing'], [409, 'order_limit_exceeded'], [409, 'history_diverged'], [412, 'stale_revision']]) {
    const { start, requests } = await app(t, problem(status, code, { retryable: true, revision: 'r9' }, { 'retry-after': '1' }), accepted);
    await assert.rejects(start().createOrder(LUNGO), { code, status });
    assert.equal(requests.length, 1);
  }
});

test('with a storage that fails nothing is sent; with one that holds garbage it goes on', async (t) => {
  const { url, requests } = await fakeLungo(t, accepted);
  const failing = { get: () => { throw new Error('disk'); }, set: async () => { throw new Error('disk'); }, delete: async () => { throw new Error('disk'); } };
  await assert.rejects(connect({ url, key: 'k', customerId, storage: failing }).createOrder(LUNGO), StorageError);
  assert.equal(requests.length, 0);
  for (const garbage of ['', '{', 'null', '[]', '{"key":"x"}', 7, {}, `{"key":"${'a'.repeat(32)}","at":1,"text":"{"}`]) {
    const storage = { ...memoryStorage(), get: () => garbage };
    assert.equal((await connect({ url, key: 'k', customerId, storage }).createOrder(LUNGO)).status, 'new');
  }
});

test('a storage that cannot forget does not make the next order the last one', async (t) => {
  const { start, keys, storage } = await app(t, accepted);
  const api = start({ storage: { ...storage, delete: () => { throw new Error('disk'); } } });
  await api.createOrder(LUNGO);
  await api.createOrder(LUNGO);
  assert.notEqual(keys()[0], keys()[1]);
});

test('an answer to an older wish does not forget a newer one', async (t) => {
  let answerFirst;
  const { start, keys } = await app(t, (response) => { answerFirst = () => response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify(order())); }, busy, accepted);
  const api = start();
  const first = api.createOrder(LUNGO);
  while (!answerFirst) await new Promise(setImmediate);
  await assert.rejects(api.createOrder(ESPRESSO), UnavailableError);
  answerFirst();
  await first;
  await start().createOrder(ESPRESSO);
  assert.equal(keys()[1], keys()[2]);
});

test('customers do not share what is kept', async (t) => {
  const { start, keys } = await app(t, busy, accepted);
  await assert.rejects(start().createOrder(LUNGO), UnavailableError);
  await start({ customerId: 'bob' }).createOrder(LUNGO);
  assert.notEqual(keys()[0], keys()[1]);
  await assert.rejects(start().createOrder({ ...LUNGO, customer_id: 'bob' }), TypeError);
});
