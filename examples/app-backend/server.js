// The backend of a small coffee app, and its page: `node examples/app-backend/server.js [demo.env]`, next to a running
// Lungo. The partner's key stays here; the page has a session. Sign-in is pretended: any name will do.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
// An app with the package installed writes 'lungo-client' and 'lungo-client/file-storage'.
import { connect, ProblemError, UnavailableError, UnseenRevisionError } from '../../client/index.js';
import { fileStorage } from '../../client/file-storage.js';

const SHOP_ID = '01970000-0000-7000-8000-000000000011';
const MOST_CUSTOMERS = 1000;
const MOST_BYTES = 16 * 1024;
const PAGE = readFileSync(new URL('page.html', import.meta.url));

const { LUNGO_URL, LUNGO_PARTNER_KEY } = demoEnv(process.argv[2] ?? 'lungo-data/demo.env');
const storage = fileStorage(process.env.APP_DATA ?? 'app-data');
/** Session → customer. */
const sessions = new Map();
/** One client for each customer who was here lately: it knows which revisions the customer was shown. */
const clients = new Map();

function clientOf(customerId) {
  const api = clients.get(customerId) ?? connect({ url: LUNGO_URL, key: LUNGO_PARTNER_KEY, customerId, storage, timeoutMs: 20_000 });
  clients.delete(customerId);
  clients.set(customerId, api);
  if (clients.size > MOST_CUSTOMERS) clients.delete(clients.keys().next().value);
  return api;
}

/** What the app asks for. `api` is the signed-in customer's client. */
const routes = {
  'GET /api/menu': ({ api }) => api.getMenu(SHOP_ID),

  'GET /api/orders': ({ api }) => api.getOngoingOrders(),

  // Without an answer the app sends the same again, to this process or the next: the client makes it the same order.
  'POST /api/orders': ({ api, body: { lines, total, revision } }) => api.createOrder(
    { shop_id: SHOP_ID, lines, total, payment: { method: 'pm_card_visa' } },
    // The page sends it when the customer saw what there is and said "another one".
    { revision },
  ),

  'POST /api/orders/:id/cancel': async ({ api, customerId, id }) => {
    await ownOrder(api, customerId, id);
    return api.cancelOrder(id);
  },

  'GET /api/orders/:id/progress': async ({ api, customerId, id, request, response }) => {
    await ownOrder(api, customerId, id);
    const gone = new AbortController();
    request.on('close', () => gone.abort());
    response.on('close', () => gone.abort());
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    try {
      for await (const order of api.follow(id, { signal: gone.signal })) {
        response.write(`data: ${JSON.stringify(order)}\n\n`);
      }
      response.write('event: end\ndata:\n\n');
    } catch {
      // The page's EventSource connects again by itself, and goes on from the present version.
    }
    response.end();
  },
};

/** The key opens every customer's orders: which are whose is this backend's to check. */
async function ownOrder(api, customerId, id) {
  const order = await api.getOrder(id);
  if (order.customer_id !== customerId) throw new Refused(404, 'not_found');
}

class Refused extends Error {
  constructor(status, code) {
    super(code);
    Object.assign(this, { status, code });
  }
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://app');
  if (request.method === 'GET' && pathname === '/') {
    return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(PAGE);
  }
  const body = request.method === 'POST' ? await jsonOf(request) : undefined;
  if (request.method === 'POST' && pathname === '/api/session') {
    return signIn(body, response);
  }
  const customerId = sessions.get(/(?:^|; )session=([^;]+)/.exec(request.headers.cookie)?.[1]);
  if (!customerId) throw new Refused(401, 'sign_in');
  const [, id] = /^\/api\/orders\/([^/]+)\//.exec(pathname) ?? [];
  const name = `${request.method} ${id ? pathname.replace(id, ':id') : pathname}`;
  if (!Object.hasOwn(routes, name)) throw new Refused(404, 'not_found');
  const value = await routes[name]({ api: clientOf(customerId), customerId, id, body, request, response });
  if (value) send(response, 200, value);
}

function signIn({ name }, response) {
  if (typeof name !== 'string' || !/^[\p{L}\p{N} ._-]{1,40}$/u.test(name)) throw new Refused(422, 'name');
  const session = randomUUID();
  sessions.set(session, `app-${name}`);
  if (sessions.size > MOST_CUSTOMERS) sessions.delete(sessions.keys().next().value);
  response.setHeader('set-cookie', `session=${session}; HttpOnly; SameSite=Strict; Path=/`);
  send(response, 200, { name });
}

async function jsonOf(request) {
  // Other sites' pages cannot send this type without being asked first.
  const [type] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/json') throw new Refused(415, 'json_only');
  // Decoded as a whole: a part may end inside of a letter.
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > MOST_BYTES) throw new Refused(413, 'too_large');
    parts.push(part);
  }
  try {
    return Object(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))));
  } catch {
    throw new Refused(400, 'bad_json');
  }
}

/** What the page is told of a failure: a code, and what the customer needs to decide again. */
function told(error) {
  if (error instanceof ProblemError && error.status !== 401 && error.status !== 403) {
    const { status, code, problem: { detail, order, orders, revision, present_total } } = error;
    return { status, answer: { code, detail, order, orders, revision, present_total } };
  }
  if (error instanceof UnseenRevisionError) return { status: 412, answer: { code: 'look_again' } };
  if (error instanceof UnavailableError) return { status: 503, answer: { code: 'try_again' }, retryAfter: Math.ceil(error.retryAfter ?? 1) };
  if (error instanceof Refused) return { status: error.status, answer: { code: error.code } };
  if (error instanceof TypeError) return { status: 400, answer: { code: 'bad_request' } };
  console.error(error);
  return { status: 500, answer: { code: 'internal' } };
}

function send(response, status, value, retryAfter) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...(retryAfter && { 'retry-after': retryAfter }) });
  response.end(JSON.stringify(value));
}

function demoEnv(file) {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    console.error(`There is no ${file}: start Lungo first (cargo run --release), or name its demo.env as the argument.`);
    process.exit(1);
  }
  return Object.fromEntries(text.trim().split('\n').map((line) => line.split(/=(.*)/s, 2)));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const { status, answer: value, retryAfter } = told(error);
    if (response.headersSent) response.end();
    else send(response, status, value, retryAfter);
  });
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`The app is on http://127.0.0.1:${server.address().port}`);
});
