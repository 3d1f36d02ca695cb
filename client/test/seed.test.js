// What an app writes, word for word, and each further call, against the real binary.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, OrderDeletedError, ProblemError, SimilarOrderError, StaleRevisionError } from 'lungo-client';
import { BY_HAND, CENTRAL, ESPRESSO, freshCustomer, LUNGO, startLungo } from './server.js';

let server;
before(async () => { server = await startLungo(); });
after(() => server.stop());

const customer = (customerId = freshCustomer()) => connect({ url: server.url, key: server.key, customerId });
const pending = { ...LUNGO, shop_id: BY_HAND };

test('an app lists, sees nothing, and orders', async () => {
  const { url, key } = server;
  const customerId = freshCustomer();

  const api = connect({ url, key, customerId });
  const { orders } = await api.getOngoingOrders();
  if (orders.length === 0) {
    const order = await api.createOrder({
      shop_id: CENTRAL,
      lines: [{ item_id: 'lungo', quantity: 2, options: ['milk_oat'] }],
      total: { amount: 820, currency: 'EUR' },
      payment: { method: 'pm_card_visa' },
    });
    assert.equal(order.status, 'new');
    assert.deepEqual((await api.getOngoingOrders()).orders.map((one) => one.order_id), [order.order_id]);
  }
  assert.equal(orders.length, 0);
});

test('an app that crashed and forgot all is refused a second coffee until the customer wants one', async () => {
  const customerId = freshCustomer();
  assert.deepEqual((await customer(customerId).getOngoingOrders()).orders, []);
  const { order_id } = await customer(customerId).createOrder(pending);

  const restarted = customer(customerId);
  const refused = await restarted.createOrder(pending).catch((error) => error);
  assert.ok(refused instanceof SimilarOrderError);
  assert.equal(refused.order.order_id, order_id);
  assert.deepEqual((await restarted.getOngoingOrders()).orders.map((order) => order.order_id), [order_id]);

  const second = await restarted.createOrder(pending, { revision: refused.revision });
  assert.notEqual(second.order_id, order_id);
});

test('an order on a list that has changed since is refused, with the orders that are there now', async () => {
  const customerId = freshCustomer();
  const [phone, watch] = [customer(customerId), customer(customerId)];
  const { revision } = await phone.getOngoingOrders();
  const { order_id } = await watch.createOrder(pending);
  const refused = await phone.createOrder(ESPRESSO, { revision }).catch((error) => error);
  assert.ok(refused instanceof StaleRevisionError);
  assert.deepEqual(refused.orders.map((order) => order.order_id), [order_id]);
  await phone.createOrder(ESPRESSO, { revision: refused.revision });
});

test('two taps at once are one order', async () => {
  const api = customer();
  const [one, other] = await Promise.all([api.createOrder(pending), api.createOrder(pending)]);
  assert.equal(one.order_id, other.order_id);
});

test('an order is read, explained, changed, cancelled and deleted', async () => {
  const api = customer();
  const { order_id, version } = await api.createOrder(pending);
  assert.equal((await api.getOrder(order_id)).order_id, order_id);
  assert.match((await api.whyOrder(order_id)).sentence, /\w/);
  assert.equal((await api.getOrderEvents(order_id)).events[0].type, 'created');
  assert.deepEqual((await api.getOrderEvents(order_id, { after: 99 })).events, []);
  assert.equal((await api.putPickup(order_id, { type: 'counter', note: 'red coat' })).pickup.note, 'red coat');
  const stale = await api.putPickup(order_id, { type: 'counter', note: 'blue' }, { version }).catch((error) => error);
  assert.equal(stale.code, 'stale_version');
  await waitFor(async () => (await api.getOrder(order_id)).allowed_actions.includes('report_arrival'));
  assert.ok((await api.reportArrival(order_id)).arrived_at);
  assert.equal((await api.cancelOrder(order_id)).status, 'cancelled');
  assert.equal((await api.getOngoingOrders()).recently_closed[0].order_id, order_id);
  assert.equal((await api.deleteOrder(order_id)).order_id, order_id);
  await assert.rejects(api.getOrder(order_id), OrderDeletedError);
});

test('a draft is priced, replaced, and confirmed as often as one likes', async () => {
  const api = customer();
  const { total: _, ...basket } = pending;
  const draft = await api.createDraft(basket);
  assert.equal(draft.total.amount, 410);
  const replaced = await api.putDraft(draft.order_id, { ...basket, lines: [{ item_id: 'lungo', quantity: 1 }] });
  assert.equal(replaced.total.amount, 350);
  const order = await api.confirmDraft(draft.order_id);
  assert.equal((await api.confirmDraft(draft.order_id)).order_id, order.order_id);
  assert.equal((await api.getDraft(draft.order_id)).confirmed, true);
});

test('shops and menus are read, and histories page by page', async () => {
  const api = customer();
  const { shops } = await api.listShops();
  const { items } = await api.getMenu(shops.find((shop) => shop.shop_id === CENTRAL).shop_id);
  assert.ok(items.some((item) => item.item_id === 'lungo'));
  for (const one of [pending, ESPRESSO]) await api.createOrder(one);
  const newest = await api.listOrders({ limit: 1 });
  const older = await api.listOrders({ limit: 1, cursor: newest.cursor });
  assert.deepEqual([...newest.orders, ...older.orders].map((order) => order.lines[0].item_id), ['espresso', 'lungo']);
});

test('what the service refuses is told with all its faults', async () => {
  const wrong = { ...LUNGO, lines: [{ item_id: 'lungo', quantity: 0 }], total: { amount: -1, currency: 'EUR' } };
  const refused = await customer().createOrder(wrong).catch((error) => error);
  assert.ok(refused instanceof ProblemError);
  assert.deepEqual(refused.errors.map((fault) => fault.pointer).sort(), ['/lines/0/quantity', '/total/amount']);
  const dear = await customer().createOrder({ ...LUNGO, total: { amount: 1, currency: 'EUR' } }).catch((error) => error);
  assert.equal(dear.presentTotal.amount, 410);
});

test('an order is followed to its end, and is not ordered again by an app that forgot that it has it', async () => {
  const customerId = freshCustomer();
  const api = customer(customerId);
  const { order_id } = await api.createOrder(LUNGO);
  const versions = [];
  let last;
  for await (const order of api.follow(order_id)) {
    versions.push(order.version);
    last = order;
  }
  assert.equal(last.status, 'completed');
  assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b));

  // The list is empty and its revision is known: sent along by itself, it would say "another one".
  const restarted = customer(customerId);
  assert.deepEqual((await restarted.getOngoingOrders()).orders, []);
  await assert.rejects(restarted.createOrder(LUNGO), SimilarOrderError);
});

test('a server that is killed and started again answers the same call with the same order', async (t) => {
  const mortal = await startLungo();
  t.after(() => mortal.stop());
  for (const deathMs of [0, 2, 5, 10]) {
    const customerId = freshCustomer();
    const api = connect({ url: mortal.url, key: mortal.key, customerId, attemptTimeoutMs: 2000 });
    const ordered = api.createOrder(pending);
    await new Promise((resolve) => { setTimeout(resolve, deathMs); });
    await mortal.kill9();
    await mortal.restart();
    const { order_id } = await ordered;
    assert.deepEqual((await api.listOrders()).orders.map((order) => order.order_id), [order_id], `after ${deathMs} ms`);
  }
});

async function waitFor(condition) {
  const end = Date.now() + 30_000;
  while (!await condition()) {
    assert.ok(Date.now() < end, 'in vain');
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}
