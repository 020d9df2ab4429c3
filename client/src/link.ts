// One link to the server: a stream that is opened again and again, and polling beside it while that does not work.
//
// The contract:
// - At most one stream and one poll are under way; whatever an older one still brings is dropped (`#run`, `#pollRun`).
// - `cursor` moves in the same step in which the events up to it are told, so a stream goes on exactly where it broke.
//   A `reset` empties it until its snapshot is whole.
// - A token that the server has refused is never sent again. Without another one nothing is sent at all.
// - Every wait between tries is random, and longer each time that a stream did not live; only the ends of the silence
//   of others (the network is back, the page is looked at, somebody asks) cut it short, and never a Retry-After.

import type { Environment } from './environment.js'
import type { Feed, FeedEvent, Problem } from './feed.js'
import { SseParser } from './sse.js'

/**
 * `live`: events come at once. `delayed`: they come, but the server hears of them late. `polling`: there is no stream,
 * the snapshot is asked for. `offline`: nothing can be reached; it goes on trying. `ended`: nothing more will come.
 */
export type Status = 'idle' | 'connecting' | 'live' | 'delayed' | 'polling' | 'offline' | 'ended'

export interface LinkState {
  readonly status: Status
  /** Why the last try failed, or the feed ended; null when all is well. */
  readonly error: Problem | null
  /** How many tries have failed since there was a stream. */
  readonly retryCount: number
  /** How it ended, once it has. */
  readonly reason: string | null
}

export const IDLE: LinkState = { status: 'idle', error: null, retryCount: 0, reason: null }

/** An access token, null when nobody is signed in. `fresh`: the last one was refused or is about to expire. */
export type GetToken = (ask: { readonly fresh: boolean }) => string | null | Promise<string | null>

export interface LinkOptions {
  /** The service's address, without a path of the feed; '' for the page's own. */
  readonly url: string
  readonly getToken: GetToken
  /** After so many failed tries the snapshot is polled. */
  readonly pollAfter: number
  /** ms from one poll's answer to the next poll. */
  readonly pollInterval: number
  /** ms of silence after which a stream counts as broken. The server says something every 25 s. */
  readonly stallAfter: number
  /** ms within which a try must have an answer. */
  readonly answerWithin: number
  /** The longest wait between tries, in ms, unless the server asks for more. */
  readonly longestWait: number
}

export interface Told<Event> {
  events(events: readonly Event[], cursor: string | null): void
  state(state: LinkState): void
}

const LONG_LIVED_MS = 10_000
const BASE_WAIT_MS = 1000
const REFUSALS = 3
const SOON: Problem = { code: 'connection_lost', message: 'The connection was lost.' }
const UNSIGNED: Problem = { code: 'missing_token', message: 'There is no access token that the server has not refused.' }

export class Link<Data, Event extends FeedEvent> {
  #cursor: string | null
  #state: LinkState
  #run = 0
  #abort = new AbortController()
  #unwatch: (() => void) | null = null
  #cancelTry = () => {} // the next try
  #cancelWatchdog = () => {}
  #cancelExchange = () => {}
  #waiting = false
  #notBefore = 0 // what Retry-After said
  #failures = 0
  #level = 0 // of the waits; apart from failures, since a server that says hello and dies is no better
  #retry = BASE_WAIT_MS
  #problem: Problem | null = null
  #dead: string | null = null // the refused token
  #fresh = false // whether another is needed
  #refusals = 0
  #live: boolean | null = null // what the stream says of itself; null without one
  #quiet: boolean // the stream is being exchanged for one with another token, or of another tab: nobody need know
  #openedAt = 0
  #heardAt = 0
  #offline = false
  #polling = false // the last poll had an answer
  #pollRun = 0
  #pollAbort = new AbortController()
  #cancelPoll: (() => void) | null = null
  #etag: string | null = null

  constructor(
    readonly feed: Feed<Data, Event>,
    readonly options: LinkOptions,
    readonly world: Environment,
    readonly told: Told<Event>,
    cursor: string | null = null,
    state: LinkState = IDLE,
  ) {
    this.#cursor = cursor
    this.#state = state
    this.#quiet = state.status === 'live' || state.status === 'delayed' || state.status === 'polling'
  }

  get cursor(): string | null {
    return this.#cursor
  }

  /** Begins, or begins again after an ending. */
  start(): void {
    this.#unwatch ??= this.world.watch((what) => this.noted(what))
    this.#failures = this.#level = this.#refusals = 0
    this.#offline = !this.world.isOnline()
    this.#problem = null
    this.#halt()
    this.#tryIn(Math.max(0, this.#notBefore - this.world.now()))
  }

  /** Lets go of everything; {@link start} begins where it was. */
  stop(): void {
    this.#release()
    this.#tell(IDLE)
  }

  /** Tries at once, unless the server has asked for a longer wait. */
  reconnect(): void {
    if (!this.#unwatch) this.start()
    else if (this.world.now() >= this.#notBefore) void this.#try()
  }

  #release(): void {
    this.#halt()
    this.#stopPolling()
    this.#unwatch?.()
    this.#unwatch = null
    this.#quiet = false
  }

  /** Drops the stream or the try that is under way, and the next. */
  #halt(): void {
    this.#run++
    this.#abort.abort()
    this.#cancelTry()
    this.#cancelWatchdog()
    this.#cancelExchange()
    this.#waiting = false
    this.#live = null
  }

  noted(what: 'online' | 'offline' | 'visible'): void {
    if (what === 'offline') {
      this.#offline = true
      this.#polling = false
      this.#lost({ code: 'offline', message: 'The network is gone.' })
      return
    }
    if (what === 'online') this.#offline = false
    const stale = this.#live !== null && this.world.now() - this.#heardAt > this.options.stallAfter
    if (this.#waiting || stale) this.reconnect()
  }

  #tryIn(ms: number): void {
    this.#waiting = ms > 0
    if (ms > 0) this.#cancelTry = this.world.after(ms, () => void this.#try())
    else void this.#try()
    this.#tell()
  }

  async #try(next: string | null = null): Promise<void> {
    this.#halt()
    const run = this.#run
    const abort = (this.#abort = new AbortController())
    const isOver = () => run !== this.#run
    this.#tell()
    this.#watch(this.options.answerWithin, 'The server did not answer in time.')
    try {
      const token = next ?? (await this.#token())
      if (isOver()) return
      if (token === null) return this.#lost(UNSIGNED)
      const response = await this.world.fetch(this.options.url + this.feed.path, {
        headers: {
          Accept: 'text/event-stream',
          Authorization: `Bearer ${token}`,
          ...(this.#cursor === null ? {} : { 'Last-Event-ID': this.#cursor }),
        },
        cache: 'no-store',
        signal: abort.signal,
      })
      if (isOver()) return void response.body?.cancel().catch(() => {})
      this.#offline = false
      if (!(await this.#accept(response, token, isOver)) || isOver()) return
      await this.#read(response.body, token, isOver)
      if (!isOver()) this.#lost(SOON)
    } catch (error) {
      if (isOver()) return
      this.#offline ||= !this.world.isOnline() || this.#failures + 1 >= this.options.pollAfter
      this.#lost({ ...SOON, message: text(error) })
    }
  }

  #bury(token: string): void {
    this.#dead = token
    this.#fresh = true
  }

  /** The token to send, null without one that is worth sending. */
  async #token(): Promise<string | null> {
    const token = await this.options.getToken({ fresh: this.#fresh })
    this.#fresh = token !== null && token === this.#dead
    return token && !this.#fresh ? token : null
  }

  /** Whether the answer is a stream; if not, all is done that it asks for. */
  async #accept(response: Response, token: string, isOver: () => boolean): Promise<boolean> {
    if (response.status === 204) {
      this.#end('completed', null)
      return false
    }
    const type = response.headers.get('Content-Type') ?? ''
    if (response.status === 200 && /^text\/event-stream\b/i.test(type)) {
      if (!this.feed.greets) {
        this.told.events([{ event: 'connected', data: {} } as unknown as Event], this.#cursor)
        this.#greeted(true)
      }
      return true
    }
    const problem = await problemOf(response)
    if (isOver()) return false
    if (response.status === 200) this.#lost({ code: 'no_stream', message: `The answer is no event stream but ${type || 'of no type'}.` })
    else this.#refused(response, problem, token)
    return false
  }

  /** Does what an answer from 300 on asks for, to a stream or a poll. */
  #refused(response: Response, problem: Problem, token: string): void {
    const { status } = response
    if (status === 401) {
      this.#bury(token)
      if (++this.#refusals < REFUSALS) this.#lost(problem)
      else this.#end('unauthorized', problem)
    } else if (status === 400 && this.#cursor !== null) {
      this.#cursor = null // it may be the cursor that makes no sense: a snapshot needs none
      this.#lost(problem)
    } else if (mayPass(status)) {
      this.#lost(problem, retryAfter(response.headers.get('Retry-After'), this.world.now()))
    } else {
      this.#end(problem.code, problem)
    }
  }

  async #read(body: ReadableStream<Uint8Array> | null, token: string, isOver: () => boolean): Promise<void> {
    const reader = body?.getReader()
    if (!reader) throw new Error('The answer has no body.')
    const parser = new SseParser()
    this.#openedAt = this.world.now()
    for (;;) {
      const { done, value } = await reader.read()
      if (isOver()) return void reader.cancel().catch(() => {})
      if (done) return
      this.#heardAt = this.world.now()
      if (this.#heardAt - this.#openedAt >= LONG_LIVED_MS) this.#level = 0
      this.#watch(this.options.stallAfter, 'The server has fallen silent.')
      const events: Event[] = []
      try {
        for (const frame of parser.push(value)) {
          if (frame.data !== null) {
            const data: unknown = JSON.parse(frame.data)
            const event = frame.event === 'message' ? (data as { type: string }).type : frame.event
            events.push({ event, data } as unknown as Event)
            if (event === 'reset') this.#cursor = null
          }
          if (frame.id !== null) this.#cursor = frame.id || null
        }
      } finally {
        if (events.length) this.told.events(events, this.#cursor) // also those before one that can't be read
      }
      if (parser.retry !== null) this.#retry = Math.max(parser.retry, 1)
      for (const event of events) {
        if (isOver()) return void reader.cancel().catch(() => {})
        this.#heed(event, token)
      }
    }
  }

  /** Does what an event says of the stream itself. */
  #heed(told: Event, token: string): void {
    const ending = this.feed.endingOf?.(told)
    if (ending) return this.#end(ending.reason, ending.error)
    const data = told.data as { live?: boolean; code?: string; message?: string; reason?: string; reconnect?: boolean }
    switch (told.event) {
      case 'connected':
        return this.#greeted(data.live ?? true)
      case 'live':
        return this.#greeted(data.live ?? true)
      case 'reauth':
        // not at once where every token is as short-lived
        this.#cancelExchange()
        this.#cancelExchange = this.world.after(Math.max(0, this.#openedAt + LONG_LIVED_MS - this.world.now()), () => {
          void this.#exchange(token)
        })
        return
      case 'error':
        if (data.code) this.#problem = { code: data.code, message: data.message ?? '' }
        return
      case 'stream_end':
        if (!data.reconnect) return this.#end(data.reason ?? 'completed', this.#problem ?? denial(data.reason))
        if (data.reason !== 'token_expired') return this.#lost(this.#problem ?? SOON)
        this.#bury(token)
        if (this.#level > 0) return this.#lost(UNSIGNED)
        this.#level = 1
        void this.#try()
    }
  }

  #greeted(live: boolean): void {
    this.#live = live
    this.#quiet = this.#offline = false
    this.#failures = this.#refusals = this.#notBefore = 0
    this.#problem = null
    this.#stopPolling()
    this.#tell()
  }

  /** Opens the stream anew with another token, if there is one, before the present one expires. */
  async #exchange(token: string): Promise<void> {
    const run = this.#run
    const next = await Promise.resolve({ fresh: true }).then(this.options.getToken).catch(() => null)
    if (run !== this.#run || !next || next === token || next === this.#dead) return
    this.#quiet = true
    void this.#try(next)
  }

  #watch(ms: number, message: string): void {
    this.#cancelWatchdog()
    this.#cancelWatchdog = this.world.after(ms, () => this.#lost({ code: 'timeout', message }))
  }

  /** The stream or the try has failed: waits, at least for `least` ms, and tries again; polls if need be. */
  #lost(problem: Problem, least = 0): void {
    const opened = this.#live !== null
    this.#halt()
    this.#quiet = false
    this.#problem = problem
    if (!opened) this.#failures++
    const wait = this.world.random() * Math.min(this.options.longestWait, this.#retry * 2 ** this.#level)
    this.#level = Math.min(this.#level + 1, 30)
    if (least > 0) this.#notBefore = this.world.now() + least
    if (this.#failures >= this.options.pollAfter && this.feed.pollPath && !this.#cancelPoll) this.#pollIn(0)
    this.#tryIn(Math.max(0, this.#notBefore - this.world.now()) + Math.max(1, wait))
  }

  #end(reason: string, error: Problem | null): void {
    this.#release()
    this.#tell({ status: 'ended', error, retryCount: 0, reason })
  }

  // Polling

  #pollIn(ms: number): void {
    this.#cancelPoll?.()
    this.#cancelPoll = this.world.after(ms, () => void this.#poll())
  }

  #stopPolling(): void {
    this.#pollRun++
    this.#pollAbort.abort()
    this.#cancelPoll?.()
    this.#cancelPoll = null
    this.#polling = false
    this.#etag = null
  }

  async #poll(): Promise<void> {
    const run = ++this.#pollRun
    const abort = (this.#pollAbort = new AbortController())
    const isOver = () => run !== this.#pollRun
    const cancelWatchdog = this.world.after(this.options.answerWithin, () => abort.abort())
    let next = this.options.pollInterval
    try {
      // a fresh one is asked for at the pace of the tries
      const token = this.#fresh ? null : await unlessAborted(this.#token(), abort.signal)
      if (isOver()) return
      if (token === null) {
        this.#polling = false
      } else {
        const since = this.#cursor
        const response = await this.world.fetch(this.options.url + (this.feed.pollPath?.(since) ?? ''), {
          headers: { Authorization: `Bearer ${token}`, ...(this.#etag === null ? {} : { 'If-None-Match': this.#etag }) },
          cache: 'no-store',
          signal: abort.signal,
        })
        const answer: unknown = response.status === 200 ? await response.json() : null
        const problem = response.status >= 300 && response.status !== 304 ? await problemOf(response) : null
        if (isOver()) return
        this.#offline = false
        if (problem) {
          this.#polling = false
          next = Math.max(next, retryAfter(response.headers.get('Retry-After'), this.world.now()))
          if (!mayPass(response.status)) return this.#refusedPoll(response, problem, token)
        } else {
          this.#polling = true
          this.#refusals = 0
          if (answer !== null && since === this.#cursor) this.#tellPolled(answer, response.headers.get('ETag'))
          if (isOver()) return
        }
      }
    } catch {
      if (isOver()) return
      this.#polling = false
      this.#offline = true
    } finally {
      cancelWatchdog()
    }
    this.#pollIn(next)
    this.#tell()
  }

  #refusedPoll(response: Response, problem: Problem, token: string): void {
    this.#stopPolling()
    this.#refused(response, problem, token)
  }

  #tellPolled(answer: unknown, etag: string | null): void {
    const polled = this.feed.polled?.(answer)
    if (!polled) return
    this.#etag = etag
    if (polled.cursor !== undefined) this.#cursor = polled.cursor
    if (polled.events.length) this.told.events(polled.events, this.#cursor)
    for (const event of polled.events) {
      const ending = this.feed.endingOf?.(event)
      if (ending) return this.#end(ending.reason, ending.error)
    }
  }

  #tell(state?: LinkState): void {
    const next = state ?? { status: this.#status(), error: this.#problem, retryCount: this.#failures, reason: null }
    if (same(next, this.#state)) return
    this.#state = next
    this.told.state(next)
  }

  #status(): Status {
    if (this.#live !== null) return this.#live ? 'live' : 'delayed'
    if (this.#quiet) return this.#state.status
    if (this.#polling) return 'polling'
    return this.#offline ? 'offline' : 'connecting'
  }
}

function same(one: LinkState, other: LinkState): boolean {
  return (Object.keys(one) as (keyof LinkState)[]).every((name) => one[name] === other[name])
}

/** Whether what was refused with this status may be granted later, though nothing else changes. */
const mayPass = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status)

/** What `promise` gives, which may be never, unless `signal` is aborted before. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return Promise.race([promise, new Promise<never>((_, reject) => signal.addEventListener('abort', reject))])
}

const text = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function denial(reason: string | undefined): Problem | null {
  return reason === 'access_revoked' ? { code: reason, message: 'You may no longer see this.' } : null
}

/** What the service says is wrong; of something else that answers in its place, the status. */
export async function problemOf(response: Response): Promise<Problem> {
  const told: unknown = await response.json().catch(() => null)
  const { error, message } = (told ?? {}) as { error?: unknown; message?: unknown }
  if (typeof error === 'string') return { code: error, message: String(message ?? error) }
  return { code: `http_${response.status}`, message: `The server answered ${response.status}.` }
}

/** A Retry-After in ms, 0 without one; it is a number of seconds or a date. */
function retryAfter(value: string | null, now: number): number {
  if (value === null) return 0
  const ms = /^[0-9]+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isFinite(ms) ? Math.max(0, ms) : 0
}
