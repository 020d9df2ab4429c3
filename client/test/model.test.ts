// Whatever happens, and in whatever order: in the end each tab shows what the service has, over one stream, and has been
// told each change or that it was reset; and on the way no refused token was sent again and nobody hurried.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { connect, type Connection } from '../src/connection.js'
import type { ProjectStreamEvent } from '../src/events.gen.js'
import { type ProjectData, projectFeed } from '../src/project.js'
import { sharing } from '../src/tabs.js'
import { Browser, type Tab } from './browser.js'
import { Service } from './service.js'
import { World } from './world.js'

interface Page {
  readonly tab: Tab
  readonly connection: Connection<ProjectData, ProjectStreamEvent>
  isPaused: boolean
  /** How many of the service's changes it need not have heard of: it has had all there was after them. */
  covered: number
  readonly heard: Set<string>
}

class Run {
  readonly world = new World()
  readonly service = new Service()
  readonly browser = new Browser(this.world)
  readonly refusals = new Map<string, number>()
  pages: Page[] = []
  tabs = 0
  changes = 0
  #token = 1

  constructor(seed: number) {
    let state = seed
    this.world.random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    this.world.answer = (request) => {
      const token = request.token ?? ''
      if (this.service.expired.has(token) && this.service.mode === 'up')
        this.refusals.set(token, (this.refusals.get(token) ?? 0) + 1)
      return this.service.answer(request)
    }
  }

  open(): void {
    if (this.pages.length > 4) return
    const tab = this.browser.tab()
    this.tabs++
    const getToken = ({ fresh }: { fresh: boolean }): string => {
      if (fresh && this.service.expired.has(this.token)) this.#token++
      return this.token
    }
    const share = sharing(() => tab)
    const connection = connect({ url: '', getToken, feed: projectFeed({ projectId: 'p' }), environment: tab, share })
    const page: Page = { tab, connection, isPaused: false, covered: Infinity, heard: new Set() }
    connection.subscribe(() => {
      if (page.covered === Infinity && connection.getSnapshot().data.ready) page.covered = this.service.log.length
    })
    connection.onEvents((events) => {
      for (const { event, data } of events) {
        if (event === 'job_update') page.heard.add(data.title)
        else if (event === 'reset' || event === 'snapshot') page.covered = this.service.log.length
      }
    })
    this.pages.push(page)
  }

  get token(): string {
    return `e30.${btoa('{"sub":"ann"}')}.${this.#token}`
  }

  rotate(): void {
    this.#token++
    this.service.reauth()
  }

  leave(number: number, how: 'close' | 'crash'): void {
    const page = this.pages[number]
    if (!page) return
    if (how === 'crash') page.tab.crash()
    else {
      page.tab.thaw()
      page.connection.close()
    }
    this.pages = this.pages.filter((each) => each !== page)
  }

  pause(number: number): void {
    const page = this.pages[number]
    if (!page || page.tab.isFrozen) return
    page.isPaused = !page.isPaused
    if (page.isPaused) page.connection.pause()
    else page.connection.resume()
  }

  freeze(number: number): void {
    const tab = this.pages[number]?.tab
    if (tab?.isFrozen) tab.thaw()
    else tab?.freeze()
  }

  async settle(): Promise<void> {
    this.service.mode = 'up'
    this.browser.loses = () => false
    this.browser.latency = () => 0
    if (this.pages.length === 0) this.open()
    for (const page of this.pages) {
      page.tab.thaw()
      if (page.isPaused) page.connection.resume()
    }
    await this.world.happen('online')
    for (let n = 0; n < 9; n++) {
      await this.world.advance(20_000)
      this.service.keepalive()
    }
    await this.world.advance(1)
  }
}

const job = fc.constantFrom('a', 'b', 'c', 'd')
const page = fc.nat({ max: 4 })
const step: fc.Arbitrary<[string, (run: Run) => unknown]> = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(job, fc.option(fc.nat({ max: 99 }), { freq: 5 })).map(([id, n]): [string, (run: Run) => unknown] => [
    n === null ? `${id} is no more` : `${id} changes`, (run) => run.service.commit(id, n === null ? null : `${++run.changes}`)]) },
  { weight: 8, arbitrary: fc.constantFrom(0, 1, 20, 600, 2500, 12_000, 70_000).map((ms): [string, (run: Run) => unknown] => [
    `${ms} ms`, ({ world }) => world.advance(ms)]) },
  { weight: 3, arbitrary: fc.boolean().map((half): [string, (run: Run) => unknown] => [`cut ${half}`, ({ service }) => service.cut(half)]) },
  { weight: 4, arbitrary: fc.constantFrom<Service['mode']>('up', 'down', 'refusing', 'no streams', 'mute').map((mode): [string, (run: Run) => unknown] => [
    `the service is ${mode}`, (run) => {
      run.service.mode = mode
      if (mode === 'down') run.service.cut(false)
    }]) },
  { weight: 2, arbitrary: fc.constantFrom('shutdown', 'too_slow', 'token_expired').map((reason): [string, (run: Run) => unknown] => [
    reason, ({ service }) => service.end(reason)]) },
  fc.constant<[string, (run: Run) => unknown]>(['rotate', (run) => run.rotate()]),
  fc.constant<[string, (run: Run) => unknown]>(['prune', ({ service }) => service.prune()]),
  { weight: 4, arbitrary: fc.constant<[string, (run: Run) => unknown]>(['open', (run) => run.open()]) },
  { weight: 3, arbitrary: fc.tuple(page, fc.constantFrom<'close' | 'crash'>('close', 'crash')).map(([n, how]): [string, (run: Run) => unknown] => [
    `${how} ${n}`, (run) => run.leave(n, how)]) },
  fc.tuple(page).map(([n]): [string, (run: Run) => unknown] => [`pause ${n}`, (run) => run.pause(n)]),
  fc.tuple(page).map(([n]): [string, (run: Run) => unknown] => [`freeze ${n}`, (run) => run.freeze(n)]),
  fc.tuple(page).map(([n]): [string, (run: Run) => unknown] => [`reconnect ${n}`, (run) => run.pages[n]?.connection.reconnect()]),
  fc.constantFrom<'online' | 'offline' | 'visible'>('online', 'offline', 'visible').map((what): [string, (run: Run) => unknown] => [
    what, ({ world }) => world.happen(what)]),
  fc.constantFrom(0, 5, 300, 3000).map((ms): [string, (run: Run) => unknown] => [`up to ${ms} ms between tabs`, ({ browser }) => {
    let n = 0
    browser.latency = () => (ms * (n++ % 7)) / 6
  }]),
  fc.constantFrom(0, 2, 5).map((every): [string, (run: Run) => unknown] => [`a message of ${every} is lost`, ({ browser }) => {
    let n = 0
    browser.loses = () => every > 0 && n++ % every === 0
  }]),
)

it('in the end each tab shows what there is, and has missed nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.nat(), async (steps, seed) => {
      const run = new Run(seed)
      const { world, service } = run
      const began = world.now()
      run.open()
      try {
        for (const [, act] of steps) await act(run)
        const seconds = (world.now() - began) / 1000
        // each step may ask each tab to try at once; else there are tries and polls, none of them in a hurry
        expect(world.requests.length).toBeLessThan(10 + steps.length * 6 + run.tabs * (seconds + 10))
        await run.settle()
        for (const { connection, tab } of run.pages) {
          const { status, data } = connection.getSnapshot()
          expect([status, new Map([...data.jobs].sort()), tab.isDead]).toEqual(['live', new Map([...service.jobs].sort()), false])
        }
        for (const { heard, covered } of run.pages) {
          const titles = service.log.slice(covered).flatMap(({ messages }) => messages.flatMap((told) => ('title' in told ? [told.title] : [])))
          expect(titles.filter((title) => !heard.has(title))).toEqual([])
        }
        expect(service.viewers).toHaveLength(1)
        for (const count of run.refusals.values()) expect(count).toBeLessThanOrEqual(run.tabs)
      } finally {
        for (const each of run.pages) each.connection.close()
        await world.advance(0)
      }
      expect(service.viewers).toHaveLength(0)
    }),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 150), seed: Number(process.env['SEED'] ?? 7) }, // always the same ones
  )
})
