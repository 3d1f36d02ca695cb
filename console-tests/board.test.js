// The board of a shop on its tablet: from new to handed over, with and without a network.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, openBrowser, openPage, screenshot, startService } from './support.js'

/// Nobody plays this shop: it moves only as its board says.
const SHOP = '01970000-0000-7000-8000-000000000013'
const TABLET = { viewport: { width: 1280, height: 800 }, hasTouch: true }
const PHONE = { viewport: { width: 375, height: 740 }, hasTouch: true }
const NASTY = '<script>alert(1)</script><img src=x onerror=alert(2)>'

let service, browser, tablet
before(async () => {
  service = await startService()
  browser = await openBrowser()
  tablet = await openBoard()
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

const newKey = () => service.call(service.keys.admin, 'POST', '/v1/admin/keys', { kind: 'shop', shop_id: SHOP, label: 'tablet' })

async function signIn (page, secret) {
  await page.getByLabel('Key of the shop').fill(secret)
  await page.getByRole('button', { name: 'Open the board' }).click()
  await page.locator('#connection').getByText('live').waitFor()
}

async function openBoard (options = TABLET) {
  const page = await openPage(browser, options)
  page.key = await newKey()
  await page.goto(`${service.url}/board`)
  await signIn(page, page.key.secret)
  return page
}

/// An order at this shop, and its ticket on a page once it is there.
async function place (page = tablet, changes = {}) {
  const { order_id: id } = await service.order({ shop_id: SHOP, ...changes })
  const ticket = page.locator(`.ticket[data-id="${id}"]`)
  await ticket.waitFor()
  const tap = name => ticket.getByRole('button', { name }).click()
  const comesTo = column => page.locator(`[data-column="${column}"] .ticket[data-id="${id}"]`).waitFor()
  return { id, ticket, tap, comesTo }
}

const status = async id => (await service.call(service.keys.partner, 'GET', `/v1/orders/${id}`)).status

/// What the shop has said of an order, each as often as it was written down.
async function said (id) {
  const { events } = await service.call(service.keys.partner, 'GET', `/v1/orders/${id}/events`)
  return events.filter(({ actor }) => actor === 'shop').map(({ type }) => type)
}

async function until (what, ms = 12_000) {
  for (const end = Date.now() + ms; !(await what());) {
    assert.ok(Date.now() < end, `not in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

test('a wrong key opens nothing, and the right one lies where no script finds it', async () => {
  const page = await openPage(browser, TABLET)
  await page.goto(`${service.url}/board`)
  await checkAccessibility(page)
  for (const wrong of ['nothing', service.keys.partner]) {
    await page.getByLabel('Key of the shop').fill(wrong)
    await page.getByRole('button', { name: 'Open the board' }).click()
    await page.getByRole('alert').waitFor()
  }
  await screenshot(page, 'board-key')
  const cookie = (await tablet.context().cookies(`${service.url}/board`)).find(({ name }) => name === 'lungo_tablet')
  assert.ok(cookie.httpOnly && cookie.value !== tablet.key.secret)
  const reach = await tablet.evaluate(() => document.cookie + JSON.stringify(localStorage) + document.documentElement.outerHTML)
  assert.ok(!reach.includes(cookie.value) && !reach.includes('lungo_shop_'))
  await page.context().close()
})

test('an order goes from new to handed over, a tap a step, and the app sees each', async () => {
  const { id, ticket, tap, comesTo } = await place()
  await tablet.locator('#spoken').getByText(/New order .*2 Lungo with Oat milk/).waitFor({ state: 'attached' })
  await ticket.getByText('NEW').waitFor()
  await ticket.getByText(/^answer in \d:\d\d$/).waitFor()
  assert.doesNotMatch(await tablet.locator('body').innerText(), /EUR|€|8\.20/)
  for (const [name, column, next] of [
    ['Accept', 'accepted', 'accepted'], ['Start', 'preparing', 'preparing'], ['Ready', 'ready', 'ready']
  ]) {
    await tap(new RegExp(`^${name} `))
    await ticket.getByText('Tap to take back').waitFor()
    await comesTo(column)
    await until(async () => await status(id) === next)
  }
  await tap(/^Back to making/)
  await comesTo('preparing')
  await until(async () => await status(id) === 'preparing')
  await tap(/^Ready/)
  await comesTo('ready')
  await tap(/^Handed over/)
  await until(async () => await status(id) === 'completed')
  assert.deepEqual(await said(id), ['shop_accepted', 'preparation_started', 'made', 'recalled', 'made', 'collected'])
  await tablet.getByRole('button', { name: /^Done/ }).click()
  await tablet.locator(`[data-column="done"] .ticket[data-id="${id}"]`).getByText('handed over').waitFor()
  await tablet.getByRole('button', { name: 'Now' }).click()
})

test('a step can be taken back for four seconds', async () => {
  const { id, ticket, tap } = await place()
  await tap(/^Accept/)
  await ticket.getByRole('button', { name: /^Take back/ }).click()
  await ticket.getByRole('button', { name: /^Accept/ }).waitFor()
  await tablet.waitForTimeout(4500)
  assert.deepEqual([await status(id), await said(id)], ['awaiting_shop', []])
  await ticket.getByRole('button', { name: /^\+5 min/ }).click()
  await until(async () => await status(id) === 'accepted')
})

test('without a network steps are kept, also over a reload, and each is heard once', async () => {
  const page = await openBoard()
  const [one, two] = [await place(page), await place(page)]
  await page.context().setOffline(true)
  await page.locator('#connection').getByText('offline').waitFor()
  await one.tap(/^Accept/)
  await one.comesTo('accepted')
  await one.tap(/^Start/)
  await one.comesTo('preparing')
  await page.getByText('2 not sent yet').waitFor()
  await screenshot(page, 'board-offline')
  await checkAccessibility(page)
  assert.deepEqual(await said(one.id), [])
  await page.context().setOffline(false)
  await until(async () => await status(one.id) === 'preparing')
  await page.locator('#waiting').waitFor({ state: 'hidden' })

  // The answers are lost after the steps were heard.
  let lost = 0
  await page.route('**/board/shop/orders/*/accept', async route => { await route.fetch(); lost++; await route.abort() })
  await two.tap(/^Accept/)
  await until(() => lost >= 2)
  await page.getByText('1 not sent yet').waitFor()
  await page.reload()
  await page.getByText('1 not sent yet').waitFor()
  await page.unroute('**/board/shop/orders/*/accept')
  await page.locator('#waiting').waitFor({ state: 'hidden', timeout: 20_000 })
  assert.deepEqual(await said(two.id), ['shop_accepted'])
  assert.deepEqual(await said(one.id), ['shop_accepted', 'preparation_started'])
  await page.context().close()
})

test('a server that answers, and not with what there is, is not called live', async () => {
  await tablet.route('**/board/shop/orders', route => route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"code":"database_unavailable"}' }))
  await tablet.locator('#connection').getByText('not up to date').waitFor({ timeout: 20_000 })
  await tablet.unroute('**/board/shop/orders')
  await tablet.locator('#connection').getByText('live').waitFor()
})

test('an order that the customer cancels stays, struck through, until it is touched', async () => {
  const { id, ticket, tap } = await place()
  await service.call(service.keys.partner, 'POST', `/v1/orders/${id}/cancel`)
  await ticket.getByText('cancelled: customer request (the customer)').waitFor()
  assert.ok(await ticket.evaluate(element => element.classList.contains('struck')))
  await tablet.reload()
  await ticket.waitFor()
  await screenshot(tablet, 'board-cancelled')
  await checkAccessibility(tablet)
  await tap(/^Seen/)
  await ticket.waitFor({ state: 'hidden' })
})

test('an order is rejected with a reason, and a step that came too late is told', async () => {
  const [refused, late] = [await place(), await place()]
  await refused.tap(/^Reject/)
  await checkAccessibility(tablet)
  await tablet.getByRole('dialog').getByRole('button', { name: 'shop too busy' }).click()
  await late.tap(/^Accept/)
  await service.call(service.keys.partner, 'POST', `/v1/orders/${late.id}/cancel`)
  await until(async () => await status(refused.id) === 'rejected')
  await tablet.locator('#fault').getByText('It is cancelled now.').waitFor()
  await late.tap(/^Seen/)
})

test('what is sold out is dropped where the customer agreed, and is off the menu', async () => {
  const lines = [{ item_id: 'lungo', quantity: 1, options: [] }, { item_id: 'cookie', quantity: 3, options: [] }]
  const { id, tap, ticket } = await place(tablet, { lines, total: { amount: 1010, currency: 'EUR' }, on_unavailable: 'remove_line' })
  await tap(/^Sold out/)
  const dialog = tablet.getByRole('dialog')
  await dialog.getByRole('button', { name: '3× Cookie' }).click()
  await screenshot(tablet, 'board-sold-out')
  await dialog.getByRole('button', { name: 'Accept the rest' }).click()
  await until(async () => await status(id) === 'accepted')
  await ticket.locator('.dropped', { hasText: 'Cookie' }).waitFor()
  const menu = () => service.call(service.keys.partner, 'GET', `/v1/shops/${SHOP}/menu`)
  const cookie = async () => (await menu()).items.find(item => item.item_id === 'cookie').available
  await until(async () => await cookie() === false)
  await tablet.getByRole('button', { name: 'Sold out…', exact: true }).click()
  await dialog.getByRole('button', { name: 'Cookie', pressed: true }).click()
  await until(async () => await cookie() === true)
  await dialog.getByRole('button', { name: 'Close' }).click()
})

test('what is for later stands apart, and whoever did not come can still come', async () => {
  const quarter = 900_000
  const slot = new Date(Math.ceil(Date.now() / quarter) * quarter + 3 * 3600_000).toISOString()
  await tablet.getByRole('button', { name: /^Scheduled/ }).click()
  const later = await place(tablet, { pickup: { type: 'counter', at: slot } })
  await later.comesTo('scheduled')
  await later.ticket.getByText(/^pickup in [23]:\d\d:\d\d$/).waitFor()
  await tablet.getByRole('button', { name: 'Now' }).click()

  const { id, tap, comesTo } = await place()
  for (const action of ['accept', 'ready']) await service.call(tablet.key.secret, 'POST', `/v1/shop/orders/${id}/${action}`)
  await comesTo('ready')
  await tap(/^No-show/)
  await until(async () => await status(id) === 'not_collected')
  await tablet.getByRole('button', { name: /^Done/ }).click()
  await comesTo('done')
  await tap(/^Handed over/)
  await until(async () => await status(id) === 'completed')
  await screenshot(tablet, 'board-done')
  await checkAccessibility(tablet)
  await tablet.getByRole('button', { name: 'Now' }).click()
})

test('the shop is slowed down, paused and opened again, and is heard of meanwhile', async () => {
  const shop = () => service.call(tablet.key.secret, 'GET', '/v1/shop')
  for (const [tap, mode, shown] of [
    ['Busy, +10 min', 'busy', 'Busy, +10 min'], ['Pause 15 min', 'paused', /^Paused until/], ['Open', 'open', 'Open']
  ]) {
    await tablet.locator('#mode summary').click()
    await tablet.locator('#mode').getByRole('button', { name: tap, exact: true }).click()
    await until(async () => (await shop()).mode.mode === mode)
    await tablet.locator('#mode-now').getByText(shown).waitFor()
  }
  assert.equal((await shop()).presence, 'online')
})

test('whatever somebody wrote is only ever text', async () => {
  await service.call(service.keys.admin, 'PUT', '/v1/admin/partners/01970000-0000-7000-8000-000000000001/items/nasty', {
    name: NASTY, price: 100, make_seconds: 10,
    option_groups: [{ group_id: 'g', name: NASTY, min: 0, max: 1, options: [{ option_id: 'o', name: NASTY, price: 0 }] }]
  })
  const { ticket, tap } = await place(tablet, {
    lines: [{ item_id: 'nasty', quantity: 1, options: ['o'] }],
    total: { amount: 100, currency: 'EUR' },
    pickup: { type: 'curbside', note: `${NASTY} ${'long'.repeat(30)}`, vehicle: NASTY.slice(0, 50), name: NASTY.slice(0, 40) }
  })
  assert.equal(await ticket.locator('.note-of').innerText(), `${NASTY} ${'long'.repeat(30)}`)
  assert.equal(await ticket.locator('.called').innerText(), NASTY.slice(0, 40).trim())
  await ticket.locator('.name', { hasText: NASTY }).waitFor()
  await ticket.locator('.options li', { hasText: NASTY }).waitFor()
  await tap(/^Sold out/)
  await tablet.getByRole('dialog').getByText(`1× ${NASTY}`).waitFor()
  await tablet.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
  assert.equal(await tablet.locator('#board script, #board img').count(), 0)
  assert.deepEqual(tablet.faults, [])
})

test('a page that fails keeps the look of the board, and says what becomes of what was tapped', async () => {
  const page = await openPage(browser, TABLET)
  assert.equal((await page.goto(`${service.url}/board/nothing`)).status(), 404)
  await page.getByText('are kept on this tablet').waitFor()
  await checkAccessibility(page)
  await screenshot(page, 'board-failed')
  await page.getByRole('link', { name: 'Open the board' }).click()
  await page.getByLabel('Key of the shop').waitFor()
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('a key that is revoked signs its tablet out, and what was tapped waits for the next', async () => {
  const page = await openBoard()
  const { id, tap } = await place(page)
  await service.call(service.keys.admin, 'POST', `/v1/admin/keys/${page.key.key_id}/revoke`)
  await page.locator('#connection').getByText('signed out').waitFor()
  await tap(/^Accept/)
  await page.getByText('1 not sent yet').waitFor()
  assert.equal(await status(id), 'awaiting_shop')
  await page.getByRole('link', { name: 'Sign in' }).click()
  await signIn(page, (await newKey()).secret)
  await until(async () => await status(id) === 'accepted')
  await page.locator('summary', { hasText: '⋯' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByLabel('Key of the shop').waitFor()
  await page.context().close()
})

test('by the keyboard alone', async () => {
  const page = await openBoard()
  const { id, ticket } = await place(page)
  await ticket.getByRole('button', { name: /^Accept/ }).focus()
  await page.keyboard.press('Enter')
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^Take back/)
  await until(async () => await status(id) === 'accepted')
  await page.context().close()
})

test('on a tablet and a phone, in light and dark, with room for a thumb', async () => {
  for (const [name, options] of [
    ['tablet', TABLET], ['tablet-dark', { ...TABLET, colorScheme: 'dark' }], ['phone', PHONE], ['phone-dark', { ...PHONE, colorScheme: 'dark' }]
  ]) {
    const page = await openBoard(options)
    await place(page)
    await place(page, { pickup: { type: 'counter', name: 'Zoë' } })
    await checkAccessibility(page)
    await checkWidth(page)
    const small = await page.locator('button, summary, a').evaluateAll(all => all
      .filter(one => one.checkVisibility() && !one.classList.contains('badge'))
      .map(one => [one.textContent, one.getBoundingClientRect()])
      .filter(([, { width, height }]) => width < 44 || height < 44).map(([text]) => text))
    assert.deepEqual(small, [], name)
    await screenshot(page, `board-${name}`)
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})
