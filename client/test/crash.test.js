// Killed between any two lines, with or without what was kept: one wish, one order; and an order that ended while the
// app was dead does not take the next wish's place.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from 'lungo-client';
import { fileStorage } from 'lungo-client/file-storage';
import { BY_HAND, directory, freshCustomer, LUNGO, startLungo } from './server.js';

const NAIVE = fileURLToPath(new URL('naive.js', import.meta.url));
/** Nobody takes it: it is ongoing as long as the test needs it. */
const ORDER = { ...LUNGO, shop_id: BY_HAND };
const SEED = 20_260_711;

let server;
/** Its lists are up to date: an order that has ended is never shown as ongoing. */
let prompt;
// A restarted app is shown a list that may be three seconds old: mostly one from before its order.
before(async () => { [server, prompt] = await Promise.all([startLungo('--replica-lag', '3s'), startLungo()]); });
after(() => Promise.all([server.stop(), prompt.stop()]));

/** Runs the app once: the order it ended with and how it came to it, or `undefined` if it was killed. */
async function run(customer, kept, { at = server, killAt, killAfterMs, delayMs } = {}) {
  const env = {
    PATH: process.env.PATH, URL_OF: at.url, KEY: at.key, CUSTOMER: customer, ORDER: JSON.stringify(ORDER),
    ...(kept && { KEPT: kept }), ...(killAt && { KILL_AT: String(killAt) }), ...(delayMs && { DELAY_MS: String(delayMs) }),
  };
  const child = spawn(process.execPath, [NAIVE], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = killAfterMs && setTimeout(() => child.kill('SIGKILL'), killAfterMs);
  let said = '';
  child.stdout.on('data', (bytes) => { said += bytes; });
  child.stderr.on('data', (bytes) => { said += bytes; });
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  assert.ok(code === 0 || signal === 'SIGKILL', said);
  return signal ? undefined : JSON.parse(said);
}

async function ordersOf(customer) {
  const api = connect({ url: server.url, key: server.key, customerId: customer });
  return (await api.listOrders()).orders.map((order) => order.order_id);
}

const another = (customer) => connect({ url: prompt.url, key: prompt.key, customerId: customer });

/** Ends all that the customer has, as another device or the shop would. How many there were. */
async function endAllOf(customer) {
  const api = another(customer);
  const { orders } = await api.listOrders();
  const live = orders.filter(({ ongoing }) => ongoing);
  for (const { order_id } of live) await api.cancelOrder(order_id);
  return live.length;
}

/** Of the customer's orders exactly this one is ongoing. How many there are. */
async function assertOneIsLive(customer, order, message) {
  const { orders } = await another(customer).listOrders();
  assert.deepEqual(orders.filter(({ ongoing }) => ongoing).map((one) => one.order_id), [order], message);
  return orders.length;
}

for (const keeps of [true, false]) {
  describe(keeps ? 'with its storage' : 'with all that it kept lost', { concurrency: 2 }, () => {
    const restarted = async (t) => (keeps ? join(await directory(t), 'kept') : undefined);

    test('killed at each step, an app that starts over ends with one order', async (t) => {
      let killAt = 1;
      for (; ; killAt++) {
        const [customer, kept] = [freshCustomer(), await restarted(t)];
        const finished = await run(customer, kept, { killAt });
        const { order, wasGuarded } = await run(customer, kept);
        assert.deepEqual(await ordersOf(customer), [order], `killed at step ${killAt}`);
        // Who kept the key and the position knows it himself, however old the lists are.
        if (keeps) assert.equal(wasGuarded, false, `killed at step ${killAt}`);
        if (finished) break;
      }
      assert.ok(killAt > 20, `only ${killAt} steps: is there still something to kill?`);
    });

    test('killed again and again at any moment, it ends with one order', async (t) => {
      const random = randomNumbers(SEED + Number(keeps));
      for (let round = 0; round < 5; round++) {
        const [customer, kept] = [freshCustomer(), await restarted(t)];
        for (let kills = 0; kills < 3; kills++) {
          await run(customer, kept, random() < 0.5
            ? { killAt: 1 + Math.floor(random() * 24), delayMs: Math.floor(random() * 12) }
            : { killAfterMs: 40 + Math.floor(random() * 160) });
        }
        const { order } = await run(customer, kept);
        assert.deepEqual(await ordersOf(customer), [order], `round ${round} of seed ${SEED}`);
      }
    });
  });
}

describe('when its order ends while it is dead', { concurrency: 2 }, () => {
  test('killed at each step, an app that starts over gets a live order', async (t) => {
    for (let killAt = 1, finished = false; !finished; killAt++) {
      const [customer, kept] = [freshCustomer(), join(await directory(t), 'kept')];
      finished = await run(customer, kept, { at: prompt, killAt });
      await endAllOf(customer);
      const { order } = await run(customer, kept, { at: prompt });
      await assertOneIsLive(customer, order, `killed at step ${killAt}`);
      // The shop has a limit of orders in progress.
      await endAllOf(customer);
    }
  });

  test('killed at each step of finding that out, it gets one live order', async (t) => {
    for (let killAt = 1, finished = false; !finished; killAt++) {
      const [customer, kept] = [freshCustomer(), join(await directory(t), 'kept')];
      // Its order is made, and the answer is lost.
      const lost = new AbortController();
      const deaf = async (url, { signal: _, ...init }) => { await fetch(url, init); lost.abort(); };
      const api = connect({ url: prompt.url, key: prompt.key, customerId: customer, storage: fileStorage(kept), fetch: deaf });
      await assert.rejects(api.createOrder(ORDER, { signal: lost.signal }), { name: 'AbortError' });
      assert.equal(await endAllOf(customer), 1);
      finished = await run(customer, kept, { at: prompt, killAt });
      const { order } = await run(customer, kept, { at: prompt });
      assert.equal(await assertOneIsLive(customer, order, `killed at step ${killAt}`), 2, `killed at step ${killAt}`);
      await endAllOf(customer);
    }
  });
});

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
