import { type MakeRequest, useRequest } from '@rowcast/client/react'
import { useCallback, useState } from 'react'

/** What a person is told of something that did not work. */
export function problem(reason: unknown): string {
  if (reason instanceof TypeError) return 'The service can’t be reached just now. Nothing was changed.' // fetch's word for it
  return reason instanceof Error ? reason.message : String(reason)
}

/** Runs commands one by one as they are given; `error` is why the last one did not work, until that is forgotten. */
export interface Acting {
  readonly act: (command: (request: MakeRequest) => Promise<unknown>) => Promise<void>
  readonly error: string | null
  readonly forget: () => void
}

export function useAct(): Acting {
  const request = useRequest()
  const [error, setError] = useState<string | null>(null)
  const act = useCallback(
    async (command: (request: MakeRequest) => Promise<unknown>) => {
      setError(null)
      try {
        await command(request)
      } catch (reason) {
        setError(problem(reason))
      }
    },
    [request],
  )
  const forget = useCallback(() => setError(null), [])
  return { act, error, forget }
}

export const json = (method: string, body: unknown): RequestInit => ({
  method, body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' },
})
