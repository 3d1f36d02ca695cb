// One call: attempts until there is a decision or the time is over. Knows HTTP, and nothing of orders.

import { UnavailableError, UnexpectedAnswerError } from './errors.js';

/** Nothing was decided. A 409 or 412 never stands here: repeated by itself it would stop guarding. */
const TRANSIENT = new Set([408, 429, 500, 502, 503, 504]);
/** Problems that promise that nothing was done. */
const NOTHING_DONE = new Set(['request_timeout', 'too_many_requests', 'overloaded', 'database_unavailable', 'not_ready']);
const MOST_BYTES = 8 * 1024 * 1024;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Makes the function that calls. It returns what was decided, `{status, value | problem, position, retryAfter,
 * repeated}`, and throws `UnavailableError`, `UnexpectedAnswerError`, or the reason of an abort.
 */
export function exchanger({ base, key, headers: given, fetch, timeoutMs, attemptTimeoutMs }) {
  return async function exchange({ name, method = 'GET', path, query, headers, text, expects, signal, within = timeoutMs }) {
    const url = new URL(base.href.replace(/\/$/, '') + path);
    for (const [member, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(member, value);
    }
    const end = performance.now() + within;
    let outcomeUnknown = false;
    for (let attempts = 1; ; attempts++) {
      signal?.throwIfAborted();
      const init = { method, body: text, headers: await allHeaders(given, key, headers, text), redirect: 'manual', cache: 'no-store' };
      const patience = Math.max(1, Math.min(attemptTimeoutMs, end - performance.now()));
      const answer = await attempt(fetch, url, init, patience, signal).then(
        (response) => read(response, expects),
        (fault) => ({ fault }),
      );
      signal?.throwIfAborted();
      if (answer.value || answer.problem) return { ...answer, repeated: attempts > 1 };
      const { status, retryAfter, fault, undecided } = answer;
      outcomeUnknown ||= method !== 'GET' && !NOTHING_DONE.has(undecided?.code);
      const told = { status, retryAfter, outcomeUnknown, cause: fault };
      if (answer.final) throw new UnexpectedAnswerError(`${name}: ${answer.final}`, told);
      const waitMs = retryAfter === undefined
        ? 50 + Math.random() * Math.min(8000, 250 * 2 ** attempts)
        : retryAfter * 1000 + Math.random() * 500;
      if (performance.now() + waitMs >= end) {
        const last = undecided?.code ?? (status ? `status ${status}` : 'no answer');
        const advice = outcomeUnknown ? '; whether it was done is unknown' : '';
        throw new UnavailableError(`${name}: nothing decided in ${attempts} attempt(s), at last ${last}${advice}`, told);
      }
      await sleep(waitMs, signal);
    }
  };
}

/** Resolves after so many milliseconds; rejects with the signal's reason if that aborts first. */
export async function sleep(ms, signal) {
  const end = performance.now() + ms;
  for (let left = ms; left > 0; left = end - performance.now()) {
    signal?.throwIfAborted();
    await new Promise((resolve) => {
      const over = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', over);
        resolve();
      };
      const timer = setTimeout(over, Math.min(left, LONGEST_TIMER_MS));
      signal?.addEventListener('abort', over);
    });
  }
  signal?.throwIfAborted();
}

async function allHeaders(given, key, own, text) {
  const extra = typeof given === 'function' ? await given() : given;
  let all;
  try {
    all = new Headers(extra);
  } catch {
    // The platform's message would quote the value, and that may be a secret.
    throw new TypeError('headers: a name or value is not valid in HTTP');
  }
  if (key !== undefined) all.set('authorization', `Bearer ${key}`);
  all.set('accept', 'application/json, application/problem+json');
  if (text !== undefined) all.set('content-type', 'application/json');
  for (const [name, value] of Object.entries(own ?? {})) {
    if (value !== undefined) all.set(name, value);
  }
  return all;
}

/** One request with its whole answer. Ends in time even if `fetch` does not listen to its signal. */
async function attempt(fetch, url, init, patienceMs, signal) {
  const abort = new AbortController();
  const stop = () => abort.abort(signal.reason);
  const timer = setTimeout(() => abort.abort(new DOMException('The answer took too long.', 'TimeoutError')), patienceMs);
  signal?.addEventListener('abort', stop);
  const aborted = new Promise((_, reject) => {
    abort.signal.addEventListener('abort', () => reject(abort.signal.reason));
  });
  const whole = async () => {
    const response = await fetch(url, { ...init, signal: abort.signal });
    return { status: response.status, headers: response.headers, text: await textOf(response) };
  };
  try {
    return await Promise.race([whole(), aborted]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

/** The body, or undefined if it is longer than anything that Lungo says. */
async function textOf(response) {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    if (bytes > MOST_BYTES) {
      await reader.cancel();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
  return text + decoder.decode();
}

/** A decision (`value` or `problem`); what is none, to be tried again; or why trying again is in vain (`final`). */
function read({ status, headers, text }, expects) {
  const answer = { status, position: headers.get('lungo-position') ?? undefined, retryAfter: seconds(headers.get('retry-after')) };
  const document = objectIn(text);
  if (status >= 200 && status < 300) {
    // "Nothing there" must never be made of an answer that was cut off or is not ours.
    if (document && expects(document)) return { ...answer, value: document };
    if (text === undefined) return { ...answer, final: 'the answer is too large' };
    return { ...answer, fault: new SyntaxError('The answer is not the documented JSON.') };
  }
  const problem = typeof document?.code === 'string' && document.status === status ? document : undefined;
  if (TRANSIENT.has(status)) return { ...answer, undecided: problem };
  if (problem) return { ...answer, problem };
  return { ...answer, final: `status ${status} is not an answer of Lungo` };
}

function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAY = '(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?';
const CLOCK = '(?<hour>[01]\\d|2[0-3]):(?<minute>[0-5]\\d):(?<second>[0-5]\\d|60)';
/** The three forms of a date that HTTP has had. `Date.parse` reads other things as well, and the last one as local time. */
const HTTP_DATES = [
  new RegExp(`^${DAY}, (?<day>\\d\\d) (?<month>\\w{3}) (?<year>\\d{4}) ${CLOCK} GMT$`),
  new RegExp(`^${DAY}, (?<day>\\d\\d)-(?<month>\\w{3})-(?<year>\\d\\d) ${CLOCK} GMT$`),
  new RegExp(`^${DAY} (?<month>\\w{3}) (?<day>[ \\d]\\d) ${CLOCK} (?<year>\\d{4})$`),
];

/** `Retry-After` as seconds, whether it was given as seconds or as a date: 0 for one that has passed, `undefined` for garbage. */
export function seconds(text, now = Date.now()) {
  const trimmed = text?.trim() ?? '';
  // No call waits that long: its deadline comes first.
  if (/^\d+$/.test(trimmed)) return Math.min(Number(trimmed), 999_999_999);
  const date = HTTP_DATES.map((form) => form.exec(trimmed)?.groups).find((parts) => parts);
  const month = MONTHS.indexOf(date?.month);
  if (month < 0) return undefined;
  let year = Number(date.year);
  // Two digits mean the year that is at most 50 years ahead (RFC 9110, 5.6.7).
  if (date.year.length === 2) {
    const present = new Date(now).getUTCFullYear();
    year += Math.floor(present / 100) * 100;
    if (year > present + 50) year -= 100;
  }
  const at = Date.UTC(year, month, Number(date.day), Number(date.hour), Number(date.minute), Number(date.second));
  if (new Date(at).getUTCMonth() !== month) return undefined;
  return Math.max(0, (at - now) / 1000);
}
