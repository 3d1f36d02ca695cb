// What the shop says of itself: that it is there, and how it takes new orders.
import { ask } from './server.js'

const HEARTBEAT_MS = 20_000

/// Says every 20 s that the shop is there, and shows its mode. `push` queues what is tapped.
export function watchShop ({ push, heard, queue }) {
  const shown = document.getElementById('mode-now')
  const menu = document.getElementById('mode')
  let mode = null
  let why = null

  const clock = at => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  const words = ({ mode, minutes, until }) => ({
    open: 'Open', busy: `Busy, +${minutes} min`, paused: `Paused until ${clock(until)}`
  }[mode] ?? mode)

  async function beat () {
    const answer = await ask('POST', '/heartbeat')
    heard(answer.status)
    if (answer.status !== 200) return
    const shop = await ask('GET', '')
    if (shop.status === 200) {
      mode = shop.body.mode
      why = shop.body.accepting ? null : shop.body.why
    }
    show()
  }

  function show () {
    const waiting = queue().find(step => step.path === '/mode')
    const seen = waiting?.body ?? mode
    if (!seen) return
    // A pause is said by the mode already; that the shop is closed or full is not.
    const also = why && why !== 'paused' ? ` (${why.replaceAll('_', ' ')})` : ''
    const text = words(seen) + also + (waiting ? ' …' : '')
    if (shown.textContent !== text) shown.textContent = text
    menu.dataset.now = why ? 'paused' : seen.mode
    for (const button of menu.querySelectorAll('button[data-mode]')) {
      const isSame = button.dataset.mode === seen.mode && (seen.mode !== 'busy' || Number(button.dataset.minutes) === seen.minutes)
      button.setAttribute('aria-pressed', String(isSame && seen.mode !== 'paused'))
    }
  }

  menu.addEventListener('click', event => {
    const button = event.target.closest('button[data-mode]')
    if (!button) return
    const { mode, minutes } = button.dataset
    const body = {
      open: () => ({ mode }),
      busy: () => ({ mode, minutes: Number(minutes) }),
      paused: () => ({ mode, until: new Date(Date.now() + Number(minutes) * 60_000).toISOString() })
    }[mode]()
    push({ action: 'mode', method: 'PUT', path: '/mode', body, label: button.textContent })
    menu.open = false
    menu.querySelector('summary').focus()
  })
  // A menu closes when something else is touched.
  document.addEventListener('pointerdown', event => {
    for (const open of document.querySelectorAll('details.menu[open]')) if (!open.contains(event.target)) open.open = false
  })
  document.addEventListener('keydown', event => {
    if (event.key !== 'Escape') return
    for (const open of document.querySelectorAll('details.menu[open]')) { open.open = false; open.querySelector('summary').focus() }
  })

  setInterval(beat, HEARTBEAT_MS)
  beat()
  return {
    show,
    /// A step about the shop was done.
    learn (step, body) {
      if (step.path !== '/mode') return
      mode = body.mode
      why = body.accepting ? null : body.why
      show()
    }
  }
}
