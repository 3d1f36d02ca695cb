// What the board shows of its orders: pure functions on what the server said, without a clock and without a page.

/// From this part of the promised time on a ticket is amber.
export const AMBER = 0.8
/// What left the board is kept for so long, and so many of them.
export const DONE_MS = 24 * 3600_000
export const MOST_DONE = 100

const ms = text => (text ? Date.parse(text) : null)

// Until the acceptance was heard, what the customer was told stands for the promise.
const promise = order => ms(order.promise_at ?? order.expected_ready_at)

/// The board after the server's answer: `{orders, scheduled}` as it said, the tickets that stay to be seen (`struck`),
/// and the ids that are gone, of which nobody knows yet what became of them.
export function arrive (before, answer) {
  const orders = [...answer.orders, ...answer.scheduled]
  const here = new Set(orders.map(order => order.order_id))
  const gone = [...before.orders, ...before.gone].filter(order => !here.has(order.order_id))
  const once = [...new Map(gone.map(order => [order.order_id, order])).values()]
  return { ...before, orders, gone: once }
}

/// What became of an order that has left. Whoever else ended it has to be heard: its ticket stays, struck through,
/// until somebody touches it. What the shop did itself is simply done.
export function leave (board, order, now) {
  const gone = board.gone.filter(known => known.order_id !== order.order_id)
  const was = board.gone.find(known => known.order_id === order.order_id)
  const isNews = ['cancelled', 'rejected', 'failed'].includes(order.status) && order.reason?.actor !== 'shop' &&
    was?.status !== 'scheduled'
  const without = list => list.filter(known => known.order_id !== order.order_id)
  if (isNews) return { ...board, gone, struck: [...without(board.struck), { ...order, was: was?.status ?? 'awaiting_shop' }] }
  return { ...board, gone, done: keep([{ ...order, left_at: now }, ...without(board.done)], now) }
}

/// A struck ticket was touched.
export function touch (board, id, now) {
  const order = board.struck.find(known => known.order_id === id)
  if (!order) return board
  const struck = board.struck.filter(known => known.order_id !== id)
  return { ...board, struck, done: keep([{ ...order, left_at: now }, ...board.done], now) }
}

/// An answer to a step, known before the next look at the board. An older one changes nothing.
export function learn (board, order, now) {
  const newer = known => known.order_id === order.order_id && known.version <= order.version
  if (board.done.some(known => known.order_id === order.order_id)) {
    return { ...board, done: board.done.map(known => (newer(known) ? { ...order, left_at: known.left_at } : known)) }
  }
  if (!board.orders.some(newer)) return board
  return { ...board, orders: board.orders.map(known => (newer(known) ? order : known)) }
}

const keep = (done, now) => done.filter(order => order.left_at > now - DONE_MS).slice(0, MOST_DONE)

/// What was stored, if it is a board at all.
export function read (text) {
  const empty = { orders: [], gone: [], struck: [], done: [], touched: [] }
  try {
    const stored = JSON.parse(text ?? '{}')
    const lists = Object.keys(empty).map(name => [name, Array.isArray(stored?.[name]) ? stored[name] : []])
    return Object.fromEntries(lists)
  } catch {
    return empty
  }
}

/// How pressing a ticket is: `late`, `soon` or `calm`. A new one by the time left to answer it, one to be made by its
/// promise; what stands on the shelf has kept or broken it already.
export function urgency (order, status, now) {
  const end = status === 'awaiting_shop' ? ms(order.answer_by) : promise(order)
  const start = ms(order.offered_at ?? order.created_at)
  if (!['awaiting_shop', 'accepted', 'preparing'].includes(status) || end === null) return 'calm'
  if (now >= end) return 'late'
  return now - start >= AMBER * (end - start) ? 'soon' : 'calm'
}

/// Tickets in the order in which they are to be worked on: whoever waits at the curb, then by when to start; what is
/// new by how soon it has to be answered; what is ready, the oldest first.
export function sorted (orders, status) {
  const atTheCurb = order => (order.arrived_at && order.pickup.type === 'curbside' ? 0 : 1)
  const time = order => ms({
    awaiting_shop: order.answer_by, ready: order.ready_at, scheduled: order.pickup.at
  }[status] ?? order.start_by) ?? ms(order.created_at)
  const rank = order => [status === 'scheduled' ? 1 : atTheCurb(order), time(order), order.order_id]
  return [...orders].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)]
    const at = x.findIndex((value, i) => value !== y[i])
    return at < 0 ? 0 : x[at] < y[at] ? -1 : 1
  })
}

/// The orders that have not been touched since they came: they ring.
export function ringing (board, isWaiting) {
  return board.orders.filter(order => isWaiting(order) && !board.touched.includes(order.order_id))
}

/// Somebody has seen these; who has left the board needs not be remembered.
export function seen (board, ids) {
  const here = new Set(board.orders.map(order => order.order_id))
  return { ...board, touched: [...new Set([...board.touched, ...ids])].filter(id => here.has(id)) }
}

/// A length of time as a watch shows it: `0:42`, `12:05`, `1:02:05`; with a sign where it is over.
export function clock (span) {
  const seconds = Math.floor(Math.abs(span) / 1000)
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = value => String(value).padStart(2, '0')
  return `${span < 0 ? '−' : ''}${h > 0 ? `${h}:${two(m)}` : m}:${two(s)}`
}

/// The two times on a ticket: since when, and until when. Each is `{label, span}` or null.
export function times (order, status, now) {
  const since = at => (at === null ? null : now - at)
  const until = at => (at === null ? null : at - now)
  const made = ms(order.ready_at)
  if (status === 'scheduled') return { due: { label: 'pickup in', span: until(ms(order.pickup.at)) }, since: null }
  if (status === 'ready') return { since: { label: 'ready for', span: since(made ?? now) }, due: null }
  const elapsed = { label: 'since', span: since(ms(order.offered_at ?? order.created_at)) }
  if (status === 'awaiting_shop') return { since: elapsed, due: { label: 'answer in', span: until(ms(order.answer_by)) } }
  const due = until(promise(order))
  return { since: elapsed, due: due === null ? null : { label: due < 0 ? 'late by' : 'due in', span: due } }
}

/// The lines of an order in words, for those who hear the board.
export function spoken (order) {
  const line = ({ quantity, name, options }) => `${quantity} ${name}${options.length ? ` with ${options.join(', ')}` : ''}`
  const whose = order.pickup?.name ? ` for ${order.pickup.name}` : ''
  return `${order.short_code}${whose}: ${order.lines.filter(({ dropped }) => !dropped).map(line).join('; ')}`
}
