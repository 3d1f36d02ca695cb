// What the board decides, without a page: steps that are held and repeated, and how tickets stand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as steps from '../assets/board/steps.js'
import * as tickets from '../assets/board/tickets.js'

const step = (id, action = 'start', order = 'a') => ({ id, order, action, method: 'POST', path: `/orders/${order}/${action}` })
const lifecycle = { accepted: { start: 'preparing' }, preparing: { ready: 'ready' }, ready: { recall: 'preparing' } }

test('a step is held for four seconds, in which it can be taken back', () => {
  const queue = steps.add([], step('1'), 1000)
  assert.equal(steps.next(queue, 4999), null)
  assert.equal(steps.next(queue, 5000).id, '1')
  assert.deepEqual(steps.takeBack(queue, '1', 4999), [])
  assert.equal(steps.takeBack(queue, '1', 5000), queue, 'too late: it may be on its way')
  assert.equal(steps.takeBack(queue, 'other', 1000), queue)
})

test('a second tap on the same step is not a second step', () => {
  const queue = steps.add([], step('1'), 0)
  assert.equal(steps.add(queue, step('2'), 10), queue)
  const back = steps.add(steps.add(queue, step('3', 'recall'), 5000), step('4'), 6000)
  assert.deepEqual(back.map(({ id }) => id), ['1', '3', '4'], 'but after an undo it is')
})

test('a recall is sent at once', () => {
  assert.equal(steps.next(steps.add([], step('1', 'recall'), 7), 7).id, '1')
})

test('the steps of one order are sent in their order, and another order does not wait for them', () => {
  let queue = steps.add([], step('1', 'start'), 0)
  queue = steps.add(queue, step('2', 'ready'), 5000)
  queue = steps.postpone(queue, '1', 5000)
  queue = steps.add(queue, step('3', 'start', 'b'), 5000)
  assert.equal(steps.next(queue, 5500), null)
  queue = steps.postpone(queue, '1', 8000)
  assert.equal(steps.next(queue, 9000).id, '3', 'the second of the first order waits')
  assert.equal(steps.next(steps.settle(queue, '1'), 9000).id, '2')
})

test('what nobody answered is repeated ever more slowly, and at once when the network is back', () => {
  let queue = steps.add([], step('1'), 0)
  const waits = []
  for (let now = 4000, i = 0; i < 7; i++) {
    queue = steps.postpone(queue, '1', now)
    waits.push(queue[0].due - now)
    now = queue[0].due
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 15000, 15000, 15000])
  assert.equal(steps.next(steps.hurry(queue, 10), 10).id, '1')
  const held = steps.add([], step('2'), 0)
  assert.equal(steps.next(steps.hurry(held, 10), 10), null, 'what can be taken back is not hurried')
})

test('a step that was kept says when it was tapped, by the server\'s clock', () => {
  const [tapped, server] = [1_000_000, Date.parse('2026-01-02T12:00:00Z')]
  const [kept] = steps.add([], step('1'), tapped)
  assert.equal(steps.occurredAt(kept, tapped + steps.HELD_MS, server), null, 'it was sent as soon as it could be')
  assert.equal(steps.occurredAt(kept, tapped + 60_000, server), '2026-01-02T11:59:00.000Z')
  assert.equal(steps.occurredAt(kept, tapped + 60_000, null), null, 'what time it is is not known yet')
  assert.equal(steps.occurredAt(kept, tapped - 60_000, server), null, 'the tablet was set back: it says nothing')
  assert.equal(steps.occurredAt(kept, tapped + steps.LONGEST_KEPT_MS + 1, server), null)
  const [sold] = steps.add([], { ...step('2'), order: null }, tapped)
  assert.equal(steps.occurredAt(sold, tapped + 60_000, server), null, 'what is said of the shop is a state, not a step')
})

test('a time that is not believed does not cost the step', () => {
  const body = { occurred_at: '2026-01-02T11:59:00.000Z' }
  for (const status of [400, 422]) assert.equal(steps.isAboutItsTime(status, body), true)
  assert.equal(steps.isAboutItsTime(409, body), false)
  assert.equal(steps.isAboutItsTime(400, { minutes: 300 }), false)
})

test('only an answer takes a step from the queue', () => {
  for (const status of [0, 408, 429, 500, 503]) assert.equal(steps.judge(status), 'again', status)
  for (const status of [200, 400, 404, 409, 422]) assert.equal(steps.judge(status), 'gone', status)
  for (const status of [401, 403]) assert.equal(steps.judge(status), 'out', status)
})

test('a clock that is set back keeps no step for hours', () => {
  const queue = steps.add([], step('1'), 3600_000)
  assert.equal(steps.next(queue, 0).id, '1')
  assert.equal(steps.isHeld(queue[0], 0), false)
})

test('the board shows what was tapped as done once it cannot be taken back', () => {
  let queue = steps.add([], step('1', 'start'), 0)
  assert.equal(steps.foreseen('accepted', queue, 'a', 3999, lifecycle), 'accepted')
  assert.equal(steps.foreseen('accepted', queue, 'a', 4000, lifecycle), 'preparing')
  queue = steps.add(queue, step('2', 'ready'), 4000)
  assert.equal(steps.foreseen('accepted', queue, 'a', 9000, lifecycle), 'ready')
  assert.equal(steps.foreseen('ready', queue, 'a', 9000, lifecycle), 'ready', 'a step that was heard already changes nothing')
  assert.equal(steps.foreseen('accepted', queue, 'b', 9000, lifecycle), 'accepted')
})

test('of the shop itself only the last word is sent', () => {
  const word = (id, body) => ({ id, order: null, action: 'mode', method: 'PUT', path: '/mode', body })
  let queue = steps.add([], word('1', { mode: 'paused' }), 0)
  queue = steps.postpone(queue, '1', 0)
  queue = steps.add(queue, word('2', { mode: 'open' }), 5)
  assert.deepEqual(queue.map(({ id }) => id), ['2'])
  assert.equal(steps.next(queue, 5).id, '2')
})

test('what is stored may be damaged', () => {
  for (const text of [null, '', '{', '{}', '[1]', '[null]', '[{"id":1}]']) assert.deepEqual(steps.read(text), [])
  for (const text of [null, '', '[]', 'null', '{"orders":1}']) assert.deepEqual(tickets.read(text).orders, [])
  const queue = steps.add([], step('1'), 0)
  assert.deepEqual(steps.read(JSON.stringify(queue)), queue)
})

const at = seconds => new Date(seconds * 1000).toISOString()
const order = (id, changes = {}) => ({
  order_id: id, short_code: id, status: 'accepted', version: 1, lines: [], pickup: { type: 'counter', at: null },
  created_at: at(0), offered_at: at(0), answer_by: null, promise_at: at(100), start_by: at(50), ready_at: null,
  arrived_at: null, reason: null, ...changes
})
const empty = tickets.read(null)
const answer = (orders, scheduled = []) => ({ orders, scheduled })

test('a ticket is amber at four fifths of its promise and red when that is over', () => {
  const seen = (order, status, seconds) => tickets.urgency(order, status, seconds * 1000)
  assert.deepEqual([79, 80, 99, 100].map(s => seen(order('a'), 'preparing', s)), ['calm', 'soon', 'soon', 'late'])
  const fresh = order('a', { answer_by: at(10), promise_at: null })
  assert.deepEqual([7, 8, 10].map(s => seen(fresh, 'awaiting_shop', s)), ['calm', 'soon', 'late'])
  assert.equal(seen(order('a'), 'ready', 1000), 'calm', 'what is on the shelf cannot be made faster')
  assert.equal(seen(order('a', { promise_at: null }), 'accepted', 1000), 'calm')
  // A scheduled one has been waiting since yesterday, and for the shop since it was offered.
  assert.equal(seen(order('a', { created_at: at(-86400) }), 'accepted', 50), 'calm')
})

test('the curb comes first, then what has to be started first', () => {
  const curb = order('c', { start_by: at(90), arrived_at: at(1), pickup: { type: 'curbside' } })
  const counter = order('d', { start_by: at(80), arrived_at: at(1) })
  const list = [order('b', { start_by: at(60) }), counter, curb, order('a', { start_by: at(60) })]
  assert.deepEqual(tickets.sorted(list, 'accepted').map(({ order_id: id }) => id), ['c', 'a', 'b', 'd'])
  const ready = [order('x', { ready_at: at(9) }), order('y', { ready_at: at(3) })]
  assert.deepEqual(tickets.sorted(ready, 'ready').map(({ order_id: id }) => id), ['y', 'x'])
})

test('what somebody else ended stays to be seen, what the shop ended is done', () => {
  let board = tickets.arrive(empty, answer([order('a'), order('b'), order('c')]))
  board = tickets.arrive(board, answer([order('c')]))
  assert.deepEqual(board.gone.map(({ order_id: id }) => id), ['a', 'b'])
  board = tickets.leave(board, order('a', { status: 'cancelled', reason: { code: 'customer_request', actor: 'partner' } }), 5)
  board = tickets.leave(board, order('b', { status: 'completed' }), 5)
  assert.deepEqual([board.gone.length, board.struck[0].was, board.done[0].order_id], [0, 'accepted', 'b'])
  board = tickets.touch(board, 'a', 6)
  assert.deepEqual([board.struck.length, board.done.map(({ order_id: id }) => id)], [0, ['a', 'b']])
  assert.equal(tickets.touch(board, 'a', 7), board)
  const own = tickets.leave(tickets.arrive(board, answer([])), order('c', { status: 'cancelled', reason: { code: 'equipment_failure', actor: 'shop' } }), 8)
  assert.equal(own.struck.length, 0)
})

test('an order that comes back is not gone', () => {
  let board = tickets.arrive(empty, answer([order('a')]))
  board = tickets.arrive(board, answer([]))
  board = tickets.arrive(board, answer([order('a')]))
  assert.deepEqual([board.orders.length, board.gone.length], [1, 0])
})

test('an answer that was overtaken changes nothing', () => {
  const board = tickets.arrive(empty, answer([order('a', { version: 5 })]))
  assert.equal(tickets.learn(board, order('a', { version: 4, status: 'new' }), 0), board)
  assert.equal(tickets.learn(board, order('a', { version: 6, status: 'ready' }), 0).orders[0].status, 'ready')
})

test('what is done is forgotten after a day', () => {
  let board = tickets.arrive(empty, answer([order('a'), order('b')]))
  board = tickets.leave(tickets.arrive(board, answer([])), order('a', { status: 'completed' }), 0)
  board = tickets.leave(board, order('b', { status: 'completed' }), tickets.DONE_MS)
  assert.deepEqual(board.done.map(({ order_id: id }) => id), ['b'])
})

test('a new order rings until it is touched, and is then forgotten with the order', () => {
  let board = tickets.arrive(empty, answer([order('a', { status: 'awaiting_shop' }), order('b')]))
  const isWaiting = ({ status }) => status === 'awaiting_shop'
  assert.deepEqual(tickets.ringing(board, isWaiting).map(({ order_id: id }) => id), ['a'])
  board = tickets.seen(board, ['a'])
  assert.deepEqual(tickets.ringing(board, isWaiting), [])
  assert.deepEqual(tickets.seen(tickets.arrive(board, answer([])), []).touched, [])
})

test('times are written as a watch shows them', () => {
  assert.deepEqual([0, 42_900, 725_000, 3_725_000, -42_000].map(tickets.clock), ['0:00', '0:42', '12:05', '1:02:05', '−0:42'])
  const late = tickets.times(order('a'), 'preparing', 130_000)
  assert.deepEqual([late.due.label, late.due.span], ['late by', -30_000])
})
