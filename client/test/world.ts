// A world for the connection: time that moves when told to, and a server that does as the test says.

import type { Environment } from '../src/environment.js'

/** Lets everything that is ready to happen happen. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Timer {
  at: number
  job: () => void
}

export interface Request {
  readonly url: string
  readonly path: string
  readonly token: string | null
  readonly lastEventId: string | null
  readonly etag: string | null
  readonly signal: AbortSignal
  readonly at: number
}

export type Answer = (request: Request) => Response | Promise<Response>

export class World implements Environment {
  readonly requests: Request[] = []
  online = true
  /** What `random` gives: just under 1 makes each wait as long as it can be. */
  luck = 0.999999
  answer: Answer = () => problem(503, 'upstream_unavailable')
  #now = 1_800_000_000_000
  #timers = new Set<Timer>()
  #watchers = new Set<(what: 'online' | 'offline' | 'visible') => void>()

  now = (): number => this.#now
  random = (): number => this.luck
  isOnline = (): boolean => this.online

  after = (ms: number, job: () => void): (() => void) => {
    const timer = { at: this.#now + ms, job }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  watch = (tell: (what: 'online' | 'offline' | 'visible') => void): (() => void) => {
    this.#watchers.add(tell)
    return () => this.#watchers.delete(tell)
  }

  fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers)
    const signal = init.signal ?? new AbortController().signal
    const request: Request = {
      url,
      path: url.replace(/^http:\/\/[^/]+/, ''),
      token: headers.get('Authorization')?.replace('Bearer ', '') ?? null,
      lastEventId: headers.get('Last-Event-ID'),
      etag: headers.get('If-None-Match'),
      signal,
      at: this.#now,
    }
    this.requests.push(request)
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')), { once: true })
    })
    aborted.catch(() => {})
    if (!this.online) throw new TypeError('Failed to fetch')
    return Promise.race([aborted, Promise.resolve(this.answer(request))])
  }

  /** What is left behind when all is closed should be nothing. */
  get leftovers(): number {
    return this.#timers.size + this.#watchers.size
  }

  get streams(): Request[] {
    return this.requests.filter(({ path }) => path.includes('stream') || path.includes('status') || path.includes('progress'))
  }

  get polls(): Request[] {
    return this.requests.filter((each) => !this.streams.includes(each))
  }

  happen(what: 'online' | 'offline' | 'visible'): Promise<void> {
    if (what !== 'visible') this.online = what === 'online'
    for (const tell of [...this.#watchers]) tell(what)
    return settled()
  }

  /** The machine sleeps: time goes by, and no timer with it. */
  sleep(ms: number): void {
    this.#now += ms
    for (const timer of this.#timers) timer.at += ms
  }

  async advance(ms: number): Promise<void> {
    await settled()
    const until = this.#now + ms
    for (;;) {
      const next = [...this.#timers].sort((one, other) => one.at - other.at)[0]
      if (!next || next.at > until) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.job()
      await settled()
    }
    this.#now = until
    await settled()
  }
}

export function problem(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error, message: `${error}.` }, { status, headers })
}

/** A stream that the test writes to. */
export class Stream {
  isCancelled = false
  readonly response: Response
  readonly #encoder = new TextEncoder()
  #controller!: ReadableStreamDefaultController<Uint8Array>

  constructor(signal?: AbortSignal) {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller
      },
      cancel: () => {
        this.isCancelled = true
      },
    })
    this.response = new Response(body, { headers: { 'Content-Type': 'text/event-stream; charset=utf-8' } })
    signal?.addEventListener('abort', () => this.break(), { once: true })
  }

  write(text: string): Promise<void> {
    if (!this.isCancelled) this.#controller.enqueue(this.#encoder.encode(text))
    return settled()
  }

  /** An unnamed message of the project feed, or a named one if `event` is given. */
  send(data: object, { id, event }: { id?: number | string; event?: string } = {}): Promise<void> {
    const head = event === undefined ? '' : `event: ${event}\n`
    const tail = id === undefined ? '' : `id: ${id}\n`
    return this.write(`${head}data: ${JSON.stringify(data)}\n${tail}\n`)
  }

  end(): Promise<void> {
    if (!this.isCancelled) this.#controller.close()
    this.isCancelled = true
    return settled()
  }

  break(): void {
    if (!this.isCancelled) this.#controller.error(new TypeError('network error'))
    this.isCancelled = true
  }
}
