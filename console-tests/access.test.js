// Coming in, staying in, and being kept out.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checkAccessibility, checkWidth, enter, invite, logIn, openBrowser, openPage, PASSWORD, screenshot, startService } from './support.js'

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

test('the one-time link opens the console, once', async () => {
  await admin.goto(`${service.url}/console`)
  await admin.getByRole('heading', { name: 'Live' }).waitFor()
  await screenshot(admin, 'live')
  await checkAccessibility(admin)
  assert.deepEqual(admin.faults, [])
  const other = await openPage(browser)
  await other.goto(service.link)
  await other.getByRole('heading', { name: 'This link cannot be followed' }).waitFor()
  await other.context().close()
})

test('whoever is not logged in is sent to the login, and back', async () => {
  const page = await openPage(browser)
  await page.goto(`${service.url}/console/audit?user=admin`)
  await page.getByRole('heading', { name: 'Log in' }).waitFor()
  await screenshot(page, 'login')
  await checkAccessibility(page)
  await page.getByLabel('Name').fill('admin')
  await page.getByLabel('Password').fill('not this one at all')
  await page.getByRole('button', { name: 'Log in', exact: true }).click()
  await page.getByRole('alert').getByText('do not belong together').waitFor()
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in', exact: true }).click()
  await page.waitForURL(`${service.url}/console/audit?user=admin`)
  await page.getByText('wrong name or password').first().waitFor()
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('a session that was ended is over at once, for parts of pages too', async () => {
  const page = await openPage(browser)
  await logIn(page, service.url, 'admin')
  await page.goto(`${service.url}/console/me`)
  const others = admin.getByRole('button', { name: 'End', exact: true })
  // From a fresh page each time: a button of the last one may be gone before it is clicked.
  const look = async () => {
    await admin.goto(`${service.url}/console/me`)
    return await others.count()
  }
  while (await look() > 0) {
    await others.first().click()
    await admin.getByText('The session has ended.').waitFor()
  }
  await page.getByLabel('Present password').fill(PASSWORD)
  await page.getByLabel('New password').fill(PASSWORD)
  await page.getByLabel('Once more').fill(PASSWORD)
  await page.getByRole('button', { name: 'Change the password' }).click()
  await page.getByText('Your session has ended.').waitFor()
  assert.match(page.url(), /next=%2Fconsole%2Fme/)
  await page.context().close()
})

test('whoever watches is sent away when the session ends elsewhere', async () => {
  const page = await openPage(browser)
  await logIn(page, service.url, 'admin')
  await page.locator('.stream-state').getByText('live').waitFor()
  await admin.goto(`${service.url}/console/me`)
  await admin.getByRole('button', { name: 'End', exact: true }).first().click()
  await admin.getByText('The session has ended.').waitFor()
  // A stream asks after its session a few times a minute.
  await page.waitForURL(/console\/login/, { timeout: 60_000 })
  await page.context().close()
})

test('roles keep people out, by hand too, and that is in the audit log', async () => {
  const support = await invite(browser, admin, service.url, 'sue', ['support'])
  await support.goto(`${service.url}/console`)
  assert.equal(await support.getByRole('link', { name: 'Users' }).count(), 0)
  const seen = await support.goto(`${service.url}/console/users`)
  assert.equal(seen.status(), 403)
  await support.getByRole('alert').getByText('do not allow').waitFor()
  await support.getByText('An administrator can give you a role that may').waitFor()
  await support.getByRole('navigation').getByRole('link', { name: 'Orders' }).waitFor()
  await screenshot(support, 'failed-forbidden')
  await checkAccessibility(support)
  for (const path of ['nothing', 'orders/nothing', 'orders/01970000-0000-7000-8000-00000000ffff']) {
    assert.equal((await support.goto(`${service.url}/console/${path}`)).status(), 404)
    await support.getByText('Look for it in one of the sections').waitFor()
    await support.getByRole('navigation').getByRole('link', { name: 'Money' }).waitFor()
  }
  await support.goto(`${service.url}/console/me`)
  const token = await support.locator('input[name=csrf]').first().inputValue()
  const status = await support.evaluate(async token => {
    const body = new URLSearchParams({ csrf: token, name: 'mallory', role: 'admin', reason: 'because' })
    return (await fetch('/console/users', { method: 'POST', body })).status
  }, token)
  assert.equal(status, 403)
  await admin.goto(`${service.url}/console/audit?user=sue`)
  await admin.getByText('not allowed to this role').first().waitFor()
  await screenshot(admin, 'audit')
  await checkAccessibility(admin)
  await support.context().close()
})

test('a form of another session, or from another site, does nothing', async () => {
  const cookie = (await admin.context().cookies()).find(({ name }) => name === 'lungo_session')
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax')
  await admin.goto(`${service.url}/console/me`)
  const token = await admin.locator('input[name=csrf]').first().inputValue()
  const post = (headers, csrf) => fetch(`${service.url}/console/logout`, {
    method: 'POST', redirect: 'manual', body: new URLSearchParams({ csrf }),
    headers: { cookie: `lungo_session=${cookie.value}`, 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
  assert.equal((await post({ origin: 'https://evil.example' }, token)).status, 403)
  assert.equal((await post({}, token)).status, 403)
  assert.equal((await post({ origin: 'null' }, token)).status, 403)
  assert.equal((await post({ origin: service.url }, 'x')).status, 403)
  assert.equal((await post({ origin: service.url }, '')).status, 403)
  await admin.goto(`${service.url}/console/me`)
  await admin.getByRole('heading', { name: 'My account' }).waitFor()
})

test('both themes, and a phone', async () => {
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 375, height: 700 } }]]) {
    const page = await openPage(browser, options)
    await logIn(page, service.url, 'admin')
    for (const path of ['/console', '/console/me', '/console/users', '/console/audit']) {
      await page.goto(service.url + path)
      await checkAccessibility(page)
      await checkWidth(page)
    }
    await page.goto(`${service.url}/console/users`)
    await screenshot(page, `users-${name}`)
    const toggle = page.getByRole('button', { name: 'Dark' })
    const before = await toggle.getAttribute('aria-pressed')
    await toggle.click()
    await page.reload()
    assert.notEqual(await toggle.getAttribute('aria-pressed'), before)
    await checkAccessibility(page)
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})

test('guessing becomes slow', async () => {
  const page = await openPage(browser)
  await page.goto(`${service.url}/console/login`)
  for (let i = 0; i < 6; i++) {
    await page.getByLabel('Name').fill('victim')
    await page.getByLabel('Password').fill(`guess number ${i} is wrong`)
    await page.getByRole('button', { name: 'Log in', exact: true }).click()
    await page.getByRole('alert').waitFor()
  }
  await page.getByText('Too many attempts. Try again in').waitFor()
  await page.context().close()
})
