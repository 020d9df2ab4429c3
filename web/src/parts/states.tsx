'use client'

// What a page shows when it has nothing to show: still loading, empty, failed, or not for this reader.

import Link from 'next/link'
import type { ReactNode } from 'react'
import type { Acting } from '../act'

export function Loading({ what }: { readonly what: string }): ReactNode {
  return (
    <div className="state" role="status">
      <span className="skeleton" aria-hidden="true" />
      <span className="skeleton" aria-hidden="true" />
      <span className="skeleton" aria-hidden="true" />
      <span className="hidden">{what} …</span>
    </div>
  )
}

/** Why a command did not work, where it is seen however far down the page it was given. */
export function Refusal({ acting: { error, forget } }: { readonly acting: Acting }): ReactNode {
  if (error === null) return null
  return (
    <div className="refusal" role="alert">
      <p>{error}</p>
      <button type="button" className="button small" onClick={forget}>Close</button>
    </div>
  )
}

export interface FailureProps {
  readonly title: string
  readonly children: ReactNode
  readonly action?: string
  readonly onAction?: () => void
}

export function Failure({ title, children, action, onAction }: FailureProps): ReactNode {
  return (
    <div className="state" role="alert">
      <h2>{title}</h2>
      <p>{children}</p>
      {action ? <button type="button" className="button primary" onClick={onAction}>{action}</button> : null}
    </div>
  )
}

/** For what does not exist and for what the reader may not see alike: the service does not tell one from the other. */
export function NoAccess({ what }: { readonly what: string }): ReactNode {
  return (
    <div className="state" role="alert">
      <p>There is no such {what}, or you are not a member of {what === 'project' ? 'it' : 'its project'} (any more). Ask an owner to add you, then open it again.</p>
      <Link className="button" href="/">Your projects</Link>
    </div>
  )
}

export function Empty({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactNode {
  return (
    <div className="empty">
      <p><b>{title}</b></p>
      <p>{children}</p>
    </div>
  )
}
