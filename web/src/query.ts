'use client'

import { useSearchParams } from 'next/navigation'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** An id of the address, null where there is none that could be: static pages have no other way to be told. */
export function useId(name = 'id'): string | null {
  const id = useSearchParams().get(name)
  return id !== null && UUID.test(id) ? id.toLowerCase() : null
}
