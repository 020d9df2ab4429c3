// A browser with several tabs, which know of each other by locks and channels.

import type { Environment } from '../src/environment.js'
import type { Tabs } from '../src/tabs.js'
import type { World } from './world.js'

interface End {
  readonly tab: Tab
  readonly hear: (message: never) => void
}

export class Browser {
  readonly tabs: Tab[] = []
  readonly channels = new Map<string, Set<End>>()
  readonly locks = new Map<string, { tab: Tab; lead: () => void }[]>()
  /** How long a message takes from one tab to another, in ms; those of one tab to another stay in order. */
  latency: (from: Tab, to: Tab) => number = () => 0
  /** Whether a message is lost. */
  loses: (from: Tab, to: Tab) => boolean = () => false

  constructor(readonly world: World) {}

  tab(): Tab {
    const tab = new Tab(this)
    this.tabs.push(tab)
    return tab
  }
}

/** What one tab has of the world. It can crash: then nothing of it happens any more, and nothing is said to others. */
export class Tab implements Environment, Tabs {
  isFrozen = false
  readonly #number: number
  readonly #crash = new AbortController()
  readonly #due = new Map<Tab, number>()
  readonly #held: (() => void)[] = [] // what happens to a frozen tab when it is no longer

  constructor(readonly browser: Browser) {
    this.#number = browser.tabs.length
  }

  get isDead(): boolean {
    return this.#crash.signal.aborted
  }

  now = (): number => this.browser.world.now()
  random = (): number => (this.browser.world.random() + this.#number * 1e-9) % 1
  isOnline = (): boolean => this.browser.world.isOnline()
  after = (ms: number, job: () => void): (() => void) => this.browser.world.after(ms, () => this.#run(job))
  watch = (tell: (what: 'online' | 'offline' | 'visible') => void): (() => void) =>
    this.browser.world.watch((what) => this.isDead || tell(what))
  fetch = (url: string, init: RequestInit): Promise<Response> =>
    this.browser.world.fetch(url, { ...init, signal: AbortSignal.any([init.signal as AbortSignal, this.#crash.signal]) })

  open(name: string, hear: (message: never) => void): { tell(message: unknown): void; close(): void } {
    if (this.isDead) return { tell: () => {}, close: () => {} }
    const ends = this.browser.channels.get(name) ?? new Set()
    this.browser.channels.set(name, ends)
    const end: End = { tab: this, hear }
    ends.add(end)
    return {
      tell: (message) => {
        for (const other of ends) if (other !== end && !this.isDead) this.#send(other, ends, structuredClone(message))
      },
      close: () => ends.delete(end),
    }
  }

  lead(name: string, lead: () => void): () => void {
    if (this.isDead) return () => {}
    const queue = this.browser.locks.get(name) ?? []
    this.browser.locks.set(name, queue)
    const wish = { tab: this, lead }
    queue.push(wish)
    const grant = (): void => {
      const first = queue[0]
      if (first) queueMicrotask(() => first === queue[0] && first.tab.#run(first.lead))
    }
    if (queue.length === 1) grant()
    return () => {
      const wasFirst = queue[0] === wish
      if (queue.includes(wish)) queue.splice(queue.indexOf(wish), 1)
      if (wasFirst) grant()
    }
  }

  crash(): void {
    this.#crash.abort()
    for (const ends of this.browser.channels.values()) for (const end of ends) if (end.tab === this) ends.delete(end)
    for (const queue of this.browser.locks.values()) {
      const wasFirst = queue[0]?.tab === this
      queue.splice(0, queue.length, ...queue.filter(({ tab }) => tab !== this))
      const first = queue[0]
      if (wasFirst && first) queueMicrotask(() => first.tab.#run(first.lead))
    }
  }

  /** Nothing of it runs, but its locks are kept and messages wait. */
  freeze(): void {
    this.isFrozen = true
  }

  thaw(): void {
    this.isFrozen = false
    for (const each of this.#held.splice(0)) each()
  }

  #run(job: () => void): void {
    if (this.isFrozen) this.#held.push(() => this.#run(job))
    else if (!this.isDead) job()
  }

  #send(to: End, ends: Set<End>, message: unknown): void {
    const { world, latency, loses } = this.browser
    if (loses(this, to.tab)) return
    const at = Math.max(world.now() + latency(this, to.tab), this.#due.get(to.tab) ?? 0)
    this.#due.set(to.tab, at)
    world.after(at - world.now(), () => to.tab.#run(() => ends.has(to) && to.hear(message as never)))
  }
}
