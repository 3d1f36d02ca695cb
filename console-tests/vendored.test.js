// The scripts of others that the program contains are exactly those of their packages.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

const files = {
  'htmx.org/dist/htmx.min.js': 'htmx.org-2.0.11.min.js',
  'htmx.org/LICENSE': 'htmx.org-LICENSE.txt',
  'htmx-ext-sse/dist/sse.min.js': 'htmx-ext-sse-2.2.4.min.js',
  'htmx-ext-sse/LICENSE': 'htmx-ext-sse-LICENSE.txt'
}

for (const [theirs, ours] of Object.entries(files)) {
  test(`${ours} is what its package has`, () => {
    const read = path => readFileSync(new URL(path, import.meta.url))
    assert.ok(read(`node_modules/${theirs}`).equals(read(`../assets/vendor/${ours}`)))
  })
}
