// The board of one shop: it asks what there is, shows it, and says what was tapped. What it decides stands in
// `steps.js` and `tickets.js`; here is what touches the page, the network, the clock and the tablet's memory.
import { watchTheme } from '../toggle.js'
import { openItems, openReasons, openSoldOut } from './ask.js'
import { element, fill, nameOf, plain, signature, tick, ticket } from './draw.js'
import { watchShop } from './open.js'
import { ask } from './server.js'
import { canSound, ring, wake } from './sound.js'
import * as steps from './steps.js'
import * as tickets from './tickets.js'

const LOOK_MS = 2000
/// What has not been seen anew for so long may have changed.
const OLD_MS = 8000
const RING_MS = 3000

const main = document.getElementById('board')
const find = id => document.getElementById(id)
const shop = main.dataset.shop
const lifecycle = JSON.parse(main.dataset.steps)
const columns = [...main.querySelectorAll('[data-column]')]

// ---- What the tablet remembers, also when it is switched off. Each change reads what is stored first: the board may
// be open twice.
const memory = new Map()
function load (name, read) {
  try {
    return read(localStorage.getItem(`lungo-${name}:${shop}`))
  } catch {
    return read(memory.get(name) ?? null)
  }
}
function store (name, value) {
  const text = JSON.stringify(value)
  memory.set(name, text)
  try {
    localStorage.setItem(`lungo-${name}:${shop}`, text)
  } catch { /* Full, or forbidden: it lasts as long as the page. */ }
}
let queue = load('steps', steps.read)
let board = load('board', tickets.read)
const announced = new Set(board.orders.map(order => order.order_id))

function changeQueue (change) {
  queue = change(load('steps', steps.read))
  store('steps', queue)
}
function changeBoard (change) {
  board = change(load('board', tickets.read))
  store('board', board)
}
addEventListener('storage', () => {
  queue = load('steps', steps.read)
  board = load('board', tickets.read)
  draw()
})

// ---- Time: the server's, told by its last answer and carried on by a clock that nobody can set.
let told = { at: Date.now(), when: performance.now(), byServer: false }
const now = () => told.at + performance.now() - told.when

// ---- Asking.
let tag = null
let lastHeard = null
let lastSeen = performance.now()
let isOut = false

async function look () {
  const answer = await ask('GET', '/orders', null, tag)
  if (answer.status === 200 || answer.status === 304) lastSeen = performance.now()
  heard(answer.status)
  if (answer.status === 200) {
    tag = answer.tag
    told = { at: Date.parse(answer.body.as_of), when: performance.now(), byServer: true }
    changeBoard(board => tickets.arrive(board, answer.body))
    announce()
  }
  for (const gone of answer.status === 0 ? [] : board.gone) {
    const became = await ask('GET', `/orders/${gone.order_id}`)
    if (became.status === 404) changeBoard(board => ({ ...board, gone: board.gone.filter(({ order_id: id }) => id !== gone.order_id) }))
    if (became.status === 200) {
      changeBoard(board => tickets.leave(board, became.body, now()))
      if (board.struck.some(({ order_id: id }) => id === gone.order_id)) say(`${became.body.short_code} is ${became.body.status}.`)
    }
  }
  draw()
}

function heard (status) {
  const wasLost = lastHeard === null || status === 0
  isOut = steps.judge(status) === 'out'
  if (steps.judge(status) !== 'again' && !isOut) {
    lastHeard = performance.now()
    if (wasLost) changeQueue(queue => steps.hurry(queue, Date.now()))
  } else if (status === 0) {
    lastHeard = null
  }
  connection()
}

let looking = null
async function lookAndAgain () {
  clearTimeout(looking)
  await look().catch(error => fault(`The board has a fault: ${error.message}`))
  looking = setTimeout(lookAndAgain, LOOK_MS)
}

// ---- Saying.
let isSending = false
async function send () {
  if (isSending) return
  isSending = true
  try {
    for (let step; !isOut && (step = steps.next(queue, Date.now()));) {
      const { id, order, method, path, body } = step
      draw()
      const occurred = steps.occurredAt(step, Date.now(), told.byServer ? now() : null)
      const whole = occurred ? { ...body, occurred_at: occurred } : body
      let answer = await ask(method, path, whole)
      if (steps.isAboutItsTime(answer.status, whole)) answer = await ask(method, path, body)
      heard(answer.status)
      const verdict = steps.judge(answer.status)
      if (verdict === 'out') break
      if (verdict === 'again') {
        changeQueue(queue => steps.postpone(queue, id, Date.now()))
        continue
      }
      if (answer.status < 300) {
        if (order) changeBoard(board => tickets.learn(board, answer.body, now()))
        else shopState.learn(step, answer.body)
      } else {
        const present = answer.body?.order_status
        const why = present ? `It is ${plain(present)} now.` : answer.body?.detail ?? ''
        fault(`Not done: ${step.label}${step.code ? ` ${step.code}` : ''}. ${why}`)
        tag = null
      }
      changeQueue(queue => steps.settle(queue, id))
    }
  } finally {
    isSending = false
    draw()
  }
}

/// A tap. `order` is null for what is said of the shop.
function enqueue (order, action, body, label = nameOf(action)) {
  const path = `/orders/${order.order_id}/${action.replaceAll('_', '-')}`
  push({ order: order.order_id, code: order.short_code, action, method: 'POST', path, body, label })
}
function push (step) {
  const id = `${Date.now()}-${Math.random().toString(36).slice(2)}`
  changeQueue(queue => steps.add(queue, { id, order: null, ...step }, Date.now()))
  draw()
  send()
}

const shopState = watchShop({ push, heard, queue: () => queue })

// ---- Showing.
let isPressed = false
let isDue = false
addEventListener('pointerdown', () => { isPressed = true; wake().then(showSound) }, { capture: true })
for (const end of ['pointerup', 'pointercancel']) {
  addEventListener(end, () => setTimeout(() => { isPressed = false; if (isDue) draw() }, 0), { capture: true })
}

const isWaiting = order => order.status === 'awaiting_shop' && steps.ofOrder(queue, order.order_id).length === 0

function views () {
  const ringing = new Set(tickets.ringing(board, isWaiting).map(order => order.order_id))
  const view = (order, kind) => {
    const own = steps.ofOrder(queue, order.order_id)
    const status = steps.foreseen(order.status, queue, order.order_id, Date.now(), lifecycle)
    return {
      order,
      status,
      kind,
      steps: own,
      possible: Object.keys(lifecycle[status] ?? {}),
      isRinging: ringing.has(order.order_id),
      isUnsent: own.some(step => !steps.isHeld(step, Date.now()) && step.tries > 0),
      localNow: Date.now()
    }
  }
  const open = board.orders.map(order => view(order, 'open'))
  const struck = board.struck.map(order => view(order, 'struck'))
  return column => column === 'done'
    ? board.done.map(order => view(order, 'done'))
    : [
        ...struck.filter(({ order }) => order.was === column),
        ...tickets.sorted(open.filter(({ status }) => status === column).map(view => Object.assign(view.order, { view })), column).map(takeView)
      ]
}

function takeView (order) {
  const { view } = order
  delete order.view
  return view
}

function draw () {
  // A ticket must not move under a finger.
  if (isPressed) { isDue = true; return }
  isDue = false
  const of = views()
  for (const column of columns) {
    const shown = of(column.dataset.column)
    const before = new Map([...column.children].map(child => [child.dataset.id, child]))
    const wanted = shown.map(view => {
      const known = before.get(view.order.order_id)
      if (!known) return ticket(view, Date.now())
      if (known.dataset.shown !== signature(view, Date.now()) || known.classList.contains('struck') !== (view.kind === 'struck')) {
        known.classList.toggle('struck', view.kind === 'struck')
        fill(known, view, Date.now())
      }
      return known
    })
    // Only what changes its place is moved: moving a ticket takes the keyboard away from it.
    for (const child of [...column.children]) if (!wanted.includes(child)) child.remove()
    wanted.forEach((child, i) => { if (column.children[i] !== child) column.insertBefore(child, column.children[i] ?? null) })
    shown.forEach((view, i) => tick(wanted[i], view, now()))
    const count = column.closest('section').querySelector('h2 .count') ?? find(`count-${column.dataset.column}`)
    if (count && count.textContent !== String(shown.length)) count.textContent = shown.length
    const none = column.parentElement.querySelector('.none')
    if (none) none.hidden = shown.length > 0
  }
  const waiting = queue.filter(step => !steps.isHeld(step, Date.now()))
  find('waiting').hidden = waiting.length === 0
  find('waiting').textContent = `${waiting.length} not sent yet`
  shopState.show()
}

function connection () {
  // Somebody may answer, and not with what there is.
  const isOld = performance.now() - lastSeen > OLD_MS
  const [kind, text] = isOut ? ['bad', 'signed out'] : lastHeard === null ? ['bad', 'offline'] : isOld ? ['bad', 'not up to date'] : ['good', 'live']
  const badge = find('connection')
  if (badge.textContent === text) return
  badge.className = `badge ${kind}`
  badge.textContent = text
  document.body.classList.toggle('offline', kind === 'bad')
  if (isOut) {
    fault('This tablet is signed out: its key was revoked, or it was signed in for too long. What was tapped is kept, and sent once it is signed in again. ', 0)
    find('fault').append(element('a', { href: '/board', textContent: 'Sign in' }))
  } else if (kind === 'good' && find('fault').querySelector('a')) {
    find('fault').hidden = true
  }
}

let hiding = null
function fault (text, shownMs = 10_000) {
  clearTimeout(hiding)
  find('fault').textContent = text
  find('fault').hidden = false
  if (shownMs) hiding = setTimeout(() => { find('fault').hidden = true }, shownMs)
}

function say (text) {
  find('spoken').textContent = text
}

function announce () {
  const fresh = board.orders.filter(order => isWaiting(order) && !announced.has(order.order_id))
  for (const order of board.orders) announced.add(order.order_id)
  if (fresh.length) say(fresh.map(order => `New order ${tickets.spoken(order)}`).join('. '))
}

// ---- Taps.
main.addEventListener('click', event => {
  const place = event.target.closest('.ticket')
  if (!place) return
  const id = place.dataset.id
  if (board.struck.some(order => order.order_id === id)) {
    changeBoard(board => tickets.touch(board, id, now()))
    return draw()
  }
  changeBoard(board => tickets.seen(board, [id]))
  const button = event.target.closest('[data-deed]')
  const order = [...board.orders, ...board.done].find(order => order.order_id === id)
  if (!button || !order) return draw()
  const { deed, step } = button.dataset
  const [action, plus] = deed.split('+')
  if (deed === 'back') {
    changeQueue(queue => steps.takeBack(queue, step, Date.now()))
  } else if (action === 'accept' && plus) {
    const left = order.expected_ready_at ? Math.ceil((Date.parse(order.expected_ready_at) - now()) / 60_000) : 0
    enqueue(order, 'accept', { minutes: Math.min(240, Math.max(0, left) + Number(plus)) }, `Accept +${plus}`)
  } else if (action === 'reject' || action === 'cancel') {
    openReasons(action, order, reason => enqueue(order, action, { reason }))
  } else if (deed === 'sold-out') {
    openSoldOut(order, Object.keys(lifecycle[place.dataset.status] ?? {}), { enqueue, push })
  } else {
    enqueue(order, action, null)
  }
  draw()
})
find('items').addEventListener('click', () => openItems(push))
for (const view of document.querySelectorAll('[data-view]')) {
  view.addEventListener('click', () => {
    for (const other of document.querySelectorAll('[data-view]')) other.setAttribute('aria-pressed', String(other === view))
    for (const shown of main.querySelectorAll('[data-shows]')) shown.hidden = shown.dataset.shows !== view.dataset.view
  })
}
find('waiting').addEventListener('click', () => { changeQueue(queue => steps.hurry(queue, Date.now())); send(); lookAndAgain() })

// ---- Sound.
let isMuted = false
function showSound () {
  const isOn = canSound() && !isMuted
  find('sound').setAttribute('aria-pressed', String(isOn))
  find('sound').textContent = isOn ? 'Sound is on' : 'Sound is off'
}
find('sound').addEventListener('click', async () => {
  const wasOn = find('sound').getAttribute('aria-pressed') === 'true'
  isMuted = wasOn
  await wake()
  showSound()
  if (!isMuted) ring()
})
setInterval(() => { if (!isMuted && tickets.ringing(board, isWaiting).length) ring() }, RING_MS)

// ---- Going on.
addEventListener('online', () => { changeQueue(queue => steps.hurry(queue, Date.now())); lookAndAgain(); send() })
addEventListener('offline', () => heard(0))
document.addEventListener('visibilitychange', () => { if (!document.hidden) { tag = null; lookAndAgain() } })
setInterval(() => { draw(); send(); connection() }, 500)
watchTheme()
showSound()
draw()
lookAndAgain()
