import type { ReactNode } from 'react'
import type { Component, EnrichmentState } from '../events.gen.js'
import type { Problem } from '../feed.js'
import { Bar } from './Bar.js'
import { ConnectionBadge } from './ConnectionBadge.js'
import { count, duration, link, percent, secondsBetween, words } from './format.js'
import { Pill } from './Pill.js'
import { useEnrichmentStream } from './useEnrichmentStream.js'

const NOTHING = '–'

/** Whether it tells anything: before the first message there is nothing to count. */
const isKnown = ({ total_items: total, last_update: told }: EnrichmentState): boolean => total > 0 || told !== null

export interface EnrichmentProgressBarProps {
  readonly state: EnrichmentState
  /** The numbers below the bar. */
  readonly showStats?: boolean | undefined
  /** In px. */
  readonly height?: number | undefined
  /** Whether it moves while the work goes on; never for who wants less motion. */
  readonly animated?: boolean | undefined
}

/** How much of a bill of materials has an outcome, and which. */
export function EnrichmentProgressBar({ state, showStats = true, height = 12, animated = true }: EnrichmentProgressBarProps): ReactNode {
  const { total_items: total, enriched_items: enriched, failed_items: failed, not_found_items: unknown } = state
  const share = (part: number): number => (total > 0 ? (part / total) * 100 : 0)
  const isTold = isKnown(state)
  const text = !isTold ? 'not known yet' : `${percent(state.percent_complete)}: ${count(enriched)} enriched, ${count(unknown)} not found, ${count(failed)} failed of ${count(total)}`
  return (
    <div className="rowcast rowcast-progress">
      <Bar
        label="Enrichment"
        value={isTold ? state.percent_complete : null}
        text={text}
        height={height}
        animated={animated && state.status === 'enriching'}
        segments={[
          { kind: 'good', percent: share(enriched) },
          { kind: 'warn', percent: share(unknown) },
          { kind: 'bad', percent: share(failed) },
        ]}
      />
      {showStats ? (
        <p className="rowcast-caption" aria-hidden="true">
          <b>{isTold ? percent(state.percent_complete) : NOTHING}</b>
          {isTold ? <span>{count(enriched + failed + unknown)} of {count(total)}</span> : null}
        </p>
      ) : null}
    </div>
  )
}

const STAGES = ['queued', 'enriching', 'complete'] as const
const ENDINGS: Partial<Record<EnrichmentState['status'], string>> = {
  paused: 'Paused', stopped: 'Stopped', failed: 'Failed', completed: 'Complete', idle: 'Not started', connecting: 'Connecting',
}

export interface EnrichmentStageIndicatorProps {
  readonly state: EnrichmentState
  readonly showBatchProgress?: boolean | undefined
  /** One line in place of the steps. */
  readonly compact?: boolean | undefined
}

/** Where the work is: queued, enriching, complete, or what keeps it from getting there. */
export function EnrichmentStageIndicator({ state, showBatchProgress = true, compact = false }: EnrichmentStageIndicatorProps): ReactNode {
  const { status, current_stage: stage, current_batch: batch, total_batches: batches } = state
  const isComplete = status === 'completed'
  const at = isComplete ? STAGES.length : STAGES.indexOf(stage as (typeof STAGES)[number])
  const said = ENDINGS[status] ?? words(stage ?? status)
  const batchText = showBatchProgress && batch && batches ? `batch ${count(batch)} of ${count(batches)}` : null
  return (
    <div className="rowcast rowcast-stages" data-status={status}>
      <p role="status" className={compact ? undefined : 'rowcast-hidden'}>{said}</p>
      {compact ? (batchText ? <p className="rowcast-caption">{words(batchText)}</p> : null) : (
        <>
          <ol>
            {STAGES.map((name, index) => (
              <li
                key={name}
                data-state={index < at ? 'done' : index === at ? 'now' : 'next'}
                aria-current={index === at ? 'step' : undefined}
              >
                {words(name)}
              </li>
            ))}
          </ol>
          {status === 'enriching' || isComplete ? null : <Pill status={status} />}
          {batchText ? <p className="rowcast-caption">{words(batchText)}</p> : null}
        </>
      )}
    </div>
  )
}

export interface EnrichmentStatsProps {
  readonly state: EnrichmentState
  readonly showTiming?: boolean | undefined
  readonly showQuality?: boolean | undefined
  readonly variant?: 'cards' | 'inline' | undefined
}

type Figure = readonly [name: string, value: string, kind?: string | undefined]

/** The numbers: outcomes, how long it took and takes, and how much was found. */
export function EnrichmentStats({ state, showTiming = true, showQuality = true, variant = 'cards' }: EnrichmentStatsProps): ReactNode {
  const { enriched_items: enriched, failed_items: failed, not_found_items: unknown, pending_items: pending } = state
  const done = enriched + failed + unknown
  const seconds = secondsBetween(state.started_at, state.completed_at ?? state.failed_at ?? state.last_update)
  const counted = (name: string, value: number, kind?: string): Figure => [name, isKnown(state) ? count(value) : NOTHING, value > 0 ? kind : undefined]
  const figures: Figure[] = [
    counted('Items', state.total_items), counted('Enriched', enriched, 'good'), counted('Not found', unknown, 'warn'),
    counted('Failed', failed, 'bad'), counted('Pending', pending),
  ]
  if (showQuality && done > 0) figures.push(['Found', percent((enriched / done) * 100)])
  if (showTiming && seconds !== null) {
    figures.push(['Time', duration(seconds)])
    if (state.status === 'enriching' && done > 0 && pending > 0) figures.push(['Left, about', duration((seconds / done) * pending)])
  }
  return (
    <dl className="rowcast rowcast-figures" data-variant={variant}>
      {figures.map(([name, value, kind]) => (
        <div key={name} data-kind={kind}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

function ComponentRow({ component }: { readonly component: Component }): ReactNode {
  const data = component.enrichment_data
  const datasheet = link(data?.datasheet_url)
  const about = component.error_message ?? data?.description ?? component.manufacturer
  return (
    <li>
      <span className="rowcast-part">{component.mpn ?? 'No part number'}</span>
      <Pill status={component.status} />
      <span className="rowcast-about">{about}</span>
      {datasheet ? <a href={datasheet} target="_blank" rel="noreferrer noopener">Datasheet<span className="rowcast-hidden"> of {component.mpn}</span></a> : null}
    </li>
  )
}

export interface EnrichmentMonitorPanelProps {
  readonly bomId: string
  /** The project that it is in: then another run is followed too, whoever begins it. */
  readonly projectId?: string | undefined
  readonly filename?: string | undefined
  readonly enabled?: boolean | undefined
  readonly showStats?: boolean | undefined
  readonly showComponentFeed?: boolean | undefined
  readonly showStage?: boolean | undefined
  readonly onComplete?: ((state: EnrichmentState) => void) | undefined
  readonly onError?: ((error: Problem) => void) | undefined
}

/** All of an enrichment: connection, stage, progress, numbers, and the parts as they get their outcome. */
export function EnrichmentMonitorPanel({
  bomId, projectId, filename, enabled = true, showStats = true, showComponentFeed = true, showStage = true, onComplete, onError,
}: EnrichmentMonitorPanelProps): ReactNode {
  const stream = useEnrichmentStream({ bomId, projectId, enabled, onComplete, onError })
  const { state, components, status, error, reconnect } = stream
  const name = filename ?? 'Bill of materials'
  const wrong = state.error_message ?? (status === 'ended' ? error?.message : null)
  return (
    <section className="rowcast rowcast-panel" aria-label={`Enrichment of ${name}`}>
      <header>
        <h2>{name}</h2>
        <ConnectionBadge status={status} error={error} onReconnect={reconnect} />
      </header>
      {wrong ? <p role="alert" className="rowcast-alert">{wrong}</p> : null}
      {showStage ? <EnrichmentStageIndicator state={state} /> : null}
      <EnrichmentProgressBar state={state} />
      {showStats ? <EnrichmentStats state={state} /> : null}
      {showComponentFeed ? (
        <div className="rowcast-feed" role="region" aria-label="Latest parts" tabIndex={0}>
          {components.length === 0 ? <p className="rowcast-empty">No part has been looked up yet.</p> : (
            <ul>{components.map((component) => <ComponentRow key={component.line_item_id} component={component} />)}</ul>
          )}
        </div>
      ) : null}
    </section>
  )
}
