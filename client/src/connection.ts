// A feed's data as a page has it, kept up to date by a link, and whoever wants to know when it changes.

import { environment, type Environment } from './environment.js'
import type { Feed, FeedEvent } from './feed.js'
import { type GetToken, IDLE, Link, type LinkOptions, type LinkState, type Told } from './link.js'

export interface Snapshot<Data, Event> extends LinkState {
  readonly data: Data
  readonly latestEvent: Event | null
}

type Measures = { readonly [Name in keyof Omit<LinkOptions, 'url' | 'getToken'>]?: number | undefined }

export interface ConnectOptions<Data, Event extends FeedEvent> extends Measures {
  readonly url: string
  readonly getToken: GetToken
  readonly feed: Feed<Data, Event>
  /** Whether to wait for {@link Connection.resume}. */
  readonly paused?: boolean | undefined
  /** How tabs share one link: `acrossTabs` of `@rowcast/client/tabs`. Without it each has its own. */
  readonly share?: Share | undefined
  readonly environment?: Environment | undefined
}

/** What keeps a page's data up to date: a link of its own, or a part in one. */
export interface Source {
  start(): void
  stop(): void
  reconnect(): void
}

/** What a shared link is made of. */
export interface Sharing<Data, Event extends FeedEvent> {
  readonly feed: Feed<Data, Event>
  readonly options: LinkOptions
  readonly world: Environment
  readonly shown: Shown<Data, Event>
  make(told: Told<Event>, cursor: string | null, state: LinkState): Link<Data, Event>
}

/** Where what is heard goes. */
export interface Shown<Data, Event> extends Told<Event> {
  readonly snapshot: LinkState & { readonly data: Data }
  /** All there is, in place of what came between; `isReset`: to a page that had something before, which is told so. */
  replace(data: Data, isReset: boolean): void
}

/** null where tabs can't know of each other, and outside of browsers. */
export type Share = <Data, Event extends FeedEvent>(sharing: Sharing<Data, Event>) => Source | null

export interface Connection<Data, Event> {
  /** What is known now; the same object until something changes. */
  getSnapshot(): Snapshot<Data, Event>
  /** Calls `listener` after each change; returns what ends that. */
  subscribe(listener: () => void): () => void
  /** Calls `listener` with the events as they come, each once; returns what ends that. */
  onEvents(listener: (events: readonly Event[], snapshot: Snapshot<Data, Event>) => void): () => void
  /** Tries at once, also after an ending; not before a time that the server has asked to wait for. */
  reconnect(): void
  /** Lets the stream go; {@link resume} goes on where it was. */
  pause(): void
  resume(): void
  /** Lets everything go, for good. */
  close(): void
}

/** What is known of a feed before anything is. */
export function unknown<Data, Event extends FeedEvent>(feed: Feed<Data, Event>): Snapshot<Data, Event> {
  return { ...IDLE, data: feed.initial, latestEvent: null }
}

export const DEFAULTS: Omit<LinkOptions, 'url' | 'getToken'> = {
  pollAfter: 3,
  pollInterval: 3000,
  stallAfter: 60_000,
  answerWithin: 20_000,
  longestWait: 30_000,
}

const RESET = { event: 'reset', data: { type: 'reset', reason: 'another tab knows more than can be told one by one' } }

/** So many of the newest ids are known: what a stream tells again when it comes back is far less. */
const IDS_KEPT = 4096

/** Connects at once, unless it is to be `paused`. */
export function connect<Data, Event extends FeedEvent>(options: ConnectOptions<Data, Event>): Connection<Data, Event> {
  const { feed, paused, share, environment: world = environment } = options
  const shown = new Store(feed)
  const told = linkOptions(options)
  const make = (to: Told<Event>, cursor: string | null, state: LinkState) => new Link(feed, told, world, to, cursor, state)
  const source = share?.({ feed, options: told, world, shown, make }) ?? make(shown, null, IDLE)
  if (!paused) source.start()
  let isClosed = false
  return {
    getSnapshot: () => shown.snapshot,
    subscribe: (listener) => shown.subscribe(listener),
    onEvents: (listener) => shown.onEvents(listener),
    reconnect: () => isClosed || source.reconnect(),
    pause: () => isClosed || source.stop(),
    resume: () => isClosed || source.start(),
    close() {
      isClosed = true
      source.stop()
    },
  }
}

function linkOptions<Data, Event extends FeedEvent>(options: ConnectOptions<Data, Event>): LinkOptions {
  const told = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return { ...DEFAULTS, ...(told as unknown as LinkOptions), url: options.url.replace(/\/+$/, '') }
}

class Store<Data, Event extends FeedEvent> implements Shown<Data, Event> {
  snapshot: Snapshot<Data, Event>
  readonly #feed: Feed<Data, Event>
  readonly #listeners = new Set<() => void>()
  readonly #hearers = new Set<(events: readonly Event[], snapshot: Snapshot<Data, Event>) => void>()
  readonly #ids = new Set<string>() // in the order in which they came

  constructor(feed: Feed<Data, Event>) {
    this.#feed = feed
    this.snapshot = unknown(feed)
  }

  events(told: readonly Event[]): void {
    const events = told.filter((event) => this.#isNew(event))
    // what was told before counts for the data all the same, which may have gone back in between
    const data = this.#feed.reduce(this.snapshot.data, told)
    if (!events.length && data === this.snapshot.data) return
    this.snapshot = { ...this.snapshot, data, latestEvent: events.at(-1) ?? this.snapshot.latestEvent }
    if (events.length) this.#hear(events)
    this.#changed()
  }

  replace(data: Data, isReset: boolean): void {
    this.snapshot = { ...this.snapshot, data }
    if (isReset) this.#hear([RESET as unknown as Event])
    this.#changed()
  }

  state(state: LinkState): void {
    this.snapshot = { ...this.snapshot, ...state }
    this.#changed()
  }

  subscribe(listener: () => void): () => void {
    const own = () => listener() // the same function may be there twice
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  onEvents(hearer: (events: readonly Event[], snapshot: Snapshot<Data, Event>) => void): () => void {
    const own: typeof hearer = (events, snapshot) => hearer(events, snapshot)
    this.#hearers.add(own)
    return () => this.#hearers.delete(own)
  }

  #hear(events: readonly Event[]): void {
    for (const hearer of this.#hearers) guarded(() => hearer(events, this.snapshot))
  }

  #changed(): void {
    for (const listener of this.#listeners) guarded(listener)
  }

  #isNew(event: Event): boolean {
    const id = this.#feed.idOf?.(event)
    if (id === undefined) return true
    if (this.#ids.has(id)) return false
    this.#ids.add(id)
    if (this.#ids.size > IDS_KEPT) this.#ids.delete(this.#ids.values().next().value as string)
    return true
  }
}

/** A page's own mistake is reported as any other of its, and costs nobody else the event. */
export function guarded(call: () => void): void {
  try {
    call()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
