// Parts of a page that are kept up to date: by a stream of the server (`sse-connect`), or by asking again (`every`).
//
// A browser has only few connections to one server, so that a page that nobody looks at closes its stream, and asks
// for the part anew when somebody looks again: an element with a stream holds the address that gives it anew in
// `hx-get`, triggered by `lungo:again`. What a page asks for by itself keeps nobody logged in, and takes no form away
// from whoever is filling it in, or has just sent it.

const open = new Map()

export function watchStreams () {
  document.body.addEventListener('htmx:sseOpen', event => {
    open.set(event.target, event.detail.source)
    say(event.target, 'live')
  })
  document.body.addEventListener('htmx:sseError', event => say(event.target, 'lost'))
  document.body.addEventListener('htmx:sseClose', event => open.delete(event.target))
  document.addEventListener('visibilitychange', () => document.hidden ? pause() : resume())
  document.body.addEventListener('htmx:beforeRequest', event => {
    if (isByItself(event.target) && (document.hidden || isFilledIn(event.detail.target))) event.preventDefault()
  })
  // The answer may be on its way when somebody opens the form.
  document.body.addEventListener('htmx:beforeSwap', event => {
    const { requestConfig: { elt }, target } = event.detail
    if (isByItself(elt) && isFilledIn(target)) event.detail.shouldSwap = false
  })
  for (const failed of ['htmx:sendError', 'htmx:timeout']) {
    document.body.addEventListener(failed, event => { if (isByItself(event.target)) event.target.dataset.state = 'lost' })
  }
  document.body.addEventListener('htmx:afterOnLoad', event => { if (isByItself(event.target)) delete event.target.dataset.state })
  document.body.addEventListener('htmx:configRequest', event => {
    if (isByItself(event.target)) event.detail.headers['Lungo-By-Itself'] = '1'
  })
}

function isByItself (part) {
  return part.matches('[data-by-itself]')
}

function isFilledIn (part) {
  return part.querySelector('details[open] form, .htmx-request') !== null
}

function pause () {
  for (const source of open.values()) source.close()
}

function resume () {
  const parts = [...open.keys()]
  open.clear()
  for (const part of parts) if (part.isConnected) window.htmx.trigger(part, 'lungo:again')
}

// Shown by the style sheet, said by the words in the element's `.stream-state`.
function say (part, state) {
  part.dataset.state = state
  const words = part.querySelector('.stream-state')
  if (words) words.textContent = state === 'live' ? 'live' : 'connection lost: what you see is old'
}
