// Says what was done, and what went wrong on the way to the server: in words, and for a while.

const SHOWN_MS = 8000

export function notice (text, kind = 'note') {
  const place = document.getElementById('notice')
  const line = document.createElement('p')
  line.className = kind
  line.textContent = text
  place.replaceChildren(line)
  setTimeout(() => line.remove(), SHOWN_MS)
}

export function watchNotices () {
  document.body.addEventListener('lungo:notice', event => notice(event.detail.text))
  document.body.addEventListener('htmx:sendError', event => notice(event.target.matches('[data-by-itself]')
    ? 'The server cannot be reached: what you see is old.'
    : 'The server cannot be reached. Nothing was sent.', 'fault'))
  document.body.addEventListener('htmx:timeout', () => notice('The server did not answer in time: look whether it was done before you repeat it.', 'fault'))
  // What came before is not about what is done next.
  document.body.addEventListener('submit', () => document.getElementById('notice').replaceChildren())
}
