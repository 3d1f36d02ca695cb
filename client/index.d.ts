// The public types. What is sent and answered is derived from openapi.d.ts, which is made from the service's own
// OpenAPI document.

import type { components, operations } from './openapi.js';

type Schemas = components['schemas'];
type Answer<Name extends keyof operations, Status> = operations[Name]['responses'] extends infer Responses
  ? Status extends keyof Responses
    ? Responses[Status] extends { content: { 'application/json': infer Body } } ? Body : never
    : never
  : never;

export type Order = Schemas['OrderView'];
export type Draft = Schemas['DraftView'];
export type OngoingOrders = Answer<'getOngoingOrders', 200>;
export type OrderPage = Answer<'listOrders', 200>;
export type OrderEvents = Answer<'getOrderEvents', 200>;
export type Why = Answer<'whyOrder', 200>;
export type Deleted = Answer<'deleteOrder', 202>;
export type ShopList = Answer<'listShops', 200>;
export type Menu = Answer<'getMenu', 200>;
export type Pickup = Schemas['PickupRequest'];
export type Money = Schemas['Money'];
export type Code = Schemas['Problem']['code'];
/** A refusal as the service writes it (RFC 9457), with the members of its code. */
export type Problem<Name extends Code = Code> = Extract<Schemas['Problem'], { code: Name }>;
/** An order to be made; whose it is was said to `connect`. */
export type NewOrder = Omit<Schemas['CreateOrder'], 'customer_id'>;
/** A basket to be priced; with a total, it must be the present one. */
export type NewDraft = Omit<Schemas['DraftOrder'], 'customer_id'>;

/**
 * Where the client keeps, for each customer, one position and the key and body of one unanswered order. `set` must be
 * durable when it resolves, whole or not at all. What `get` returns may be garbage: it is then as good as nothing.
 */
export interface Storage {
  get(name: string): string | undefined | null | Promise<string | undefined | null>;
  set(name: string, value: string): void | Promise<void>;
  delete(name: string): void | Promise<void>;
}

export interface Connection {
  /** Where Lungo, or a backend of your own that passes requests on to it, is reached. */
  url: string | URL;
  /** The partner's key. Never ship it in an app or a page: use `headers` and your own backend there. */
  key?: string;
  /** Your own name for the customer. */
  customerId: string;
  /** Memory only, if it is not said: then nothing is known any more after a crash but what the service guards. */
  storage?: Storage;
  /** Further headers, or what gives them before each attempt: for example a session at your own backend. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  fetch?: typeof globalThis.fetch;
  /** Allow plain HTTP to more than this machine. Whoever listens on the way learns the key. */
  allowPlainHttp?: boolean;
  /** The longest that a call lasts with all its repetitions; 30,000 if it is not said. */
  timeoutMs?: number;
  /** The longest that one attempt waits for its whole answer; 10,000 if it is not said. */
  attemptTimeoutMs?: number;
}

export interface CallOptions {
  /** Ends the call with the signal's reason. What was sent may have been done. */
  signal?: AbortSignal;
  /** Instead of the connection's. */
  timeoutMs?: number;
}

export interface AdmissionOptions extends CallOptions {
  /**
   * "The customer has seen these orders and wants another one": the `revision` of a list, or of a 409 or 412, that this
   * client has given to its caller. Any other one is an `UnseenRevisionError`.
   */
  revision?: string;
}

/** One customer's view of the partner API. Every call may throw any `LungoError`. */
export interface Client {
  /** What the customer has now, at least as fresh as all that this client has seen. An error is never an empty list. */
  getOngoingOrders(options?: CallOptions): Promise<OngoingOrders>;
  /**
   * Orders. After a crash or without an answer, call it again with an equal order within 10 minutes: it is the same
   * order then. If that order has ended meanwhile, the call is a new wish and gets a new order, or a
   * `SimilarOrderError` if the customer has just got it. Put nothing into `metadata` that differs each time.
   */
  createOrder(order: NewOrder, options?: AdmissionOptions): Promise<Order>;
  getOrder(orderId: string, options?: CallOptions): Promise<Order>;
  /** A page of all of the customer's orders, newest first; an empty one is past the end. */
  listOrders(options?: CallOptions & { cursor?: string; limit?: number }): Promise<OrderPage>;
  /** What happened to an order, after a version of it. */
  getOrderEvents(orderId: string, options?: CallOptions & { after?: number }): Promise<OrderEvents>;
  whyOrder(orderId: string, options?: CallOptions): Promise<Why>;
  cancelOrder(orderId: string, options?: CallOptions): Promise<Order>;
  deleteOrder(orderId: string, options?: CallOptions): Promise<Deleted>;
  /** With a `version`, only if the order still has that. */
  putPickup(orderId: string, pickup: Pickup, options?: CallOptions & { version?: number }): Promise<Order>;
  reportArrival(orderId: string, options?: CallOptions): Promise<Order>;
  /** Prices a basket. If its answer is lost there may be a second draft: it is not an order, and lapses. */
  createDraft(order: NewDraft, options?: CallOptions): Promise<Draft>;
  getDraft(orderId: string, options?: CallOptions): Promise<Draft>;
  putDraft(orderId: string, order: NewDraft, options?: CallOptions): Promise<Draft>;
  /** Orders what the draft holds; repeated, it is the same order for ever. */
  confirmDraft(orderId: string, options?: AdmissionOptions): Promise<Order>;
  listShops(options?: CallOptions): Promise<ShopList>;
  getMenu(shopId: string, options?: CallOptions): Promise<Menu>;
  /** Each version of the order that is seen, from the present to the last one. Goes on through outages. */
  follow(orderId: string, options?: { signal?: AbortSignal }): AsyncGenerator<Order, void, undefined>;
}

export function connect(connection: Connection): Client;

/** Keeps until the process ends. */
export function memoryStorage(): Storage;
/** Keeps in a browser's `localStorage`, or in another area like it. */
export function webStorage(area?: Pick<globalThis.Storage, 'getItem' | 'setItem' | 'removeItem'>): Storage;

export class LungoError extends Error {
  /** Of the last answer, if there was one. */
  readonly status?: number;
  /** Seconds after which trying again makes sense. */
  readonly retryAfter?: number;
  /** It may have been done although no answer says so: repeat the call with the same arguments. */
  readonly outcomeUnknown: boolean;
}

/** The service has decided: it refuses. */
export class ProblemError extends LungoError {
  readonly status: number;
  readonly code: Code;
  /** The whole problem document (RFC 9457). */
  readonly problem: Problem;
  /** All faults of the request at once. */
  readonly errors: Schemas['Fault'][];
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  readonly requestId: string;
  /** An earlier attempt of this call had no answer: it may itself have caused what this one met. */
  readonly repeated: boolean;
}

/** The customer already has this order. To order another one, show it, ask, and send its `revision`. */
export class SimilarOrderError extends ProblemError {
  readonly problem: Problem<'similar_order_ongoing'>;
  readonly order: Order;
  readonly revision: string;
}

/** There are orders that the customer has not seen: show them, ask, and send this `revision`. */
export class StaleRevisionError extends ProblemError {
  readonly problem: Problem<'stale_revision'>;
  readonly orders: Order[];
  readonly revision: string;
}

/** The database lost what was seen before: read again. With a createOrder it says what there is now. */
export class HistoryDivergedError extends ProblemError {
  readonly problem: Problem<'history_diverged'>;
  readonly orders?: Order[];
  readonly revision?: string;
}

export class PriceMismatchError extends ProblemError {
  readonly problem: Problem<'price_mismatch'>;
  readonly presentTotal: Money;
}

export class ShopNotAcceptingError extends ProblemError {
  readonly problem: Problem<'shop_not_accepting'>;
  readonly why: Schemas['NotAccepting'];
  readonly resumeAt: string | null;
  /** The first pickup slot that this basket can have, where one is known. */
  readonly earliestAt: string | null;
}

/** The shop is open at the requested slot, and cannot have this order ready by then. */
export class SlotTooSoonError extends ProblemError {
  readonly problem: Problem<'slot_too_soon'>;
  /** The first pickup slot that this basket can have. */
  readonly earliestAt: string;
}

export class OrderDeletedError extends ProblemError {
  readonly problem: Problem<'order_deleted'>;
  readonly deletedAt: string;
}

/** No decision until the deadline, or until a `retryAfter` that lies beyond it. */
export class UnavailableError extends LungoError {}
/** An answer that Lungo does not give: a wrong URL, or something in between that answers itself. */
export class UnexpectedAnswerError extends LungoError {}
/**
 * The revision is not one that this client has given to its caller, but for example an earlier process's: list the
 * orders, show them, and let the customer decide again. Nothing was sent.
 */
export class UnseenRevisionError extends LungoError {}
/** The storage failed, and nothing was sent. */
export class StorageError extends LungoError {}
