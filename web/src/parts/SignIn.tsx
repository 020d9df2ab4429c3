'use client'

import type { AuthError, SupabaseClient } from '@supabase/supabase-js'
import { type FormEvent, type ReactNode, useEffect, useState } from 'react'

export function SignIn({ supabase }: { readonly supabase: SupabaseClient }): ReactNode {
  const [error, setError] = useState<string | null>(null)
  const [isBusy, setBusy] = useState(false)
  useEffect(() => {
    document.title = 'Sign in · rowcast'
  }, [])

  const signIn = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    setBusy(true)
    setError(null)
    const { error: refused } = await supabase.auth.signInWithPassword({
      email: String(form.get('email')).trim(),
      password: String(form.get('password')),
    })
    setBusy(false)
    if (refused) setError(told(refused))
  }

  const told = ({ status, message, name }: AuthError): string => {
    if (status === 400) return 'That e-mail and password do not go together.'
    return name === 'AuthRetryableFetchError' ? 'Sign-in can’t be reached just now. Try again in a moment.' : message
  }

  return (
    <main className="signin">
      <form onSubmit={(event) => void signIn(event)} aria-label="Sign in">
        <p className="brand" aria-hidden="true"><i />rowcast</p>
        <h1>See the work as it happens</h1>
        <p className="muted">Jobs, sources and bills of materials of your projects, live. Sign in to see them.</p>
        <label>
          E-mail
          <input name="email" type="email" autoComplete="username" required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {error ? <p role="alert" className="wrong">{error}</p> : null}
        <button type="submit" className="button primary" disabled={isBusy}>{isBusy ? 'Signing in …' : 'Sign in'}</button>
      </form>
    </main>
  )
}
