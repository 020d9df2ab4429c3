// Rows that are read with supabase-js, as the reader: row level security says which.

import type { SupabaseClient } from '@supabase/supabase-js'
import { useCallback, useEffect, useState } from 'react'

export interface ProjectRow {
  readonly id: string
  readonly name: string
  readonly organizations: { readonly name: string } | null
  readonly project_members: readonly { readonly user_id: string; readonly role: 'owner' | 'editor' | 'viewer' }[]
}

export interface BomRow {
  readonly id: string
  readonly project_id: string
  readonly filename: string
  readonly status: string
  readonly total_items: number
  readonly created_at: string
}

export interface LineRow {
  readonly id: string
  readonly line_number: number
  readonly reference: string | null
  readonly quantity: number | null
  readonly mpn: string | null
  readonly manufacturer: string | null
  readonly description: string | null
  readonly status: 'pending' | 'enriching' | 'enriched' | 'failed' | 'not_found'
  readonly enrichment_data: Readonly<Record<string, unknown>> | null
  readonly error_message: string | null
  readonly updated_at: string
}

const PROJECT = 'id,name,organizations(name),project_members(user_id,role)'
const BOM = 'id,project_id,filename,status,total_items,created_at'
const LINE = 'id,line_number,reference,quantity,mpn,manufacturer,description,status,enrichment_data,error_message,updated_at'
/** So many of a project's bills of materials are listed, the newest. */
export const BOMS_LISTED = 100
/** As many as Supabase gives at once unless it is told otherwise. */
const LINES_A_REQUEST = 1000

interface Answer<Row> {
  readonly data: Row | null
  readonly error: { readonly message: string; readonly code: string } | null
}

async function got<Row>(asked: PromiseLike<Answer<unknown>>): Promise<Row> {
  const { data, error } = await asked
  if (error) throw new Error(error.code ? error.message : 'The database can’t be reached just now.')
  return data as Row
}

export const projects = (from: SupabaseClient): Promise<ProjectRow[]> => got(from.from('projects').select(PROJECT).order('name'))

export const project = (from: SupabaseClient, id: string): Promise<ProjectRow | null> =>
  got(from.from('projects').select(PROJECT).eq('id', id).maybeSingle())

export const boms = (from: SupabaseClient, projectId: string): Promise<BomRow[]> =>
  got(from.from('boms').select(BOM).eq('project_id', projectId).order('created_at', { ascending: false }).limit(BOMS_LISTED))

export const bom = (from: SupabaseClient, id: string): Promise<BomRow | null> =>
  got(from.from('boms').select(BOM).eq('id', id).maybeSingle())

/** All lines of a bill of materials, in order; `told` gets those of each request, and says whether to go on. */
export async function lines(from: SupabaseClient, bomId: string, told: (rows: readonly LineRow[]) => boolean): Promise<void> {
  for (let last = 0, isMore = true; isMore; ) {
    const asked = from.from('bom_line_items').select(LINE).eq('bom_id', bomId).gt('line_number', last)
    const rows = await got<LineRow[]>(asked.order('line_number').limit(LINES_A_REQUEST))
    if (!told(rows)) return
    last = rows.at(-1)?.line_number ?? last
    isMore = rows.length === LINES_A_REQUEST
  }
}

/** ms */
const AGAIN_AFTER = 10_000

/** Begins `job`; where it fails, tells why, and calls `again` when the network is back or after a while. Returns what ends that. */
export function attempt(job: (isOver: () => boolean) => Promise<void>, failed: (why: string) => void, again: () => void): () => void {
  const stop = new AbortController()
  const { signal } = stop
  job(() => signal.aborted).catch((reason: unknown) => {
    if (signal.aborted) return
    failed(reason instanceof Error ? reason.message : String(reason))
    const timer = setTimeout(again, AGAIN_AFTER)
    signal.addEventListener('abort', () => clearTimeout(timer))
    window.addEventListener('online', again, { signal })
  })
  return () => stop.abort()
}

export interface Read<Row> {
  /** undefined until it is known. */
  readonly row: Row | undefined
  readonly error: string | null
  readonly again: () => void
}

/** What `read` gives; read anew when `key` changes, while what was there stays. null as a key reads nothing. */
export function useRead<Row>(key: string | null, read: () => Promise<Row>): Read<Row> {
  const [row, setRow] = useState<Row | undefined>(undefined)
  const [error, setError] = useState<string | null>(null)
  const [tries, setTries] = useState(0)
  const again = useCallback(() => setTries((count) => count + 1), [])
  useEffect(() => {
    if (key === null) return undefined
    return attempt(async (isOver) => {
      const found = await read()
      if (isOver()) return
      setRow(found)
      setError(null)
    }, setError, again)
  }, [key, tries]) // `read` is another function at each render; `key` says what it reads
  return { row, error, again }
}
