import { useCallback } from 'react'
import { environment } from '../environment.js'
import type { Problem } from '../feed.js'
import { problemOf } from '../link.js'
import { useClient } from './provider.js'

/** What the service answers in place of what was asked for. */
export class RequestError extends Error implements Problem {
  override readonly name = 'RequestError'

  constructor(readonly status: number, readonly code: string, message: string) {
    super(message)
  }
}

/** Asks the service as whoever is signed in: `await request('/api/jobs/…/cancel', { method: 'POST' })`. */
export type MakeRequest = <Answer = unknown>(path: string, init?: RequestInit) => Promise<Answer>

/** Throws {@link RequestError} where the service refuses; an answer without a body is null. */
export function useRequest(): MakeRequest {
  const client = useClient()
  return useCallback(
    async <Answer>(path: string, init: RequestInit = {}) => {
      const { url, getToken, environment: world = environment } = client.options
      const send = async (fresh: boolean): Promise<Response> => {
        const headers = new Headers(init.headers)
        const token = await getToken({ fresh })
        if (token) headers.set('Authorization', `Bearer ${token}`)
        return world.fetch(url.replace(/\/+$/, '') + path, { ...init, headers })
      }
      let response = await send(false)
      if (response.status === 401) response = await send(true)
      if (!response.ok) {
        const { code, message } = await problemOf(response)
        throw new RequestError(response.status, code, message)
      }
      const answer = await response.text()
      return (answer === '' ? null : JSON.parse(answer)) as Answer
    },
    [client],
  )
}
