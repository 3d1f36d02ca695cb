// An app crashes and orders again, with openapi-fetch and the types that openapi-typescript generates from
// /openapi.json. `.ci/clients` generates the types, compiles this file, and runs it against a server.

import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';
import type { components, paths } from './openapi.js';

const customer_id = 'crash-story-typescript';
const order: components['schemas']['CreateOrder'] = {
  customer_id,
  // No one works in this shop of the demo, so an order stays ongoing for as long as the story needs it.
  shop_id: '01970000-0000-7000-8000-000000000013',
  lines: [{ item_id: 'lungo', quantity: 1, options: ['milk_oat'] }],
  total: { amount: 410, currency: 'EUR' },
  payment: { method: 'pm_card_visa' },
};

/** An app that remembers nothing: neither an idempotency key nor a revision nor a position. */
function freshlyStartedApp() {
  const { LUNGO_URL, LUNGO_PARTNER_KEY } = process.env;
  return createClient<paths>({ baseUrl: LUNGO_URL!, headers: { authorization: `Bearer ${LUNGO_PARTNER_KEY}` } });
}

async function ongoing(app: ReturnType<typeof freshlyStartedApp>) {
  const { data } = await app.GET('/v1/orders/ongoing', { params: { query: { customer_id } } });
  assert(data);
  return data.orders.map(({ order_id }) => order_id).sort();
}

let app = freshlyStartedApp();
assert.deepEqual(await ongoing(app), []);
const first = await app.POST('/v1/orders', { body: order });
assert.equal(first.response.status, 202);
assert(first.data);
const { order_id } = first.data;

// The app crashes before it stores anything, and the customer orders once more.
app = freshlyStartedApp();
const { error } = await app.POST('/v1/orders', { body: order });
if (error?.code !== 'similar_order_ongoing') throw new Error(error?.detail ?? 'A second coffee was ordered.');
console.log(`You already have order ${error.order.order_id}.`);
assert.equal(error.order.order_id, order_id);
assert.deepEqual(await ongoing(app), [order_id]);

// The app has shown the order, and the customer wants a second coffee on purpose.
const header = { 'If-Match': `"${error.revision}"` };
const { data: second } = await app.POST('/v1/orders', { params: { header }, body: order });
assert(second);
assert.notEqual(second.order_id, order_id);
assert.deepEqual(await ongoing(app), [order_id, second.order_id].sort());
