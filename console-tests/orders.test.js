// What goes on, the lists of orders, and the order: looked at and acted on by an operator.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, DEMO_SHOP, enter, invite, openBrowser, openPage, screenshot, startService } from './support.js'

const PAYLOAD = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'{{7*7}}'

let service, browser, admin
before(async () => {
  service = await startService()
  browser = await openBrowser()
  admin = await openPage(browser)
  await enter(admin, service.link)
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

const read = id => service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}`)

/// Waits until the order is in one of these statuses.
async function until (id, ...statuses) {
  for (let i = 0; i < 200; i++) {
    const order = await read(id)
    if (statuses.includes(order.status)) return order
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  assert.fail(`${id} did not become ${statuses}`)
}

/// An order at a shop without a simulated barista: it stays where a test brings it, by these steps of the shop.
async function orderAtQuietShop (steps = [], changes = {}) {
  const { shops } = await service.call(service.keys.admin, 'GET', '/v1/admin/shops')
  const quiet = shops.find(shop => !shop.simulated)
  const order = await service.order({ shop_id: quiet.shop_id, ...changes })
  await until(order.order_id, 'awaiting_shop')
  const { secret } = await service.call(service.keys.admin, 'POST', '/v1/admin/keys', { kind: 'shop', shop_id: quiet.shop_id, label: 'test' })
  for (const step of steps) await service.call(secret, 'POST', `/v1/shop/orders/${order.order_id}/${step}`)
  return order
}

test('the live page moves, and leads to what is behind its numbers', async () => {
  await admin.goto(`${service.url}/console`)
  await admin.locator('.stream-state').getByText('live').waitFor()
  const order = await service.order()
  await admin.waitForFunction(() => [...document.querySelectorAll('.tile')].some(tile =>
    tile.querySelector('.name').textContent === 'new orders' && parseFloat(tile.querySelector('.value').textContent) > 0), null, { timeout: 15_000 })
  await checkAccessibility(admin)
  await screenshot(admin, 'live')
  await until(order.order_id, 'completed', 'not_collected')
  await admin.getByRole('link', { name: 'completed', exact: true }).click()
  await admin.locator('table.orders').getByRole('link').first().waitFor()
  assert.deepEqual(admin.faults, [])
})

test('lists are filtered by what is typed, with suggestions, and live in their address', async () => {
  const order = await service.order()
  await until(order.order_id, 'completed', 'not_collected')
  await admin.goto(`${service.url}/console/orders?tab=done`)
  const field = admin.getByRole('combobox')
  await field.pressSequentially('stat')
  await admin.getByRole('option', { name: 'status:', exact: true }).waitFor()
  await field.press('ArrowDown')
  await field.press('Enter')
  await admin.getByRole('option', { name: 'status:completed', exact: true }).waitFor()
  await screenshot(admin, 'orders-suggestions')
  await field.press('Escape')
  await field.fill('status:completed shop:"Lungo Central"')
  await admin.getByRole('button', { name: 'Show' }).click()
  await admin.waitForURL(/q=status%3Acompleted/)
  await admin.getByRole('link', { name: order.order_id.slice(-8) }).waitFor()
  await admin.goto(`${service.url}/console/orders?tab=done&q=status%3Afailed`)
  await admin.getByText('No order fits.').waitFor()
  await admin.goto(`${service.url}/console/orders?q=${order.order_id}`)
  await admin.waitForURL(`${service.url}/console/orders/${order.order_id}`)
  assert.deepEqual(admin.faults, [])
})

test('what was chosen stays chosen when more suggestions come', async () => {
  await admin.goto(`${service.url}/console/orders?tab=done`)
  const field = admin.getByRole('combobox')
  await field.pressSequentially('sta')
  await admin.getByRole('option', { name: 'status:', exact: true }).waitFor()
  const late = /token=stat$/
  let release
  const held = new Promise(resolve => { release = resolve })
  await admin.route(late, async route => { await held; await route.continue() })
  const asked = admin.waitForRequest(late)
  const answered = admin.waitForResponse(late)
  await field.press('t')
  await asked
  await field.press('ArrowDown')
  release()
  await (await answered).finished()
  await admin.waitForTimeout(100)
  await field.press('Enter')
  await admin.getByRole('option', { name: 'status:completed', exact: true }).waitFor()
  await admin.unroute(late)
})

test('a filter that is not understood is a fault, and never an empty table', async () => {
  await admin.goto(`${service.url}/console/orders?q=status%3Anonsense`)
  await admin.getByRole('alert').getByText('There is no status').waitFor()
  assert.equal(await admin.getByText('No order fits.').count(), 0)
  const bad = await admin.goto(`${service.url}/console/orders?tab=done&below=nonsense`)
  assert.equal(bad.status(), 400)
  await admin.getByRole('alert').waitFor()
})

test('a list is live until it is paused', async () => {
  await admin.goto(`${service.url}/console/orders?tab=done`)
  const first = await service.order()
  await admin.getByRole('link', { name: first.order_id.slice(-8) }).waitFor({ timeout: 30_000 })
  await admin.getByRole('button', { name: 'Pause' }).click()
  await admin.getByText('paused').waitFor()
  assert.match(admin.url(), /paused=1/)
  const asked = []
  admin.on('request', request => { if (request.url().includes('/orders/list')) asked.push(request.url()) })
  await admin.waitForTimeout(4000)
  assert.deepEqual(asked, [])
  await admin.getByRole('button', { name: 'Go live' }).click()
  await admin.waitForRequest(request => request.url().includes('/orders/list'))
})

test('a list is kept under a name', async () => {
  await admin.goto(`${service.url}/console/orders?tab=parked&q=age%3E10m`)
  await admin.getByText('What can be typed').click()
  await admin.getByLabel('Keep this list as').fill(PAYLOAD.slice(0, 50))
  await admin.getByRole('button', { name: 'Keep', exact: true }).click()
  await admin.getByText('Kept as').waitFor()
  await admin.getByText('What can be typed').click()
  await admin.getByRole('link', { name: PAYLOAD.slice(0, 50) }).click()
  assert.match(admin.url(), /tab=parked&q=age%3E10m/)
  assert.deepEqual(admin.faults, [])
})

test('an order is cancelled with a refund, and only by whoever may', async () => {
  const { order_id: id } = await orderAtQuietShop(['accept', 'start'])
  for (let i = 0; i < 100 && (await read(id)).payment.status !== 'captured'; i++) await new Promise(resolve => setTimeout(resolve, 100))
  const finance = await invite(browser, admin, service.url, 'fin', ['finance'])
  await finance.goto(`${service.url}/console/orders/${id}`)
  await finance.getByRole('heading', { name: 'Timeline' }).waitFor()
  assert.equal(await finance.getByText('Cancel', { exact: true }).count(), 0)
  assert.equal(await finance.getByRole('button', { name: 'Show personal data' }).count(), 0)
  await finance.context().close()
  await admin.goto(`${service.url}/console/orders/${id}`)
  await admin.locator('summary', { hasText: /^Cancel$/ }).click()
  await admin.getByLabel('Why, as the customer is told').selectOption('equipment_failure')
  await admin.getByLabel('Give back this much:').check()
  await admin.getByLabel('Amount to give back').fill('4.10')
  await screenshot(admin, 'order-cancel')
  await admin.getByLabel('Reason, for the audit log').fill(`the machine broke ${PAYLOAD}`)
  await admin.getByRole('button', { name: 'Cancel the order' }).click()
  await admin.locator('#notice').getByText('It is cancelled.').waitFor()
  await admin.locator('.badge.big').getByText('cancelled').waitFor()
  const order = await until(id, 'cancelled')
  assert.equal(order.reason.code ?? order.reason, 'equipment_failure')
  await admin.getByText('the machine broke').first().waitFor()
  await admin.locator('.timeline').getByText('equipment failure, partial refund 4.10 EUR, note hidden').waitFor()
  const entry = admin.locator('section[aria-labelledby=audit] tr', { hasText: 'cancel order' })
  await entry.getByText('reason: equipment failure, partial refund 4.10 EUR').waitFor()
  await entry.getByText('JSON').click()
  await entry.getByText('{"partial":410}').waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'order-cancelled')
  assert.deepEqual(admin.faults, [])
})

test('a finished order is refunded by line, once', async () => {
  const { order_id: id } = await service.order()
  await until(id, 'completed', 'not_collected')
  await admin.goto(`${service.url}/console/orders/${id}`)
  const second = await admin.context().newPage()
  await second.goto(`${service.url}/console/orders/${id}`)
  const refund = async page => {
    await page.locator('summary', { hasText: /^Refund$/ }).click()
    await page.getByLabel('These lines:').check()
    await page.locator('input[name=line]').first().check()
    await page.locator('form[action$="/refund"]').getByLabel('Reason').fill('it was cold')
    await page.getByRole('button', { name: 'Refund', exact: true }).click()
  }
  await refund(admin)
  await admin.locator('#notice').getByText('8.20 EUR go back to the customer.').waitFor()
  await refund(second)
  const told = second.getByRole('alert')
  await told.getByText('the order has changed since you opened this form').waitFor()
  await told.getByText('refund requested, by operator: refund 8.20 EUR').waitFor()
  await told.getByText('it was cold').waitFor()
  assert.equal(new URL(second.url()).pathname, `/console/orders/${id}`)
  await checkAccessibility(second)
  await screenshot(second, 'order-moved')
  await second.close()
  for (let i = 0; i < 100 && (await read(id)).payment.status !== 'refunded'; i++) await new Promise(resolve => setTimeout(resolve, 100))
  assert.equal((await read(id)).payment.refunded.amount ?? (await read(id)).payment.refunded, 820)
})

test('what happens again and again is one line, which stays unfolded', async () => {
  const { order_id: id } = await orderAtQuietShop()
  for (let n = 1; n <= 5; n++) {
    await service.call(service.keys.partner, 'PUT', `/v1/orders/${id}/pickup`, { name: `Ada ${n}` })
  }
  const page = await openPage(browser, { viewport: { width: 375, height: 740 }, hasTouch: true, storageState: await admin.context().storageState() })
  await page.goto(`${service.url}/console/orders/${id}`)
  const row = page.locator('.timeline tr', { hasText: 'pickup changed' })
  await row.getByText('5 times', { exact: true }).waitFor()
  assert.equal(await row.count(), 1)
  await row.locator('summary').focus()
  await page.keyboard.press('Enter')
  await row.locator('li').nth(4).getByText('at the counter, as soon as possible, name hidden').waitFor()
  // The part is drawn anew meanwhile.
  await page.waitForResponse(answer => answer.url().includes('/state') && answer.ok())
  await page.waitForTimeout(500)
  assert.ok(await row.locator('li').nth(4).isVisible())
  assert.match(await page.evaluate(() => document.activeElement.id), /^run-\d+-head$/)
  await checkWidth(page)
  await checkAccessibility(page)
  await screenshot(page, 'order-runs-phone')
  assert.ok(!(await page.content()).includes('Ada'))
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('who ordered is hidden until asked for, and asking is in the audit log', async () => {
  const { order_id: id } = await service.order({ customer_id: `secret ${PAYLOAD}`.slice(0, 64), pickup: { type: 'counter', note: `for Ada ${PAYLOAD}`, name: `Grace ${PAYLOAD}`.slice(0, 40) }, metadata: { table: PAYLOAD } })
  await admin.goto(`${service.url}/console/orders/${id}`)
  await admin.getByRole('heading', { name: 'Timeline' }).waitFor()
  assert.doesNotMatch(await admin.content(), /for Ada|Grace/)
  const answer = await admin.goto(`${service.url}/console/orders/${id}/json`)
  assert.doesNotMatch(await answer.text(), /for Ada|Grace|secret/)
  await admin.goto(`${service.url}/console/orders/${id}`)
  await admin.getByRole('button', { name: 'Show personal data' }).click()
  await admin.getByText('for Ada').waitFor()
  await admin.getByText('Grace').waitFor()
  await screenshot(admin, 'order-payloads')
  await admin.goto(`${service.url}/console/audit?action=see_personal_data`)
  await admin.getByText(`order:${id}`).waitFor()
  assert.deepEqual(admin.faults, [])
})

test('an order that waits for its shop is given more time, told once more, and noted on', async () => {
  const { order_id: id } = await orderAtQuietShop()
  const order = await read(id)
  await admin.goto(`${service.url}/console/orders/${id}`)
  await admin.locator('summary', { hasText: 'Extend the deadline' }).click()
  const form = admin.locator('form[action$="/extend"]')
  await form.getByLabel('By minutes').fill('30')
  await form.getByLabel('Reason').fill('the shop called')
  await form.getByRole('button').click()
  await admin.locator('#notice').getByText('30 minutes more').waitFor()
  assert.equal(Date.parse((await read(id)).deadline_at) - Date.parse(order.deadline_at), 30 * 60_000)
  await admin.locator('summary', { hasText: 'Resend to the shop' }).click()
  await admin.locator('form[action$="/offer"]').getByLabel('Reason').fill('the tablet was off')
  await admin.getByRole('button', { name: 'Tell the shop once more' }).click()
  await admin.locator('#notice').getByText('once more').waitFor()
  await admin.locator('summary', { hasText: /^Note$/ }).click()
  await admin.getByLabel('Note, for other operators').fill(`call back at noon ${PAYLOAD}`)
  await admin.getByRole('button', { name: 'Write it down' }).click()
  await admin.getByText('call back at noon').waitFor()
  await screenshot(admin, 'order-waiting')
  assert.deepEqual(admin.faults, [])
})

test('a page that cannot reach the server says that what it shows is old', async () => {
  const page = await openPage(browser)
  await page.context().addCookies(await admin.context().cookies())
  await page.goto(`${service.url}/console/orders?tab=done`)
  await page.locator('table.orders').getByRole('link').first().waitFor()
  await page.context().setOffline(true)
  await page.locator('#notice').getByText('what you see is old').waitFor()
  await page.locator('#list[data-state=lost]').waitFor()
  await page.locator('table.orders').getByRole('link').first().waitFor()
  await page.context().setOffline(false)
  await page.locator('#list:not([data-state])').waitFor()
  await page.context().close()
})

test('the session may end while a page keeps itself up to date', async () => {
  const other = await startService('--console-idle', '2s')
  const page = await openPage(browser)
  try {
    await enter(page, other.link)
    await page.goto(`${other.url}/console/orders`)
    await page.getByText('Your session has ended.').waitFor({ timeout: 15_000 })
    assert.match(page.url(), /login\?ended=1&next=%2Fconsole%2Forders/)
  } finally {
    await page.context().close()
    await other.stop()
  }
})

test('both themes and a phone', async () => {
  const { order_id: id } = await service.order()
  const cookies = await admin.context().cookies()
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 375, height: 700 } }]]) {
    const page = await openPage(browser, options)
    await page.context().addCookies(cookies)
    for (const [path, what] of [['', 'live'], ['/orders?tab=done', 'orders'], [`/orders/${id}`, 'order']]) {
      await page.goto(`${service.url}/console${path}`)
      await page.waitForTimeout(500)
      await checkAccessibility(page)
      await checkWidth(page)
      await screenshot(page, `${what}-${name}`)
    }
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})

test('it can be used with the keyboard alone', async () => {
  await admin.goto(`${service.url}/console/orders?tab=done`)
  await admin.keyboard.press('Tab')
  assert.equal(await admin.evaluate(() => document.activeElement.textContent), 'Skip to the content')
  await admin.keyboard.press('Enter')
  assert.equal(await admin.evaluate(() => document.activeElement.id), 'main')
})
