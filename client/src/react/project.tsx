import { type FocusEvent, type ReactNode, useEffect, useRef, useState } from 'react'
import type { Job, Proposal, Source } from '../events.gen.js'
import { Bar } from './Bar.js'
import { count, duration, percent, words } from './format.js'
import { Pill } from './Pill.js'

/** What a button does. While it is under way the button waits; that it failed is the caller's to tell. */
export type Action<Subject> = (subject: Subject) => void | Promise<unknown>

interface ActProps {
  readonly label: string
  /** What it is done to, for who does not see where the button is. */
  readonly subject: string
  readonly act: () => void | Promise<unknown>
}

function Act({ label, subject, act }: ActProps): ReactNode {
  const [isBusy, setBusy] = useState(false)
  const run = async (): Promise<void> => {
    if (isBusy) return
    setBusy(true)
    try {
      await act()
    } finally {
      setBusy(false)
    }
  }
  return (
    <button type="button" className="rowcast-button" aria-disabled={isBusy} aria-busy={isBusy} onClick={() => void run()}>
      {label}<span className="rowcast-hidden"> {subject}</span>
    </button>
  )
}

const controls = (row: Element | undefined): HTMLElement[] => [...(row?.querySelectorAll<HTMLElement>('a, button') ?? [])]

function Rows({ label, empty, children }: { readonly label: string; readonly empty: string; readonly children: readonly ReactNode[] }): ReactNode {
  const list = useRef<HTMLUListElement>(null)
  const focused = useRef<{ readonly control: Element; readonly row: number; readonly place: number } | null>(null)
  useEffect(() => { // a row that is decided on goes, and would take the focus of whoever uses the keyboard with it
    if (!focused.current || focused.current.control.isConnected) return
    const { row, place } = focused.current
    focused.current = null
    const rows = list.current?.children ?? []
    const next = controls(rows[Math.min(row, rows.length - 1)])
    if (document.activeElement === document.body) next[Math.min(place, next.length - 1)]?.focus()
  })
  const note = ({ target, currentTarget }: FocusEvent): void => {
    const row = [...currentTarget.children].findIndex((each) => each.contains(target))
    focused.current = { control: target, row, place: controls(currentTarget.children[row]).indexOf(target as HTMLElement) }
  }
  if (children.length === 0) return <p className="rowcast rowcast-empty">{empty}</p>
  return (
    <ul ref={list} className="rowcast rowcast-rows" aria-label={label} onFocus={note} onBlur={() => (focused.current = null)}>
      {children}
    </ul>
  )
}

const UNDER_WAY = new Set(['queued', 'running', 'paused', 'stalled'])
const AGAIN = new Set(['failed', 'stalled', 'stopped'])

export interface JobListProps {
  readonly jobs: readonly Job[]
  readonly label?: string | undefined
  /** What is there when no job is. */
  readonly empty?: string | undefined
  /** Offered for jobs that are under way. */
  readonly onCancel?: Action<Job> | undefined
  /** Offered for jobs that failed, were stopped or lost their worker. */
  readonly onRetry?: Action<Job> | undefined
  /** What stands instead of a job's title: a link, say. */
  readonly renderTitle?: ((job: Job) => ReactNode) | undefined
}

/** Jobs with their status, how far they are, and why they failed. */
export function JobList({ jobs, label = 'Jobs', empty = 'No jobs yet.', onCancel, onRetry, renderTitle }: JobListProps): ReactNode {
  return (
    <Rows label={label} empty={empty}>
      {jobs.map((job) => (
        <li key={job.jobId} data-status={job.status}>
          <div className="rowcast-row">
            <span className="rowcast-title">{renderTitle ? renderTitle(job) : job.title}</span>
            <span className="rowcast-side">
              <Pill status={job.status} />
              {onCancel && UNDER_WAY.has(job.status) ? (
                job.cancelRequested ? <span className="rowcast-muted">Stopping</span> : <Act label="Cancel" subject={job.title} act={() => onCancel(job)} />
              ) : null}
              {onRetry && AGAIN.has(job.status) ? <Act label="Retry" subject={job.title} act={() => onRetry(job)} /> : null}
            </span>
          </div>
          <JobProgress job={job} />
          {job.errorMessage !== null ? <p className="rowcast-alert">{job.errorMessage}</p> : null}
        </li>
      ))}
    </Rows>
  )
}

function JobProgress({ job }: { readonly job: Job }): ReactNode {
  const { progress, status, title } = job
  if (progress === null || !UNDER_WAY.has(status) || status === 'queued') return null
  const { stage, current, total, message, percent: done, etaSeconds } = progress
  return (
    <>
      <Bar label={title} value={done} height={6} animated={status === 'running'} />
      <p className="rowcast-caption">
        <span>{[stage === null ? null : words(stage), message].filter(Boolean).join(': ')}</span>
        <span>
          {[
            total === null ? count(current) : `${count(current)} of ${count(total)}`,
            done === null ? null : percent(done),
            etaSeconds === null ? null : `about ${duration(etaSeconds)} left`,
          ].filter(Boolean).join(', ')}
        </span>
      </p>
    </>
  )
}

export interface SourceListProps {
  readonly sources: readonly Source[]
  readonly label?: string | undefined
  readonly empty?: string | undefined
}

/** Sources with their status, and why they failed. */
export function SourceList({ sources, label = 'Sources', empty = 'No sources yet.' }: SourceListProps): ReactNode {
  return (
    <Rows label={label} empty={empty}>
      {sources.map((source) => (
        <li key={source.sourceId} data-status={source.status}>
          <div className="rowcast-row">
            <span className="rowcast-title">{source.sourceName}</span>
            <span className="rowcast-side"><Pill status={source.status} /></span>
          </div>
          {source.errorMessage !== null ? <p className="rowcast-alert">{source.errorMessage}</p> : null}
        </li>
      ))}
    </Rows>
  )
}

export interface ProposalListProps {
  readonly proposals: readonly Proposal[]
  readonly label?: string | undefined
  readonly empty?: string | undefined
  /** Offered for proposals that nobody has decided on. */
  readonly onDecide?: ((proposal: Proposal, status: 'accepted' | 'rejected') => void | Promise<unknown>) | undefined
}

/** Proposals with how sure their maker is, to accept or reject. */
export function ProposalList({ proposals, label = 'Proposals', empty = 'No proposals yet.', onDecide }: ProposalListProps): ReactNode {
  return (
    <Rows label={label} empty={empty}>
      {proposals.map((proposal) => (
        <li key={proposal.proposalId} data-status={proposal.status}>
          <div className="rowcast-row">
            <span className="rowcast-title">{proposal.title}</span>
            <span className="rowcast-side">
              {proposal.confidence === null ? null : <span className="rowcast-muted">{percent(proposal.confidence * 100)} sure</span>}
              {onDecide && proposal.status === 'proposed' ? (
                <>
                  <Act label="Accept" subject={proposal.title} act={() => onDecide(proposal, 'accepted')} />
                  <Act label="Reject" subject={proposal.title} act={() => onDecide(proposal, 'rejected')} />
                </>
              ) : <Pill status={proposal.status} />}
            </span>
          </div>
        </li>
      ))}
    </Rows>
  )
}
