import { describe, expect, it } from 'vitest'
import type { ProjectSnapshot, ProjectStreamEvent } from '../src/events.gen.js'
import { type ProjectData, projectFeed } from '../src/project.js'
import { project as wire } from './wire.js'

const feed = projectFeed({ projectId: 'p' })
const reduce = (events: ProjectStreamEvent[], data: ProjectData = feed.initial): ProjectData => feed.reduce(data, events)
const snapshot = (told: Partial<ProjectSnapshot> = {}): ProjectStreamEvent => ({
  event: 'snapshot', data: { ...wire.snapshot, ...told },
})
const { jobId } = wire.job_update
const { proposalId } = wire.new_proposal
const { sourceId } = wire.status_update

describe('the project feed', () => {
  it('has what the snapshot lists', () => {
    const data = reduce([snapshot()])
    expect(data.ready).toBe(true)
    expect([...data.jobs.values()]).toEqual(wire.snapshot.jobs)
    expect([...data.sources.values()]).toEqual(wire.snapshot.sources)
    expect([...data.proposals.values()]).toEqual(wire.snapshot.proposals)
  })

  it('takes a snapshot only when it is whole', () => {
    const before = reduce([snapshot()])
    const half = reduce([snapshot({ part: 1, last: false, jobs: [], sources: [] })], before)
    expect(half.jobs).toBe(before.jobs)
    const whole = reduce([snapshot({ part: 2, proposals: [] })], half)
    expect([whole.jobs.size, whole.proposals.size, whole.arriving]).toEqual([1, 1, null])
  })

  it('forgets the parts of a snapshot that broke off', () => {
    const half = reduce([snapshot({ part: 1, last: false })])
    expect(reduce([snapshot({ jobs: [], sources: [], proposals: [] })], half).jobs.size).toBe(0)
  })

  it('a snapshot replaces all that was there', () => {
    const data = reduce([snapshot(), snapshot({ jobs: [], sources: [], proposals: [] })])
    expect([data.jobs.size, data.sources.size, data.proposals.size]).toEqual([0, 0, 0])
  })

  it('gives a new job the progress that was told before it', () => {
    const data = reduce([
      { event: 'progress_update', data: wire.progress_update },
      { event: 'job_update', data: wire.job_update },
    ])
    const { type: _, ...fields } = wire.job_update
    expect([...data.jobs.values()]).toEqual([{ ...fields, progress: wire.progress_update.progress }])
    expect(data.early.size).toBe(0)
  })

  it('keeps progress when the job changes, and the job when it gets on', () => {
    const data = reduce([
      snapshot(),
      { event: 'job_update', data: { ...wire.job_update, status: 'completed' } },
      { event: 'progress_update', data: { ...wire.progress_update, progress: { ...wire.progress_update.progress, current: 7 } } },
    ])
    expect(data.jobs.get(jobId)).toMatchObject({ status: 'completed', progress: { current: 7, total: 7 } })
  })

  it('takes in sources and proposals, and lets them go', () => {
    const there = reduce([
      { event: 'status_update', data: wire.status_update },
      { event: 'new_proposal', data: wire.new_proposal },
      { event: 'proposal_update', data: { ...wire.proposal_update, status: 'accepted' } },
    ])
    expect(there.sources.get(sourceId)?.sourceName).toBe(wire.status_update.sourceName)
    expect(there.proposals.get(proposalId)?.status).toBe('accepted')
    const gone = reduce([
      { event: 'source_deleted', data: wire.source_deleted },
      { event: 'proposal_deleted', data: wire.proposal_deleted },
      { event: 'job_deleted', data: wire.job_deleted },
    ], there)
    expect([gone.sources.size, gone.proposals.size, gone.jobs.size]).toEqual([0, 0, 0])
  })

  it('changes nothing that it was given, and nothing at all when nothing is told', () => {
    const before = reduce([snapshot()])
    const jobs = [...before.jobs.values()]
    reduce([{ event: 'job_deleted', data: wire.job_deleted }], before)
    expect([...before.jobs.values()]).toEqual(jobs)
    expect(reduce([{ event: 'live', data: wire.live }, { event: 'stream_end', data: wire.stream_end }], before)).toBe(before)
    expect(reduce([{ event: 'later' as 'live', data: wire.live }], before)).toBe(before)
  })

  it('being told again is no change of what is known', () => {
    const events: ProjectStreamEvent[] = [
      { event: 'job_update', data: wire.job_update },
      { event: 'new_proposal', data: wire.new_proposal },
      { event: 'job_deleted', data: wire.job_deleted },
    ]
    const once = reduce(events, reduce([snapshot()]))
    expect(reduce(events, once)).toEqual(once)
  })
})

describe('where it is', () => {
  it('is in the paths', () => {
    expect(feed.path).toBe('/api/projects/p/status?snapshot=1')
    expect(projectFeed({ projectId: 'p', types: ['job_update', 'live'] }).path).toBe(
      '/api/projects/p/status?snapshot=1&types=job_update,live',
    )
    expect([feed.pollPath?.(null), feed.pollPath?.('7')]).toEqual(['/api/projects/p/snapshot', '/api/projects/p/snapshot?since=7'])
  })

  it('differs by what it is narrowed to', () => {
    expect(projectFeed({ projectId: 'p', types: ['live'] }).name).not.toBe(feed.name)
  })
})

describe('a poll', () => {
  it('without a cursor is a snapshot', () => {
    const { revision, sources, jobs, proposals } = wire.snapshot
    const polled = feed.polled?.({ revision, live: true, sources, jobs, proposals })
    expect(polled?.cursor).toBe(String(revision))
    expect(reduce(polled?.events ?? [])).toEqual(reduce([snapshot()]))
  })

  it('with one is what a stream would have told', () => {
    const polled = feed.polled?.({ revision: 9, live: true, reset: false, events: [wire.new_proposal, wire.job_update] })
    expect(polled).toEqual({
      cursor: '9',
      events: [{ event: 'new_proposal', data: wire.new_proposal }, { event: 'job_update', data: wire.job_update }],
    })
  })

  it('is narrowed as the stream is', () => {
    const narrow = projectFeed({ projectId: 'p', types: ['job_update'] })
    const events = [wire.reset, wire.snapshot, wire.new_proposal, wire.job_update]
    expect(narrow.polled?.({ revision: 9, live: true, reset: false, events })?.events.map(({ event }) => event)).toEqual([
      'reset', 'snapshot', 'job_update',
    ])
  })
})
