// The reference of the API: what a browser finds at the root.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { findAccessibilityFaults, checkWidth, openBrowser, openPage, screenshot, startService } from './support.js'

let service, browser
before(async () => {
  service = await startService()
  browser = await openBrowser()
})
after(async () => {
  await browser?.close()
  await service?.stop()
})

for (const colorScheme of ['light', 'dark']) {
  test(`the reference has no fault of accessibility, ${colorScheme}`, { timeout: 120_000 }, async () => {
    const page = await openPage(browser, { colorScheme, viewport: { width: 1440, height: 900 } })
    await page.goto(service.url)
    assert.equal(new URL(page.url()).pathname, '/docs')
    const [first] = await page.locator('main h2').allInnerTexts()
    assert.equal(first, 'The two calls')
    await screenshot(page, `docs-${colorScheme}`, { fullPage: false })
    await page.evaluate(() => document.querySelectorAll('details').forEach(details => { details.open = true }))
    assert.deepEqual(await findAccessibilityFaults(page), [])
    for (const width of [1440, 768, 390]) {
      await page.setViewportSize({ width, height: 900 })
      await checkWidth(page)
    }
    await screenshot(page, `docs-${colorScheme}-390`, { fullPage: false })
    assert.deepEqual(page.faults, [])
  })
}

test('a link of an operation leads to its schema', async () => {
  const page = await openPage(browser)
  await page.goto(`${service.url}/docs`)
  await page.locator('#createOrder').getByRole('link', { name: 'CreateOrder' }).click()
  await page.locator('#schema-CreateOrder').getByText('customer_id', { exact: true }).first().waitFor()
  assert.equal(new URL(page.url()).hash, '#schema-CreateOrder')
})
