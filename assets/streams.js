// Parts of a page that the server keeps up to date. A browser has only few connections to one server, so that pages
// that nobody looks at close theirs, and ask anew when somebody looks again. An element with `data-stream` holds
// `sse-connect`, and the address that gives it anew in `hx-get`, triggered by `lungo:again`.

const open = new Map()

export function watchStreams () {
  document.body.addEventListener('htmx:sseOpen', event => {
    open.set(event.target, event.detail.source)
    state(event.target, 'live')
  })
  document.body.addEventListener('htmx:sseError', event => state(event.target, 'lost'))
  document.body.addEventListener('htmx:sseClose', event => open.delete(event.target))
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      for (const source of open.values()) source.close()
    } else {
      for (const element of open.keys()) if (element.isConnected) window.htmx.trigger(element, 'lungo:again')
    }
    for (const element of open.keys()) if (document.hidden || !element.isConnected) closed(element)
  })
  // What the page asks for by itself keeps nobody logged in.
  document.body.addEventListener('htmx:configRequest', event => {
    if (event.detail.triggeringEvent?.type === 'lungo:again') event.detail.headers['Lungo-By-Itself'] = '1'
  })
}

function closed (element) {
  if (!element.isConnected) open.delete(element)
}

// Shown by the style sheet, said by the words in the element's `.stream-state`.
function state (element, word) {
  element.dataset.state = word
  const words = element.querySelector('.stream-state')
  if (words) words.textContent = word === 'live' ? 'live' : 'connection lost: what you see is old'
}
