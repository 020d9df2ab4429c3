'use client'

// The frame of every page: where one is, how what one sees comes here, and who one is.

import type { Problem, Status } from '@rowcast/client'
import { ConnectionBadge } from '@rowcast/client/react'
import Link from 'next/link'
import { type ReactNode, useEffect } from 'react'
import { useSession } from '../session'

export interface Connected {
  readonly status: Status
  readonly error: Problem | null
  readonly reconnect: () => void
}

export interface PageProps {
  readonly title: string
  /** The pages above this one, as [name, address]. */
  readonly above?: readonly (readonly [string, string])[]
  /** The stream that the page shows. */
  readonly connection?: Connected
  readonly children: ReactNode
}

export function Page({ title, above = [], connection, children }: PageProps): ReactNode {
  const { supabase, session } = useSession()
  useEffect(() => {
    document.title = `${title} · rowcast`
  }, [title])
  return (
    <>
      <header className="top">
        <nav aria-label="Where you are">
          <Link href="/" className="brand"><i aria-hidden="true" />rowcast</Link>
          {above.map(([name, address]) => <Link key={address} href={address}>{name}</Link>)}
        </nav>
        <span className="who">
          {connection ? <ConnectionBadge status={connection.status} error={connection.error} onReconnect={connection.reconnect} /> : null}
          <span className="muted email">{session.user.email}</span>
          <button type="button" className="button small" onClick={() => void supabase.auth.signOut({ scope: 'local' })}>Sign out</button>
        </span>
      </header>
      <main>
        {connection ? <Notice {...connection} /> : null}
        <h1>{title}</h1>
        {children}
      </main>
    </>
  )
}

/** In words what the badge says in one, as long as something is not as it should be. */
function Notice({ status, error }: Connected): ReactNode {
  const said: Partial<Record<Status, string>> = {
    offline: 'You are offline. What you see is as it was; it catches up by itself once you are back.',
    polling: 'Live updates do not get through just now. The page asks every few seconds instead.',
    connecting: error ? 'The connection was lost. Trying again …' : '',
  }
  const text = said[status]
  return text ? <p className="notice">{text}</p> : null
}
