// The way to the server and back. Nothing is decided here.

const ROOT = '/board/shop'
const PATIENCE_MS = 10_000

/// One request: `{status, body, tag}`. Status 0: nobody answered, and nobody knows whether it was heard. An answer that
/// is not ours, as the one of a public network that wants a login first, is none.
export async function ask (method, path, body, tag) {
  const headers = {}
  if (tag) headers['if-none-match'] = tag
  if (body !== null && body !== undefined) headers['content-type'] = 'application/json'
  try {
    const answer = await fetch(ROOT + path, {
      method,
      headers,
      body: body === null || body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      signal: AbortSignal.timeout(PATIENCE_MS)
    })
    const isJson = /json/.test(answer.headers.get('content-type') ?? '')
    if (!isJson && answer.status !== 304) return { status: 0, body: null, tag: null }
    return { status: answer.status, body: isJson ? await answer.json() : null, tag: answer.headers.get('etag') }
  } catch {
    return { status: 0, body: null, tag: null }
  }
}
