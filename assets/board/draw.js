// Tickets as elements of the page. Whatever a customer wrote is only ever text.
import { isHeld } from './steps.js'
import { clock, times, urgency } from './tickets.js'

/// What each step of the shop is called; the first that is possible is the big one.
const NAMES = {
  accept: 'Accept', start: 'Start', ready: 'Ready', collected: 'Handed over', recall: 'Back to making',
  not_collected: 'No-show', reject: 'Reject…', cancel: 'Cancel…'
}
const HELD_NAMES = { ...NAMES, reject: 'Reject', cancel: 'Cancel' }
const STATUS_NAMES = {
  completed: 'handed over', not_collected: 'nobody came', rejected: 'rejected', cancelled: 'cancelled', failed: 'failed'
}

export function element (tag, properties = {}, ...children) {
  const { data = {}, attributes = {}, ...others } = properties
  const made = Object.assign(document.createElement(tag), others)
  Object.assign(made.dataset, data)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children.filter(Boolean))
  return made
}

export const plain = word => word.replaceAll('_', ' ')

export const nameOf = action => HELD_NAMES[action] ?? plain(action)

/// A ticket. `view`: {order, status, steps (its queue), possible (actions), kind}.
export function ticket (view, now) {
  const { order, kind } = view
  const made = element('li', { className: 'ticket', data: { id: order.order_id, status: view.status } })
  fill(made, view, now)
  made.classList.toggle('struck', kind === 'struck')
  return made
}

/// Draws a ticket anew, and leaves the keyboard where it was in it.
export function fill (place, view, now) {
  const { order, status, kind } = view
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.deed : null
  place.dataset.status = status
  place.dataset.shown = signature(view, now)
  place.classList.toggle('new', Boolean(view.isRinging))
  const isHere = order.arrived_at && kind === 'open'
  const parts = [
    element('div', { className: 'head' },
      element('h3', { className: 'code', textContent: order.short_code }),
      order.pickup.name && element('bdi', { className: 'called', textContent: order.pickup.name }),
      view.isRinging && element('span', { className: 'badge info', textContent: 'NEW' }),
      isHere && element('span', { className: 'badge here', textContent: 'HERE' }),
      element('span', { className: 'badge', textContent: place_of(order) }),
      view.isUnsent && element('span', { className: 'badge warn', textContent: 'not sent yet' })),
    kind === 'open' && element('p', { className: 'times' }, element('span', { className: 'due' }), element('span', { className: 'since' })),
    kind === 'struck' && element('p', { className: 'why', textContent: why(order) }),
    element('ul', { className: 'lines' }, ...order.lines.map(line)),
    kind === 'open' && order.found_begun_at && element('p', { className: 'why', textContent: 'Restored from a backup: it was being made before. Look whether it was handed over before you make it.' }),
    order.pickup.note && element('p', { className: 'note-of', textContent: order.pickup.note }),
    kind === 'done' && element('p', { className: 'why', textContent: why(order) }),
    element('div', { className: 'deeds' }, ...deeds(view, now))
  ]
  place.replaceChildren(...parts.filter(Boolean))
  tick(place, view, now)
  if (focused !== null) (place.querySelector(`[data-deed="${CSS.escape(focused ?? '')}"]`) ?? place.querySelector('button'))?.focus()
}

/// Changes when a ticket has to be drawn anew; the times on it are not part of it.
export function signature (view, now) {
  const { order, status, steps, kind, isRinging, isUnsent } = view
  return JSON.stringify([order, status, steps.map(step => [step.id, isHeld(step, now)]), kind, isRinging, isUnsent])
}

/// The times of a ticket, which change every second.
export function tick (place, view, now) {
  const { order, status, steps, kind } = view
  if (kind === 'open') {
    const { since, due } = times(order, status, now)
    const words = time => (time && time.span !== null ? `${time.label} ${clock(Math.abs(time.span))}` : '')
    set(place.querySelector('.due'), words(due))
    set(place.querySelector('.since'), words(since))
    const pressing = urgency(order, status, now)
    for (const word of ['calm', 'soon', 'late']) place.classList.toggle(word, word === pressing)
  }
  const left = place.querySelector('.left')
  const held = steps.find(step => step.id === left?.dataset.of)
  if (held) set(left, String(Math.max(1, Math.ceil((held.due - view.localNow) / 1000))))
}

function set (place, text) {
  if (place && place.textContent !== text) place.textContent = text
}

function place_of (order) {
  const { type, vehicle } = order.pickup
  return type === 'curbside' ? `Curbside${vehicle ? `: ${vehicle}` : ''}` : 'Counter'
}

function line ({ quantity, name, options, dropped }) {
  const said = element('li', { className: dropped ? 'dropped' : '' },
    element('span', { className: quantity > 1 ? 'quantity many' : 'quantity', textContent: `${quantity}×` }), ' ',
    element('span', { className: 'name', textContent: name }),
    dropped && ' ', dropped && element('span', { className: 'badge bad', textContent: 'sold out' }))
  if (options.length) {
    said.append(element('ul', { className: 'options' }, ...options.map(option => element('li', { textContent: option }))))
  }
  return said
}

function why ({ status, reason }) {
  const said = STATUS_NAMES[status] ?? plain(status)
  const who = { partner: 'the customer', timer: 'nobody answered in time', operator: 'an operator', worker: 'the system' }
  const by = reason?.actor && reason.actor !== 'shop' ? ` (${who[reason.actor] ?? plain(reason.actor)})` : ''
  return reason ? `${said}: ${plain(reason.code)}${by}` : said
}

function deeds (view, now) {
  const { order, steps, kind, possible } = view
  const button = (deed, text, className = '') =>
    element('button', { type: 'button', className, textContent: text, data: { deed }, attributes: { 'aria-label': `${text} ${order.short_code}` } })
  if (kind === 'struck') return [button('touch', 'Seen', 'primary')]
  const held = steps.find(step => isHeld(step, now))
  if (held) {
    return [element('button', {
      type: 'button', className: 'held', data: { deed: 'back', step: held.id },
      attributes: { 'aria-label': `Take back: ${nameOf(held.action)} ${order.short_code}` }
    }, `${held.label} in `, element('span', { className: 'left', data: { of: held.id } }), ' s', element('span', { className: 'small', textContent: 'Tap to take back' }))]
  }
  const order_of = Object.keys(NAMES)
  const allowed = [...possible].sort((a, b) => order_of.indexOf(a) - order_of.indexOf(b))
  const made = []
  for (const [i, action] of allowed.entries()) {
    const rank = i === 0 && action !== 'reject' ? 'primary' : ['reject', 'cancel'].includes(action) ? 'rare' : ''
    made.push(button(action, NAMES[action] ?? plain(action), rank))
    if (action === 'accept') made.push(button('accept+5', '+5 min'), button('accept+10', '+10 min'))
  }
  if (possible.includes('accept') || possible.includes('start')) made.push(button('sold-out', 'Sold out…', 'rare'))
  return made
}
