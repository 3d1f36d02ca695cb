// Compiled and never run: what an app writes, and what must not compile.

import { connect, ProblemError, SimilarOrderError, StaleRevisionError, type NewOrder, type Order } from 'lungo-client';
import { fileStorage } from 'lungo-client/file-storage';

const [url, key, customerId] = ['https://lungo.example', 'k', 'ada'];

export async function asIsWritten(coffee: NewOrder): Promise<Order | undefined> {
  const api = connect({ url, key, customerId });
  const { orders } = await api.getOngoingOrders();
  if (orders.length === 0) {
    const order = await api.createOrder(coffee);
    return order;
  }
  return orders[0];
}

export async function everyCall(id: string, coffee: NewOrder, signal: AbortSignal) {
  const api = connect({
    url: new URL(url), customerId, storage: fileStorage('kept'), headers: async () => ({ cookie: 'session=1' }), fetch,
    timeoutMs: 1, attemptTimeoutMs: 1, allowPlainHttp: true,
  });
  const { revision, recently_closed } = await api.getOngoingOrders({ signal });
  const order = await api.createOrder(coffee, { revision, timeoutMs: 1 });
  const status: 'new' | 'ready' | undefined = order.status === 'new' || order.status === 'ready' ? order.status : undefined;
  const cents: number = order.amount_due.amount + recently_closed.length;
  const cursor: string = (await api.listOrders({ limit: 5 })).cursor;
  const events = (await api.getOrderEvents(id, { after: 3 })).events.map((event) => event.type);
  const why: string = (await api.whyOrder(id)).sentence;
  const until: string = (await api.createDraft({ shop_id: id, lines: [{ item_id: 'x', quantity: 1 }], payment: { method: 'm' } })).valid_until;
  const items = (await api.getMenu((await api.listShops()).shops[0]!.shop_id)).items.map((item) => item.price.amount);
  const deleted: string = (await api.deleteOrder(id)).deleted_at;
  await api.putPickup(id, { type: 'counter', note: 'red coat', name: 'Ada' }, { version: order.version });
  for await (const seen of api.follow(id, { signal })) if (!seen.ongoing) return seen.reason?.code;
  return [status, cents, cursor, events, why, until, items, deleted];
}

export function whatIsWrong(error: unknown): Order[] {
  if (error instanceof SimilarOrderError) return [error.order];
  if (error instanceof StaleRevisionError) return error.orders;
  // Each code has its members, also where it has no class of its own.
  if (error instanceof ProblemError && error.problem.code === 'order_limit_exceeded') return Array(error.problem.limit);
  return [];
}

export async function wrong(coffee: NewOrder) {
  // @ts-expect-error whose orders?
  connect({ url, key });
  const api = connect({ url, key, customerId });
  // @ts-expect-error an order needs its lines
  await api.createOrder({ shop_id: 's', total: { amount: 1, currency: 'EUR' }, payment: { method: 'm' } });
  // @ts-expect-error the customer was said to connect
  await api.createOrder({ ...coffee, customer_id: 'eve' } satisfies NewOrder);
  // @ts-expect-error money is in minor units, a number
  await api.createOrder({ ...coffee, total: { amount: '4.10', currency: 'EUR' } });
  // @ts-expect-error a revision, not a whole list
  await api.createOrder(coffee, { revision: await api.getOngoingOrders() });
  // @ts-expect-error there is no such status
  const isDone = (await api.getOrder('id')).status === 'done';
  // @ts-expect-error only some problems hold an order
  if (isDone instanceof ProblemError) void isDone.problem.order;
  // @ts-expect-error one order is followed, not a list
  for await (const order of api.follow([])) void order;
  // @ts-expect-error a storage can forget
  connect({ url, key, customerId, storage: { get: () => '', set: () => {} } });
  return isDone;
}
