// The connections of a page: one for each feed, however many components look at it, for as long as one does.

import { connect, type Connection, type ConnectOptions, type Snapshot } from '../connection.js'
import { acrossTabs } from '../tabs.js'
import type { Feed, FeedEvent } from '../feed.js'

/** What all feeds of a page have in common. */
export interface ClientOptions extends Omit<ConnectOptions<unknown, FeedEvent>, 'feed' | 'paused' | 'share'> {
  /** false: a connection of this tab's own, where all tabs of a browser would share one. */
  readonly share?: boolean | undefined
}

export type FeedOptions = Pick<ClientOptions, 'pollAfter' | 'pollInterval'>

interface Entry {
  readonly connection: Connection<unknown, FeedEvent>
  holders: number
  active: number
}

export class Client {
  readonly #entries = new Map<string, Entry>()

  constructor(readonly options: ClientOptions) {}

  /** What is known of the feed, null where nobody holds it; the same object until something changes. */
  snapshot<Data, Event extends FeedEvent>(feed: Feed<Data, Event>): Snapshot<Data, Event> | null {
    const known = this.#entries.get(feed.name)?.connection.getSnapshot() ?? null
    return known as Snapshot<Data, Event> | null
  }

  /** Keeps the feed's connection, paused unless somebody has {@link activate}d it. The first to ask decides its options. */
  hold<Data, Event extends FeedEvent>(feed: Feed<Data, Event>, options: FeedOptions): [Connection<Data, Event>, () => void] {
    const entry = this.#entries.get(feed.name) ?? this.#made(feed as unknown as Feed<unknown, FeedEvent>, options)
    entry.holders++
    const release = (): void => {
      if (--entry.holders > 0) return
      entry.connection.close()
      this.#entries.delete(feed.name)
    }
    return [entry.connection as unknown as Connection<Data, Event>, once(release)]
  }

  /** Keeps a held connection going; returns what lets it pause. */
  activate(name: string): () => void {
    const entry = this.#entries.get(name)
    if (!entry) return () => {}
    if (++entry.active === 1 && entry.connection.getSnapshot().status === 'idle') entry.connection.resume()
    return once(() => {
      if (--entry.active === 0 && entry.connection.getSnapshot().status !== 'ended') entry.connection.pause()
    })
  }

  #made(feed: Feed<unknown, FeedEvent>, options: FeedOptions): Entry {
    const share = this.options.share === false ? undefined : acrossTabs
    const { pollAfter = this.options.pollAfter, pollInterval = this.options.pollInterval } = options
    const connection = connect({ ...this.options, pollAfter, pollInterval, share, feed, paused: true })
    const entry = { connection, holders: 0, active: 0 }
    this.#entries.set(feed.name, entry)
    return entry
  }
}

/** Later: a component that leaves and is back at once (StrictMode, a list that is sorted) costs no connection. */
function once(release: () => void): () => void {
  let isReleased = false
  return () => {
    if (isReleased) return
    isReleased = true
    setTimeout(release)
  }
}
