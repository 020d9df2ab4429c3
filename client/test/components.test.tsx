// @vitest-environment happy-dom
import { act, type ReactNode } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Job, Proposal } from '../src/events.gen.js'
import {
  ConnectionBadge, EnrichmentMonitorPanel, EnrichmentProgressBar, EnrichmentStageIndicator, EnrichmentStats, JobList,
  PipelineProgress, ProposalList, RequestError, RowcastProvider, SourceList, useRequest,
} from '../src/react/index.js'
import { enrichment, pipeline, project } from './wire.js'
import { problem, settled, Stream, World } from './world.js'

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })

let root: Root
let element: HTMLElement
let world: World
let stream: Stream

beforeEach(() => {
  element = document.createElement('div')
  document.body.append(element)
  root = createRoot(element)
  world = new World()
  world.answer = ({ signal }) => (stream = new Stream(signal)).response
})
afterEach(async () => {
  await act(async () => root.unmount())
  element.remove()
})

const show = (node: ReactNode): Promise<void> => act(async () => {
  root.render(<RowcastProvider url="" getToken={() => 'token'} environment={world} share={false}>{node}</RowcastProvider>)
  await settled()
})
const find = (selector: string): HTMLElement => {
  const found = element.querySelector<HTMLElement>(selector)
  if (!found) throw new Error(`There is no ${selector} in ${element.innerHTML}`)
  return found
}
const text = (selector: string): string => find(selector).textContent ?? ''
const attributes = (selector: string, ...names: string[]): (string | null)[] => names.map((name) => find(selector).getAttribute(name))
const click = (selector: string): Promise<void> => act(async () => {
  find(selector).click()
  await settled()
})
const button = (label: string): string => {
  const all = [...element.querySelectorAll('button')]
  const at = all.findIndex((each) => each.textContent?.startsWith(label))
  if (at < 0) throw new Error(`There is no button ${label} in ${element.innerHTML}`)
  all[at]?.setAttribute('data-test', label)
  return `[data-test="${label}"]`
}

const state = { ...enrichment['enrichment.progress'].state, status: 'enriching' as const, percent_complete: 75, total_items: 8, enriched_items: 4, failed_items: 1, not_found_items: 1, pending_items: 2 }

describe('EnrichmentProgressBar', () => {
  it('is a progress bar that says what it shows', async () => {
    await show(<EnrichmentProgressBar state={state} height={20} />)
    expect(attributes('[role=progressbar]', 'aria-valuenow', 'aria-valuemin', 'aria-valuemax', 'aria-label')).toEqual(['75', '0', '100', 'Enrichment'])
    expect(find('[role=progressbar]').getAttribute('aria-valuetext')).toBe('75 %: 4 enriched, 1 not found, 1 failed of 8')
    expect([...find('[role=progressbar]').children].map((each) => (each as HTMLElement).style.inlineSize || each.getAttribute('style'))).toHaveLength(3)
    expect(text('.rowcast-caption')).toBe('75 %6 of 8')
  })

  it('moves only while something does, and if it may', async () => {
    for (const [node, moves] of [
      [<EnrichmentProgressBar state={state} />, true],
      [<EnrichmentProgressBar state={state} animated={false} />, false],
      [<EnrichmentProgressBar state={{ ...state, status: 'paused' }} />, false],
    ] as const) {
      await show(node)
      expect(find('[role=progressbar]').hasAttribute('data-animated')).toBe(moves)
    }
  })

  it('has no numbers where none are wanted', async () => {
    await show(<EnrichmentProgressBar state={{ ...state, total_items: 0 }} showStats={false} />)
    expect(element.querySelector('.rowcast-caption')).toBeNull()
  })
})

describe('EnrichmentStageIndicator', () => {
  it('says where the work is', async () => {
    await show(<EnrichmentStageIndicator state={{ ...state, current_stage: 'enriching', current_batch: 1, total_batches: 3 }} />)
    expect([text('[aria-current=step]'), text('[role=status]'), text('.rowcast-caption')]).toEqual(['Enriching', 'Enriching', 'Batch 1 of 3'])
    expect([...element.querySelectorAll('li')].map((each) => each.dataset['state'])).toEqual(['done', 'now', 'next'])
  })

  it('says what keeps it, and that all is done', async () => {
    await show(<EnrichmentStageIndicator state={{ ...state, status: 'paused' }} />)
    expect([text('[role=status]'), text('.rowcast-pill')]).toEqual(['Paused', 'Paused'])
    await show(<EnrichmentStageIndicator state={{ ...state, status: 'completed', current_stage: 'complete' }} />)
    expect([...element.querySelectorAll('li')].map((each) => each.dataset['state'])).toEqual(['done', 'done', 'done'])
  })

  it('fits in a line', async () => {
    await show(<EnrichmentStageIndicator state={{ ...state, current_batch: 1, total_batches: 3 }} compact showBatchProgress={false} />)
    expect([element.querySelector('ol'), element.textContent]).toEqual([null, 'Enriching'])
  })
})

describe('EnrichmentStats', () => {
  const timed = { ...state, started_at: '2026-01-01T00:00:00.000Z', last_update: '2026-01-01T00:01:00.000Z', completed_at: null, failed_at: null }
  const figures = (): Record<string, string> => Object.fromEntries(
    [...element.querySelectorAll('dl > div')].map((each) => [each.querySelector('dt')?.textContent, each.querySelector('dd')?.textContent]),
  )

  it('has the numbers, how long it takes and how much was found', async () => {
    await show(<EnrichmentStats state={timed} />)
    expect(figures()).toEqual({
      Items: '8', Enriched: '4', 'Not found': '1', Failed: '1', Pending: '2', Found: '66.7 %', Time: '1 min', 'Left, about': '20 s',
    })
  })

  it('has no numbers where there are none yet', async () => {
    await show(<EnrichmentMonitorPanel bomId="b" />)
    expect(new Set(Object.values(figures()))).toEqual(new Set(['–']))
    expect(attributes('[role=progressbar]', 'aria-valuenow', 'aria-valuetext')).toEqual([null, 'not known yet'])
    expect(text('.rowcast-caption')).toBe('–')
  })

  it('has only what is wanted', async () => {
    await show(<EnrichmentStats state={timed} showTiming={false} showQuality={false} variant="inline" />)
    expect(Object.keys(figures())).toEqual(['Items', 'Enriched', 'Not found', 'Failed', 'Pending'])
    expect(find('dl').dataset['variant']).toBe('inline')
  })
})

describe('ConnectionBadge', () => {
  it('says in words what the colour says, politely', async () => {
    await show(<ConnectionBadge status="live" />)
    expect([text('[role=status]'), element.querySelector('button')]).toEqual(['Live. Changes appear as they happen.', null])
  })

  it('offers to try again when that may help', async () => {
    const onReconnect = vi.fn()
    await show(<ConnectionBadge status="ended" onReconnect={onReconnect} />)
    expect(element.querySelector('button')).toBeNull()
    await show(<ConnectionBadge status="ended" error={{ code: 'not_found', message: 'Gone.' }} onReconnect={onReconnect} />)
    expect(text('[role=status]')).toBe('Stopped. Gone.')
    await click('button')
    expect(onReconnect).toHaveBeenCalledOnce()
  })
})

describe('EnrichmentMonitorPanel', () => {
  const send = (event: string, data: object): Promise<void> => act(() => stream.send(data, { event }))

  it('shows all of an enrichment', async () => {
    const onComplete = vi.fn()
    await show(<EnrichmentMonitorPanel bomId="b" filename="board.csv" onComplete={onComplete} />)
    expect(attributes('section', 'aria-label')).toEqual(['Enrichment of board.csv'])
    expect(text('.rowcast-empty')).toBe('No part has been looked up yet.')
    await send('connected', enrichment.connected)
    await send('enrichment.component.completed', enrichment['enrichment.component.completed'])
    expect(text('.rowcast-feed li')).toContain('LM358DREnriched')
    expect(attributes('.rowcast-feed a', 'href', 'rel')).toEqual(['https://example.com/lm358.pdf', 'noreferrer noopener'])
    expect(attributes('.rowcast-feed', 'tabindex', 'role')).toEqual(['0', 'region'])
    await send('enrichment.completed', enrichment['enrichment.completed'])
    expect(onComplete).toHaveBeenCalledOnce()
    expect(attributes('[role=progressbar]', 'aria-valuenow')).toEqual(['100'])
  })

  it('links to nothing that is no address', async () => {
    const told = enrichment['enrichment.component.completed']
    await show(<EnrichmentMonitorPanel bomId="b" />)
    await send('connected', enrichment.connected)
    const data = { ...told.component.enrichment_data, datasheet_url: 'javascript:alert(1)' }
    await send('enrichment.component.completed', { ...told, component: { ...told.component, enrichment_data: data } })
    expect(element.querySelector('a')).toBeNull()
  })

  it('shows only what is wanted, and asks nothing when it is not enabled', async () => {
    await show(<EnrichmentMonitorPanel bomId="b" enabled={false} showStats={false} showComponentFeed={false} showStage={false} />)
    expect([element.querySelector('dl, ol, .rowcast-feed'), world.requests.length]).toEqual([null, 0])
  })

  it('says what is wrong', async () => {
    world.answer = () => problem(404, 'not_found')
    const onError = vi.fn()
    await show(<EnrichmentMonitorPanel bomId="b" onError={onError} />)
    expect(text('[role=alert]')).toBe('not_found.')
    expect(onError).toHaveBeenCalledOnce()
  })
})

describe('lists', () => {
  const [job] = project.snapshot.jobs as [Job]

  it('of jobs show how far they are', async () => {
    await show(<JobList jobs={[job]} />)
    expect(attributes('[role=progressbar]', 'aria-label', 'aria-valuenow')).toEqual([job.title, '42.9'])
    expect(text('.rowcast-caption')).toBe('Parsing: manual-3.md3 of 7, 42.9 %, about 1 min 15 s left')
  })

  it('of jobs offer what can be done', async () => {
    const [onCancel, onRetry] = [vi.fn(), vi.fn()]
    const failed = { ...job, jobId: 'f', status: 'failed' as const, errorMessage: 'No disk.' }
    const asked = { ...job, jobId: 'c', cancelRequested: true }
    await show(<JobList jobs={[job, failed, asked]} onCancel={onCancel} onRetry={onRetry} />)
    expect([...element.querySelectorAll('button')].map((each) => each.textContent)).toEqual([`Cancel ${job.title}`, `Retry ${job.title}`])
    await click(button('Cancel'))
    await click(button('Retry'))
    expect([onCancel.mock.calls, onRetry.mock.calls]).toEqual([[[job]], [[failed]]])
    expect(element.textContent).toContain('No disk.')
    expect(element.textContent).toContain('Stopping')
  })

  it('have buttons that wait for what they have begun', async () => {
    let finish = (): void => {}
    const onCancel = vi.fn(() => new Promise<void>((resolve) => (finish = resolve)))
    await show(<JobList jobs={[job]} onCancel={onCancel} />)
    await click('button')
    await click('button')
    expect(onCancel).toHaveBeenCalledOnce()
    expect(attributes('button', 'aria-disabled', 'aria-busy')).toEqual(['true', 'true'])
    await act(async () => finish())
    expect(attributes('button', 'aria-disabled', 'aria-busy')).toEqual(['false', 'false'])
  })

  it('of sources say why they failed', async () => {
    await show(<SourceList sources={project.snapshot.sources} />)
    expect(text('li')).toBe('manual-3.mdFailedIt is not UTF-8: byte 0xE9 at 120.')
  })

  it('of proposals ask for a decision', async () => {
    const onDecide = vi.fn()
    const [proposal] = project.snapshot.proposals
    await show(<ProposalList proposals={project.snapshot.proposals} onDecide={onDecide} />)
    await click(button('Accept'))
    await click(button('Reject'))
    expect(onDecide.mock.calls).toEqual([[proposal, 'accepted'], [proposal, 'rejected']])
    await show(<ProposalList proposals={project.snapshot.proposals.map((each) => ({ ...each, status: 'accepted' as const }))} onDecide={onDecide} />)
    expect([element.querySelector('button'), text('.rowcast-pill')]).toEqual([null, 'Accepted'])
  })

  it('keep the focus where a row goes', async () => {
    const [first] = project.snapshot.proposals as [Proposal]
    const three = ['a', 'b', 'c'].map((name) => ({ ...first, proposalId: name, title: name }))
    const at = (name: string, label: string): HTMLElement => find(button(`${label} ${name}`))
    const rows = (some: readonly Proposal[]): Promise<void> => show(<ProposalList proposals={some} onDecide={vi.fn()} />)
    await rows(three)
    await act(async () => at('b', 'Reject').focus())
    await rows(three.filter(({ title }) => title !== 'b'))
    expect(document.activeElement?.textContent).toBe('Reject c')
    await rows(three.slice(0, 1))
    expect(document.activeElement?.textContent).toBe('Reject a')
    await act(async () => at('a', 'Reject').blur())
    await rows(three.slice(1))
    expect(document.activeElement).toBe(document.body)
  })

  it('say that they are empty', async () => {
    await show(<><JobList jobs={[]} /><SourceList sources={[]} empty="Nothing here." /><ProposalList proposals={[]} /></>)
    expect(element.textContent).toBe('No jobs yet.Nothing here.No proposals yet.')
  })
})

describe('PipelineProgress', () => {
  it('shows stages, workers, counters and time', async () => {
    await show(<PipelineProgress jobId="j" />)
    await act(() => stream.send(pipeline.pipeline_progress, { event: 'pipeline_progress' }))
    const { overall_progress_percent: overall, stages, worker_pool: pool, document_name: name } = pipeline.pipeline_progress
    expect(text('h2')).toBe(name)
    expect(attributes('[role=progressbar]', 'aria-valuenow')).toEqual([String(overall)])
    expect(element.querySelectorAll('ol[aria-label=Stages] > li')).toHaveLength(Object.keys(stages).length)
    expect(element.querySelectorAll('ul[aria-label=Workers] > li')).toHaveLength(pool.workers.length)
    expect(element.textContent).toContain('Entities total')
  })

  it('shows no zeros of a job that tells nothing of its insides', async () => {
    await show(<PipelineProgress jobId="j" />)
    const { metrics, worker_pool: pool } = pipeline.pipeline_progress
    const silent = { stages: {}, worker_pool: { ...pool, workers: [] }, metrics: Object.fromEntries(Object.keys(metrics).map((name) => [name, 0])) }
    await act(() => stream.send({ ...pipeline.pipeline_progress, ...silent }, { event: 'pipeline_progress' }))
    expect([element.querySelector('[role=progressbar], dl'), text('.rowcast-empty')]).toEqual([null, 'It has told of no stages.'])
  })

  it('says that there is no such job', async () => {
    const onError = vi.fn()
    await show(<PipelineProgress jobId="j" onError={onError} />)
    await act(() => stream.send({ message: 'Job not found: j', job_id: 'j' }, { event: 'error' }))
    expect(text('[role=alert]')).toBe('Job not found: j')
    expect(onError).toHaveBeenCalledExactlyOnceWith('Job not found: j', 'j')
  })
})

describe('useRequest', () => {
  it('asks as whoever is signed in, with a fresh token where one was refused', async () => {
    const sent: (string | null)[] = []
    world.answer = ({ token, path }) => {
      sent.push(token)
      return path === '/no' ? problem(409, 'conflict') : token === 'old' ? problem(401, 'expired_token') : Response.json({ ok: true })
    }
    let request = null as ReturnType<typeof useRequest> | null
    const Asker = (): null => {
      request = useRequest()
      return null
    }
    const getToken = ({ fresh }: { fresh: boolean }): string => (fresh ? 'new' : 'old')
    await act(async () => root.render(<RowcastProvider url="http://service/" getToken={getToken} environment={world}><Asker /></RowcastProvider>))
    await expect(request?.('/yes', { method: 'POST' })).resolves.toEqual({ ok: true })
    expect([sent, world.requests[0]?.url]).toEqual([['old', 'new'], 'http://service/yes'])
    await expect(request?.('/no')).rejects.toEqual(new RequestError(409, 'conflict', 'conflict.'))
  })
})
