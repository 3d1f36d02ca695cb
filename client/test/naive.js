// The app of the crash tests, as naive as can be: it lists, sees nothing, and orders. It ends itself with SIGKILL
// before its step KILL_AT, where a step is each touch of its storage and each moment of a request.

import { connect, memoryStorage, SimilarOrderError } from 'lungo-client';
import { fileStorage } from 'lungo-client/file-storage';

const { URL_OF, KEY, CUSTOMER, ORDER, KEPT, KILL_AT, DELAY_MS } = process.env;
const killAt = Number(KILL_AT ?? Infinity);
let steps = 0;

function step() {
  if (++steps === killAt) process.kill(process.pid, 'SIGKILL');
}

function stepping(storage) {
  const around = (method) => async (...args) => {
    step();
    const result = await storage[method](...args);
    step();
    return result;
  };
  return { get: around('get'), set: around('set'), delete: around('delete') };
}

async function steppingFetch(url, init) {
  step();
  const answer = fetch(url, init);
  // The request is on its way: somewhere between here and a committed order that nobody was told of.
  answer.catch(() => {});
  await new Promise((resolve) => { setTimeout(resolve, Number(DELAY_MS ?? 0)); });
  step();
  const response = await answer;
  step();
  const text = await response.text();
  step();
  return new Response(response.status === 204 ? null : text, { status: response.status, headers: response.headers });
}

const storage = stepping(KEPT ? fileStorage(KEPT) : memoryStorage());
const api = connect({ url: URL_OF, key: KEY, customerId: CUSTOMER, storage, fetch: steppingFetch });

const end = (order, how) => console.log(JSON.stringify({ order: order.order_id, wasGuarded: how === 'guarded' }));
const { orders } = await api.getOngoingOrders();
step();
if (orders.length === 0) {
  try {
    const order = await api.createOrder(JSON.parse(ORDER));
    step();
    end(order);
  } catch (error) {
    if (!(error instanceof SimilarOrderError)) throw error;
    end(error.order, 'guarded');
  }
} else {
  end(orders[0]);
}
