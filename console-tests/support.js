// What the browser tests share: a service of their own on a temporary directory, and a browser that looks at it.
// Screenshots are kept in target/screenshots/.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const binary = process.env.LUNGO_BIN ?? join(root, 'target/debug/lungo')
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const screenshots = join(root, 'target/screenshots')

export const PASSWORD = 'a long enough password'
export const DEMO_SHOP = '01970000-0000-7000-8000-000000000011'

/// Where Debian and its relatives have the browser, or what CHROMIUM says.
const browsers = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync']

/// A browser; the test that takes it closes it.
export async function openBrowser () {
  const executablePath = browsers.find(path => path && existsSync(path))
  assert.ok(executablePath, 'Chromium is not installed: apt-get install chromium')
  return chromium.launch({ executablePath, headless: true, args: flags })
}

/// The service with the demo's shops and menu. `settings` are further flags.
export async function startService (...settings) {
  const data = mkdtempSync(join(tmpdir(), 'lungo-console-'))
  const flags = ['serve', '--listen', '127.0.0.1:0', '--data', data, ...settings]
  let service
  /// Starts it, and waits until it answers.
  const start = async () => {
    service = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, LUNGO_LOG: 'error' } })
    let said = ''
    return new Promise((resolve, reject) => {
      service.on('exit', code => reject(new Error(`the service ended with ${code}: ${said}`)))
      service.stdout.on('data', chunk => {
        said += chunk
        if (said.includes('\nOrder a coffee')) resolve()
      })
    })
  }
  const kill = async () => {
    if (service.exitCode !== null || service.signalCode !== null) return
    const ended = new Promise(resolve => service.once('exit', resolve))
    service.kill('SIGKILL')
    await ended
  }
  await start()
  // The service prints the link of its first user on a terminal only.
  const link = execFileSync(binary, ['console-link', '--data', data], { encoding: 'utf8' }).trim()
  const read = () => Object.fromEntries(readFileSync(join(data, 'demo.env'), 'utf8').split('\n')
    .map(line => line.match(/^(?:export )?(\w+)=['"]?(.*?)['"]?$/)).filter(Boolean).map(([, name, value]) => [name, value]))
  const env = read()
  return {
    url: new URL(link).origin,
    link,
    data,
    keys: { partner: env.LUNGO_PARTNER_KEY, admin: env.LUNGO_ADMIN_KEY, shop: env.LUNGO_SHOP_KEY },
    env,
    async stop () {
      await kill()
      rmSync(data, { recursive: true, force: true })
    },
    /// Kills it without warning, and starts it on the same data; its address is another one then.
    async restart () {
      await kill()
      await start()
      this.url = read().LUNGO_URL
    },
    /// One call of the API. Fails the test unless it is answered with a success.
    async call (key, method, path, body, headers = {}) {
      const answer = await fetch(this.url + path, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body)
      })
      const text = await answer.text()
      assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
      return text ? JSON.parse(text) : null
    },
    /// Orders a lungo at the demo's first shop. `changes` replace parts of the request.
    order (changes = {}) {
      return this.call(this.keys.partner, 'POST', '/v1/orders', {
        customer_id: `cus_${Math.random().toString(36).slice(2)}`,
        shop_id: DEMO_SHOP,
        lines: [{ item_id: 'lungo', quantity: 2, options: ['milk_oat'] }],
        total: { amount: 820, currency: 'EUR' },
        payment: { method: 'pm_card_visa' },
        ...changes
      })
    }
  }
}

/// A page that remembers what went wrong on it: errors of scripts, and whatever the policy of the page refused. That
/// something was answered with a refusal is for the test to see.
export async function openPage (browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  // Beside the other suites a count on a page may come late.
  page.setDefaultTimeout(30_000)
  page.faults = []
  page.on('pageerror', error => page.faults.push(`script: ${error.message}`))
  page.on('console', message => {
    if (message.type() === 'error' && !/Failed to load resource|Response Status Error Code 4/.test(message.text())) page.faults.push(message.text())
  })
  page.on('dialog', dialog => { page.faults.push(`dialog: ${dialog.message()}`); dialog.dismiss() })
  return page
}

/// Follows the one-time link, so that the page is logged in as the administrator.
export async function enter (page, link) {
  await page.goto(link)
  await page.getByLabel('Password, at least').fill(PASSWORD)
  await page.getByLabel('Once more').fill(PASSWORD)
  await page.getByRole('button', { name: 'Set the password and log in' }).click()
  await page.waitForURL(/\/console$/)
}

export async function logIn (page, url, name, password = PASSWORD) {
  await page.goto(`${url}/console/login`)
  await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in', exact: true }).click()
}

/// Invites somebody as the administrator on `page`, and gives a page that is logged in as that user.
export async function invite (browser, page, url, name, roles, options = {}) {
  await page.goto(`${url}/console/users`)
  const form = page.locator('form[action="/console/users"]')
  await form.getByLabel('Name').fill(name)
  for (const role of roles) await form.getByLabel(role, { exact: true }).check()
  await form.getByLabel('Reason').fill('new here')
  await form.getByRole('button', { name: 'Make a link' }).click()
  const link = await page.locator('#link').getAttribute('href')
  const theirs = await openPage(browser, options)
  await enter(theirs, new URL(link, url).href)
  return theirs
}

export async function screenshot (page, name, options = { fullPage: true }) {
  mkdirSync(screenshots, { recursive: true })
  await page.screenshot({ path: join(screenshots, `${name}.png`), ...options })
}

/// Every fault that axe-core finds on a page, of at least one of these impacts.
export async function findAccessibilityFaults (page, impacts = ['minor', 'moderate', 'serious', 'critical']) {
  // Through the debugger: the page's policy would refuse it, as it should.
  await page.context().newCDPSession(page).then(session => session.send('Runtime.evaluate', { expression: axe }))
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  const told = violations.filter(({ impact }) => impacts.includes(impact))
  return told.map(({ id, nodes }) => `${id}: ${nodes.map(node => `${node.html} (${node.failureSummary})`).join('; ')}`)
}

/// Faults that axe-core calls serious or critical fail the test.
export async function checkAccessibility (page) {
  assert.deepEqual(await findAccessibilityFaults(page, ['serious', 'critical']), [], page.url())
}

/// Nothing reaches over the right edge of the window.
export async function checkWidth (page) {
  const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth])
  assert.ok(content <= room, `${page.url()}: ${content} px in ${room} px`)
}
