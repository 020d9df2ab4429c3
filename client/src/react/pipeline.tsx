import type { ReactNode } from 'react'
import type { PipelineProgress as Progress, PoolWorker, Stage } from '../events.gen.js'
import { Bar } from './Bar.js'
import { ConnectionBadge } from './ConnectionBadge.js'
import { count, duration, percent, words } from './format.js'
import { Pill } from './Pill.js'
import { usePipelineProgress } from './usePipelineProgress.js'

export interface PipelineProgressProps {
  readonly jobId: string
  /** The job's, where it is known: then another one is followed too. */
  readonly attempt?: number | undefined
  readonly enabled?: boolean | undefined
  readonly onComplete?: ((jobId: string) => void) | undefined
  readonly onError?: ((message: string, jobId: string) => void) | undefined
}

/** What happens inside a job, live: its stages, workers, counters and time. */
export function PipelineProgress({ jobId, attempt, enabled = true, onComplete, onError }: PipelineProgressProps): ReactNode {
  const { progress, jobs, status, error, reconnect } = usePipelineProgress({ jobId, attempt, enabled, onComplete, onError })
  const failure = jobs[0]?.error ?? (status === 'ended' ? error?.message : null)
  return (
    <section className="rowcast rowcast-panel" aria-label={`Pipeline of ${progress?.document_name ?? 'a job'}`}>
      <header>
        <h2>{progress?.document_name ?? 'Pipeline'}</h2>
        <ConnectionBadge status={status} error={jobs[0]?.error ? null : error} onReconnect={reconnect} />
      </header>
      {failure ? <p role="alert" className="rowcast-alert">{failure}</p> : null}
      {progress && !isSilent(progress) ? <PipelineBoard progress={progress} /> : <p className="rowcast-empty">It has told of no stages.</p>}
    </section>
  )
}

/** Of a job that never told of its insides, what there is are zeros. */
const isSilent = ({ stages, worker_pool: pool, metrics }: Progress): boolean =>
  Object.keys(stages).length === 0 && pool.workers.length === 0 && Object.values(metrics).every((value) => value === 0)

/** The same of what is known already. */
export function PipelineBoard({ progress }: { readonly progress: Progress }): ReactNode {
  const { stages, worker_pool: pool, metrics, timing, overall_progress_percent: overall, log } = progress
  const left = timing.estimated_remaining_ms
  const isDone = overall >= 100
  return (
    <div className="rowcast rowcast-pipeline">
      <Bar label="The whole job" value={overall} animated={!isDone} />
      <p className="rowcast-caption">
        <b>{percent(overall)}</b>
        <span>
          {duration(timing.elapsed_ms / 1000)}{left === null || isDone ? '' : `, about ${duration(left / 1000)} left`}
        </span>
      </p>
      <ol className="rowcast-rows" aria-label="Stages">
        {Object.entries(stages).map(([name, stage]) => <StageRow key={name} name={name} stage={stage} />)}
      </ol>
      {pool.max > 0 || pool.workers.length > 0 ? (
        <div className="rowcast-pool">
          <h3>Workers</h3>
          <p className="rowcast-caption">{pool.active} of {pool.max} busy, {count(pool.queue_depth)} waiting</p>
          <ul aria-label="Workers">{pool.workers.map((worker, index) => <WorkerRow key={worker.id || index} worker={worker} />)}</ul>
        </div>
      ) : null}
      <dl className="rowcast-figures" data-variant="cards">
        {Object.entries(metrics).map(([name, value]) => (
          <div key={name}><dt>{words(name)}</dt><dd>{count(value)}</dd></div>
        ))}
      </dl>
      {log.length > 0 ? (
        <details>
          <summary>Log</summary>
          <div className="rowcast-log" role="region" aria-label="Log" tabIndex={0}>
            <ol>
              {log.map((line, index) => (
                <li key={index} data-level={line.level}><time dateTime={line.time}>{line.time.slice(11, 19)}</time> {line.message}</li>
              ))}
            </ol>
          </div>
        </details>
      ) : null}
    </div>
  )
}

function StageRow({ name, stage }: { readonly name: string; readonly stage: Stage }): ReactNode {
  const { processed, total, in_flight: now, duration_ms: took, parent } = stage
  return (
    <li data-status={stage.status} data-nested={parent === null ? undefined : true} aria-current={stage.status === 'in_progress' ? 'step' : undefined}>
      <div className="rowcast-row">
        <span className="rowcast-title">{words(stage.name || name)}</span>
        <span className="rowcast-side">
          <span className="rowcast-muted">
            {[
              total === null ? count(processed) : `${count(processed)} of ${count(total)}`,
              now > 0 ? `${count(now)} at work` : null,
              took === null ? null : duration(took / 1000),
            ].filter(Boolean).join(', ')}
          </span>
          <Pill status={stage.status} />
        </span>
      </div>
      <Bar label={words(stage.name || name)} value={stage.is_complete ? 100 : stage.progress_percent} height={4} animated={stage.status === 'in_progress'} />
    </li>
  )
}

function WorkerRow({ worker }: { readonly worker: PoolWorker }): ReactNode {
  return (
    <li data-status={worker.status}>
      <span>{`Worker ${worker.id}`}</span>
      <span className="rowcast-muted">{worker.current_chunk ?? words(worker.status)}</span>
      {worker.status === 'processing' ? <Bar label={`Worker ${worker.id}`} value={worker.progress_percent} height={4} /> : null}
    </li>
  )
}
