// What is done to many orders at once: counted, confirmed by typing, stopped, gone on with, and found again after a kill.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, enter, invite, openBrowser, openPage, screenshot, startService } from './support.js'

const PAYLOAD = '<script>alert(1)</script><img src=x onerror=alert(1)>'
/// One order at a time, so that there is time to stop it.
const SLOWLY = ['--bulk-rate', '1']

let service, browser, admin, quiet
before(async () => {
  service = await startService(...SLOWLY)
  browser = await openBrowser()
  admin = await openPage(browser)
  await enter(admin, service.link)
  const { shops } = await service.call(service.keys.admin, 'GET', '/v1/admin/shops')
  quiet = shops.find(shop => !shop.simulated)
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

const read = id => service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}`)

/// Orders that wait at a shop where nobody answers.
async function waitingOrders (count) {
  const orders = []
  for (let i = 0; i < count; i++) orders.push(await service.order({ shop_id: quiet.shop_id }))
  for (const { order_id: id } of orders) {
    for (let i = 0; (await read(id)).status !== 'awaiting_shop'; i++) {
      assert.ok(i < 200, `${id} waits for its shop`)
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  return orders.map(order => order.order_id)
}

const statuses = async ids => (await Promise.all(ids.map(read))).map(order => order.status)

async function count (page, query, deed = 'Cancel') {
  await page.goto(`${service.url}/console/bulk`)
  await page.getByLabel(deed, { exact: true }).check()
  await page.getByLabel('Orders that fit').fill(query)
  await page.getByLabel('Orders that fit').press('Escape')
  await page.getByRole('button', { name: 'Count', exact: true }).click()
}

async function confirm (page, phrase, reason = 'the machine broke') {
  await page.getByLabel('to confirm it').fill(phrase)
  await page.getByLabel('Reason').fill(reason)
  await page.locator('form[action$="/start"] button').click()
}

const filter = () => `status:awaiting_shop shop:"${quiet.name}"`

test('a filter is never empty, and always understood', async () => {
  for (const [query, told] of [['status:nonsense', 'There is no status'], ['""', 'not all of them'], ['status:scheduled', 'No order fits.']]) {
    await count(admin, query)
    await admin.locator('#notice').getByText(told).waitFor()
  }
  await checkAccessibility(admin)
  await screenshot(admin, 'bulk')
})

test('many orders are cancelled once what was counted is typed', async () => {
  const ids = await waitingOrders(3)
  await count(admin, filter())
  await admin.getByRole('heading', { name: '3 orders: void' }).waitFor()
  assert.deepEqual(await statuses(ids), ['awaiting_shop', 'awaiting_shop', 'awaiting_shop'])
  await confirm(admin, 'cancel 4')
  await admin.locator('#notice').getByText('Type `cancel 3` to confirm it.').waitFor()
  await checkAccessibility(admin)
  await screenshot(admin, 'bulk-preview')
  await confirm(admin, 'cancel 3', `the machine broke ${PAYLOAD}`)
  await admin.locator('.badge.big').getByText('running').waitFor()
  await admin.locator('.badge.big').getByText('done').waitFor({ timeout: 15_000 })
  await admin.getByText('3 of 3 orders').waitFor()
  assert.deepEqual(await statuses(ids), ['cancelled', 'cancelled', 'cancelled'])
  await screenshot(admin, 'bulk-done')
  await admin.goto(`${service.url}/console/bulk`)
  await admin.getByText('the machine broke').first().waitFor()
  await admin.goto(`${service.url}/console/orders/${ids[0]}`)
  await admin.getByText('the machine broke').first().waitFor()
  assert.deepEqual(admin.faults, [])
})

test('it is stopped, survives a kill, and is gone on with', async () => {
  const ids = await waitingOrders(8)
  await count(admin, filter())
  await confirm(admin, 'cancel 8')
  await admin.getByText(/^[1-6] of 8 orders/).waitFor()
  const job = new URL(admin.url()).pathname
  await admin.goto('about:blank')
  await service.restart()
  await admin.goto(service.url + job)
  await admin.getByText(/^[2-7] of 8 orders/).waitFor()
  await admin.getByRole('button', { name: 'Stop', exact: true }).click()
  await admin.locator('.badge.big').getByText('stopped').waitFor()
  const before = await statuses(ids)
  assert.ok(before.includes('cancelled') && before.includes('awaiting_shop'), before.join())
  await admin.waitForTimeout(1500)
  assert.deepEqual(await statuses(ids), before, 'nothing more is done')
  await screenshot(admin, 'bulk-stopped')
  await admin.locator('summary', { hasText: 'Go on' }).click()
  await admin.getByLabel('Reason').fill('it was right after all')
  await admin.getByRole('button', { name: 'Go on with the rest' }).click()
  await admin.locator('.badge.big').getByText('done').waitFor({ timeout: 15_000 })
  assert.deepEqual(new Set(await statuses(ids)), new Set(['cancelled']))
  for (const id of ids) {
    const { events } = await service.call(service.keys.admin, 'GET', `/v1/admin/orders/${id}/events`)
    assert.equal(events.filter(event => event.type === 'operator_cancelled').length, 1)
  }
})

test('whoever may not cancel one order may not cancel many', async () => {
  await waitingOrders(1)
  await count(admin, filter())
  await admin.getByRole('heading', { name: '1 order' }).waitFor()
  const proposal = admin.url()
  const finance = await invite(browser, admin, service.url, 'bulk-fin', ['finance'])
  await finance.goto(`${service.url}/console/bulk`)
  await finance.getByLabel('Retry now').waitFor()
  assert.equal(await finance.getByLabel('Cancel', { exact: true }).count(), 0)
  await finance.goto(proposal)
  await finance.getByText('Only whoever counted this can confirm it').waitFor()
  const token = await finance.locator('input[name=csrf]').first().inputValue()
  for (const [path, form] of [[`${proposal}/start`, { phrase: 'cancel 1', reason: 'x' }], [`${service.url}/console/bulk`, { deed: 'cancel', why: 'operator_request', refund: 'full', tab: 'in_flight', q: 'age>0s' }]]) {
    const answer = await finance.request.post(path, { form: { csrf: token, ...form }, headers: { origin: service.url }, maxRedirects: 0 })
    assert.equal(answer.status(), 403, path)
  }
  await finance.context().close()
})

test('both themes and a phone', async () => {
  const cookies = await admin.context().cookies()
  await count(admin, 'age>0s', 'Retry now')
  await admin.goto(`${service.url}/console/bulk`)
  const job = await admin.locator('td a[href^="/console/bulk/"]').first().getAttribute('href')
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 375, height: 700 } }]]) {
    const page = await openPage(browser, options)
    await page.context().addCookies(cookies)
    for (const [path, what] of [['/console/bulk', 'bulk'], [job, 'bulk-job']]) {
      await page.goto(service.url + path)
      await checkAccessibility(page)
      await checkWidth(page)
      await screenshot(page, `${what}-${name}`)
    }
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})
