// The steps a barista has tapped and the server has not confirmed: pure functions on plain data, without a clock.
//
// A step waits for HELD_MS in which it can be taken back, then it is sent, again and again until the server answers.
// Saying a step twice changes nothing, so that nothing is lost or done twice, whatever happens to the network.
// A step: {id, order, action, body, at, due, tries}; times in milliseconds.

/// How long a step can be taken back before it is sent.
export const HELD_MS = 4000
/// A step that waits for longer once it can be sent is told with the time at which it was tapped …
export const KEPT_MS = 2000
/// … if the server would still believe that.
export const LONGEST_KEPT_MS = 23 * 3_600_000
/// Between tries: a second, then twice as long with each, at most this.
export const PATIENCE_MS = 15_000

/// The queue with a step more. A recall is an undo already, and is not held. A step that is tapped twice in a row is
/// there once.
export function add (queue, step, now) {
  if (step.order && ofOrder(queue, step.order).at(-1)?.action === step.action) return queue
  const held = step.order && step.action !== 'recall' ? HELD_MS : 0
  return [...withoutOlderState(queue, step), { body: null, ...step, at: now, due: now + held, tries: 0 }]
}

// What is said of the shop itself is a state: only the last word counts, and nobody needs the ones before.
function withoutOlderState (queue, step) {
  return step.order ? queue : queue.filter(known => known.order || known.path !== step.path)
}

/// Whether a step can still be taken back: it has not been tried, and is held.
export const isHeld = (step, now) => step.tries === 0 && now < step.due && step.due - now <= HELD_MS

/// The queue without a step that can be taken back, and without those of its order that came after it.
export function takeBack (queue, id, now) {
  const step = queue.find(known => known.id === id)
  if (!step || !isHeld(step, now)) return queue
  return queue.filter(known => known.id !== id && !(known.order && known.order === step.order && known.at > step.at))
}

/// What is to be sent now, or null. The steps of one order are sent in the order in which they were tapped.
export function next (queue, now) {
  const first = new Set()
  for (const step of queue) {
    const about = step.order ?? step.path
    if (first.has(about)) continue
    first.add(about)
    // A clock that was set back must not keep a step for hours.
    if (step.due <= now || step.due - now > PATIENCE_MS) return step
  }
  return null
}

/// What became of a try. `gone`: answered for good, whatever the answer; `again`: nobody knows, so say it again.
/// `out`: this tablet is not signed in; it waits for a key, and loses nothing.
export function judge (status) {
  if (status === 401 || status === 403) return 'out'
  if (status === 0 || status === 408 || status === 429 || status >= 500) return 'again'
  return 'gone'
}

/// When a step was tapped, by the server's clock, if it was kept since: `localNow` is the tablet's clock, which may have
/// been set meanwhile, `serverNow` the server's, null as long as that is not known. Null for what is sent as it is tapped.
export function occurredAt (step, localNow, serverNow) {
  const age = localNow - step.at
  if (!step.order || serverNow === null || age <= HELD_MS + KEPT_MS || age > LONGEST_KEPT_MS) return null
  return new Date(serverNow - age).toISOString()
}

/// Whether an answer may only mean that the time was not believed: the step itself is not lost for it.
export const isAboutItsTime = (status, body) => (status === 400 || status === 422) && body?.occurred_at !== undefined

/// The queue once a step was answered for good.
export const settle = (queue, id) => queue.filter(step => step.id !== id)

/// The queue after a try that nobody answered.
export function postpone (queue, id, now) {
  return queue.map(step => step.id === id
    ? { ...step, tries: step.tries + 1, due: now + Math.min(1000 * 2 ** step.tries, PATIENCE_MS) }
    : step)
}

/// Everything that waits for another try may be tried at once: the network is back.
export const hurry = (queue, now) => queue.map(step => (step.tries > 0 ? { ...step, due: Math.min(step.due, now) } : step))

/// The steps that are past being taken back: the board shows them as done already.
export const ofOrder = (queue, order) => queue.filter(step => step.order === order)

/// The status an order will have once its steps are confirmed. `steps` is the lifecycle as the page has it.
export function foreseen (status, queue, order, now, steps) {
  let seen = status
  for (const step of ofOrder(queue, order)) {
    if (isHeld(step, now)) break
    seen = steps[seen]?.[step.action] ?? seen
  }
  return seen
}

/// What was stored, if it is a queue at all: a damaged one must not stop the board.
export function read (text) {
  try {
    const queue = JSON.parse(text ?? '[]')
    const isStep = step => step && typeof step.id === 'string' && typeof step.path === 'string' && Number.isFinite(step.due)
    return Array.isArray(queue) ? queue.filter(isStep) : []
  } catch {
    return []
  }
}
