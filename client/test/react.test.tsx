// @vitest-environment happy-dom
import { act, type ReactNode, StrictMode } from 'react'
import { createRoot, hydrateRoot, type Root } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Job } from '../src/events.gen.js'
import {
  configure, RowcastProvider, useEnrichmentStream, type UseEnrichmentStreamOptions, usePipelineProgress, useProjectFeed,
} from '../src/react/index.js'
import { enrichment, pipeline, project } from './wire.js'
import { problem, settled, Stream, World } from './world.js'

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })

let world: World
let streams: Stream[]
let root: Root
let element: HTMLElement

beforeEach(() => {
  world = new World()
  streams = []
  world.answer = ({ signal }) => {
    const stream = new Stream(signal)
    streams.push(stream)
    return stream.response
  }
  element = document.createElement('div')
  root = createRoot(element)
})

afterEach(async () => {
  await act(async () => root.unmount())
  await later()
  expect(world.leftovers).toBe(0)
})

const here = (children: ReactNode): ReactNode => (
  <RowcastProvider url="http://service" getToken={() => 'token'} environment={world}>{children}</RowcastProvider>
)
const show = (children: ReactNode): Promise<void> => act(async () => {
  root.render(here(children))
  await settled()
})
const send = (data: object, named: { id?: number; event?: string } = {}): Promise<void> =>
  act(async () => streams.at(-1)?.send(data, named))
const later = (): Promise<void> => act(() => new Promise<void>((resolve) => setTimeout(resolve))) // after all that was put off before

/** What `job` leaves for the page's error reporting. */
async function thrownBy(job: () => PromiseLike<unknown>): Promise<unknown[]> {
  const thrown: unknown[] = []
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException').on('uncaughtException', (error) => thrown.push(error))
  try {
    await job()
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const each of listeners) process.on('uncaughtException', each)
  }
  return thrown
}

function Project({ enabled = true, id = 'p' }: { enabled?: boolean; id?: string }): ReactNode {
  const { status, isReady, jobs, proposals } = useProjectFeed({ projectId: id, enabled })
  return <p>{`${status} ${isReady} ${jobs.map(({ title }) => title).join()} ${proposals.length};`}</p>
}

describe('useProjectFeed', () => {
  it('shows what there is', async () => {
    await show(<Project />)
    expect(element.textContent).toBe('connecting false  0;')
    await send(project.connected)
    await send(project.snapshot, { id: 1 })
    expect(element.textContent).toBe('live true Reading the manuals 1;')
  })

  it('needs one connection for many components, in StrictMode too', async () => {
    await show(<StrictMode><Project /><Project /><div><Project /></div></StrictMode>)
    await later()
    expect(world.requests).toHaveLength(1)
    await send(project.connected)
    await send(project.snapshot, { id: 1 })
    expect(element.textContent).toBe('live true Reading the manuals 1;'.repeat(3))
  })

  it('lets the connection go with the last component', async () => {
    await show(<><Project /><Project /></>)
    await show(<Project />)
    await later()
    expect(world.requests[0]?.signal.aborted).toBe(false)
    await show(null)
    await later()
    expect(world.requests[0]?.signal.aborted).toBe(true)
    expect(world.leftovers).toBe(0)
  })

  it('pauses when it is not enabled, keeps what it knows, and goes on from there', async () => {
    await show(<Project />)
    await send(project.connected)
    await send(project.snapshot, { id: 7 })
    await show(<Project enabled={false} />)
    await later()
    expect(world.requests[0]?.signal.aborted).toBe(true)
    expect(element.textContent).toBe('idle true Reading the manuals 1;')
    await show(<Project />)
    expect(world.requests.at(-1)?.lastEventId).toBe('7')
  })

  it('asks for nothing as long as it is not enabled', async () => {
    await show(<Project enabled={false} />)
    await later()
    expect([element.textContent, world.requests.length]).toEqual(['idle false  0;', 0])
  })

  it('does not reconnect as long as it is not enabled', async () => {
    let reconnect = (): void => {}
    const Paused = (): ReactNode => {
      const used = useProjectFeed({ projectId: 'p', enabled: false })
      reconnect = used.reconnect
      return used.status
    }
    await show(<Paused />)
    await act(async () => {
      reconnect()
      await settled()
    })
    expect([element.textContent, world.requests.length]).toEqual(['idle', 0])
  })

  it('changes over when the project does', async () => {
    await show(<Project />)
    await send(project.connected)
    await send(project.snapshot, { id: 7 })
    await show(<Project id="q" />)
    await later()
    expect(element.textContent).toBe('connecting false  0;')
    expect(world.requests.map(({ path, signal }) => [path, signal.aborted])).toEqual([
      ['/api/projects/p/status?snapshot=1', true], ['/api/projects/q/status?snapshot=1', false],
    ])
  })

  it('tells each event once to each who asks, always by the newest function', async () => {
    const heard: string[] = []
    const Listener = ({ name }: { name: string }): ReactNode => {
      useProjectFeed({ projectId: 'p', onEvent: ({ event }) => heard.push(`${name} ${event}`) })
      return null
    }
    await show(<StrictMode><Listener name="old" /></StrictMode>)
    await later()
    await show(<StrictMode><Listener name="new" /></StrictMode>)
    await send(project.job_update)
    expect(heard).toEqual(['new job_update'])
  })

  it('tells the rest of what came together when the page fails at one', async () => {
    const heard: string[] = []
    const Listener = (): ReactNode => {
      useProjectFeed({
        projectId: 'p',
        onEvent({ event }) {
          heard.push(event)
          if (event === 'job_update') throw new Error('mine')
        },
      })
      return null
    }
    await show(<Listener />)
    const frames = [project.job_update, project.new_proposal].map((data) => `data: ${JSON.stringify(data)}\n\n`)
    expect(await thrownBy(() => act(() => streams[0]?.write(frames.join(''))))).toEqual([new Error('mine')])
    expect(heard).toEqual(['job_update', 'new_proposal'])
  })

  it('does not connect anew when only the function that gets the token is another', async () => {
    const asked: string[] = []
    const token = (name: string): ReactNode => (
      <RowcastProvider url="" environment={world} getToken={() => (asked.push(name), name)}><Project /></RowcastProvider>
    )
    await act(async () => root.render(token('one')))
    await act(async () => root.render(token('two')))
    await send(project.connected)
    await act(async () => {
      streams[0]?.break()
      await world.advance(2000)
    })
    expect([asked, world.requests.length]).toEqual([['one', 'two'], 2])
  })

  it('can be configured without a provider, and says so when it is not', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    expect(() => renderToString(<Project />)).toThrow('call configure()')
    error.mockRestore()
    configure({ url: '', getToken: () => 'token', environment: world })
    await act(async () => root.render(<Project />))
    await send(project.connected)
    expect(element.textContent).toContain('live')
  })
})

describe('on the server', () => {
  it('renders what is known there, nothing, and the page takes it over', async () => {
    const html = renderToString(here(<Project />))
    expect(html).toBe('<p>connecting false  0;</p>')
    expect(world.requests).toHaveLength(0)
    element = document.createElement('div')
    element.innerHTML = html
    const error = vi.spyOn(console, 'error')
    await act(async () => {
      root = hydrateRoot(element, here(<Project />))
      await settled()
    })
    await send(project.connected)
    expect(element.textContent).toContain('live')
    expect(error).not.toHaveBeenCalled()
  })
})

describe('useEnrichmentStream', () => {
  const done = enrichment['enrichment.completed']

  function Bom(options: Partial<UseEnrichmentStreamOptions>): ReactNode {
    const used = useEnrichmentStream({ bomId: 'b', ...options })
    const { state, components, isConnected, isPolling, error, latestEvent, retryCount } = used
    return (
      <button type="button" onClick={used.reconnect}>
        {[state.status, state.percent_complete, components.length, isConnected, isPolling, error?.code, latestEvent?.event, retryCount].join(' ')}
      </button>
    )
  }

  it('tells the state, the components and what happened', async () => {
    const on = {
      onStarted: vi.fn(), onProgress: vi.fn(), onComponentCompleted: vi.fn(), onComponentFailed: vi.fn(), onComplete: vi.fn(), onError: vi.fn(),
    }
    await show(<StrictMode><Bom {...on} /></StrictMode>)
    await later()
    expect(element.textContent).toBe('connecting 0 0 false false   0')
    await send(enrichment.connected, { event: 'connected' })
    for (const event of ['enrichment.started', 'enrichment.component.completed', 'enrichment.component.failed', 'enrichment.progress'] as const)
      await send({ ...enrichment[event], event_id: event }, { event })
    expect(element.textContent).toContain('enriching 50 2 true false  enrichment.progress 0')
    await send(done, { event: 'enrichment.completed', id: 2 })
    await send({ type: 'stream_end', reason: 'enrichment.completed', reconnect: false }, { event: 'stream_end' })
    expect(on.onStarted).toHaveBeenCalledExactlyOnceWith(enrichment['enrichment.started'].state, expect.objectContaining({ event_type: 'enrichment.started' }))
    expect(on.onProgress).toHaveBeenCalledOnce()
    const [completed, failed] = [enrichment['enrichment.component.completed'], enrichment['enrichment.component.failed']]
    expect(on.onComponentCompleted).toHaveBeenCalledExactlyOnceWith(completed.component, expect.objectContaining({ event_id: 'enrichment.component.completed' }))
    expect(on.onComponentFailed).toHaveBeenCalledExactlyOnceWith(failed.component, expect.objectContaining({ event_id: 'enrichment.component.failed' }))
    expect(on.onComplete).toHaveBeenCalledExactlyOnceWith(done.state)
    expect(on.onError).not.toHaveBeenCalled()
    expect(element.textContent).toContain('completed 100')
  })

  it('tells the rest of what came together when the page fails at one', async () => {
    const onProgress = vi.fn()
    const onStarted = (): void => {
      throw new Error('mine')
    }
    await show(<Bom onStarted={onStarted} onProgress={onProgress} />)
    const frames = (['enrichment.started', 'enrichment.progress'] as const)
      .map((event) => `event: ${event}\ndata: ${JSON.stringify({ ...enrichment[event], event_id: event })}\n\n`)
    expect(await thrownBy(() => act(() => streams[0]?.write(frames.join(''))))).toEqual([new Error('mine')])
    expect(onProgress).toHaveBeenCalledOnce()
  })

  it('hears of a failure, also from an older server', async () => {
    const onError = vi.fn()
    await show(<Bom onError={onError} />)
    await send(enrichment.connected, { event: 'connected' })
    await send({ event_type: 'enrichment.error', error_message: 'No catalogue.' }, { event: 'enrichment.error' })
    expect(onError).toHaveBeenCalledExactlyOnceWith({ code: 'enrichment_failed', message: 'No catalogue.' })
    expect(element.textContent).toContain('failed')
  })

  it('hears once that it may not look', async () => {
    world.answer = () => problem(404, 'not_found')
    const onError = vi.fn()
    await show(<StrictMode><Bom onError={onError} /></StrictMode>)
    await later()
    expect(onError).toHaveBeenCalledExactlyOnceWith({ code: 'not_found', message: 'not_found.' })
    expect(element.textContent).toContain('not_found')
  })

  it('completes while it polls', async () => {
    world.answer = ({ path }) => (path.includes('/stream/') ? problem(503, 'x') : Response.json({ state: done.state, components: [], revision: 3 }))
    const onComplete = vi.fn()
    await show(<Bom onComplete={onComplete} pollFallbackAfter={1} />)
    await act(() => world.advance(10))
    expect(element.textContent).toContain('completed 100 0 false true')
    await act(() => world.advance(10_000))
    expect(onComplete).toHaveBeenCalledExactlyOnceWith(done.state)
  })

  it('follows another run that begins after the end, whoever begins it', async () => {
    const [job] = project.snapshot.jobs as [Job]
    const job_update = { ...project.job_update, ...job, bomId: 'b', status: 'running' as const }
    const snapshot = { ...project.snapshot, jobs: [{ ...job, bomId: 'b', status: 'completed' as const }] }
    const onComplete = vi.fn()
    await show(<StrictMode><Bom projectId="p" onComplete={onComplete} /></StrictMode>)
    await later()
    const runs = (): number => world.requests.filter(({ path }) => path.includes('/enrichment/')).length
    for (const run of [1, 2]) {
      expect([runs(), world.requests.at(-1)?.path]).toEqual([run, '/api/enrichment/stream/b?snapshot=1'])
      await send(enrichment.connected, { event: 'connected' })
      await send({ ...done, event_id: run, state: { ...done.state, completed_at: `2026-01-0${run}` } }, { event: 'enrichment.completed', id: run })
      await send({ type: 'stream_end', reason: 'enrichment.completed', reconnect: false }, { event: 'stream_end' })
      expect(onComplete).toHaveBeenCalledTimes(run)
      expect(world.requests.at(-1)?.path).toBe('/api/projects/p/status?snapshot=1')
      await send(project.connected)
      await send(snapshot, { id: 1 })
      expect(runs()).toBe(run)
      await send({ ...job_update, attempt: run, type: 'job_update' })
      await later()
      expect(world.requests.filter(({ path, signal }) => path.includes('/status') && !signal.aborted)).toEqual([])
    }
    expect(world.requests.at(-1)?.lastEventId).toBe('2')
  })

  it('reconnects when it is asked to', async () => {
    await show(<Bom />)
    await act(async () => {
      element.querySelector('button')?.dispatchEvent(new MouseEvent('click', { bubbles: true }))
      await settled()
    })
    expect(world.requests).toHaveLength(2)
  })
})

describe('usePipelineProgress', () => {
  it('follows one job to its end', async () => {
    const onComplete = vi.fn()
    const Job = (): ReactNode => {
      const { progress, jobs, status } = usePipelineProgress({ jobId: 'j', onComplete })
      return `${status} ${progress?.overall_progress_percent} ${jobs[0]?.outcome}`
    }
    await show(<StrictMode><Job /></StrictMode>)
    await later()
    await send(pipeline.pipeline_progress, { event: 'pipeline_progress' })
    expect(element.textContent).toBe(`live ${pipeline.pipeline_progress.overall_progress_percent} running`)
    await send({}, { event: 'complete' })
    expect(element.textContent).toContain('ended')
    expect(onComplete).toHaveBeenCalledExactlyOnceWith('j')
  })

  it('follows the next attempt of a job, before or after it hears of the end of the last', async () => {
    const [onComplete, onError] = [vi.fn(), vi.fn()]
    const Job = ({ attempt }: { attempt: number }): ReactNode => {
      const { status, progress } = usePipelineProgress({ jobId: 'j', attempt, onComplete, onError })
      return `${status} ${progress !== null}`
    }
    await show(<Job attempt={1} />)
    await send({ message: 'No disk.', job_id: 'j' }, { event: 'error' })
    expect([element.textContent, world.requests.length]).toEqual(['ended false', 1])
    await show(<Job attempt={2} />)
    await send(pipeline.pipeline_progress, { event: 'pipeline_progress' })
    expect([element.textContent, world.requests.length]).toEqual(['live true', 2])
    await show(<Job attempt={3} />)
    expect(world.requests.length).toBe(2)
    await send({ message: 'No disk.', job_id: 'j' }, { event: 'error' })
    await send({}, { event: 'complete' })
    expect([element.textContent, world.requests.length]).toEqual(['ended true', 3])
    expect([onError.mock.calls.length, onComplete.mock.calls.length]).toEqual([2, 1])
  })

  it('follows the next attempt only when it is enabled', async () => {
    const Job = ({ attempt, enabled }: { attempt: number; enabled: boolean }): ReactNode => usePipelineProgress({ jobId: 'j', attempt, enabled }).status
    await show(<Job attempt={1} enabled />)
    await send({}, { event: 'complete' })
    await show(<Job attempt={2} enabled={false} />)
    expect([element.textContent, world.requests.length]).toEqual(['ended', 1])
    await show(<Job attempt={2} enabled />)
    expect([element.textContent, world.requests.length]).toEqual(['live', 2])
  })

  it('tells the end of each job of a project, once each time', async () => {
    const [onComplete, onError] = [vi.fn(), vi.fn()]
    const Jobs = (): ReactNode => usePipelineProgress({ projectId: 'p', onComplete, onError }).jobs.map(({ jobId, outcome }) => `${jobId} ${outcome};`)
    await show(<Jobs />)
    await send({ job_id: 'a' }, { event: 'complete' })
    await send({ job_id: 'b', message: 'No disk.' }, { event: 'error' })
    await send({ ...pipeline.pipeline_progress, job_id: 'a' }, { event: 'pipeline_progress' }) // tried again
    await send({ job_id: 'a' }, { event: 'complete' })
    expect(element.textContent).toBe('a complete;b error;')
    expect([onComplete.mock.calls, onError.mock.calls]).toEqual([[['a'], ['a']], [['No disk.', 'b']]])
  })
})
