'use client'

// Who is signed in, and with that the way to Supabase and to the service.

import { RowcastProvider } from '@rowcast/client/react'
import { createClient, type Session, type SupabaseClient } from '@supabase/supabase-js'
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from 'react'
import { SignIn } from './parts/SignIn'
import { Failure, Loading } from './parts/states'
import { attempt } from './rows'

/** Where the service is; '' where it serves this page itself. */
export const SERVICE = process.env.NEXT_PUBLIC_ROWCAST_URL ?? ''

interface Config {
  readonly supabaseUrl: string
  readonly publishableKey: string
}

interface SignedIn {
  readonly supabase: SupabaseClient
  readonly session: Session
}

const Context = createContext<SignedIn | null>(null)

export function useSession(): SignedIn {
  const signedIn = useContext(Context)
  if (!signedIn) throw new Error('useSession is for what <Signed> holds')
  return signedIn
}

let made: SupabaseClient | null = null // one a page: two would refresh the same session

/** Of the build, or else of the service that serves this page. */
async function configuration(): Promise<Config> {
  const [supabaseUrl, publishableKey] = [process.env.NEXT_PUBLIC_SUPABASE_URL, process.env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY]
  if (supabaseUrl && publishableKey) return { supabaseUrl, publishableKey }
  const response = await fetch(`${SERVICE}/config.json`).catch(() => {
    throw new Error('It does not answer.')
  })
  if (!response.ok) throw new Error(`It answered ${response.status}.`)
  return (await response.json()) as Config
}

async function connected(): Promise<SupabaseClient> {
  if (made) return made
  const { supabaseUrl, publishableKey } = await configuration()
  made ??= createClient(supabaseUrl, publishableKey, { auth: { detectSessionInUrl: false, storageKey: 'rowcast-session' } })
  return made
}

/** Shows its children to who is signed in, and a form to all others. */
export function Signed({ children }: { readonly children: ReactNode }): ReactNode {
  const [supabase, setSupabase] = useState<SupabaseClient | null>(null)
  const [session, setSession] = useState<Session | null | undefined>(undefined) // undefined: not known yet
  const [error, setError] = useState<string | null>(null)
  const [tries, setTries] = useState(0)
  const again = useCallback(() => setTries((count) => count + 1), [])

  useEffect(() => attempt(async (isOver) => {
    const client = await connected()
    if (isOver()) return
    setError(null)
    setSupabase(client)
  }, setError, again), [tries, again])
  useEffect(() => {
    const told = supabase?.auth.onAuthStateChange((_, current) => setSession(current))
    return () => told?.data.subscription.unsubscribe()
  }, [supabase])

  const getToken = useCallback(
    async ({ fresh }: { readonly fresh: boolean }) => {
      if (!supabase) return null
      const { data } = fresh ? await supabase.auth.refreshSession() : await supabase.auth.getSession()
      return data.session?.access_token ?? null
    },
    [supabase],
  )

  if (error !== null) {
    return (
      <Failure title="The service can’t be reached" action="Try again" onAction={again}>
        This page needs it to know where to sign in. {error}
      </Failure>
    )
  }
  if (!supabase || session === undefined) return <Loading what="Opening" />
  if (session === null) return <SignIn supabase={supabase} />
  return (
    <RowcastProvider key={session.user.id} url={SERVICE} getToken={getToken}>
      <Context.Provider value={{ supabase, session }}>{children}</Context.Provider>
    </RowcastProvider>
  )
}
