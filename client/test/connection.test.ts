import { afterEach, describe, expect, it, vi } from 'vitest'
import { connect, type Connection, type ConnectOptions } from '../src/connection.js'
import { enrichmentFeed } from '../src/enrichment.js'
import type { ProjectStreamEvent } from '../src/events.gen.js'
import { pipelineFeed } from '../src/pipeline.js'
import { type ProjectData, projectFeed } from '../src/project.js'
import { enrichment, pipeline, project } from './wire.js'
import { type Answer, problem, settled, Stream, World } from './world.js'

type Project = Connection<ProjectData, ProjectStreamEvent>

const feed = projectFeed({ projectId: 'p' })
const opened: { connection: { close(): void }; world: World }[] = []

afterEach(async () => {
  for (const { connection, world } of opened.splice(0)) {
    connection.close()
    await settled()
    expect(world.leftovers).toBe(0)
  }
})

async function start(answer: Answer, options: Partial<ConnectOptions<ProjectData, ProjectStreamEvent>> = {}) {
  const world = new World()
  world.answer = answer
  const connection: Project = connect({ url: 'http://service/', getToken: () => 'token', feed, environment: world, ...options })
  opened.push({ connection, world })
  await settled()
  return { world, connection, status: () => connection.getSnapshot().status }
}

/** Each request for a stream gets one that says hello; polls get `poll`. */
function streaming(poll: Answer = () => problem(503, 'upstream_unavailable')) {
  const streams: Stream[] = []
  const answer: Answer = (request) => {
    if (!request.path.includes('/status')) return poll(request)
    const stream = new Stream(request.signal)
    streams.push(stream)
    void stream.send(project.connected, { id: 10 })
    return stream.response
  }
  return { streams, answer, last: () => streams.at(-1) as Stream }
}

const down: Answer = () => problem(502, 'bad_gateway')
const noNetwork: Answer = () => Promise.reject(new TypeError('Failed to fetch'))

describe('a stream', () => {
  it('is asked for with the token in a header, and with a snapshot', async () => {
    const { answer } = streaming()
    const { world, connection } = await start(answer)
    expect(world.requests).toMatchObject([
      { url: 'http://service/api/projects/p/status?snapshot=1', token: 'token', lastEventId: null },
    ])
    expect(connection.getSnapshot()).toMatchObject({ status: 'live', error: null, retryCount: 0 })
  })

  it('is no sooner live than the server has said hello', async () => {
    const stream = new Stream()
    const { status } = await start(() => stream.response)
    expect(status()).toBe('connecting')
    await stream.send(project.connected)
    expect(status()).toBe('live')
  })

  it('is delayed while the server hears of changes late', async () => {
    const { answer, last } = streaming()
    const { status } = await start(answer)
    await last().send({ ...project.live, live: false })
    expect(status()).toBe('delayed')
    await last().send({ ...project.live, live: true })
    expect(status()).toBe('live')
  })

  it('tells what comes together once, to all who listen', async () => {
    const { answer, last } = streaming()
    const { connection } = await start(answer)
    const [changed, heard] = [vi.fn(), vi.fn()]
    connection.subscribe(changed)
    connection.onEvents(heard)
    const frame = (data: object): string => `data: ${JSON.stringify(data)}\n\n`
    await last().write(frame(project.job_update) + frame(project.new_proposal))
    expect(changed).toHaveBeenCalledOnce()
    expect(heard).toHaveBeenCalledOnce()
    expect(heard.mock.calls[0]?.[0]).toEqual([
      { event: 'job_update', data: project.job_update }, { event: 'new_proposal', data: project.new_proposal },
    ])
    expect(connection.getSnapshot().data.jobs.size).toBe(1)
    expect(connection.getSnapshot().latestEvent?.event).toBe('new_proposal')
  })

  it('gives the same snapshot until something changes, and tells nobody of keepalives', async () => {
    const { answer, last } = streaming()
    const { connection } = await start(answer)
    const before = connection.getSnapshot()
    await last().write(': keepalive\nid: 11\n\n')
    expect(connection.getSnapshot()).toBe(before)
  })

  it('that somebody has stopped listening to tells them nothing', async () => {
    const { answer, last } = streaming()
    const { connection } = await start(answer)
    const listener = vi.fn()
    const stop = [connection.subscribe(listener), connection.onEvents(listener)]
    for (const each of stop) each()
    await last().send(project.job_update)
    expect(listener).not.toHaveBeenCalled()
  })

  it('goes on when a listener throws', async () => {
    const thrown: unknown[] = []
    const note = (error: unknown): void => void thrown.push(error)
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').on('uncaughtException', note)
    try {
      const { answer, last } = streaming()
      const { connection, status } = await start(answer)
      connection.onEvents(() => {
        throw new Error('mine')
      })
      await last().send(project.job_update)
      expect([status(), connection.getSnapshot().data.jobs.size]).toEqual(['live', 1])
      expect(thrown).toEqual([new Error('mine')])
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const each of listeners) process.on('uncaughtException', each)
    }
  })
})

describe('a stream that breaks', () => {
  it('goes on after the last id', async () => {
    const { answer, last } = streaming()
    const { world, status } = await start(answer)
    await last().send(project.job_update, { id: 12 })
    await last().send(project.progress_update) // the first half of a delivery: no id
    last().break()
    await settled()
    expect(status()).toBe('connecting')
    await world.advance(1000)
    expect(status()).toBe('live')
    expect(world.requests.map(({ lastEventId }) => lastEventId)).toEqual([null, '12'])
  })

  it('goes on after the id of a keepalive', async () => {
    const { answer, last } = streaming()
    const { world } = await start(answer)
    await last().write(': keepalive\nid: 30\n\n')
    await last().end()
    await world.advance(1000)
    expect(world.requests.at(-1)?.lastEventId).toBe('30')
  })

  it('begins anew when it was reset and the snapshot has not come whole', async () => {
    const { answer, last } = streaming()
    const { world } = await start(answer)
    await last().send(project.reset)
    await last().send({ ...project.snapshot, last: false })
    await last().end()
    await world.advance(1000)
    expect(world.requests.at(-1)?.lastEventId).toBeNull()
  })

  it('comes back after what the server says is right, within it at random', async () => {
    const { answer, last } = streaming()
    const { world } = await start(answer)
    world.luck = 0.5
    await last().write('retry: 3000\n\n')
    await last().end()
    await world.advance(1499)
    expect(world.requests).toHaveLength(1)
    await world.advance(1)
    expect(world.requests).toHaveLength(2)
  })

  it('waits longer each time, up to the longest wait', async () => {
    const { world } = await start(down, { pollAfter: Infinity })
    for (const wait of [1, 2, 4, 8, 16, 30, 30]) {
      const before = world.requests.length
      await world.advance(wait * 1000 - 10)
      expect(world.requests).toHaveLength(before)
      await world.advance(10)
      expect(world.requests).toHaveLength(before + 1)
    }
  })

  it('does not hurry to a server that says hello and dies', async () => {
    const { world } = await start((request) => {
      const stream = new Stream(request.signal)
      void stream.send(project.connected).then(() => stream.end())
      return stream.response
    })
    await world.advance(60_000)
    expect(world.requests.length).toBeLessThan(9)
  })

  it('that has lived does come back soon', async () => {
    const { answer, last, streams } = streaming()
    const { world } = await start(answer)
    for (const lives of [1, 2, 3, 4]) {
      await world.advance(20_000)
      await last().write(':\n\n')
      await last().end()
      await world.advance(1000)
      expect(streams).toHaveLength(lives + 1)
    }
  })

  it('counts as broken after a silence', async () => {
    const { answer, last } = streaming()
    const { world, connection } = await start(answer, { stallAfter: 40_000 })
    await world.advance(39_000)
    await last().write(': keepalive\n\n')
    await world.advance(39_999)
    expect(connection.getSnapshot().status).toBe('live')
    await world.advance(1)
    expect(connection.getSnapshot()).toMatchObject({ status: 'connecting', error: { code: 'timeout' } })
    expect(world.requests[0]?.signal.aborted).toBe(true)
    await world.advance(2000)
    expect(connection.getSnapshot().status).toBe('live')
  })

  it('is not waited for for ever, nor is a token', async () => {
    const silent = await start(() => new Promise(() => {}), { answerWithin: 5000, pollAfter: Infinity })
    await silent.world.advance(6000)
    expect(silent.world.requests).toHaveLength(2)
    const getToken = vi.fn(() => new Promise<string>(() => {}))
    const mute = await start(down, { answerWithin: 5000, getToken, pollAfter: Infinity })
    await mute.world.advance(6000)
    expect(getToken).toHaveBeenCalledTimes(2)
  })

  it('is tried at once when the network is back, and is offline while it is gone', async () => {
    const { answer } = streaming()
    const { world, status } = await start(answer)
    await world.happen('offline')
    expect([status(), world.requests[0]?.signal.aborted]).toEqual(['offline', true])
    await world.happen('online')
    expect([status(), world.requests.length]).toEqual(['live', 2])
  })

  it.each(['status', 'snapshot'])('is not offline any more when the server has answered, be it an error to a %s', async (asked) => {
    const { world, connection, status } = await start(noNetwork)
    await world.advance(3010)
    expect(status()).toBe('offline')
    const seen = new Set<string>()
    connection.subscribe(() => seen.add(status()))
    world.answer = ({ path }) => (path.includes(`/${asked}`) ? problem(502, 'bad_gateway') : new Promise(() => {}))
    await world.advance(10_000)
    expect(seen).toContain('connecting')
  })

  it('is tried at once when the page is looked at again', async () => {
    const { world } = await start(down)
    await world.happen('visible')
    expect(world.requests).toHaveLength(2)
  })

  it('that slept with the machine is exchanged as soon as the page is looked at', async () => {
    const { answer } = streaming()
    const { world, status } = await start(answer)
    await world.happen('visible')
    expect(world.requests).toHaveLength(1)
    world.sleep(3_600_000)
    await world.happen('visible')
    expect([status(), world.requests.length]).toEqual(['live', 2])
  })

  it('brings nothing any more once another has taken its place', async () => {
    const streams: Stream[] = []
    const { connection } = await start(() => {
      const stream = new Stream() // one that does not hear that it is aborted
      streams.push(stream)
      void stream.send(project.connected)
      return stream.response
    })
    connection.reconnect()
    await settled()
    await streams[0]?.send(project.job_update, { id: 99 })
    expect([connection.getSnapshot().data.jobs.size, streams[0]?.isCancelled]).toEqual([0, true])
  })

  it('of something that is no JSON counts as broken, and what came before it is not lost', async () => {
    const { answer, last } = streaming()
    const { world, connection } = await start(answer)
    await last().write(`data: ${JSON.stringify(project.job_update)}\nid: 12\n\ndata: <html>\nid: 13\n\n`)
    expect(connection.getSnapshot()).toMatchObject({ status: 'connecting', error: { code: 'connection_lost' } })
    expect(connection.getSnapshot().data.jobs.size).toBe(1)
    await world.advance(1000)
    expect(world.requests.at(-1)?.lastEventId).toBe('12')
  })
})

describe('an answer that is no stream', () => {
  it.each([[404, 'not_found'], [403, 'forbidden'], [400, 'bad_request'], [405, 'http_405']])('%i ends it', async (status, code) => {
    const answer = code.startsWith('http') ? new Response('no', { status }) : problem(status, code)
    const { world, connection } = await start(() => answer)
    await world.advance(600_000)
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason: code, error: { code } })
    expect(world.requests).toHaveLength(1)
  })

  it.each([['in seconds', '120'], ['as a date', new Date(1_800_000_120_000).toUTCString()]])(
    'with a Retry-After %s is honoured by everybody', async (_, value) => {
      const { world, connection } = await start(() => problem(503, 'upstream_unavailable', { 'Retry-After': value }))
      await world.happen('visible')
      connection.reconnect()
      connection.pause()
      connection.resume()
      await world.advance(119_999)
      expect(world.requests).toHaveLength(1)
      await world.advance(2)
      expect(world.requests).toHaveLength(2)
    },
  )

  it('of a wrong type is a failed try', async () => {
    const { connection } = await start(() => new Response('<html>', { headers: { 'Content-Type': 'text/html' } }))
    expect(connection.getSnapshot()).toMatchObject({ status: 'connecting', retryCount: 1, error: { code: 'no_stream' } })
  })

  it('204 is the end', async () => {
    const { connection } = await start(() => new Response(null, { status: 204 }))
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason: 'completed', error: null })
  })

  it('400 to a cursor is asked again without it', async () => {
    const { answer, last } = streaming()
    const { world, status } = await start((request) => (request.lastEventId ? problem(400, 'bad_request') : answer(request)))
    await last().send(project.job_update, { id: 12 })
    await last().end()
    await world.advance(5000)
    expect(world.requests.map(({ lastEventId }) => lastEventId)).toEqual([null, '12', null])
    expect(status()).toBe('live')
  })
})

describe('the token', () => {
  const tokens = (...list: (string | null)[]) => {
    const asked: boolean[] = []
    return { asked, getToken: ({ fresh }: { fresh: boolean }) => {
      asked.push(fresh)
      return list[Math.min(asked.length, list.length) - 1] ?? null
    } }
  }

  it('that was refused is exchanged for a fresh one', async () => {
    const { asked, getToken } = tokens('old', 'new')
    const { answer } = streaming()
    const { world, status } = await start(({ token, ...request }) => (token === 'old' ? problem(401, 'expired_token') : answer({ token, ...request })), { getToken })
    await world.advance(1000)
    expect(status()).toBe('live')
    expect([asked, world.requests.map(({ token }) => token)]).toEqual([[false, true], ['old', 'new']])
  })

  it('that is dead is never sent again, nor is anything else', async () => {
    const { world, connection } = await start(() => problem(401, 'invalid_token'))
    await world.advance(600_000)
    await world.happen('visible')
    await world.happen('online')
    connection.reconnect()
    await world.advance(600_000)
    expect(world.requests).toHaveLength(1)
    expect(connection.getSnapshot()).toMatchObject({ status: 'connecting', error: { code: 'missing_token' } })
  })

  it('ends it when each new one is refused', async () => {
    let count = 0
    const { world, connection } = await start(() => problem(401, 'invalid_token'), { getToken: () => `token ${++count}` })
    await world.advance(600_000)
    expect(world.requests).toHaveLength(3)
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason: 'unauthorized', error: { code: 'invalid_token' } })
  })

  it('that nobody has is waited for', async () => {
    let token: string | null = null
    const { answer } = streaming()
    const { world, connection, status } = await start(answer, { getToken: () => Promise.resolve(token) })
    expect([status(), world.requests.length]).toEqual(['connecting', 0])
    token = 'signed in'
    connection.reconnect()
    await settled()
    expect(status()).toBe('live')
  })

  it('that cannot be had is asked for again', async () => {
    const getToken = vi.fn().mockRejectedValueOnce(new Error('auth is down')).mockResolvedValue('token')
    const { answer } = streaming()
    const { world, connection, status } = await start(answer, { getToken })
    expect(connection.getSnapshot().error?.message).toBe('auth is down')
    await world.advance(1000)
    expect(status()).toBe('live')
  })

  it('is exchanged before it expires, and nobody sees it', async () => {
    let token = 'old'
    const { answer, last } = streaming()
    const { world, connection } = await start(answer, { getToken: ({ fresh }) => (fresh ? (token = 'new') : token) })
    await last().send(project.job_update, { id: 12 })
    await world.advance(30_000)
    const seen = new Set<string>()
    connection.subscribe(() => seen.add(connection.getSnapshot().status))
    await last().send(project.reauth)
    await world.advance(1)
    expect(world.requests.map(({ token: sent, lastEventId }) => [sent, lastEventId]).at(-1)).toEqual(['new', '12'])
    expect([...seen]).toEqual(['live'])
    expect(world.requests.at(-2)?.signal.aborted).toBe(true)
  })

  it('is not exchanged any more once the stream is let go', async () => {
    const { answer, last } = streaming()
    const { world, connection } = await start(answer, { getToken: ({ fresh }) => (fresh ? 'new' : 'old') })
    await last().send(project.reauth)
    await last().send(project.reauth)
    connection.pause()
    await world.advance(60_000)
    expect(world.requests).toHaveLength(1)
  })

  it('that cannot be exchanged is good until it expires', async () => {
    const { answer, last } = streaming()
    const { world, status } = await start(answer)
    await last().send(project.reauth)
    await world.advance(15_000)
    expect([status(), world.requests.length]).toEqual(['live', 1])
    await last().send({ type: 'stream_end', reason: 'token_expired', reconnect: true })
    await world.advance(600_000)
    expect([status(), world.requests.length]).toEqual(['connecting', 1])
  })

  it('that expires is exchanged at once', async () => {
    let count = 0
    const { answer, last } = streaming()
    const { world, status } = await start(answer, { getToken: () => `token ${++count}` })
    await last().send({ type: 'stream_end', reason: 'token_expired', reconnect: true })
    expect([status(), world.requests.length]).toEqual(['live', 2])
  })

  it('makes no storm where each is good for a moment only', async () => {
    let count = 0
    const { answer, streams } = streaming()
    const { world } = await start((request) => {
      const response = answer(request)
      const stream = streams.at(-1) as Stream
      void stream.send(project.reauth).then(() => stream.send({ type: 'stream_end', reason: 'token_expired', reconnect: true }))
      return response
    }, { getToken: () => `token ${++count}` })
    await world.advance(60_000)
    expect(world.requests.length).toBeLessThan(10)
  })
})

describe('an ending', () => {
  it.each([['completed', null], ['enrichment.completed', null], ['access_revoked', 'access_revoked']])(
    '%s that is for good is the end', async (reason, code) => {
      const { answer, last } = streaming()
      const { world, connection } = await start(answer)
      await last().send({ type: 'stream_end', reason, reconnect: false })
      await world.advance(600_000)
      expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason, error: code === null ? null : { code } })
      expect([world.requests.length, world.leftovers]).toEqual([1, 0])
    },
  )

  it('is told with the error before it', async () => {
    const { answer, last } = streaming()
    const { connection } = await start(answer)
    await last().send({ type: 'error', code: 'not_found', message: 'The BOM was deleted.' })
    await last().send({ type: 'stream_end', reason: 'error', reconnect: false })
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', error: { code: 'not_found' } })
  })

  it.each(['shutdown', 'too_slow', 'error'])('%s is not', async (reason) => {
    const { answer, last } = streaming()
    const { world, status } = await start(answer)
    await last().send({ type: 'stream_end', reason, reconnect: true })
    expect(status()).toBe('connecting')
    await world.advance(1000)
    expect(status()).toBe('live')
  })

  it('can be undone by who asks to reconnect', async () => {
    const { answer, last } = streaming()
    const { world, connection, status } = await start(answer)
    await last().send({ type: 'stream_end', reason: 'completed', reconnect: false })
    connection.reconnect()
    await settled()
    expect([status(), world.requests.length]).toEqual(['live', 2])
  })
})

describe('polling', () => {
  const { revision, sources, jobs, proposals } = project.snapshot
  const whole = { revision, live: true, sources, jobs, proposals }

  const polled = (poll: () => Response): Answer => (request) => (request.path.includes('/status') ? problem(502, 'x') : poll())

  it('begins after three failed tries, and the page has its data', async () => {
    const { world, connection, status } = await start(polled(() => Response.json(whole)))
    await world.advance(2999)
    expect([status(), world.polls.length]).toEqual(['connecting', 0])
    await world.advance(10)
    expect([status(), world.polls.length, connection.getSnapshot().retryCount]).toEqual(['polling', 1, 3])
    expect([...connection.getSnapshot().data.jobs.values()]).toEqual(jobs)
  })

  it('goes on from the cursor, every three seconds, and asks whether there is anything new', async () => {
    const answers = [Response.json(whole, { headers: { ETag: '"1"' } }), new Response(null, { status: 304 }),
      Response.json({ revision: revision + 1, live: true, reset: false, events: [project.job_deleted] })]
    const { world, connection } = await start(polled(() => answers.shift() ?? new Response(null, { status: 304 })))
    await world.advance(3010)
    await world.advance(6000)
    expect(connection.getSnapshot().data.jobs.size).toBe(0)
    expect(world.polls.map(({ path, etag }) => [path.replace('/api/projects/p', ''), etag])).toEqual([
      ['/snapshot', null], [`/snapshot?since=${revision}`, '"1"'], [`/snapshot?since=${revision}`, '"1"'],
    ])
    await world.advance(3000)
    expect(world.polls.at(-1)?.path).toContain(`since=${revision + 1}`)
  })

  it('ends when there is a stream again, which goes on where the last poll was', async () => {
    let isUp = false
    const { answer } = streaming(() => Response.json(whole))
    const { world, status } = await start((request) => (isUp || !request.path.includes('/status') ? answer(request) : problem(502, 'x')))
    await world.advance(3010)
    expect(status()).toBe('polling')
    isUp = true
    await world.advance(10_000)
    const polls = world.polls.length
    expect([status(), world.streams.at(-1)?.lastEventId]).toEqual(['live', String(revision)])
    await world.advance(20_000)
    expect(world.polls).toHaveLength(polls)
  })

  it('that fails too is offline without a network, and tries on', async () => {
    const { world, status } = await start(noNetwork)
    await world.advance(3010)
    expect(status()).toBe('offline')
    world.answer = polled(() => Response.json(whole))
    await world.advance(3000)
    expect(status()).toBe('polling')
  })

  it.each([408, 425, 429])('that is answered %i waits as long as it is told to', async (code) => {
    const answers = [problem(code, 'later', { 'Retry-After': '20' })]
    const { world } = await start(polled(() => answers.shift() ?? Response.json(whole)))
    await world.advance(3010)
    await world.advance(19_000)
    expect(world.polls).toHaveLength(1)
    await world.advance(2000)
    expect(world.polls).toHaveLength(2)
  })

  it('hears that there is nothing to see', async () => {
    const { world, connection } = await start(polled(() => problem(404, 'not_found')))
    await world.advance(60_000)
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason: 'not_found' })
    expect(world.polls).toHaveLength(1)
  })

  it('sends no dead token, and does not hurry who gets tokens', async () => {
    const getToken = vi.fn(() => 'token')
    const { world } = await start(polled(() => problem(401, 'expired_token')), { getToken })
    await world.advance(600_000)
    expect(world.polls).toHaveLength(1)
    expect(getToken.mock.calls.length).toBeLessThan(35)
  })

  it('goes on with a new token where no stream gets through', async () => {
    let token = 'old'
    const { world, status } = await start((request) => {
      if (request.path.includes('/status')) throw new TypeError('Failed to fetch')
      return request.token === 'old' ? problem(401, 'expired_token') : Response.json(whole)
    }, { getToken: ({ fresh }) => (fresh ? (token = 'new') : token) })
    await world.advance(30_000)
    expect(status()).toBe('polling')
  })

  it('goes on however many tokens expire, one after another', async () => {
    let [token, valid] = [0, 0]
    const { world, status } = await start((request) => {
      if (request.path.includes('/status')) throw new TypeError('Failed to fetch')
      return request.token === `token ${valid}` ? Response.json(whole) : problem(401, 'expired_token')
    }, { getToken: ({ fresh }) => `token ${fresh ? (token = valid) : token}` })
    for (; valid < 5; valid++) {
      await world.advance(120_000)
      expect(status()).toBe('polling')
    }
  })

  it('does not wait for ever for a token', async () => {
    let asked = 0
    const getToken = () => (++asked === 4 ? new Promise<string>(() => {}) : 'token') // the tries have had three
    const { world, status } = await start(polled(() => Response.json(whole)), { getToken })
    await world.advance(3010)
    expect([asked, world.polls.length]).toEqual([4, 0])
    await world.advance(30_000)
    expect(status()).toBe('polling')
  })

  it('is not for a feed that has no snapshot', async () => {
    const world = new World()
    const connection = connect({ url: '', getToken: () => 't', feed: pipelineFeed({ jobId: 'j' }), environment: world })
    opened.push({ connection, world })
    world.answer = noNetwork
    await world.advance(60_000)
    expect([connection.getSnapshot().status, world.polls.length]).toEqual(['offline', 0])
  })
})

describe('pause, resume and close', () => {
  it('goes on where it was', async () => {
    const { answer, last } = streaming()
    const { world, connection, status } = await start(answer)
    await last().send(project.job_update, { id: 12 })
    connection.pause()
    expect([status(), world.requests[0]?.signal.aborted, world.leftovers]).toEqual(['idle', true, 0])
    connection.resume()
    await settled()
    expect([status(), world.requests.at(-1)?.lastEventId]).toEqual(['live', '12'])
    expect(connection.getSnapshot().data.jobs.size).toBe(1)
  })

  it('is for good when it is closed', async () => {
    const { answer } = streaming()
    const { world, connection, status } = await start(answer)
    connection.close()
    connection.resume()
    connection.reconnect()
    await world.advance(60_000)
    expect([status(), world.requests.length, world.leftovers]).toEqual(['idle', 1, 0])
  })
})

describe('other feeds', () => {
  it('an enrichment is told each event once, however often it comes', async () => {
    const world = new World()
    const streams: Stream[] = []
    world.answer = ({ signal }) => {
      const stream = new Stream(signal)
      streams.push(stream)
      void stream.send(enrichment.connected, { event: 'connected', id: 1 })
      return stream.response
    }
    const connection = connect({ url: '', getToken: () => 't', feed: enrichmentFeed({ bomId: 'b' }), environment: world })
    opened.push({ connection, world })
    await settled()
    const heard: string[] = []
    connection.onEvents((events) => heard.push(...events.map(({ event }) => event)))
    const name = 'enrichment.component.completed'
    await streams[0]?.send(enrichment[name], { event: name }) // a batch's components have no id but the last
    streams[0]?.break()
    await world.advance(1000)
    await streams[1]?.send(enrichment[name], { event: name })
    await streams[1]?.send(enrichment['enrichment.progress'], { event: 'enrichment.progress', id: 2 })
    expect(heard).toEqual([name, 'connected', 'enrichment.progress'])
    await streams[1]?.send(enrichment.reset, { event: 'reset' })
    await streams[1]?.send({ ...enrichment.snapshot, components: [] }, { event: 'snapshot', id: 1 })
    expect(connection.getSnapshot().data.components).toHaveLength(0)
    await streams[1]?.send(enrichment[name], { event: name })
    expect(connection.getSnapshot().data.components).toHaveLength(1)
    expect(heard.filter((each) => each === name)).toHaveLength(1)
    expect(world.requests.map(({ lastEventId }) => lastEventId)).toEqual([null, '1'])
  })

  it('a pipeline is live before it has told anything, and ends with its job', async () => {
    const world = new World()
    const stream = new Stream()
    world.answer = () => stream.response
    const connection = connect({ url: '', getToken: () => 't', feed: pipelineFeed({ jobId: 'j' }), environment: world })
    opened.push({ connection, world })
    await settled()
    expect(connection.getSnapshot().status).toBe('live')
    await stream.send(pipeline.pipeline_progress, { event: 'pipeline_progress' })
    await stream.send({}, { event: 'complete' })
    expect(connection.getSnapshot()).toMatchObject({ status: 'ended', reason: 'completed', error: null })
    expect(connection.getSnapshot().data.jobs.get('j')?.outcome).toBe('complete')
  })
})
