// A service for tests: one project's jobs, their changes by number, and whoever streams or polls them.

import type { Job, ProjectMessage } from '../src/events.gen.js'
import { project } from './wire.js'
import { problem, type Request, Stream } from './world.js'

interface Change {
  readonly revision: number
  readonly messages: readonly ProjectMessage[]
}

interface Viewer {
  readonly stream: Stream
  readonly request: Request
}

export class Service {
  readonly jobs = new Map<string, Job>()
  readonly log: Change[] = []
  /** The oldest revision from which a stream can go on. */
  floor = 0
  revision = 100
  mode: 'up' | 'down' | 'refusing' | 'no streams' | 'mute' = 'up'
  readonly expired = new Set<string>()
  #viewers: Viewer[] = []

  get viewers(): readonly Viewer[] {
    this.#viewers = this.#viewers.filter(({ stream, request }) => !stream.isCancelled && !request.signal.aborted)
    return this.#viewers
  }

  answer = (request: Request): Response | Promise<Response> => {
    const isStream = request.path.includes('/status')
    if (this.mode === 'mute') return new Promise(() => {})
    if (this.mode === 'down' || (this.mode === 'no streams' && isStream)) return Promise.reject(new TypeError('Failed to fetch'))
    if (this.mode === 'refusing') return problem(503, 'upstream_unavailable', { 'Retry-After': '2' })
    if (this.expired.has(request.token ?? '')) return problem(401, 'expired_token')
    return isStream ? this.#opened(request) : this.#polled(request)
  }

  /** A job is written, or deleted if `title` is null. */
  commit(jobId: string, title: string | null): void {
    const inserted = !this.jobs.has(jobId)
    const messages: ProjectMessage[] = []
    if (title === null) {
      if (inserted) return
      this.jobs.delete(jobId)
      messages.push({ type: 'job_deleted', jobId })
    } else {
      const progress = { ...project.progress_update.progress, message: title }
      const { type: _, ...fields } = { ...project.job_update, jobId, title }
      this.jobs.set(jobId, { ...fields, progress })
      messages.push({ type: 'progress_update', jobId, progress }, { ...project.job_update, jobId, title })
    }
    this.log.push({ revision: ++this.revision, messages })
    for (const { stream } of this.viewers) void stream.write(frames(messages, this.revision))
  }

  /** Breaks all streams; those in the middle of a delivery have had half of it. */
  cut(isHalf: boolean): void {
    for (const { stream } of this.viewers) {
      if (isHalf) {
        this.revision++
        void stream.write(frames([{ ...project.progress_update, jobId: 'half' }]))
      }
      stream.break()
    }
  }

  /** Tells all streams that they end, and ends them. */
  end(reason: string): void {
    for (const { stream, request } of this.viewers) {
      if (reason === 'token_expired') this.expired.add(request.token ?? '')
      void stream.write(frames([{ type: 'stream_end', reason, reconnect: true }]))
      void stream.end()
    }
  }

  keepalive(): void {
    for (const { stream } of this.viewers) void stream.write(': keepalive\n\n')
  }

  reauth(): void {
    for (const { stream } of this.viewers) void stream.write(frames([project.reauth]))
  }

  /** What was missed can no longer be told: streams are reset, cursors too old. */
  prune(): void {
    this.floor = this.revision
    for (const { stream } of this.viewers) void stream.write(frames([project.reset]) + frames([this.#snapshot()], this.revision))
  }

  #snapshot(): ProjectMessage {
    return { ...project.snapshot, revision: this.revision, jobs: [...this.jobs.values()], sources: [], proposals: [] }
  }

  #since(cursor: number): ProjectMessage[] | null {
    return cursor < this.floor ? null : this.log.filter(({ revision }) => revision > cursor).flatMap(({ messages }) => messages)
  }

  #opened(request: Request): Response {
    const stream = new Stream(request.signal)
    this.#viewers.push({ stream, request })
    const cursor = request.lastEventId === null ? null : Number(request.lastEventId)
    let text = `retry: 1000\n\n${frames([project.connected], cursor)}`
    if (cursor === null || cursor < this.floor) {
      if (cursor !== null) text += frames([project.reset])
      text += frames([this.#snapshot()], this.revision)
    } else for (const { revision, messages } of this.log) if (revision > cursor) text += frames(messages, revision)
    void stream.write(text)
    return stream.response
  }

  #polled({ path }: Request): Response {
    const since = /since=(\d+)/.exec(path)?.[1]
    const { revision } = this
    if (since === undefined) return Response.json({ ...this.#snapshot(), type: undefined, revision, live: true })
    const events = this.#since(Number(since))
    return Response.json({ revision, live: true, reset: !events, events: events ?? [project.reset, this.#snapshot()] })
  }
}

/** A delivery: only its last message has the id. */
function frames(messages: readonly ProjectMessage[], id: number | null = null): string {
  return messages
    .map((each, n) => `data: ${JSON.stringify(each)}\n${id !== null && n === messages.length - 1 ? `id: ${id}\n` : ''}\n`)
    .join('')
}
