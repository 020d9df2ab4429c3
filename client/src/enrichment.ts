// The enrichment feed: one bill of materials while its lines are enriched.

import type { Feed, FeedEvent, Problem } from './feed.js'
import type { Component, EnrichmentState, EnrichmentStateAnswer, EnrichmentStreamEvent } from './events.gen.js'

export interface EnrichmentData {
  /** null until the first message. */
  readonly state: EnrichmentState | null
  /** Those that had their outcome last, newest first, at most 50. */
  readonly components: readonly Component[]
  /** A snapshot whose last part has not come. */
  readonly arriving: readonly Component[] | null
}

export const COMPONENTS_KEPT = 50
const ENDED = new Set(['completed', 'failed'])

export interface EnrichmentFeedOptions {
  readonly bomId: string
}

export function enrichmentFeed({ bomId }: EnrichmentFeedOptions): Feed<EnrichmentData, EnrichmentStreamEvent> {
  const id = encodeURIComponent(bomId)
  return {
    name: `enrichment:${bomId}`,
    initial: { state: null, components: [], arriving: null },
    greets: true,
    path: `/api/enrichment/stream/${id}?snapshot=1`,
    reduce,
    pollPath: () => `/api/enrichment/state/${id}`,
    // a poll tells no events: a stream that comes back goes on where the last one was, and tells them all
    polled: (answer) => ({
      events: [{ event: 'snapshot', data: { type: 'snapshot', part: 1, last: true, ...(answer as EnrichmentStateAnswer) } }],
      cursor: undefined,
    }),
    endingOf: (told) => (isOldFailure(told) ? { reason: FAILED, error: failure(messageOf(told)) } : null),
    idOf: ({ data }) => ('event_id' in data ? data.event_id : undefined),
  }
}

const FAILED = 'enrichment.failed'

export const failure = (message: string | null): Problem => ({
  code: 'enrichment_failed', message: message ?? 'The enrichment failed.',
})

/** What older servers say where newer ones say `enrichment.failed`. */
const isOldFailure = ({ event }: FeedEvent): boolean => event === 'enrichment.error'

function messageOf({ data }: FeedEvent): string | null {
  const { error_message, error, message } = data as Record<string, unknown>
  const text = error_message ?? error ?? message
  return typeof text === 'string' ? text : null
}

/** Whether nothing more will be told of a run, as its state says. */
export function hasEnded(state: EnrichmentState | null): boolean {
  return state !== null && ENDED.has(state.status)
}

function reduce(data: EnrichmentData, events: readonly EnrichmentStreamEvent[]): EnrichmentData {
  let { state, components, arriving } = data
  for (const told of events) {
    if (told.event === 'connected') {
      state = told.data.state
    } else if (told.event === 'snapshot') {
      arriving = [...(told.data.part > 1 && arriving ? arriving : []), ...told.data.components]
      state = told.data.state
      if (told.data.last) {
        components = arriving.slice(0, COMPONENTS_KEPT)
        arriving = null
      }
    } else if ('state' in told.data) {
      if (!isOlder(told.data.state, state)) state = told.data.state
      if ('component' in told.data) components = withComponent(components, told.data.component)
    }
    if (isOldFailure(told) && state) state = { ...state, status: 'failed', error_message: messageOf(told) ?? state.error_message }
  }
  if (state === data.state && components === data.components && arriving === data.arriving) return data
  return { state, components, arriving }
}

/** A replay after a time of polling tells what the page knows to be past. Times are RFC 3339 UTC of one width. */
function isOlder(state: EnrichmentState, than: EnrichmentState | null): boolean {
  return (state.last_update ?? '') < (than?.last_update ?? '')
}

function withComponent(components: readonly Component[], component: Component): readonly Component[] {
  const known = components.find((each) => each.line_item_id === component.line_item_id)
  if (known && known.updated_at > component.updated_at) return components
  const others = components.filter((each) => each !== known)
  const newer = others.filter((each) => each.updated_at > component.updated_at)
  return [...newer, component, ...others.slice(newer.length)].slice(0, COMPONENTS_KEPT)
}
