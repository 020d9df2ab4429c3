import { useCallback, useEffect, useInsertionEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { type Snapshot, unknown } from '../connection.js'
import type { Feed, FeedEvent } from '../feed.js'
import type { FeedOptions } from './client.js'
import { useClient } from './provider.js'

export interface UseFeedOptions<Data, Event> extends FeedOptions {
  /** false pauses: what is known stays. */
  readonly enabled?: boolean | undefined
  /** The events as they come, each once. It may be another function at each render. */
  readonly onEvents?: ((events: readonly Event[], snapshot: Snapshot<Data, Event>) => void) | undefined
}

export interface UsedFeed<Data, Event> extends Snapshot<Data, Event> {
  /** Whether there is a stream, live or delayed. */
  readonly isConnected: boolean
  readonly isPolling: boolean
  /** Tries at once; does nothing while it is not enabled. */
  readonly reconnect: () => void
}

/** A feed of any kind, shared by all components that use it; the other hooks are made of this one. */
export function useFeed<Data, Event extends FeedEvent>(
  wanted: Feed<Data, Event>,
  { enabled = true, onEvents, pollAfter, pollInterval }: UseFeedOptions<Data, Event> = {},
): UsedFeed<Data, Event> {
  const client = useClient()
  const feed = useMemo(() => wanted, [wanted.name]) // a feed is known by its name
  const hear = useLatest(onEvents)
  const mayConnect = useLatest(enabled)
  const reconnecting = useRef(() => {})

  const subscribe = useCallback(
    (changed: () => void) => {
      const [connection, release] = client.hold(feed, { pollAfter, pollInterval })
      const stops = [
        connection.subscribe(changed),
        connection.onEvents((events, snapshot) => hear.current?.(events, snapshot)),
        release,
      ]
      reconnecting.current = () => connection.reconnect()
      return () => {
        for (const stop of stops) stop()
        reconnecting.current = () => {}
      }
    },
    [client, feed, pollAfter, pollInterval, hear],
  )
  const nothing = useMemo<Snapshot<Data, Event>>(() => ({ ...unknown(feed), status: enabled ? 'connecting' : 'idle' }), [feed, enabled])
  const snapshot = useSyncExternalStore(subscribe, () => client.snapshot(feed) ?? nothing, () => nothing)
  useEffect(() => (enabled ? client.activate(feed.name) : undefined), [client, feed, enabled, subscribe])
  const reconnect = useCallback(() => void (mayConnect.current && reconnecting.current()), [mayConnect])

  return useMemo(
    () => ({
      ...snapshot,
      isConnected: snapshot.status === 'live' || snapshot.status === 'delayed',
      isPolling: snapshot.status === 'polling',
      reconnect,
    }),
    [snapshot, reconnect],
  )
}

/** What was given at the last render that counts, for what is called later. */
export function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value)
  useInsertionEffect(() => {
    latest.current = value
  })
  return latest
}
