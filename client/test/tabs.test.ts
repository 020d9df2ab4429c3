import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect, type Connection } from '../src/connection.js'
import type { ProjectStreamEvent } from '../src/events.gen.js'
import { type ProjectData, projectFeed } from '../src/project.js'
import { acrossTabs, sharing } from '../src/tabs.js'
import { Browser, type Tab } from './browser.js'
import { Service } from './service.js'
import { project } from './wire.js'
import { problem, settled, World } from './world.js'

interface Page {
  readonly tab: Tab
  readonly connection: Connection<ProjectData, ProjectStreamEvent>
  readonly heard: string[]
  readonly seen: Set<string>
}

let world: World
let service: Service
let browser: Browser
let pages: Page[]

beforeEach(() => {
  world = new World()
  service = new Service()
  world.answer = service.answer
  browser = new Browser(world)
  pages = []
})

afterEach(async () => {
  for (const { connection } of pages) connection.close()
  await settled()
  expect(service.viewers).toHaveLength(0)
})

function jwt(sub: string): string {
  return `e30.${btoa(JSON.stringify({ sub }))}.x`
}

async function open(getToken = () => jwt('ann')): Promise<Page> {
  const tab = browser.tab()
  const connection = connect({
    url: '', getToken, feed: projectFeed({ projectId: 'p' }), environment: tab, share: sharing(() => tab),
  })
  const page: Page = { tab, connection, heard: [], seen: new Set() }
  connection.onEvents((events) => page.heard.push(...events.map(({ event, data }) => ('title' in data ? data.title : event))))
  pages.push(page)
  await world.advance(1)
  connection.subscribe(() => page.seen.add(connection.getSnapshot().status))
  return page
}

const several = async (count: number): Promise<Page[]> => {
  for (let n = 0; n < count; n++) await open()
  return pages
}
const titles = ({ connection }: Page): string[] => [...connection.getSnapshot().data.jobs.values()].map(({ title }) => title).sort()
const status = ({ connection }: Page): string => connection.getSnapshot().status

async function happens(jobId: string, title = jobId): Promise<void> {
  service.commit(jobId, title)
  await world.advance(1)
}

describe('six tabs', () => {
  it('have one stream, and all know the same', async () => {
    await happens('before')
    await several(6)
    await happens('after')
    expect(world.requests).toHaveLength(1)
    expect(pages.map(titles)).toEqual(Array(6).fill(['after', 'before']))
    expect(pages.map(status)).toEqual(Array(6).fill('live'))
  })

  it('are told each event', async () => {
    await several(6)
    for (const job of ['a', 'b', 'c']) await happens(job)
    for (const { heard } of pages) expect(heard.filter((each) => each.length === 1)).toEqual(['a', 'b', 'c'])
  })

  it('of two users have two', async () => {
    await several(3)
    await open(() => jwt('bob'))
    await open(() => 'no jwt')
    expect(world.requests).toHaveLength(3)
  })
})

describe('when the leader goes', () => {
  it.each(['closed', 'crashed', 'paused'])('and is %s, another goes on, and nobody sees it', async (how) => {
    const [leader, ...others] = await several(4)
    await happens('a')
    for (const { seen } of others) seen.clear()
    if (how === 'closed') leader?.connection.close()
    else if (how === 'paused') leader?.connection.pause()
    else leader?.tab.crash()
    service.commit('b', 'while nobody listens')
    await world.advance(10)
    await happens('c')
    expect(world.requests.map(({ lastEventId }) => lastEventId)).toEqual([null, '101'])
    expect(service.viewers).toHaveLength(1)
    for (const other of others) {
      expect(titles(other)).toEqual(['a', 'c', 'while nobody listens'])
      expect(other.heard.filter((each) => each.includes('nobody'))).toHaveLength(1)
      expect([...other.seen]).toEqual(['live'])
    }
  })

  it('in the middle of a delivery, all of it is told', async () => {
    const [leader, ...others] = await several(3)
    await happens('a')
    service.cut(true)
    leader?.tab.crash()
    await happens('b')
    await world.advance(5000)
    for (const other of others) expect(titles(other)).toEqual(['a', 'b'])
  })

  it('before another has heard the last of it, that one has it too', async () => {
    const [leader, ...others] = await several(3)
    const slow = others[1] as Page
    browser.latency = (from, to) => (from === leader?.tab && to === slow.tab ? 500 : 0)
    service.commit('a', 'late')
    await world.advance(1)
    leader?.tab.crash()
    await happens('b')
    await world.advance(1000)
    expect(others.map(titles)).toEqual([['b', 'late'], ['b', 'late']])
    expect(slow.heard.filter((each) => each === 'late').length).toBeGreaterThan(0)
  })
})

describe('a tab', () => {
  it('that missed a message hears what it said', async () => {
    const [, other] = await several(2)
    let lost = 0
    browser.loses = (from) => from === pages[0]?.tab && lost++ < 1
    await happens('a')
    expect([lost, other && titles(other)]).toEqual([1, []])
    await happens('b')
    expect(other?.heard.filter((each) => each.length === 1)).toEqual(['a', 'b'])
    expect(world.requests).toHaveLength(1)
  })

  it('that was paused hears what it missed', async () => {
    const [, other] = await several(2)
    other?.connection.pause()
    expect(other && status(other)).toBe('idle')
    await happens('a')
    other?.connection.resume()
    await world.advance(1)
    expect(other?.heard.filter((each) => each.length === 1)).toEqual(['a'])
    expect(world.requests).toHaveLength(1)
  })

  it('that was paused over a reset has the snapshot after it, too', async () => {
    const [leader, other] = await several(2) as [Page, Page]
    await happens('a')
    other.connection.pause()
    await service.viewers[0]?.stream.send(project.reset) // what follows comes apart from it
    service.jobs.delete('a')
    service.revision++
    service.prune()
    await happens('b')
    expect(titles(leader)).toEqual(['b'])
    other.connection.resume()
    await world.advance(1)
    expect(titles(other)).toEqual(['b'])
  })

  it('whose question crosses an event hears it once', async () => {
    const [, other] = await several(2) as [Page, Page]
    await happens('a')
    browser.latency = () => 100
    let questions = 0
    browser.loses = (from) => {
      if (from === other.tab && questions++ < 1) service.commit('b', 'b')
      return false
    }
    await world.advance(45_000)
    expect(questions).toBeGreaterThan(0)
    expect(other.heard.filter((each) => each.length === 1)).toEqual(['a', 'b'])
  })

  it('whose leader is frozen listens itself, until that is no longer so', async () => {
    const [leader, other] = await several(2)
    leader?.tab.freeze()
    await world.advance(60_000)
    await happens('a')
    expect(other && [titles(other), status(other)]).toEqual([['a'], 'live'])
    expect(world.requests.length).toBeGreaterThan(1)
    leader?.tab.thaw()
    await happens('b')
    await world.advance(30_000)
    expect(service.viewers).toHaveLength(1)
    expect(pages.map(titles)).toEqual([['a', 'b'], ['a', 'b']])
  })

  it('that is looked at, or asks, has the leader try', async () => {
    service.mode = 'refusing'
    const [, other] = await several(2)
    await world.advance(2500)
    const before = world.requests.length
    service.mode = 'down'
    await world.advance(60_000)
    other?.connection.reconnect()
    await world.advance(1)
    expect(world.requests.length).toBeGreaterThan(before)
    service.mode = 'up'
    await world.happen('visible')
    await world.advance(1)
    expect(pages.map(status)).toEqual(['live', 'live'])
  })

  it('that comes when all has ended asks nobody else', async () => {
    service.mode = 'up'
    await several(1)
    service.end('completed')
    for (const { stream } of service.viewers) void stream.end()
    world.answer = () => new Response(null, { status: 204 })
    await world.advance(5000)
    expect(status(pages[0] as Page)).toBe('ended')
    const before = world.requests.length
    await several(1)
    expect([status(pages[1] as Page), world.requests.length]).toEqual(['ended', before])
    pages[0]?.connection.close()
    await world.advance(5000)
    expect([status(pages[1] as Page), world.requests.length]).toEqual(['ended', before])
    world.answer = service.answer
    pages[1]?.connection.reconnect()
    await world.advance(1)
    expect(status(pages[1] as Page)).toBe('live')
  })

  it('in which another user signs in joins others', async () => {
    let token: string | null = null
    const tab = browser.tab()
    const connection = connect({
      url: '', getToken: () => token, feed: projectFeed({ projectId: 'p' }), environment: tab, share: sharing(() => tab),
    })
    await world.advance(1)
    expect(connection.getSnapshot().status).toBe('connecting')
    await open()
    token = jwt('ann')
    connection.reconnect()
    await world.advance(1)
    expect([connection.getSnapshot().status, world.requests.length]).toEqual(['live', 1])
    connection.close()
  })

  it('which nobody has signed in to shares with none: each may become another user\'s', async () => {
    await happens('ann\'s')
    world.answer = (request) => (request.token === jwt('ann') ? service.answer(request) : problem(404, 'not_found'))
    const tokens: (string | null)[] = [null, null]
    const [ann, bob] = [await open(() => tokens[0] as string), await open(() => tokens[1] as string)]
    tokens.splice(0, 2, jwt('ann'), jwt('bob'))
    await world.advance(60_000)
    expect([titles(ann), titles(bob)]).toEqual([['ann\'s'], []])
  })

  it('in which another user signs in forgets what the former saw', async () => {
    let token = jwt('ann')
    const page = await open(() => token)
    await happens('a')
    token = jwt('bob')
    world.answer = () => problem(404, 'not_found')
    page.connection.reconnect()
    await world.advance(1)
    expect([status(page), titles(page), world.requests.at(-1)?.lastEventId]).toEqual(['ended', [], null])
    expect(page.heard.at(-1)).toBe('reset')
  })
})

it('where tabs cannot know of each other each has its own', async () => {
  const connection = connect({
    url: '', getToken: () => 't', feed: projectFeed({ projectId: 'p' }), environment: world, share: acrossTabs,
  })
  await world.advance(1)
  expect(connection.getSnapshot().status).toBe('live')
  connection.close()
})
