// One order, followed by two people at once: whoever makes it on the board, and whoever watches it in the console.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { enter, openBrowser, openPage, screenshot, startService } from './support.js'

/// Nobody plays this shop: it moves only as its board says.
const SHOP = '01970000-0000-7000-8000-000000000013'

let service, browser
before(async () => {
  service = await startService()
  browser = await openBrowser()
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

test('an order is followed from new to handed over on the board while the console shows it live beside it', async () => {
  const console = await openPage(browser)
  await enter(console, service.link)
  const board = await openPage(browser, { hasTouch: true })
  const { secret } = await service.call(service.keys.admin, 'POST', '/v1/admin/keys', { kind: 'shop', shop_id: SHOP, label: 'tablet' })
  await board.goto(`${service.url}/board`)
  await board.getByLabel('Key of the shop').fill(secret)
  await board.getByRole('button', { name: 'Open the board' }).click()
  await board.locator('#connection').getByText('live').waitFor()
  await console.goto(`${service.url}/console/orders`)

  const { order_id: id } = await service.order({ shop_id: SHOP })
  await console.getByRole('link', { name: id.slice(-8) }).click({ timeout: 15_000 })
  // From here on the page is not loaded again: whatever it shows came by itself.
  await console.evaluate(() => { window.isTheSamePage = true })
  const ticket = board.locator(`.ticket[data-id="${id}"]`)
  await ticket.getByText('NEW').waitFor()
  const shows = status => console.locator('.badge.big').getByText(status, { exact: true }).waitFor({ timeout: 15_000 })
  await shows('awaiting shop')
  for (const [step, status] of [['Accept', 'accepted'], ['Start', 'preparing'], ['Ready', 'ready'], ['Handed over', 'completed']]) {
    await ticket.getByRole('button', { name: new RegExp(`^${step}`) }).click()
    await shows(status)
    if (status === 'preparing') await Promise.all([screenshot(board, 'followed-board'), screenshot(console, 'followed-console')])
  }
  // Its money and what can be done moved as the timeline did.
  const payment = console.locator('section[aria-labelledby=money]')
  await payment.getByText('captured', { exact: true }).waitFor({ timeout: 15_000 })
  await console.locator('#deeds summary', { hasText: /^Refund$/ }).waitFor({ timeout: 15_000 })
  assert.equal(await console.locator('#deeds summary', { hasText: /^Cancel$/ }).count(), 0)
  await board.getByRole('button', { name: /^Done/ }).click()
  await board.locator(`[data-column="done"] .ticket[data-id="${id}"]`).getByText('handed over').waitFor()
  await screenshot(console, 'followed-handed-over')
  assert.ok(await console.evaluate(() => window.isTheSamePage))
  for (const told of ['shop accepted', 'preparation started', 'made', 'collected']) await console.locator('#state').getByText(told, { exact: true }).first().waitFor()
  assert.deepEqual([...console.faults, ...board.faults], [])
})
