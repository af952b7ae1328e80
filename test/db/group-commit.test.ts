import { EventEmitter, on } from 'node:events'
import t, { type Test } from 'tap'
import { groupCommit, type GroupCommitOptions } from '../../src/db/pool/group-commit.ts'

type Batch = { items: string[]; answer: (fault?: Error) => void }

/** A queue of texts. The key of a text is its part before a '#'. Each batch waits until the test answers it. */
function openQueue(options: Partial<GroupCommitOptions<string, string>> = {}) {
  const seen: string[][] = []
  const gone = new Set<string>()
  const gates = new EventEmitter()
  const begins = on(gates, 'begin')
  const decide = groupCommit<string, string>({
    run: (items) => {
      seen.push(items)
      return new Promise((resolve, reject) => {
        const answer = (fault?: Error) =>
          fault === undefined ? resolve(items.map((item) => `${item}!`)) : reject(fault)
        gates.emit('begin', { items, answer } satisfies Batch)
      })
    },
    keyOf: (item) => item.split('#')[0]!,
    batchesMax: 1,
    ...options,
  })
  return {
    decide: (item: string) => decide(item, () => gone.has(item)),
    /** The items whose callers have disconnected. */
    gone,
    /** Every batch that was sent, in order. */
    seen,
    /** Waits for the next batch. */
    next: async (): Promise<Batch> => (await begins.next()).value![0],
  }
}

const fault = (code: string) => Object.assign(new Error(`fault ${code}`), { code })
const DEADLOCK = fault('40P01')
const UNIQUE = fault('23505')
const LOCK_TIMEOUT = fault('55P03')
const RESET = fault('ECONNRESET')
const OVERLOADED = { code: 'overloaded', headers: { 'retry-after': '1' } }

t.test('simultaneous arrivals share a batch, and each gets its own answer', async (t) => {
  const queue = openQueue()
  const answers = Promise.all(['a', 'b', 'c'].map(queue.decide))
  const batch = await queue.next()
  t.same(batch.items, ['a', 'b', 'c'])
  batch.answer()
  t.same(await answers, ['a!', 'b!', 'c!'])
})

t.test('items that arrive while a batch is in flight are sent together when it returns', async (t) => {
  const queue = openQueue()
  const first = queue.decide('a')
  const out = await queue.next()
  const later = Promise.all(['b', 'c', 'd'].map(queue.decide))
  t.same(queue.seen, [['a']])
  out.answer()
  const next = await queue.next()
  t.same(next.items, ['b', 'c', 'd'])
  next.answer()
  t.same([await first, ...(await later)], ['a!', 'b!', 'c!', 'd!'])
})

t.test('when many wait, a batch takes half of those that wait and of those that are answered', async (t) => {
  const queue = openQueue()
  const first = queue.decide('first')
  const out = await queue.next()
  const later = Promise.all(Array.from({ length: 63 }, (_, i) => queue.decide(`later ${i}`)))
  out.answer()
  const half = await queue.next()
  t.equal(half.items.length, 32)
  const again = queue.decide('first again')
  half.answer()
  const rest = await queue.next()
  t.equal(rest.items.length, 32)
  rest.answer()
  t.equal(await again, 'first again!')
  t.same(
    queue.seen.map(({ length }) => length),
    [1, 32, 32],
  )
  await Promise.all([first, later])
})

t.test('the next batch is sent before the callers of the last one are answered', async (t) => {
  const queue = openQueue()
  const sentAtAnswer = queue.decide('a').then(() => [...queue.seen])
  const out = await queue.next()
  const later = queue.decide('b')
  out.answer()
  t.same(await sentAtAnswer, [['a'], ['b']])
  ;(await queue.next()).answer()
  t.equal(await later, 'b!')
})

t.test('at most batchesMax batches are in flight at once', async (t) => {
  const queue = openQueue({ batchesMax: 2, itemsMax: 1 })
  const answers = Promise.all(['a', 'b', 'c'].map(queue.decide))
  const [first, second] = [await queue.next(), await queue.next()]
  t.same(queue.seen, [['a'], ['b']])
  second.answer()
  const third = await queue.next()
  t.same(third.items, ['c'], 'the next is sent as soon as any batch returns')
  first.answer()
  third.answer()
  t.same(await answers, ['a!', 'b!', 'c!'])
})

t.test('a batch has at most itemsMax items, in the order of arrival', async (t) => {
  const queue = openQueue({ itemsMax: 2 })
  const answers = Promise.all(['a', 'b', 'c', 'd', 'e'].map(queue.decide))
  for (let batches = 0; batches < 3; batches++) (await queue.next()).answer()
  t.same(queue.seen, [['a', 'b'], ['c', 'd'], ['e']])
  t.same(await answers, ['a!', 'b!', 'c!', 'd!', 'e!'])
})

t.test('equal keys never share a batch, and keep their order', async (t) => {
  const queue = openQueue()
  const answers = Promise.all(['a#1', 'b#1', 'a#2', 'a#3', 'b#2'].map(queue.decide))
  for (let batches = 0; batches < 3; batches++) (await queue.next()).answer()
  t.same(queue.seen, [['a#1', 'b#1'], ['a#2', 'b#2'], ['a#3']])
  t.same(await answers, ['a#1!', 'b#1!', 'a#2!', 'a#3!', 'b#2!'])
})

t.test('items without a key share a batch, even if they are equal', async (t) => {
  const queue = openQueue({ keyOf: () => null })
  const answers = Promise.all(['a', 'a', 'a'].map(queue.decide))
  const batch = await queue.next()
  t.same(batch.items, ['a', 'a', 'a'])
  batch.answer()
  t.same(await answers, ['a!', 'a!', 'a!'])
})

t.test(
  'an item that causes an error fails alone: its batch is halved until only that item fails, and the others succeed',
  async (t) => {
    const sizes: number[] = []
    const decide = groupCommit<number, number>({
      run: (items) => {
        sizes.push(items.length)
        return items.includes(5) ? Promise.reject(UNIQUE) : Promise.resolve(items.map((item) => item * 2))
      },
      keyOf: String,
    })
    const outcomes = await Promise.allSettled([0, 1, 2, 3, 4, 5, 6, 7].map((item) => decide(item)))
    t.match(outcomes[5], { status: 'rejected', reason: { code: '23505' } })
    t.same(
      outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])),
      [0, 2, 4, 6, 8, 12, 14],
    )
    t.same(sizes, [8, 4, 4, 2, 1, 1, 2])
  },
)

t.test('an item that does not get its lock in time fails alone, as unavailable', async (t) => {
  const decide = groupCommit<string, string>({
    run: (items) => (items.includes('locked') ? Promise.reject(LOCK_TIMEOUT) : Promise.resolve(items)),
    keyOf: String,
  })
  const outcomes = await Promise.allSettled(['a', 'locked', 'b'].map((item) => decide(item)))
  t.match(outcomes, [
    { status: 'fulfilled', value: 'a' },
    { status: 'rejected', reason: { code: 'unavailable' } },
    { status: 'fulfilled', value: 'b' },
  ])
})

for (const [name, error] of Object.entries({ 'a deadlock': DEADLOCK, 'a lost connection': RESET })) {
  t.test(`after ${name}, the same items are sent once more`, async (t) => {
    const queue = openQueue()
    const answers = Promise.all(['a', 'b'].map(queue.decide))
    const first = await queue.next()
    // Items that arrive meanwhile do not join the repeat.
    const later = queue.decide('c')
    first.answer(error)
    const repeat = await queue.next()
    t.same(repeat.items, ['a', 'b'])
    repeat.answer()
    ;(await queue.next()).answer()
    t.same([...(await answers), await later], ['a!', 'b!', 'c!'])
  })

  t.test(`after ${name} twice, all items of the batch fail as unavailable, and the queue goes on`, async (t) => {
    const queue = openQueue()
    const outcomes = Promise.allSettled(['a', 'b'].map(queue.decide))
    ;(await queue.next()).answer(error)
    ;(await queue.next()).answer(error)
    t.match(await outcomes, Array(2).fill({ status: 'rejected', reason: { code: 'unavailable', cause: error } }))
    const after = queue.decide('c')
    ;(await queue.next()).answer()
    t.equal(await after, 'c!')
    t.same(queue.seen, [['a', 'b'], ['a', 'b'], ['c']])
  })
}

/** What a caller gets when the answer to its item was lost. */
const NOT_KNOWN = { status: 'rejected', reason: { code: 'unavailable', message: /whether this was done is not known/ } }

t.test(
  'onLost gets each item whose answer was lost once, and its caller learns that the outcome is not known',
  async (t) => {
    const lost: string[] = []
    const queue = openQueue({ onLost: (item) => void lost.push(item) })
    const outcomes = Promise.allSettled(['a', 'b'].map(queue.decide))
    ;(await queue.next()).answer(RESET)
    t.same(lost, [], 'the items are first sent once more')
    ;(await queue.next()).answer(LOCK_TIMEOUT)
    // Postgres may have done the first try although its answer was lost.
    ;(await queue.next()).answer(LOCK_TIMEOUT)
    ;(await queue.next()).answer()
    t.match(await outcomes, [NOT_KNOWN, { status: 'fulfilled', value: 'b!' }])
    t.same(lost, ['a'])
  },
)

t.test('onLost also gets items that were refused before their answers were lost', async (t) => {
  const lost: string[] = []
  const late: string[] = []
  const queue = openQueue({
    waitMsMax: 0,
    onLost: (item) => void lost.push(item),
    onLate: (item) => void late.push(item),
  })
  const outcomes = Promise.allSettled(['a', 'b'].map(queue.decide))
  const out = await queue.next()
  t.match(await outcomes, [NOT_KNOWN, NOT_KNOWN])
  out.answer(RESET)
  const after = openAnswer(queue.decide('c'))
  ;(await queue.next()).answer()
  await after
  t.same([lost, late], [['a', 'b'], []])
})

t.test('onLost does not get items that Postgres has rolled back', async (t) => {
  const lost: string[] = []
  const queue = openQueue({ onLost: (item) => void lost.push(item) })
  const outcomes = Promise.allSettled([queue.decide('a')])
  ;(await queue.next()).answer(DEADLOCK)
  ;(await queue.next()).answer(DEADLOCK)
  t.match(await outcomes, [{ status: 'rejected', reason: { message: /Nothing was decided/ } }])
  t.same(lost, [])
})

t.test('more than itemsMax items of one key are refused, and other keys are still accepted', async (t) => {
  const queue = openQueue({ itemsMax: 3 })
  const first = queue.decide('a#0')
  const out = await queue.next()
  const repeats = ['a#1', 'a#2', 'a#3'].map(queue.decide)
  await t.rejects(queue.decide('a#4'), OVERLOADED)
  const other = queue.decide('b')
  out.answer()
  ;(await queue.next()).answer()
  const again = queue.decide('a#5')
  for (let batch = 0; batch < 3; batch += 1) (await queue.next()).answer()
  t.same(await Promise.all([first, ...repeats, other, again]), ['a#0!', 'a#1!', 'a#2!', 'a#3!', 'b!', 'a#5!'])
})

t.test('an error that no repeat can cure reaches all callers of the batch at once, unchanged', async (t) => {
  const queue = openQueue()
  const outcomes = Promise.allSettled(['a', 'b'].map(queue.decide))
  const bug = new Error('no such function')
  ;(await queue.next()).answer(bug)
  t.same(
    (await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason === bug),
    [true, true],
  )
  t.equal(queue.seen.length, 1)
})

t.test('beyond waitingMax an item is refused at once as overloaded, and those that wait are decided', async (t) => {
  const queue = openQueue({ waitingMax: 2 })
  const out = queue.decide('out')
  const first = await queue.next()
  const waiting = ['a', 'b'].map(queue.decide)
  await t.rejects(queue.decide('c'), { code: 'overloaded', headers: { 'retry-after': '1' } })
  first.answer()
  const next = await queue.next()
  t.same(next.items, ['a', 'b'])
  next.answer()
  t.same(await Promise.all([out, ...waiting]), ['out!', 'a!', 'b!'])
})

/** Replaces the process's clock by one that the test sets, until `t` ends. */
function stopTheClock(t: Test) {
  const clock = { ms: 1_000 }
  t.intercept(performance, 'now', { value: () => clock.ms })
  return clock
}

t.test('an item that would wait longer than queueMsMax, judged by the last batches, is refused at once', async (t) => {
  const clock = stopTheClock(t)
  const queue = openQueue({ itemsMax: 2, queueMsMax: 250 })
  const decided: Promise<string>[] = []
  const goesOut = async (lastsMs: number, ...items: string[]) => {
    decided.push(...items.map(queue.decide))
    const batch = await queue.next()
    clock.ms += lastsMs
    batch.answer()
    await Promise.all(decided)
  }
  await goesOut(100, 'a')
  await goesOut(900, 'b')
  decided.push(queue.decide('c'))
  const out = await queue.next()
  // One slow batch does not count yet: the one before it took 100 ms.
  decided.push(...['d', 'e', 'f', 'g'].map(queue.decide))
  await t.rejects(queue.decide('h'), OVERLOADED, 'three batches have to return before it is sent')
  clock.ms += 100
  out.answer()
  const next = await queue.next()
  t.same(next.items, ['d', 'e'])
  decided.push(queue.decide('i'))
  clock.ms += 126
  await t.rejects(queue.decide('j'), OVERLOADED, 'batches take longer now')
  next.answer()
  ;(await queue.next()).answer()
  ;(await queue.next()).answer()
  t.same(await Promise.all(decided), ['a!', 'b!', 'c!', 'd!', 'e!', 'f!', 'g!', 'i!'])
})

/** Longer than twice the time that a batch lingers. */
const PAST_LINGER_MS = 1_000

t.test('under contention the next batch lingers until the answered callers are back', async (t) => {
  const clock = stopTheClock(t)
  const queue = openQueue({ isContended: (answer) => answer.startsWith('a') })
  const first = ['a', 'b'].map((item) => queue.decide(item).then(() => queue.decide(`${item} again`)))
  const out = await queue.next()
  const waiting = queue.decide('c')
  clock.ms += PAST_LINGER_MS
  out.answer()
  const next = await queue.next()
  // Otherwise the batches below are never sent.
  if (!t.same(next.items, ['c', 'a again', 'b again'])) return
  const last = queue.decide('d')
  clock.ms += PAST_LINGER_MS
  next.answer()
  const alone = await queue.next()
  t.same(alone.items, ['d'], 'no contention: the batch does not linger')
  alone.answer()
  t.same(await Promise.all([...first, waiting, last]), ['a again!', 'b again!', 'c!', 'd!'])
})

t.test('under contention a batch that is full already does not linger', async (t) => {
  const clock = stopTheClock(t)
  const queue = openQueue({ isContended: () => true, itemsMax: 1 })
  const first = queue.decide('a').then(() => [...queue.seen])
  const out = await queue.next()
  const waiting = queue.decide('b')
  clock.ms += PAST_LINGER_MS
  out.answer()
  t.same(await first, [['a'], ['b']], 'it was sent before the caller was answered')
  ;(await queue.next()).answer()
  t.equal(await waiting, 'b!')
})

t.test(
  'under contention the next batch is eventually sent, even if the answered callers do not come back',
  async (t) => {
    const clock = stopTheClock(t)
    const queue = openQueue({ isContended: () => true })
    const gone = ['a', 'b'].map(queue.decide)
    const out = await queue.next()
    const waiting = queue.decide('c')
    clock.ms += PAST_LINGER_MS
    out.answer()
    await Promise.all(gone)
    const later = queue.decide('d')
    const next = await queue.next()
    t.same(next.items, ['c', 'd'])
    next.answer()
    t.same(await Promise.all([waiting, later]), ['c!', 'd!'])
  },
)

t.test('while a batch is stuck an item is refused; once it has returned, items are accepted again', async (t) => {
  const clock = stopTheClock(t)
  const queue = openQueue({ queueMsMax: 250 })
  const stuck = queue.decide('stuck')
  const out = await queue.next()
  clock.ms += 251
  await t.rejects(queue.decide('a'), OVERLOADED)
  out.answer()
  t.equal(await stuck, 'stuck!')
  const after = queue.decide('b')
  const next = await queue.next()
  const beside = queue.decide('c')
  next.answer()
  ;(await queue.next()).answer()
  t.same([await after, await beside], ['b!', 'c!'])
})

t.test('a batch that is stuck longer than waitMsMax does not hold up the next one', async (t) => {
  const late: string[] = []
  const queue = openQueue({ waitMsMax: 0, onLate: (item, answer) => void late.push(`${item} ${answer}`) })
  const stuck = queue.decide('stuck')
  const out = await queue.next()
  await t.rejects(stuck, { code: 'unavailable', message: /whether this was done is not known/ })
  const after = openAnswer(queue.decide('b'))
  const next = await queue.next()
  t.same(next.items, ['b'])
  next.answer()
  await after
  out.answer()
  const last = openAnswer(queue.decide('c'))
  ;(await queue.next()).answer()
  await last
  t.ok(late.includes('stuck stuck!'), 'its answer goes to onLate')
})

/** Resolves with the answer or the error, as text. */
const openAnswer = (answer: Promise<string>) => answer.then(String, String)

t.test('an item whose caller disconnects is not decided, unless it has already been sent', async (t) => {
  const queue = openQueue()
  const sent = queue.decide('sent')
  const out = await queue.next()
  const waiting = ['a', 'b', 'c'].map(queue.decide)
  queue.gone.add('sent').add('a').add('c')
  out.answer()
  const next = await queue.next()
  t.same(next.items, ['b'])
  next.answer()
  t.equal(await sent, 'sent!')
  t.match(await Promise.allSettled(waiting), [
    { status: 'rejected', reason: { code: 'unavailable', message: /^Nothing was decided/ } },
    { status: 'fulfilled', value: 'b!' },
    { status: 'rejected' },
  ])
  const none = queue.decide('d')
  const last = await queue.next()
  const alone = queue.decide('e')
  queue.gone.add('e')
  last.answer()
  t.equal(await none, 'd!')
  await t.rejects(alone)
  t.same(queue.seen, [['sent'], ['b'], ['d']], 'an empty batch is not sent')
})
