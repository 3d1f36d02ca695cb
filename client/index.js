// The client of an app that sells coffee: one customer's view of Lungo's partner API. See README.md for what it
// keeps and when it repeats; index.d.ts describes every call.

import { OrderDeletedError, ProblemError, UnavailableError, UnseenRevisionError, problemError } from './errors.js';
import { exchanger, sleep } from './exchange.js';
import { intents } from './intent.js';

export {
  HistoryDivergedError, LungoError, OrderDeletedError, PriceMismatchError, ProblemError, ShopNotAcceptingError,
  SimilarOrderError, SlotTooSoonError, StaleRevisionError, StorageError, UnavailableError, UnexpectedAnswerError,
  UnseenRevisionError,
} from './errors.js';

/** Between two looks where the service did not say how long to wait. */
const LOOK_AGAIN_MS = 2000;

export function connect({
  url, key, customerId, storage = memoryStorage(), headers, fetch = globalThis.fetch.bind(globalThis),
  allowPlainHttp = false, timeoutMs = 30_000, attemptTimeoutMs = 10_000,
}) {
  const base = checkedUrl(url, allowPlainHttp);
  // Not quoted: whatever it is, it is meant to be secret.
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) throw new TypeError('key: not a key of Lungo');
  if (typeof customerId !== 'string' || customerId === '') throw new TypeError('customerId: a text is needed');
  const exchange = exchanger({ base, key, headers, fetch, timeoutMs, attemptTimeoutMs });
  const at = `lungo:${base.host}${base.pathname}:${customerId}`;
  const wishes = intents(storage, `${at}:intent`);
  const positions = newestPosition(storage, `${at}:position`);
  /** Revisions that this client has handed to its caller: only from these can the customer have seen the orders. */
  const shown = new Set();

  /** One call with its decision: returns an answer, or throws the problem. */
  async function ask(call, { signal, timeoutMs: within } = {}, isAgain = false) {
    const position = call.isAtLeast ? await positions.newest() : undefined;
    const headers = { ...call.headers, 'lungo-position': position };
    const asked = positions.asked();
    const answer = await exchange({ ...call, headers, signal, within });
    await positions.answered(asked, answer, call);
    if (answer.value) return answer;
    // What was stored is not a position, and is forgotten now. The service has done nothing.
    if (position !== undefined && !isAgain && answer.problem.code === 'invalid_position') {
      return ask(call, { signal, timeoutMs: within }, true);
    }
    const error = problemError(answer);
    if (typeof error.revision === 'string') shown.add(error.revision);
    throw error;
  }

  const valueOf = async (call, options) => (await ask(call, options)).value;
  const orderPath = (orderId, rest = '') => `/v1/orders/${checkedId(orderId)}${rest}`;
  const own = (order) => {
    if (order?.customer_id !== undefined && order.customer_id !== customerId) {
      throw new TypeError('customer_id: this client was connected for another customer');
    }
    return { ...order, customer_id: customerId };
  };
  /** `If-Match` says "the customer has seen this and wants another one": nobody but this caller can know. */
  const ifMatch = (revision) => {
    if (revision === undefined) return {};
    if (!shown.has(revision)) {
      throw new UnseenRevisionError('revision: not one that this client has given to its caller; list the orders, show them, and let the customer decide again');
    }
    return { 'if-match': `"${revision}"` };
  };

  const api = {
    async getOngoingOrders(options) {
      const call = {
        name: 'getOngoingOrders', path: '/v1/orders/ongoing', query: { customer_id: customerId }, expects: isList,
        keepsPosition: true, isAtLeast: true,
      };
      const { value } = await ask(call, options);
      shown.add(value.revision);
      return value;
    },

    async createOrder(order, { revision, ...options } = {}) {
      const precondition = ifMatch(revision);
      options.signal?.throwIfAborted();
      const { timeoutMs: within = timeoutMs } = options;
      const end = performance.now() + within;
      for (;;) {
        const wish = await wishes.begin(own(order), revision);
        const call = {
          name: 'createOrder', method: 'POST', path: '/v1/orders', text: wish.text, expects: isOrder,
          headers: { 'idempotency-key': `"${wish.key}"`, ...precondition },
        };
        try {
          const value = await valueOf(call, { ...options, timeoutMs: end - performance.now() });
          await wishes.settle(wish);
          // An earlier call's order, and it is over: this call is a new wish. The service's guard still holds.
          if (!(wish.isRepeated && value.ongoing === false)) return value;
        } catch (error) {
          // A refused credential says nothing about what became of an earlier attempt.
          if (error instanceof ProblemError && error.status !== 401 && error.status !== 403) await wishes.settle(wish);
          if (!(wish.isRepeated && error instanceof OrderDeletedError)) throw error;
        } finally {
          wishes.leave(wish);
        }
        options.signal?.throwIfAborted();
      }
    },

    getOrder: (orderId, options) => valueOf({ name: 'getOrder', isAtLeast: true, path: orderPath(orderId), expects: isOrder }, options),

    listOrders: ({ cursor, limit, ...options } = {}) => valueOf({
      name: 'listOrders', isAtLeast: true, path: '/v1/orders', query: { customer_id: customerId, cursor, limit }, expects: has('orders'),
    }, options),

    getOrderEvents: (orderId, { after, ...options } = {}) => valueOf({
      name: 'getOrderEvents', isAtLeast: true, path: orderPath(orderId, '/events'), query: { after }, expects: has('events'),
    }, options),

    whyOrder: (orderId, options) => valueOf({ name: 'whyOrder', isAtLeast: true, path: orderPath(orderId, '/why'), expects: isOrder }, options),

    cancelOrder: (orderId, options) => valueOf({
      name: 'cancelOrder', isAtLeast: true, method: 'POST', path: orderPath(orderId, '/cancel'), expects: isOrder,
    }, options),

    async deleteOrder(orderId, options) {
      try {
        return await valueOf({ name: 'deleteOrder', isAtLeast: true, method: 'DELETE', path: orderPath(orderId), expects: isOrder }, options);
      } catch (error) {
        // The first attempt did it, and its answer was lost.
        if (!(error instanceof OrderDeletedError && error.repeated)) throw error;
        const { order_id, deleted_at, payment } = error.problem;
        return { order_id, deleted_at, payment };
      }
    },

    putPickup: (orderId, pickup, { version, ...options } = {}) => valueOf({
      name: 'putPickup', isAtLeast: true, method: 'PUT', path: orderPath(orderId, '/pickup'), text: JSON.stringify(pickup), expects: isOrder,
      headers: { 'if-match': version === undefined ? undefined : `"${version}"` },
    }, options),

    reportArrival: (orderId, options) => valueOf({
      name: 'reportArrival', isAtLeast: true, method: 'POST', path: orderPath(orderId, '/arrival'), expects: isOrder,
    }, options),

    createDraft: (order, options) => valueOf({
      name: 'createDraft', method: 'POST', path: '/v1/drafts', text: JSON.stringify(own(order)), expects: isOrder,
    }, options),

    getDraft: (orderId, options) => valueOf({
      name: 'getDraft', path: `/v1/drafts/${checkedId(orderId)}`, expects: isOrder,
    }, options),

    putDraft: (orderId, order, options) => valueOf({
      name: 'putDraft', method: 'PUT', path: `/v1/drafts/${checkedId(orderId)}`, text: JSON.stringify(own(order)), expects: isOrder,
    }, options),

    /** The draft's id is the key: nothing has to be kept. */
    confirmDraft: async (orderId, { revision, ...options } = {}) => valueOf({
      name: 'confirmDraft', method: 'PUT', path: `/v1/drafts/${checkedId(orderId)}/confirmation`,
      text: '{"confirmed":true}', headers: ifMatch(revision), expects: isOrder,
    }, options),

    listShops: (options) => valueOf({ name: 'listShops', path: '/v1/shops', expects: has('shops') }, options),

    getMenu: (shopId, options) => valueOf({
      name: 'getMenu', path: `/v1/shops/${checkedId(shopId)}/menu`, expects: has('items'),
    }, options),

    async *follow(orderId, { signal } = {}) {
      const call = { name: 'follow', isAtLeast: true, path: orderPath(orderId), expects: isOrder };
      let version;
      for (;;) {
        let waitMs = LOOK_AGAIN_MS;
        try {
          const { value: order, retryAfter } = await ask(call, { signal });
          // Unequal rather than greater: after a lossy failover the lower version is the truth.
          if (order.version !== version) yield order;
          if (!order.ongoing) return;
          version = order.version;
          waitMs = retryAfter === undefined ? untilMs(order.next_poll_at) : retryAfter * 1000;
        } catch (error) {
          // Only a final status means an end: a failed poll never does, nor a position that a failover lost.
          if (!(error instanceof UnavailableError || error.code === 'history_diverged')) throw error;
          if (error.retryAfter !== undefined) waitMs = error.retryAfter * 1000;
        }
        await sleep(waitMs, signal);
      }
    },
  };
  return api;
}

/** Keeps until the process ends. */
export function memoryStorage() {
  const kept = new Map();
  return {
    get: (name) => kept.get(name),
    set: (name, value) => void kept.set(name, value),
    delete: (name) => void kept.delete(name),
  };
}

/** Keeps in a browser's `localStorage` (or `sessionStorage`), shared by all tabs of the app. */
export function webStorage(area = globalThis.localStorage) {
  return {
    get: (name) => area.getItem(name) ?? undefined,
    set: (name, value) => area.setItem(name, value),
    delete: (name) => area.removeItem(name),
  };
}

/**
 * How far this customer has seen. Positions cannot be compared, but an answer is never older than the position its
 * request was sent with: what was asked before the newest position came may be older, and a read's is then dropped.
 * A write's is kept, since its caller must see what it wrote; of two writes under way at once, the later answer's.
 * Losing a position costs freshness, never a coffee, so that a failing storage is no error here.
 */
function newestPosition(storage, name) {
  let position;
  let stored;
  let changes = 0;
  let loading;
  const load = async () => {
    stored = await storage.get(name);
    if (changes === 0 && typeof stored === 'string' && /^[\x21-\x7e]{1,512}$/.test(stored)) position = stored;
  };

  return {
    asked: () => changes,
    async newest() {
      await (loading ??= load().catch(() => {}));
      return position;
    },
    async answered(asked, { position: next, problem }, { method = 'GET', keepsPosition = method !== 'GET' }) {
      const isLost = problem?.code === 'history_diverged' || problem?.code === 'invalid_position';
      next ??= problem?.position;
      const isNewest = next !== undefined && (method !== 'GET' || asked === changes);
      if (!isLost && !isNewest) return;
      if (next !== position) changes += 1;
      position = next;
      if (position === stored || !(keepsPosition || isLost)) return;
      stored = position;
      try {
        await (position === undefined ? storage.delete(name) : storage.set(name, position));
      } catch {
        stored = undefined;
      }
    },
  };
}

const isOrder = (document) => typeof document.order_id === 'string';
const has = (list) => (document) => Array.isArray(document[list]);
const isList = (document) => Array.isArray(document.orders) && typeof document.revision === 'string';

function untilMs(time) {
  const ms = Date.parse(time) - Date.now();
  return Number.isNaN(ms) ? LOOK_AGAIN_MS : Math.max(1000, ms);
}

function checkedUrl(url, allowPlainHttp) {
  const base = new URL(url, globalThis.location?.href);
  if (base.username || base.password || base.search || base.hash) {
    throw new TypeError('url: only scheme, host, port and path');
  }
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(base.hostname);
  if (base.protocol !== 'https:' && !(base.protocol === 'http:' && (isLoopback || allowPlainHttp))) {
    throw new TypeError('url: https is needed, since whoever reads the key can order; allowPlainHttp is for a network of your own');
  }
  return base;
}

/** What could change the path is no id. */
function checkedId(id) {
  if (typeof id !== 'string' || !/^[0-9A-Za-z-]{1,64}$/.test(id)) throw new TypeError('an id of Lungo is needed');
  return id;
}
