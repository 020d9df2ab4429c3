import { describe, expect, it } from 'vitest'
import { pipelineFeed } from '../src/pipeline.js'
import { pipeline as one, pipelines as many } from './wire.js'

describe('the pipeline of a job', () => {
  const feed = pipelineFeed({ jobId: 'j' })

  it('is the newest, and stays when the job ends', () => {
    const data = feed.reduce(feed.initial, [
      { event: 'pipeline_progress', data: one.pipeline_progress },
      { event: 'complete', data: one.complete },
    ])
    expect(data.jobs.get('j')).toEqual({ jobId: 'j', progress: one.pipeline_progress, outcome: 'complete', error: null })
  })

  it('ends with the job', () => {
    expect(feed.endingOf?.({ event: 'complete', data: one.complete })).toEqual({ reason: 'completed', error: null })
    expect(feed.endingOf?.({ event: 'error', data: one.error })).toEqual({
      reason: 'failed', error: { code: 'job_failed', message: one.error.message },
    })
    expect(feed.endingOf?.({ event: 'live', data: one.live })).toBeNull()
  })

  it('of a job that is not there is an error', () => {
    const data = feed.reduce(feed.initial, [{ event: 'error', data: { message: 'Job not found: j', job_id: 'j' } }])
    expect(data.jobs.get('j')).toEqual({ jobId: 'j', progress: null, outcome: 'error', error: 'Job not found: j' })
  })
})

describe('the pipelines of a project', () => {
  const feed = pipelineFeed({ projectId: 'p' })

  it('are known by their job, and do not end', () => {
    const data = feed.reduce(feed.initial, [
      { event: 'pipeline_progress', data: many.pipeline_progress },
      { event: 'complete', data: many.complete },
      { event: 'error', data: { message: 'It failed.', job_id: 'other' } },
    ])
    expect(data.jobs.get(many.complete.job_id)).toMatchObject({ outcome: 'complete', progress: many.pipeline_progress })
    expect(data.jobs.get('other')).toMatchObject({ outcome: 'error', error: 'It failed.' })
    expect(feed.endingOf?.({ event: 'complete', data: many.complete })).toBeNull()
  })

  it('that ended while nobody listened are not there any more when somebody does', () => {
    const connected = { event: 'connected', data: {} } as unknown as Parameters<typeof feed.reduce>[1][number]
    const before = feed.reduce(feed.initial, [
      { event: 'pipeline_progress', data: many.pipeline_progress },
      { event: 'error', data: { message: 'It failed.', job_id: 'other' } },
    ])
    const again = { ...many.pipeline_progress, job_id: 'on' }
    const data = feed.reduce(before, [connected, { event: 'pipeline_progress', data: again }])
    expect([...data.jobs.keys()]).toEqual(['other', 'on'])
    const one = pipelineFeed({ jobId: 'j' })
    const running = one.reduce(one.initial, [{ event: 'pipeline_progress', data: many.pipeline_progress }])
    expect(one.reduce(running, [connected])).toBe(running)
  })

  it('have an address of their own', () => {
    expect(feed.path).toBe('/api/v1/admin/ingestion/jobs/progress?project_id=p')
    expect(pipelineFeed({ jobId: 'j' }).path).toBe('/api/v1/admin/ingestion/jobs/j/progress')
  })
})
