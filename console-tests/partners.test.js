// Partners, their keys and webhooks, what became of a request, and drills.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, enter, invite, openBrowser, openPage, screenshot, startService } from './support.js'

const PAYLOAD = '<script>alert(1)</script><img src=x onerror=alert(1)>'

let service, browser, admin, receiver, received = [], answer = 500
before(async () => {
  receiver = createServer((request, response) => {
    request.resume().on('end', () => {
      received.push(request.headers['webhook-id'])
      response.writeHead(answer).end()
    })
  })
  await new Promise(resolve => receiver.listen(0, '127.0.0.1', resolve))
  service = await startService('--webhook-allow', '127.0.0.1', '--replica-lag', '100ms', '--lease', '6s', '--call-timeout', '2s', '--breaker-pause', '1s')
  browser = await openBrowser()
  admin = await openPage(browser)
  await enter(admin, service.link)
})
after(async () => {
  await browser?.close()
  await service?.stop()
  receiver?.close()
})

const read = id => service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}`)

async function until (id, is) {
  for (let i = 0; i < 250; i++) {
    const order = await read(id)
    if (is(order)) return order
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  assert.fail(`${id} did not get there: ${JSON.stringify(await read(id))}`)
}

const open = async what => admin.locator('summary', { hasText: what }).first().click()

test('a key is made, shown once, and revoked', async () => {
  await admin.goto(`${service.url}/console/partners`)
  await checkAccessibility(admin)
  await screenshot(admin, 'partners')
  await admin.locator('a[href^="/console/partners/"]').first().click()
  await open('New key')
  await admin.getByLabel('What people call it').fill(`app ${PAYLOAD}`)
  await admin.getByLabel('Reason').first().fill('a second app')
  await admin.getByRole('button', { name: 'Make a key' }).click()
  const secret = await admin.locator('#secret').textContent()
  const list = () => fetch(`${service.url}/v1/shops`, { headers: { authorization: `Bearer ${secret}` } })
  assert.equal((await list()).status, 200)
  await admin.getByRole('link', { name: 'Back to the partner' }).click()
  assert.ok(!(await admin.content()).includes(secret))
  await checkAccessibility(admin)
  await screenshot(admin, 'partner')
  const row = admin.getByRole('row', { name: /app <script>/ })
  await row.locator('summary').click()
  await row.getByLabel('Reason').fill('it was lost')
  await row.getByRole('button').click()
  await admin.locator('#notice').getByText('opens nothing').waitFor()
  assert.equal((await list()).status, 401)
  assert.deepEqual(admin.faults, [])
})

test('a delivery that failed is sent again', async () => {
  const { address, port } = receiver.address()
  const { partners } = await service.call(service.keys.admin, 'GET', '/v1/admin/partners')
  const webhook = await service.call(service.keys.admin, 'POST', '/v1/admin/webhooks',
    { partner_id: partners[0].partner_id, url: `http://${address}:${port}/lungo`, types: ['shop_accepted'] })
  const { order_id: id } = await service.order()
  await until(id, order => order.status !== 'new' && order.status !== 'awaiting_shop')
  for (let i = 0; i < 100 && received.length === 0; i++) await new Promise(resolve => setTimeout(resolve, 100))
  answer = 204
  await admin.goto(`${service.url}/console/webhooks/${webhook.webhook_id}`)
  await admin.getByText('500').first().waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'webhook')
  await admin.locator('summary', { hasText: 'Resend' }).first().click()
  await admin.locator('details[open] form').getByLabel('Reason').fill('their server is back')
  await admin.getByRole('button', { name: 'Send it again' }).click()
  await admin.locator('#notice').getByText('sent again').waitFor()
  await open('Switch off')
  await admin.locator('form[action$="/switch"]').getByLabel('Reason').fill('they asked for it')
  await admin.getByRole('button', { name: 'Send nothing more' }).click()
  await admin.getByText('an operator switched it off').waitFor()
  assert.deepEqual(admin.faults, [])
})

test('a request is found by its key, its id and its order', async () => {
  const key = `key-${Date.now()}-${PAYLOAD}`.replace(/[^\x21-\x7e]/g, '').replaceAll('"', '')
  const body = { customer_id: 'cus_request', shop_id: '01970000-0000-7000-8000-000000000011', lines: [{ item_id: 'lungo', quantity: 2, options: ['milk_oat'] }], total: { amount: 820, currency: 'EUR' }, payment: { method: 'pm_card_visa' } }
  const headers = { 'idempotency-key': `"${key}"` }
  const order = await service.call(service.keys.partner, 'POST', '/v1/orders', body, headers)
  await service.call(service.keys.partner, 'POST', '/v1/orders', body, headers)
  const look = async (q, customer = '') => {
    await admin.goto(`${service.url}/console/requests?${new URLSearchParams({ q, customer })}`)
    return admin.locator('section, main').first()
  }
  await look(key)
  await admin.getByText('replayed').waitFor()
  await admin.getByText('accepted', { exact: true }).waitFor()
  const request = await admin.locator('tbody tr td:last-child').last().textContent()
  await look(request)
  await admin.getByText('accepted', { exact: true }).waitFor()
  await look(order.order_id)
  await admin.getByText(key).first().waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'requests')
  await service.restart()
  await look(key, 'cus_request')
  await admin.locator('section, main').first().getByRole('link', { name: order.order_id.slice(-8) }).waitFor()
  assert.deepEqual(admin.faults, [])
})

async function drill (actor, manner) {
  await admin.goto(`${service.url}/console/drills`)
  await open('Slow, silent or rejecting')
  await admin.getByLabel('Who').selectOption(actor)
  await admin.getByLabel('Becomes').selectOption(manner)
  await admin.getByLabel('Reason').first().fill('to see it')
  await admin.getByRole('button', { name: 'Begin' }).click()
  await admin.locator('.note').getByText(`${actor}: ${manner}`).waitFor()
}

async function endDrill (actor) {
  await admin.goto(`${service.url}/console/drills`)
  await open(`End: ${actor}`)
  await admin.getByRole('button', { name: 'End the drill' }).click()
  await admin.locator('#notice').getByText('over').waitFor()
}

test('simulators are brought into trouble, and out of it', async () => {
  await drill('gateway', 'rejecting')
  const declined = await service.order()
  await until(declined.order_id, order => order.status === 'failed' && order.reason?.code === 'payment_declined')
  await drill('gateway', 'silent')
  await checkAccessibility(admin)
  await screenshot(admin, 'drills')
  const silent = await service.order()
  await until(silent.order_id, order => order.payment.status === 'unknown')
  await endDrill('gateway')
  await until(silent.order_id, order => order.status === 'completed' || order.status === 'preparing' || order.status === 'ready' || order.status === 'accepted')
  await drill('shops', 'rejecting')
  const rejected = await service.order()
  await until(rejected.order_id, order => order.status === 'rejected' || order.status === 'accepted')
  await endDrill('shops')
  assert.deepEqual(admin.faults, [])
})

test('a worker that dies after a step charges nobody twice', async () => {
  await admin.goto(`${service.url}/console/drills`)
  await open('Kill a worker')
  await admin.locator('select[name=stage]').selectOption('capture')
  await admin.locator('form[action$="/kill"]').getByLabel('Reason').fill('to see it')
  await admin.getByRole('button', { name: 'Kill it' }).click()
  await admin.locator('#notice').getByText('lease has to lapse').waitFor()
  const { order_id: id } = await service.order()
  const order = await until(id, order => order.payment.status === 'captured')
  const { events } = await service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}/events`)
  assert.equal(events.filter(event => event.type === 'payment_captured').length, 1)
  assert.equal(order.payment.captured?.amount ?? order.payment.captured, 820)
  await admin.goto(`${service.url}/console/drills`)
  await open('Raise the replica')
  await admin.locator('form[action$="/lag"]').getByLabel('Reason').fill('to see it')
  await admin.getByRole('button', { name: 'Let it fall behind' }).click()
  await admin.locator('#notice').getByText('falls behind').waitFor()
})

test('whoever may only look is refused', async () => {
  const support = await invite(browser, admin, service.url, 'looker', ['support'])
  const { partners } = await service.call(service.keys.admin, 'GET', '/v1/admin/partners')
  await support.goto(`${service.url}/console/partners/${partners[0].partner_id}`)
  assert.equal(await support.locator('summary').count(), 0)
  const token = await support.locator('input[name=csrf]').first().inputValue()
  const { keys } = await service.call(service.keys.admin, 'GET', '/v1/admin/keys')
  for (const [path, form] of [
    [`/console/partners/${partners[0].partner_id}/keys`, { label: 'x' }], [`/console/keys/${keys[0].key_id}/revoke`, {}],
    ['/console/drills', { actor: 'gateway', manner: 'silent', minutes: '1' }], ['/console/drills/kill', { stage: 'offer' }]
  ]) {
    const refused = await support.request.post(service.url + path, { form: { csrf: token, reason: 'x', ...form }, headers: { origin: service.url }, maxRedirects: 0 })
    assert.equal(refused.status(), 403, path)
  }
  await support.context().close()
})

test('where the gateway is a real one there are no drills', async () => {
  Object.assign(process.env, { LUNGO_STRIPE_KEY: 'sk_test_1', LUNGO_STRIPE_WEBHOOK_SECRETS: 'whsec_1' })
  const { stop, link, url } = await startService('--gateway', 'stripe', '--stripe-url', 'http://127.0.0.1:9')
  delete process.env.LUNGO_STRIPE_KEY
  delete process.env.LUNGO_STRIPE_WEBHOOK_SECRETS
  const page = await openPage(browser)
  try {
    await enter(page, link)
    assert.equal((await page.goto(`${url}/console/drills`)).status(), 404)
    await page.goto(`${url}/console/stages`)
    assert.equal(await page.getByRole('link', { name: 'drills' }).count(), 0)
  } finally {
    await page.context().close()
    await stop()
  }
})

test('both themes and a phone', async () => {
  const cookies = await admin.context().cookies()
  const { partners } = await service.call(service.keys.admin, 'GET', '/v1/admin/partners')
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 375, height: 700 } }]]) {
    const page = await openPage(browser, options)
    await page.context().addCookies(cookies)
    for (const [path, what] of [['partners', 'partners'], [`partners/${partners[0].partner_id}`, 'partner'], ['requests', 'requests'], ['drills', 'drills']]) {
      await page.goto(`${service.url}/console/${path}`)
      await checkAccessibility(page)
      await checkWidth(page)
      await screenshot(page, `${what}-${name}`)
    }
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})
