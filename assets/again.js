// A page that could not be shown looks every few seconds whether it could be now, and then is loaded again.

const EVERY_MS = 5000

async function look () {
  const answer = await fetch(location.href, { headers: { 'Lungo-By-Itself': '1' }, redirect: 'manual' }).catch(() => null)
  if (answer !== null && answer.status < 500) location.reload()
  else setTimeout(look, EVERY_MS)
}

setTimeout(look, EVERY_MS)
