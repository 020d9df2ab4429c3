import type { ReactNode } from 'react'
import type { Problem } from '../feed.js'
import type { Status } from '../link.js'

const SAID: Record<Status, readonly [label: string, hint: string]> = {
  idle: ['Paused', 'Nothing is being watched.'],
  connecting: ['Connecting', 'What you see may be a little old.'],
  live: ['Live', 'Changes appear as they happen.'],
  delayed: ['Delayed', 'Changes appear within a second or two.'],
  polling: ['Polling', 'Live updates do not get through: asking again every few seconds.'],
  offline: ['Offline', 'No connection. It goes on by itself.'],
  ended: ['Ended', 'Nothing more will happen here.'],
}

export interface ConnectionBadgeProps {
  readonly status: Status
  readonly error?: Problem | null | undefined
  /** Offers to try at once while there is no stream. */
  readonly onReconnect?: (() => void) | undefined
}

/** How what is on the page comes to it; its changes are told to screen readers, politely. */
export function ConnectionBadge({ status, error = null, onReconnect }: ConnectionBadgeProps): ReactNode {
  const [label, hint] = status === 'ended' && error ? (['Stopped', error.message] as const) : SAID[status]
  const canTry = onReconnect && (status === 'connecting' || status === 'polling' || status === 'offline' || (status === 'ended' && error))
  return (
    <span className="rowcast rowcast-badge" data-status={status} data-error={(status === 'ended' && error !== null) || undefined}>
      <span role="status" title={error && status !== 'live' ? error.message : hint}>
        <i aria-hidden="true" />
        {label}
        <span className="rowcast-hidden">. {hint}</span>
      </span>
      {canTry ? (
        <button type="button" className="rowcast-link" onClick={onReconnect}>Try now</button>
      ) : null}
    </span>
  )
}
