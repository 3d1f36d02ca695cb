// What can go wrong, as classes. No message holds a key, a header or a body that was sent.

/** Everything that this package throws, but for wrong arguments (TypeError) and the reason of an abort. */
export class LungoError extends Error {
  constructor(message, { status, retryAfter, outcomeUnknown = false, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.status = status;
    this.retryAfter = retryAfter;
    this.outcomeUnknown = outcomeUnknown;
  }
}

/** The service has decided: it refuses. */
export class ProblemError extends LungoError {
  constructor({ problem, status, retryAfter, repeated }) {
    super(`${problem.code}: ${problem.detail ?? problem.title ?? status}`, { status, retryAfter });
    this.problem = problem;
    this.code = problem.code;
    this.retryable = problem.retryable === true;
    this.requestId = problem.request_id;
    this.errors = problem.errors ?? [];
    this.repeated = repeated;
  }
}

/** 409: the customer already has this order. */
export class SimilarOrderError extends ProblemError {
  get order() { return this.problem.order; }
  get revision() { return this.problem.revision; }
}

/** 412: there are orders that the customer has not seen. */
export class StaleRevisionError extends ProblemError {
  get orders() { return this.problem.orders; }
  get revision() { return this.problem.revision; }
}

/** 409: the database lost what was seen before. */
export class HistoryDivergedError extends ProblemError {
  get orders() { return this.problem.orders; }
  get revision() { return this.problem.revision; }
}

/** 409: the stated total is not the present price. */
export class PriceMismatchError extends ProblemError {
  get presentTotal() { return this.problem.present_total; }
}

/** 409: the shop takes no orders now. */
export class ShopNotAcceptingError extends ProblemError {
  get why() { return this.problem.why; }
  get resumeAt() { return this.problem.resume_at; }
  get earliestAt() { return this.problem.earliest_at; }
}

/** 409: the order cannot be ready by the requested slot. */
export class SlotTooSoonError extends ProblemError {
  get earliestAt() { return this.problem.earliest_at; }
}

/** 410: the order was deleted. */
export class OrderDeletedError extends ProblemError {
  get deletedAt() { return this.problem.deleted_at; }
}

/** No decision until the deadline. With `outcomeUnknown` it may have been done: call again with the same arguments. */
export class UnavailableError extends LungoError {}

/** An answer that Lungo does not give: a wrong URL, or something in between that answers itself. */
export class UnexpectedAnswerError extends LungoError {}

/** `revision` is not one that this client has shown; nothing was sent. */
export class UnseenRevisionError extends LungoError {}

/** The storage failed before anything was sent. */
export class StorageError extends LungoError {}

const BY_CODE = {
  similar_order_ongoing: SimilarOrderError,
  stale_revision: StaleRevisionError,
  history_diverged: HistoryDivergedError,
  price_mismatch: PriceMismatchError,
  shop_not_accepting: ShopNotAcceptingError,
  slot_too_soon: SlotTooSoonError,
  order_deleted: OrderDeletedError,
};

export function problemError(answer) {
  const code = answer.problem.code;
  return new (Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : ProblemError)(answer);
}
