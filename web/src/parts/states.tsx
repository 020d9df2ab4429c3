'use client'

// What a page shows when it has nothing to show: still loading, empty, failed, or not for this reader.

import type { ReactNode } from 'react'

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
      <h2>No {what} for you here</h2>
      <p>It does not exist, or you are not a member of its project (any more). Ask an owner to add you, then open it again.</p>
      <a className="button" href="/">Your projects</a>
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
