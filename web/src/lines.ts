// The lines of a bill of materials: read once as rows, then kept up to date by what the stream tells of each.

import type { Component } from '@rowcast/client'
import type { SupabaseClient } from '@supabase/supabase-js'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { attempt, type LineRow, lines } from './rows'

/** ms. A hundred outcomes a second are shown in a few renders: sorting twenty thousand lines takes its time. */
const SHOWN_EVERY = 120

export interface UsedLines {
  /** By their numbers. */
  readonly rows: readonly LineRow[]
  readonly isReady: boolean
  readonly error: string | null
  /** Reads all of them again; what is there stays until then. */
  readonly reload: () => void
  /** Takes what the stream tells of one. */
  readonly tell: (component: Component) => void
}

export function useLines(supabase: SupabaseClient, bomId: string): UsedLines {
  const known = useRef(new Map<string, LineRow>())
  const told = useRef(new Map<string, Component>()) // an outcome may come before its row has been read
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const [rows, setRows] = useState<readonly LineRow[]>([])
  const [isReady, setReady] = useState(false)
  const [error, setError] = useState<string | null>(null)
  const [tries, setTries] = useState(0)

  const show = useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      setRows([...known.current.values()])
    }, SHOWN_EVERY)
  }, [])
  useEffect(() => () => {
    clearTimeout(timer.current)
    timer.current = undefined
  }, [])

  const reload = useCallback(() => setTries((count) => count + 1), [])
  useEffect(() => {
    const read = (isOver: () => boolean): Promise<void> => lines(supabase, bomId, (some) => {
      if (isOver()) return false
      for (const row of some) known.current.set(row.id, latest(row, told.current.get(row.id)))
      setReady(true)
      setError(null)
      if (tries === 0) setRows([...known.current.values()])
      else show()
      return true
    })
    return attempt(read, setError, reload)
  }, [supabase, bomId, tries, show, reload])

  const tell = useCallback(
    (component: Component) => {
      told.current.set(component.line_item_id, component)
      const row = known.current.get(component.line_item_id)
      if (!row) return
      known.current.set(row.id, latest(row, component))
      show()
    },
    [show],
  )
  return useMemo(() => ({ rows, isReady, error, reload, tell }), [rows, isReady, error, reload, tell])
}

/** The row with what is newer of it. A row's time has microseconds, a component's of the same write milliseconds. */
function latest(row: LineRow, component: Component | undefined): LineRow {
  if (!component || Date.parse(component.updated_at) < Date.parse(row.updated_at)) return row
  const { status, enrichment_data, error_message, updated_at } = component
  return { ...row, status, error_message, updated_at, enrichment_data: enrichment_data as LineRow['enrichment_data'] }
}
