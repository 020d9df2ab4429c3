import { describe, expect, it } from 'vitest'
import { COMPONENTS_KEPT, type EnrichmentData, enrichmentFeed, hasEnded } from '../src/enrichment.js'
import type { Component, EnrichmentStreamEvent } from '../src/events.gen.js'
import { enrichment as wire } from './wire.js'

const feed = enrichmentFeed({ bomId: 'b' })
const reduce = (events: EnrichmentStreamEvent[], data: EnrichmentData = feed.initial): EnrichmentData => feed.reduce(data, events)
const about = wire['enrichment.component.completed']
const component = (id: string, second: number): Component => ({
  ...about.component, line_item_id: id, updated_at: `2026-01-01T00:00:${String(second).padStart(2, '0')}.000Z`,
})
const told = (each: Component): EnrichmentStreamEvent => ({
  event: 'enrichment.component.completed', data: { ...about, component: each },
})
const ids = (data: EnrichmentData): string[] => data.components.map(({ line_item_id }) => line_item_id)

describe('the enrichment feed', () => {
  it('knows the state from the first message on', () => {
    expect(reduce([{ event: 'connected', data: wire.connected }]).state).toEqual(wire.connected.state)
  })

  it('lists components newest first, each once, the newest of it', () => {
    const data = reduce([told(component('a', 1)), told(component('b', 2)), told(component('c', 2)), told(component('a', 3))])
    expect(ids(data)).toEqual(['a', 'c', 'b'])
    expect(ids(reduce([told(component('a', 1))], data))).toEqual(['a', 'c', 'b'])
  })

  it('keeps the last fifty', () => {
    const data = reduce(Array.from({ length: 60 }, (_, n) => told(component(`${n}`, n % 60))))
    expect(data.components).toHaveLength(COMPONENTS_KEPT)
    expect(ids(data)[0]).toBe('59')
  })

  it('takes the components of a snapshot when it is whole', () => {
    const half = reduce([{ event: 'snapshot', data: { ...wire.snapshot, last: false, components: [component('a', 2)] } }])
    expect(half.components).toEqual([])
    const whole = reduce([{ event: 'snapshot', data: { ...wire.snapshot, part: 2, components: [component('b', 1)] } }], half)
    expect(ids(whole)).toEqual(['a', 'b'])
  })

  it('does not go back when a stream tells again what a poll has overtaken', () => {
    const state = { ...about.state, enriched_items: 3, last_update: '2027-01-01T00:00:00.000Z' }
    const polled = reduce(feed.polled?.({ revision: 5, state, components: [] })?.events ?? [])
    expect(reduce([{ event: 'enrichment.progress', data: wire['enrichment.progress'] }], polled).state).toEqual(state)
  })

  it('leaves the cursor where the stream was when it is polled: that one tells each event later', () => {
    expect(feed.polled?.({ revision: 5, state: about.state, components: [] })?.cursor).toBeUndefined()
  })

  it('changes nothing when nothing is told', () => {
    const data = reduce([{ event: 'connected', data: wire.connected }])
    expect(reduce([{ event: 'live', data: wire.live }], data)).toBe(data)
  })

  it('tells events apart by their id', () => {
    expect(feed.idOf?.(told(about.component))).toBe(about.event_id)
    expect(feed.idOf?.({ event: 'live', data: wire.live })).toBeUndefined()
  })

  it('takes the error of an older server for a failure', () => {
    const old = { event: 'enrichment.error', data: { error_message: 'The catalogue is down.' } } as unknown as EnrichmentStreamEvent
    const data = reduce([{ event: 'connected', data: wire.connected }, old])
    expect(data.state).toMatchObject({ status: 'failed', error_message: 'The catalogue is down.' })
    expect(feed.endingOf?.(old)).toMatchObject({ reason: 'enrichment.failed', error: { message: 'The catalogue is down.' } })
    expect(feed.endingOf?.({ event: 'enrichment.failed', data: wire['enrichment.failed'] })).toBeNull()
  })

  it('has ended when it says so', () => {
    const statuses = ['idle', 'stopped', 'completed', 'failed'] as const
    expect(statuses.map((status) => hasEnded({ ...about.state, status }))).toEqual([false, false, true, true])
    expect(hasEnded(null)).toBe(false)
  })
})
