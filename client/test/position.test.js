// How far the customer has seen goes with every list, also after a restart.

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, memoryStorage, webStorage } from 'lungo-client';
import { fileStorage } from 'lungo-client/file-storage';
import { accepted, directory, fakeLungo, list, LUNGO, order, problem } from './server.js';

const at = (position, step) => ({ ...step, headers: { ...step.headers, 'lungo-position': position } });
const connected = (url, storage) => connect({ url, key: 'k', customerId: 'ada', storage });
const positionsSent = (requests) => requests.map((request) => request.headers['lungo-position']);

test('what is read is asked for at the position of the newest answer, a list also by the next process', async (t) => {
  const { url, requests } = await fakeLungo(t, at('p1', accepted), at('p2', list()), at('p3', { body: order() }), at('p4', list()));
  const storage = fileStorage(join(await directory(t), 'kept'));
  const api = connected(url, storage);
  await api.createOrder(LUNGO);
  await connected(url, storage).getOngoingOrders();
  await api.getOrder('o');
  await api.getOngoingOrders();
  assert.deepEqual(positionsSent(requests), [undefined, 'p1', 'p1', 'p3']);
});

test('a refusal has a position too', async (t) => {
  const { url, requests } = await fakeLungo(t, problem(409, 'similar_order_ongoing', {}, { 'lungo-position': 'p1' }), list());
  const api = connected(url);
  await api.createOrder(LUNGO).catch(() => {});
  await api.getOngoingOrders();
  assert.equal(requests[1].headers['lungo-position'], 'p1');
});

test('a late answer to an older reading does not take the position back', async (t) => {
  let answerOld;
  const late = (response) => { answerOld = () => response.writeHead(200, { 'content-type': 'application/json', 'lungo-position': 'old' }).end(JSON.stringify(order())); };
  const { url, requests } = await fakeLungo(t, late, at('new', accepted), list());
  const api = connected(url);
  const old = api.getOrder('o');
  while (!answerOld) await new Promise(setImmediate);
  await api.createOrder(LUNGO);
  answerOld();
  await old;
  await api.getOngoingOrders();
  assert.equal(requests[2].headers['lungo-position'], 'new');
});

test('a position that the database lost is told and forgotten', async (t) => {
  const { url, requests } = await fakeLungo(t, at('ahead', list()), problem(409, 'history_diverged', { position: 'back' }), list());
  const storage = memoryStorage();
  await connected(url, storage).getOngoingOrders();
  const api = connected(url, storage);
  await assert.rejects(api.getOngoingOrders(), { code: 'history_diverged' });
  await connected(url, storage).getOngoingOrders();
  assert.deepEqual(positionsSent(requests), [undefined, 'ahead', 'back']);
});

test('an order is followed across a failover that lost the position', async (t) => {
  const { url, requests } = await fakeLungo(t, at('ahead', list()), problem(409, 'history_diverged', { position: 'back' }), { body: order({ ongoing: false }) });
  const api = connected(url);
  await api.getOngoingOrders();
  const versions = [];
  for await (const { version } of api.follow('o')) versions.push(version);
  assert.equal(versions.length, 1);
  assert.deepEqual(positionsSent(requests), [undefined, 'ahead', 'back']);
});

test('stored garbage is no position', async (t) => {
  const { url, requests } = await fakeLungo(t, problem(400, 'invalid_position'), list());
  const holding = (text) => ({ ...memoryStorage(), get: () => text });
  await connected(url, holding('garbage')).getOngoingOrders();
  assert.deepEqual(positionsSent(requests), ['garbage', undefined]);
  for (const text of ['', 'a b', 'ü', 'x'.repeat(513), 7, null]) {
    await connected(url, holding(text)).getOngoingOrders();
    assert.equal(requests.at(-1).headers['lungo-position'], undefined);
  }
});

test('a storage that fails costs the position, not the list', async (t) => {
  const { url, requests } = await fakeLungo(t, at('p1', list()));
  const fails = () => { throw new Error('disk'); };
  const api = connected(url, { get: fails, set: fails, delete: fails });
  await api.getOngoingOrders();
  await api.getOngoingOrders();
  assert.deepEqual(positionsSent(requests), [undefined, 'p1']);
});

test('files hold what was set last, and nobody else may read them', async (t) => {
  const path = join(await directory(t), 'new', 'kept');
  const storage = fileStorage(path);
  assert.equal(await storage.get('a/../b'), undefined);
  await storage.delete('a/../b');
  await Promise.all(Array.from({ length: 20 }, (_, i) => storage.set('a/../b', `value ${i}`)));
  assert.match(await storage.get('a/../b'), /^value \d+$/);
  await storage.set('a/../b', 'last ü');
  assert.equal(await fileStorage(path).get('a/../b'), 'last ü');
  const files = await readdir(path);
  assert.equal(files.length, 1);
  assert.equal(await readFile(join(path, files[0]), 'utf8'), 'last ü');
  await storage.delete('a/../b');
  assert.equal(await storage.get('a/../b'), undefined);
});

test('what a killed process left half-written is swept, what another one is writing is not', async (t) => {
  const path = await directory(t);
  for (const name of ['old.tmp', 'new.tmp']) await writeFile(join(path, name), '{"key":"');
  await utimes(join(path, 'old.tmp'), 1, 1);
  await fileStorage(path).set('a', '1');
  assert.deepEqual((await readdir(path)).filter((name) => name.endsWith('.tmp')), ['new.tmp']);
});

test('a directory that cannot be written is an error, and no longer one when it can', async (t) => {
  const path = join(await directory(t), 'kept');
  await writeFile(path, 'a file stands in the way');
  const storage = fileStorage(path);
  await assert.rejects(storage.set('a', '1'));
  const other = join(await directory(t), 'kept');
  await mkdir(other);
  await fileStorage(other).set('a', '1');
});

test('a browser keeps it in its own storage', () => {
  const kept = {};
  const storage = webStorage({
    getItem: (name) => kept[name] ?? null,
    setItem: (name, value) => { kept[name] = value; },
    removeItem: (name) => { delete kept[name]; },
  });
  assert.equal(storage.get('a'), undefined);
  storage.set('a', '1');
  assert.equal(storage.get('a'), '1');
  storage.delete('a');
  assert.deepEqual(kept, {});
});
