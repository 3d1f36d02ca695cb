// What the customer wanted when the last createOrder was called: its key and body, saved together before the call,
// so that whoever comes after a crash or a timeout repeats it instead of ordering anew.

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
  /** Keys that were answered but that the storage could not forget. */
  const answered = new Set();

  return {
    /** The key and the text to send for this order. Nothing may be sent before it resolves. */
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
        return intent;
      } catch (cause) {
        throw new StorageError('createOrder: the storage failed, and nothing was sent', { cause });
      }
    }),

    /** The call was answered. That it cannot be forgotten is no reason to withhold the answer. */
    end: ({ key }) => inTurn(async () => {
      try {
        // Somebody else's newer wish may stand there by now.
        if (parse(await storage.get(name))?.key === key) await storage.delete(name);
      } catch {
        answered.add(key);
      }
    }),
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
