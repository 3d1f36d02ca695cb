// What the customer wanted when the last createOrder was called: its key and body, saved together before the call,
// so that a call after a crash or a timeout repeats it instead of ordering anew.
//
// A stored intent stands for one wish, and only until that wish is settled. An answer settles it; so does a repetition
// which shows that its order is over. The call that repeats a settled wish is a new wish, with a key of its own.

import { StorageError } from './errors.js';

/**
 * An equal order within this time of an unanswered call is that call again. Older, it is a new wish, and still guarded:
 * the service refuses what the customer already has or got within its own 10 minutes.
 */
const SAME_WISH_MS = 10 * 60 * 1000;

export function intents(storage, name) {
  // One reader and writer at a time, so that two equal calls at once share one key.
  let turn = Promise.resolve();
  const inTurn = (act) => (turn = turn.then(act, act));
  /** Keys that were answered, and that the storage may still hold. */
  const answered = new Set();
  /** By key: how many calls of this client wait for its answer, and whether a call before them used it. */
  const waiting = new Map();

  return {
    /**
     * The key and the text to send for this order. Nothing may be sent before it resolves. `isRepeated` says that an
     * earlier call already used the key and is no longer waiting: two calls at once are one wish.
     */
    begin: (order, revision) => inTurn(async () => {
      const text = JSON.stringify(order);
      try {
        const before = parse(await storage.get(name));
        const isSame = before
          && !answered.has(before.key)
          && Math.abs(Date.now() - before.at) <= SAME_WISH_MS
          && canonical(before.text) === canonical(text)
          // Who has seen newer orders and still wants it means another one; the revision guards that.
          && (revision === undefined || revision === before.revision);
        // The text as it was sent first: the key stands for exactly that.
        const intent = isSame ? { ...before, at: Date.now() } : { key: newKey(), text, revision, at: Date.now() };
        await storage.set(name, JSON.stringify(intent));
        const { calls, isRepeated } = waiting.get(intent.key) ?? { calls: 0, isRepeated: isSame };
        waiting.set(intent.key, { calls: calls + 1, isRepeated });
        return { ...intent, isRepeated };
      } catch (cause) {
        throw new StorageError('createOrder: the storage failed, and nothing was sent', { cause });
      }
    }),

    /** The wish is settled. A failure to forget it is no reason to withhold the answer. */
    settle: ({ key }) => inTurn(async () => {
      answered.add(key);
      try {
        // Another call's newer wish may stand there by now.
        if (parse(await storage.get(name))?.key === key) await storage.delete(name);
        answered.delete(key);
      } catch {
        // The next call starts a new wish all the same: the key is in `answered`.
      }
    }),

    /** The call no longer waits for an answer, whether it got one or not. */
    leave: ({ key }) => {
      const { calls, isRepeated } = waiting.get(key);
      if (calls > 1) waiting.set(key, { calls: calls - 1, isRepeated });
      else waiting.delete(key);
    },
  };
}

function parse(record) {
  try {
    const intent = JSON.parse(record);
    const isWhole = /^[0-9a-f]{32}$/.test(intent.key) && Number.isFinite(intent.at) && canonical(intent.text);
    return isWhole ? intent : undefined;
  } catch {
    return undefined;
  }
}

/** Equal for equal orders: the order of members does not count, and null says the same as absent. */
function canonical(text) {
  const sorted = (_, value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const members = Object.entries(value).filter(([, member]) => member !== null);
    return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  return JSON.stringify(JSON.parse(text), sorted);
}

/** Not randomUUID: browsers have that only on secure pages. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
