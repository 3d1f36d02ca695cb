// Money, stages, shops and menus: looked at, and acted on by whoever may.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, DEMO_SHOP, enter, invite, openBrowser, openPage, screenshot, startService } from './support.js'

const PAYLOAD = '<script>alert(1)</script><img src=x onerror=alert(1)>'

let service, browser, admin
before(async () => {
  service = await startService('--settle-limit', '500')
  browser = await openBrowser()
  admin = await openPage(browser)
  await enter(admin, service.link)
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

const read = id => service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}`)

async function until (id, is) {
  for (let i = 0; i < 200; i++) {
    const order = await read(id)
    if (is(order)) return order
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  assert.fail(`${id} did not get there: ${JSON.stringify(await read(id))}`)
}

/// An order that was handed over and paid for.
async function sold () {
  const { order_id: id } = await service.order()
  await until(id, order => order.payment.status === 'captured' && ['completed', 'not_collected'].includes(order.status))
  return id
}

async function settle (page, id, amount, evidence = 'statement of today') {
  await page.goto(`${service.url}/console/money/${id}`)
  await page.locator('summary', { hasText: 'Settle by evidence' }).click()
  await page.getByLabel('So much was given back in all', { exact: true }).check()
  await page.getByLabel('Amount: So much was given back in all').fill(amount)
  await page.getByLabel('Evidence, for the audit log').fill(evidence)
  await page.getByRole('button', { name: 'Settle it' }).click()
}

test('a payment is looked up, and a small sum settled by one', async () => {
  const id = await sold()
  await admin.goto(`${service.url}/console/money/${id}`)
  await admin.locator('summary', { hasText: 'Look up' }).click()
  await admin.locator('form[action$="/look-up"]').getByLabel('Reason').fill('the customer rang')
  await admin.getByRole('button', { name: 'Look it up' }).click()
  await admin.locator('#notice').getByText('says what the order says').waitFor()
  await settle(admin, id, '9.00')
  await admin.locator('#notice').getByText('gave back 900').waitFor()
  await settle(admin, id, '4.10', `statement ${PAYLOAD}`)
  await admin.locator('#notice').getByText('It is settled.').waitFor()
  assert.equal((await read(id)).payment.status, 'partially_refunded')
  await settle(admin, id, '8.20')
  await admin.locator('#notice').getByText('somebody else has to agree').waitFor()
  await admin.goto(`${service.url}/console/money`)
  await admin.locator('summary', { hasText: 'Withdraw' }).click()
  await admin.locator('form[action$="/withdraw"]').getByLabel('Reason').fill('in two parts it is as much')
  await admin.getByRole('button', { name: 'Withdraw it' }).click()
  await admin.locator('#notice').getByText('It is withdrawn.').waitFor()
  await admin.goto(`${service.url}/console/money/${id}`)
  await checkAccessibility(admin)
  await screenshot(admin, 'money-order')
  await admin.goto(`${service.url}/console/money`)
  await admin.getByText('statement <script>').waitFor()
  assert.deepEqual(admin.faults, [])
})

test('above the limit two have to agree, and each of them is another', async () => {
  const id = await sold()
  await settle(admin, id, '8.20')
  await admin.locator('#notice').getByText('somebody else has to agree').waitFor()
  assert.equal((await read(id)).payment.status, 'captured')
  await admin.goto(`${service.url}/console/money`)
  await admin.getByText('waits for a second person').waitFor()
  assert.equal(await admin.locator('summary', { hasText: 'Agree' }).count(), 0)
  const token = await admin.locator('input[name=csrf]').first().inputValue()
  const address = (await admin.locator('form[action$="/withdraw"]').first().getAttribute('action')).replace('withdraw', 'agree')
  const alone = await admin.request.post(service.url + address, { form: { csrf: token, reason: 'x' }, headers: { origin: service.url }, maxRedirects: 0 })
  assert.equal(alone.status(), 409)
  assert.equal((await read(id)).payment.status, 'captured')

  const support = await invite(browser, admin, service.url, 'sup', ['support'])
  await support.goto(`${service.url}/console/money`)
  await support.getByText('waits for a second person').waitFor()
  assert.equal(await support.locator('summary', { hasText: 'Agree' }).count(), 0)
  const theirs = await support.locator('input[name=csrf]').first().inputValue()
  const refused = await support.request.post(service.url + address, { form: { csrf: theirs, reason: 'x' }, headers: { origin: service.url }, maxRedirects: 0 })
  assert.equal(refused.status(), 403)
  await support.context().close()

  const finance = await invite(browser, admin, service.url, 'fin', ['finance'])
  await finance.goto(`${service.url}/console/money`)
  await screenshot(finance, 'money')
  await checkAccessibility(finance)
  await finance.locator('summary', { hasText: 'Agree' }).click()
  await finance.locator('form[action$="/agree"]').getByLabel('Reason').fill('I saw it too')
  await finance.getByRole('button', { name: 'Agree: given back in all' }).click()
  await finance.locator('#notice').getByText('It is settled.').waitFor()
  assert.equal((await read(id)).payment.status, 'refunded')
  await finance.context().close()
})

test('what was settled by evidence is no mismatch, and what is not known stands in its list', async () => {
  const { order_id: silent } = await service.order({ payment: { method: 'pm_silent' } })
  await until(silent, order => order.payment.status === 'unknown')
  await admin.goto(`${service.url}/console/money`)
  await admin.locator('section[aria-labelledby=unknown]').getByRole('link', { name: silent.slice(-8) }).waitFor()
  await admin.getByRole('button', { name: 'Compare with the gateway' }).click()
  await admin.getByText('no mismatch').waitFor()
  await screenshot(admin, 'money-compared')
  await checkAccessibility(admin)
  assert.deepEqual(admin.faults, [])
})

/// Begins a drill, or ends it where `manner` is null.
async function drill (actor, manner) {
  await admin.goto(`${service.url}/console/drills`)
  const what = manner === null ? `End: ${actor}` : 'Slow, silent or rejecting'
  await admin.locator('summary', { hasText: what }).click()
  const form = admin.locator('details[open] form')
  if (manner !== null) {
    await form.getByLabel('Who').selectOption(actor)
    await form.getByLabel('Becomes').selectOption(manner)
    await form.getByLabel('Reason').fill('a drill')
  }
  await form.getByRole('button').click()
  await admin.locator('#notice').getByText(manner === null ? 'The drill is over.' : 'The drill is on.').waitFor()
}

/// An order that was made and not paid for: the gateway refused to take what it holds.
async function refusedAtCapture () {
  const { shops } = await service.call(service.keys.admin, 'GET', '/v1/admin/shops')
  const quiet = shops.find(shop => !shop.simulated)
  const { order_id: id } = await service.order({ shop_id: quiet.shop_id })
  await until(id, order => order.status === 'awaiting_shop')
  const { secret } = await service.call(service.keys.admin, 'POST', '/v1/admin/keys', { kind: 'shop', shop_id: quiet.shop_id, label: 'test' })
  await drill('gateway', 'rejecting')
  for (const step of ['accept', 'start']) await service.call(secret, 'POST', `/v1/shop/orders/${id}/${step}`)
  await until(id, order => order.payment.status === 'capture_failed')
  await drill('gateway', null)
  return id
}

const letGo = async page => {
  await page.locator('summary', { hasText: /^Void$/ }).click()
  await page.locator('form[action$="/void"]').getByLabel('Reason').fill('the card was replaced')
  await page.getByRole('button', { name: 'Let go of it' }).click()
}

test('a hold that could not be taken is let go of by finance alone, with why', async () => {
  const id = await refusedAtCapture()
  await admin.goto(`${service.url}/console/money`)
  await admin.locator('section[aria-labelledby=failed]').getByRole('link', { name: id.slice(-8) }).waitFor()
  const address = `${service.url}/console/money/${id}`
  const support = await invite(browser, admin, service.url, 'sup-void', ['support'])
  await support.goto(address)
  await support.getByText('capture failed').first().waitFor()
  assert.equal(await support.locator('summary', { hasText: /^Void$/ }).count(), 0)
  const token = await support.locator('input[name=csrf]').first().inputValue()
  const refused = await support.request.post(`${address}/void`, { form: { csrf: token, reason: 'x' }, headers: { origin: service.url }, maxRedirects: 0 })
  assert.equal(refused.status(), 403)
  await support.context().close()
  assert.equal((await read(id)).payment.status, 'capture_failed')

  const finance = await invite(browser, admin, service.url, 'fin-void', ['finance'])
  await finance.goto(address)
  await finance.locator('summary', { hasText: /^Void$/ }).click()
  await screenshot(finance, 'money-void')
  await checkAccessibility(finance)
  await finance.goto(address)
  await letGo(finance)
  await finance.locator('#notice').getByText('The gateway has let go of it.').waitFor()
  assert.equal((await read(id)).payment.status, 'voided')
  assert.equal(await finance.locator('summary', { hasText: /^Void$/ }).count(), 0)
  await finance.goto(`${service.url}/console/orders/${id}`)
  await finance.getByText('the card was replaced').waitFor()
  await finance.context().close()
})

test('what two have to agree to does not outlive what one did at the gateway', async () => {
  const id = await refusedAtCapture()
  await admin.goto(`${service.url}/console/money/${id}`)
  await admin.locator('summary', { hasText: 'Settle by evidence' }).click()
  await admin.getByLabel('Nothing is held, and nothing was taken').check()
  await admin.getByLabel('Evidence, for the audit log').fill('letter of the bank')
  await admin.getByRole('button', { name: 'Settle it' }).click()
  await admin.locator('#notice').getByText('somebody else has to agree').waitFor()
  assert.equal((await read(id)).payment.status, 'capture_failed', '8.20 is above 5.00')
  await letGo(admin)
  await admin.locator('#notice').getByText('The gateway has let go of it.').waitFor()
  const finance = await invite(browser, admin, service.url, 'fin-late', ['finance'])
  await finance.goto(`${service.url}/console/money`)
  await finance.locator('summary', { hasText: 'Agree' }).click()
  await finance.locator('form[action$="/agree"]').getByLabel('Reason').fill('I saw it too')
  await finance.getByRole('button', { name: 'Agree: nothing is held' }).click()
  await finance.locator('#notice').getByText('changed since that version').waitFor()
  assert.equal((await read(id)).payment.status, 'voided')
  await finance.locator('summary', { hasText: 'Withdraw' }).click()
  await finance.locator('form[action$="/withdraw"]').getByLabel('Reason').fill('it was let go of meanwhile')
  await finance.getByRole('button', { name: 'Withdraw it' }).click()
  await finance.locator('#notice').getByText('It is withdrawn.').waitFor()
  await finance.context().close()
})

test('unknown outcomes are looked up together, once what was counted is typed', async () => {
  const ids = []
  for (let i = 0; i < 2; i++) ids.push((await service.order({ payment: { method: 'pm_silent' } })).order_id)
  for (const id of ids) await until(id, order => order.payment.status === 'unknown')
  await admin.goto(`${service.url}/console/money`)
  await admin.getByRole('button', { name: 'Look up all of these' }).click()
  const heading = admin.getByRole('heading', { name: /^\d+ orders: perhaps held: / })
  const [count] = (await heading.textContent()).match(/\d+/)
  await admin.getByLabel('to confirm it').fill(`look up ${Number(count) + 1}`)
  await admin.getByLabel('Reason').fill('the bank was down')
  await admin.locator('form[action$="/start"] button').click()
  await admin.locator('#notice').getByText(`Type \`look up ${count}\` to confirm it.`).waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'bulk-look-up')
  await admin.getByLabel('to confirm it').fill(`look up ${count}`)
  await admin.locator('form[action$="/start"] button').click()
  await admin.locator('.badge.big').getByText('done').waitFor({ timeout: 30_000 })
  await admin.getByText('the gateway says nothing new').first().waitFor()
  await screenshot(admin, 'bulk-looked-up')
  await admin.goto(`${service.url}/console/orders/${ids[0]}`)
  await admin.getByText('look up payment').first().waitFor()

  const shops = await invite(browser, admin, service.url, 'ops', ['shop_ops'])
  await shops.goto(`${service.url}/console/money`)
  assert.equal(await shops.getByRole('button', { name: 'Look up all' }).count(), 0)
  const token = await shops.locator('input[name=csrf]').first().inputValue()
  const form = { csrf: token, deed: 'look_up', tab: 'unknown', q: 'payment:unknown' }
  const refused = await shops.request.post(`${service.url}/console/bulk`, { form, headers: { origin: service.url }, maxRedirects: 0 })
  assert.equal(refused.status(), 403)
  await shops.context().close()
  assert.deepEqual(admin.faults, [])
})

/// A tile of Live, by the name that it has.
const tile = name => admin.locator('.tile').filter({ has: admin.locator('.name', { hasText: new RegExp(`^${name}$`) }) })

test('Live tells what keeps the worker from its work, in red and with the way to it', async () => {
  await admin.goto(`${service.url}/console`)
  for (const name of ['do not answer', 'held', 'abandoned']) {
    await tile(name).locator('.value').getByText('0', { exact: true }).waitFor()
    assert.ok(!(await tile(name).getAttribute('class')).includes('broken'), name)
  }
  await tile('instances').locator('.value').getByText('1', { exact: true }).waitFor()
  assert.equal(await tile('unknown').getByRole('link').getAttribute('href'), '/console/money#unknown')
  await tile('replica lag').getByRole('link').click()
  await admin.waitForURL(/\/console\/stages#replicas$/)
  const own = admin.locator('#instances + p + .scroll tr', { hasText: 'this one' })
  await own.getByText('there', { exact: true }).waitFor()
  await own.getByText(/^\d+ of \d+/).nth(4).waitFor()
  await screenshot(admin, 'stages')
  await checkAccessibility(admin)
  await admin.goto(`${service.url}/console`)
  for (const stage of ['authorize', 'look up', 'offer', 'capture', 'release']) assert.equal(await tile(`to ${stage}`).count(), 1, stage)

  await admin.goto(`${service.url}/console/stages`)
  await admin.locator('summary', { hasText: /^Hold$/ }).click()
  await admin.locator('select[name=what]').selectOption('stage:authorize')
  await admin.locator('form[action$="/hold"]').getByLabel('Reason').fill('a drill')
  await admin.getByRole('button', { name: 'Hold it' }).click()
  await admin.getByRole('alert').getByText('stage authorize is held').waitFor()
  const { order_id: waits } = await service.order()
  await admin.goto(`${service.url}/console`)
  await tile('held').and(admin.locator('.broken')).waitFor()
  await tile('to authorize').locator('.value').getByText('1', { exact: true }).waitFor()
  await screenshot(admin, 'live-broken')
  await checkAccessibility(admin)
  await tile('held').getByRole('link').click()
  await admin.waitForURL(/\/console\/stages$/)
  await admin.locator('summary', { hasText: 'Go on: stage authorize' }).click()
  await admin.locator('form[action$="/lift"]').getByLabel('Reason').fill('the drill is over')
  await admin.locator('form[action$="/lift"]').getByRole('button').click()
  await admin.locator('#notice').getByText('goes on').waitFor()
  await admin.goto(`${service.url}/console`)
  await tile('held').and(admin.locator(':not(.broken)')).waitFor()
  await until(waits, order => order.status !== 'new')

  // Whoever does not answer is left alone, and that is told too.
  await drill('gateway', 'silent')
  const orders = await Promise.all(Array.from({ length: 12 }, () => service.order()))
  await admin.goto(`${service.url}/console`)
  const silent = tile('do not answer').and(admin.locator('.broken'))
  await silent.getByText('left alone for now').waitFor({ timeout: 60_000 })
  await admin.getByRole('region', { name: 'What is wrong' }).getByRole('link', { name: 'do not answer' }).waitFor()
  await screenshot(admin, 'live-silent')
  await silent.getByRole('link').click()
  await admin.getByRole('alert').getByText('pm_card_visa does not answer').waitFor()
  await drill('gateway', null)
  await admin.goto(`${service.url}/console`)
  await tile('do not answer').and(admin.locator(':not(.broken)')).waitFor({ timeout: 60_000 })
  for (const { order_id: id } of orders) await until(id, order => order.status !== 'new')
  assert.deepEqual(admin.faults, [])
})

test('a stage is held, also over a restart, and goes on', async () => {
  await admin.goto(`${service.url}/console/stages`)
  await admin.getByText('works', { exact: true }).nth(4).waitFor()
  await admin.locator('summary', { hasText: /^Hold$/ }).click()
  await admin.locator('select[name=what]').selectOption('stage:authorize')
  await admin.locator('form[action$="/hold"]').getByLabel('Reason').fill(`the bank called ${PAYLOAD}`)
  await admin.getByRole('button', { name: 'Hold it' }).click()
  await admin.getByRole('alert').getByText('stage authorize is held by admin').waitFor()
  const { order_id: id } = await service.order()
  await admin.waitForTimeout(2000)
  assert.equal((await read(id)).status, 'new')
  // A page that keeps itself up to date would rightly complain meanwhile.
  await admin.goto('about:blank')
  await service.restart()
  await admin.waitForTimeout(1500)
  assert.equal((await read(id)).status, 'new')
  await admin.goto(`${service.url}/console/stages`)
  await admin.getByText('held for').waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'stages-held')
  await admin.locator('summary', { hasText: 'Go on: stage authorize' }).click()
  await admin.locator('form[action$="/lift"]').getByLabel('Reason').fill('they called again')
  await admin.locator('form[action$="/lift"]').getByRole('button').click()
  await admin.locator('#notice').getByText('goes on').waitFor()
  const order = await until(id, order => order.status !== 'new')
  assert.notEqual(order.status, 'failed')
  assert.deepEqual(admin.faults, [])
})

test('a payment method is left alone by hand, and others are not', async () => {
  await admin.goto(`${service.url}/console/stages`)
  await admin.locator('summary', { hasText: /^Hold$/ }).click()
  await admin.locator('select[name=what]').selectOption('method')
  await admin.getByLabel('Payment method', { exact: true }).fill('pm_flaky')
  await admin.locator('form[action$="/hold"]').getByLabel('Reason').fill('it charges twice')
  await admin.getByRole('button', { name: 'Hold it' }).click()
  await admin.getByRole('alert').getByText('payment method pm_flaky is held').waitFor()
  const [held, other] = [await service.order({ payment: { method: 'pm_flaky' } }), await service.order()]
  await until(other.order_id, order => order.status !== 'new')
  assert.equal((await read(held.order_id)).status, 'new')
  await admin.locator('summary', { hasText: 'Go on: payment method pm_flaky' }).click()
  await admin.locator('form[action$="/lift"]').getByLabel('Reason').fill('fixed')
  await admin.locator('form[action$="/lift"]').getByRole('button').click()
  await until(held.order_id, order => order.status !== 'new')
})

test('a shop is paused and opened, an item sold out there, and its price changed', async () => {
  await admin.goto(`${service.url}/console/shops`)
  await admin.getByRole('link', { name: 'Lungo Central' }).waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'shops')
  await admin.getByRole('link', { name: 'Lungo Central' }).click()
  const say = async (what, button) => {
    await admin.locator('summary', { hasText: what }).first().click()
    await admin.locator('details[open]').getByLabel('Reason').fill(`a pipe broke ${PAYLOAD}`)
    await admin.getByRole('button', { name: button, exact: true }).click()
    await admin.locator('#notice').getByText('told to everybody').waitFor()
  }
  await say(/^Pause$/, 'Pause it')
  await admin.locator('.badge.big').getByText('paused for').waitFor()
  const menu = () => service.call(service.keys.partner, 'GET', `/v1/shops/${DEMO_SHOP}/menu`)
  const { shops } = await service.call(service.keys.partner, 'GET', '/v1/shops')
  assert.equal(shops.find(shop => shop.shop_id === DEMO_SHOP).accepting, false)
  await say(/^Open$/, 'Open it')
  await say(/^Busy$/, 'Say so')
  await admin.locator('.badge.big').getByText('busy, +10 min').waitFor()
  await say(/^Open$/, 'Open it')
  const lungo = admin.locator('#item-lungo')
  await lungo.locator('summary').click()
  await lungo.getByLabel('Sold out', { exact: true }).check()
  await lungo.getByLabel('Own price').fill('4.95')
  await lungo.getByLabel('Reason').fill('no beans')
  await lungo.getByRole('button').click()
  await lungo.locator('.badge.bad').waitFor()
  await lungo.getByText('4.95 EUR').waitFor()
  const item = (await menu()).items.find(item => item.item_id === 'lungo')
  assert.deepEqual([item.available, item.price.amount], [false, 495])
  await screenshot(admin, 'shop')
  await checkAccessibility(admin)
  assert.deepEqual(admin.faults, [])
})

test('the menu of all shops is changed, with payloads as names', async () => {
  await admin.goto(`${service.url}/console/shops`)
  await admin.locator('a[href^="/console/menus/"]').first().click()
  await admin.getByText('sold out', { exact: true }).waitFor()
  const row = admin.getByRole('row', { name: /^Tea/ })
  await row.locator('summary').click()
  await row.getByLabel('Name').fill(`Tea ${PAYLOAD}`)
  await row.getByLabel('Price, in EUR').fill('3.30')
  await row.getByLabel('Reason').fill('leaves cost more')
  await row.getByRole('button').click()
  await admin.locator('#notice').getByText("menus say so now").waitFor()
  await admin.getByText('Tea <script>').waitFor()
  const { items } = await service.call(service.keys.partner, 'GET', `/v1/shops/${DEMO_SHOP}/menu`)
  assert.equal(items.find(item => item.item_id === 'tea').price.amount, 330)
  await screenshot(admin, 'menu')
  await checkAccessibility(admin)
  assert.deepEqual(admin.faults, [])
})

test('whoever may only look is refused', async () => {
  const finance = await invite(browser, admin, service.url, 'looker', ['finance'])
  await finance.goto(`${service.url}/console/stages`)
  assert.equal(await finance.locator('summary', { hasText: /^Hold$/ }).count(), 0)
  await finance.goto(`${service.url}/console/shops/${DEMO_SHOP}`)
  assert.equal(await finance.locator('summary').count(), 0)
  const token = await finance.locator('input[name=csrf]').first().inputValue()
  for (const [path, form] of [
    ['/console/stages/hold', { what: 'stage:offer', minutes: '5' }], ['/console/stages/lift', { what: 'stage:offer' }],
    ['/console/stages/close', { what: 'method:x' }], [`/console/shops/${DEMO_SHOP}/mode`, { mode: 'open' }],
    [`/console/shops/${DEMO_SHOP}/items/lungo`, { available: 'yes' }]
  ]) {
    const answer = await finance.request.post(service.url + path, { form: { csrf: token, reason: 'x', ...form }, headers: { origin: service.url }, maxRedirects: 0 })
    assert.equal(answer.status(), 403, path)
  }
  await finance.context().close()
})

test('both themes and a phone', async () => {
  const cookies = await admin.context().cookies()
  const menu = await admin.goto(`${service.url}/console/shops`).then(() => admin.locator('a[href^="/console/menus/"]').first().getAttribute('href'))
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 375, height: 700 } }]]) {
    const page = await openPage(browser, options)
    await page.context().addCookies(cookies)
    for (const [path, what] of [['/console/money', 'money'], ['/console/stages', 'stages'], ['/console/shops', 'shops'], [`/console/shops/${DEMO_SHOP}`, 'shop'], [menu, 'menu']]) {
      await page.goto(service.url + path)
      await checkAccessibility(page)
      await checkWidth(page)
      await screenshot(page, `${what}-${name}`)
    }
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})
