// What takes a second tap: why, and what is sold out.
import { element, nameOf, plain } from './draw.js'
import { ask } from './server.js'

const dialog = document.getElementById('ask')

function open (title, ...body) {
  document.getElementById('ask-title').textContent = title
  document.getElementById('ask-body').replaceChildren(...body)
  if (!dialog.open) dialog.showModal()
}

const button = (text, onclick, className = '') => element('button', { type: 'button', textContent: text, onclick, className })

/// Why an order is rejected or cancelled: one tap on a reason.
export function openReasons (action, order, choose) {
  const reasons = document.getElementById(`reasons-${action}`).content.cloneNode(true)
  for (const reason of reasons.querySelectorAll('[data-reason]')) {
    reason.addEventListener('click', () => { dialog.close(); choose(reason.dataset.reason) })
  }
  open(`${nameOf(action)} ${order.short_code}: why?`, reasons)
}

/// Which lines of an order are sold out, and what then.
export function openSoldOut (order, possible, { enqueue, push }) {
  const here = order.lines.filter(line => !line.dropped)
  const chosen = new Set()
  const alsoMenu = element('input', { type: 'checkbox', checked: true })
  const deeds = element('div', { className: 'stack' })
  const takeOff = () => {
    const items = new Set(here.filter(({ line }) => chosen.has(line)).map(({ item_id: id }) => id))
    if (alsoMenu.checked) for (const item of items) push(availability(item, false))
  }
  const act = (text, action, body) => button(text, () => { dialog.close(); takeOff(); enqueue(order, action, body()) }, 'primary')
  const show = () => {
    const [some, all] = [chosen.size > 0, chosen.size === here.length]
    const mayDrop = order.on_unavailable === 'remove_line' && possible.includes('accept')
    const ending = ['reject', 'cancel'].find(action => possible.includes(action))
    deeds.replaceChildren(...[
      some && !all && mayDrop && act('Accept the rest', 'accept', () => ({ dropped_lines: [...chosen].sort((a, b) => a - b) })),
      some && (all || !mayDrop) && ending && act(`${nameOf(ending)}: item unavailable`, ending, () => ({ reason: 'item_unavailable' })),
      some && !mayDrop && element('p', { className: 'hint', textContent: possible.includes('accept') ? 'The customer wants all of it or nothing.' : 'What was accepted can only be made or cancelled as a whole.' })
    ].filter(Boolean))
  }
  const lines = here.map(({ line, quantity, name }) => {
    const toggle = button(`${quantity}× ${name}`, () => {
      if (!chosen.delete(line)) chosen.add(line)
      toggle.setAttribute('aria-pressed', String(chosen.has(line)))
      show()
    })
    toggle.setAttribute('aria-pressed', 'false')
    return toggle
  })
  show()
  open(`What of ${order.short_code} is sold out?`, ...lines,
    element('label', { className: 'check' }, alsoMenu, 'Take it off the menu, too'), deeds)
}

/// The whole menu: what is sold out, one tap each.
export async function openItems (push) {
  open('Sold out', element('p', { className: 'hint', textContent: 'One moment …' }))
  const [answer, choices] = await Promise.all([ask('GET', '/items'), ask('GET', '/options')])
  if (answer.status !== 200) {
    return open('Sold out', element('p', { className: 'fault', textContent: 'The menu cannot be read now. Close this, and try again.' }))
  }
  open('Sold out', element('p', { className: 'hint', textContent: 'What is marked is off the menu until you put it back.' }),
    ...answer.body.items.map(item => soldOutToggle(item, available => availability(item.item_id, available), push)),
    // Options are shown where they can be read: without them the items are of use all the same.
    ...(choices.status === 200 && choices.body.options.length > 0
      ? [element('h3', { textContent: 'Options of all items' }),
          ...choices.body.options.map(option => soldOutToggle(option, available => availability(option.option_id, available, 'options'), push))]
      : []))
}

function soldOutToggle ({ name, available }, deed, push) {
  const toggle = button(name, () => {
    const isSoldOut = toggle.getAttribute('aria-pressed') !== 'true'
    toggle.setAttribute('aria-pressed', String(isSoldOut))
    push(deed(!isSoldOut))
  })
  toggle.setAttribute('aria-pressed', String(!available))
  return toggle
}

function availability (item, available, what = 'items') {
  const path = `/${what}/${encodeURIComponent(item)}/availability`
  return { action: 'availability', method: 'PUT', path, body: { available }, label: `${plain(item)}: ${available ? 'back on the menu' : 'sold out'}` }
}
