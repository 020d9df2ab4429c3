// One link for all tabs of a browser: the tab that holds a lock has it and tells the others what it hears.
//
// The contract:
// - The leader numbers what it tells. A tab that finds another leader, or a number missing, asks; the answer is what came
//   after the asker's cursor, or all there is. So nothing is lost whichever tab closes when, and whatever messages do.
// - A new leader goes on from its own cursor. What others have had already comes to them twice, as from any replay.
// - A tab whose leader does not answer (its page is frozen) has a link of its own until it does.

import type { Share, Sharing, Source } from './connection.js'
import type { FeedEvent } from './feed.js'
import { IDLE, type Link, type LinkState, type Told } from './link.js'

/** What tabs have in common; names are known to all of them. */
export interface Tabs {
  open(name: string, hear: (message: never) => void): { tell(message: unknown): void; close(): void }
  /** Calls `lead` when no other tab leads; returns what gives that up. */
  lead(name: string, lead: () => void): () => void
}

interface Batch<Event> {
  readonly before: string | null
  readonly after: string | null
  readonly events: readonly Event[]
}

interface News<Event> {
  readonly kind: 'news'
  readonly leader: string
  readonly number: number
  readonly batch?: Batch<Event>
  readonly state?: LinkState
}

interface Answer<Data, Event> {
  readonly kind: 'answer'
  readonly to: string
  readonly leader: string
  readonly number: number
  readonly cursor: string | null
  readonly state: LinkState
  readonly batches: readonly Batch<Event>[] | null
  readonly data?: Data
}

interface Ask {
  readonly kind: 'ask'
  readonly from: string
  readonly cursor: string | null
  readonly leader: string | null
  readonly number: number
}

type Message<Data, Event> =
  | News<Event>
  | Answer<Data, Event>
  | Ask
  | { readonly kind: 'please'; readonly reconnect: boolean }

/** To be raised with any change of the messages or of a feed's data: tabs may have been loaded before and after it. */
const VERSION = 1
const BATCHES_KEPT = 256
const ANSWER_MS = 2000
const SILENCE_MS = 20_000

class Shared<Data, Event extends FeedEvent> implements Source, Told<Event> {
  readonly #id: string
  #isOn = false
  #run = 0
  #name: string | null = null // of the tabs that this one has joined
  #channel: ReturnType<Tabs['open']> | null = null
  #resign = () => {}
  #unwatch = () => {}
  #link: Link<Data, Event> | null = null
  #leader: string | null = null
  #number = 0
  #cursor: string | null = null
  #recent: Batch<Event>[] = []
  #hasHeard = false
  #cancelAsk: (() => void) | null = null
  #cancelSilence = () => {}

  constructor(
    readonly tabs: Tabs,
    readonly with_: Sharing<Data, Event>,
  ) {
    this.#id = `${with_.world.now()}.${with_.world.random()}`
  }

  start(): void {
    if (this.#isOn) return this.reconnect()
    this.#isOn = true
    const run = ++this.#run
    this.with_.shown.state({ ...IDLE, status: 'connecting' })
    void this.#group().then((name) => {
      if (run !== this.#run) return
      this.#name = name
      this.#channel = this.tabs.open(name, (message) => this.#hear(message))
      this.#unwatch = this.with_.world.watch((what) => what === 'visible' && this.#tell({ kind: 'please', reconnect: false }))
      this.#ask()
      this.#resign = this.tabs.lead(name, () => this.#lead())
    })
  }

  stop(): void {
    this.#leave()
    this.with_.shown.state(IDLE)
  }

  #leave(): void {
    this.#isOn = false
    this.#run++
    this.#channel?.close()
    this.#channel = this.#leader = this.#name = null
    this.#stopWaiting()
    this.#unwatch()
    this.#give(null)
    this.#resign()
  }

  /** Who shares: tabs of one user, with one feed of one service. One that is signed out may become anybody's. */
  async #group(): Promise<string> {
    const { feed, options } = this.with_
    const token = await Promise.resolve({ fresh: false }).then(options.getToken).catch(() => null)
    return `rowcast ${VERSION} ${options.url} ${feed.name} ${token ? subjectOf(token) : this.#id}`
  }

  /** Somebody else may have signed in: then the tab joins others. */
  reconnect(): void {
    if (!this.#isOn) return this.start()
    const run = this.#run
    void this.#group().then((name) => {
      if (run !== this.#run) return
      if (name !== this.#name) {
        this.#leave()
        this.with_.shown.replace(this.with_.feed.initial, this.#cursor !== null) // it was another user's to see
        this.#recent = []
        this.#cursor = null
        this.start()
      } else if (this.#link) this.#link.reconnect()
      else this.#tell({ kind: 'please', reconnect: true })
    })
  }

  events(events: readonly Event[], cursor: string | null): void {
    const batch = { before: this.#cursor, after: cursor, events }
    this.#take(batch)
    if (this.#isLeading) this.#tell(this.#news({ batch }))
  }

  state(state: LinkState): void {
    if (!this.#link) return
    this.with_.shown.state(state)
    if (this.#isLeading) this.#tell(this.#news({ state }))
  }

  get #isLeading(): boolean {
    return this.#leader === this.#id
  }

  #news(told: { batch: Batch<Event> } | { state: LinkState }): News<Event> {
    return { kind: 'news', leader: this.#id, number: ++this.#number, ...told }
  }

  #tell(message: Message<Data, Event>): void {
    this.#channel?.tell(message)
  }

  #take(batch: Batch<Event>): void {
    if (batch.before === null) this.#recent = [] // what is older leads nobody here: the snapshot between is not kept
    else this.#recent.push(batch)
    if (this.#recent.length > BATCHES_KEPT) this.#recent.shift()
    this.#cursor = batch.after
    this.with_.shown.events(batch.events, batch.after)
  }

  /** Lets go of the link of this tab; what it says while it goes is nobody's business. */
  #give(link: Link<Data, Event> | null): void {
    const before = this.#link
    this.#link = link
    before?.stop()
  }

  /** Sees to it that this tab has a link, which goes on where it is. */
  #own(): void {
    if (this.#link) return
    const link = this.with_.make(this, this.#cursor, this.#state)
    this.#give(link)
    if (this.#state.status !== 'ended') link.start()
  }

  #lead(): void {
    this.#stopWaiting()
    this.#leader = this.#id
    this.#number = 0
    this.#own()
    this.#tell(this.#news({ state: this.#state }))
  }

  get #state(): LinkState {
    const { status, error, retryCount, reason } = this.with_.shown.snapshot
    return { status, error, retryCount, reason }
  }

  #stopWaiting(): void {
    this.#cancelAsk?.()
    this.#cancelAsk = null
    this.#cancelSilence()
  }

  #ask(): void {
    if (this.#cancelAsk) return
    this.#tell({ kind: 'ask', from: this.#id, cursor: this.#cursor, leader: this.#leader, number: this.#number })
    this.#cancelAsk = this.with_.world.after(ANSWER_MS, () => {
      this.#cancelAsk = null
      this.#own()
      this.#listen()
    })
  }

  #listen(): void {
    this.#cancelSilence()
    this.#hasHeard = false
    this.#cancelSilence = this.with_.world.after(SILENCE_MS, () => {
      if (!this.#hasHeard) this.#ask()
      this.#listen()
    })
  }

  #hear(message: Message<Data, Event>): void {
    switch (message.kind) {
      case 'ask':
        return this.#isLeading ? this.#answer(message) : undefined
      case 'please':
        if (this.#isLeading) message.reconnect ? this.#link?.reconnect() : this.#link?.noted('visible')
        return
      case 'answer':
        return message.to === this.#id && !this.#isLeading ? this.#adopt(message) : undefined
      case 'news':
        if (this.#isLeading) return
        this.#hasHeard = true
        if (this.#link || message.leader !== this.#leader || message.number !== this.#number + 1) return this.#ask()
        this.#number++
        if (message.batch) this.#take(message.batch)
        if (message.state) this.with_.shown.state(message.state)
    }
  }

  #answer({ from, cursor, leader, number }: Ask): void {
    let first = cursor === null ? -1 : this.#recent.findIndex(({ before }) => before === cursor)
    const isUpToDate = (leader === this.#id && number === this.#number) || (cursor !== null && cursor === this.#cursor)
    if (first < 0 && isUpToDate) first = this.#recent.length
    this.#tell({
      kind: 'answer', to: from, leader: this.#id, number: this.#number, cursor: this.#cursor, state: this.#state,
      ...(first < 0 ? { batches: null, data: this.with_.shown.snapshot.data } : { batches: this.#recent.slice(first) }),
    })
  }

  #adopt(answer: Answer<Data, Event>): void {
    this.#stopWaiting()
    if (!this.#link && answer.leader === this.#leader && answer.number === this.#number) {
      this.with_.shown.state(answer.state) // news that crossed the question have told the rest
      return this.#listen()
    }
    this.#give(null)
    this.#leader = answer.leader
    this.#number = answer.number
    for (const batch of answer.batches ?? []) this.#take(batch)
    if (answer.data !== undefined) {
      this.with_.shown.replace(answer.data, this.#cursor !== null)
      this.#recent = []
      this.#cursor = answer.cursor
    }
    this.with_.shown.state(answer.state)
    this.#listen()
  }
}

/** Whose token it is; a token that is no JWT speaks for itself. */
function subjectOf(token: string): string {
  try {
    const claims = JSON.parse(atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'))) as { sub: string }
    return claims.sub
  } catch {
    return token
  }
}

/** Sharing by means that tests bring, too. */
export const sharing = (tabs: () => Tabs | null): Share => (with_) => {
  const found = tabs()
  return found && new Shared(found, with_)
}

/** One link for all tabs of a browser, by Web Locks and BroadcastChannel; where there are none, one for each tab. */
export const acrossTabs: Share = sharing(() => {
  const isPage = typeof document !== 'undefined' && typeof BroadcastChannel === 'function' && navigator.locks?.request
  return isPage ? browser : null
})

const browser: Tabs = {
  open(name, hear) {
    const channel = new BroadcastChannel(name)
    channel.onmessage = ({ data }) => hear(data as never)
    return { tell: (message) => channel.postMessage(message), close: () => channel.close() }
  },
  lead(name, lead) {
    const stop = new AbortController()
    let release = () => {}
    const held = () =>
      new Promise<void>((resolve) => {
        release = resolve
        if (stop.signal.aborted) resolve()
        else lead()
      })
    // refused where a page may have no locks, and when it is given up: then this tab never leads
    navigator.locks.request(name, { signal: stop.signal }, held).catch(() => {})
    return () => {
      stop.abort()
      release()
    }
  },
}
