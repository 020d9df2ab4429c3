'use client'

// Up to twenty thousand lines in a table that holds only those in sight.

import { Pill } from '@rowcast/client/react'
import { type ReactNode, useDeferredValue, useMemo, useState } from 'react'
import type { LineRow } from '../rows'
import { Choice } from './lists'
import { Empty } from './states'

const ROW_PX = 60
const SEEN_PX = 600
const BEYOND = 6

const STATUSES = [
  ['all', 'All'], ['pending', 'Pending'], ['enriched', 'Enriched'], ['not_found', 'Not found'], ['failed', 'Failed'],
] as const
type Which = (typeof STATUSES)[number][0]

const COLUMNS = [
  ['line_number', 'Line'], ['mpn', 'Part'], ['reference', 'Place'], ['status', 'Status'], ['found', 'What is known'],
] as const
type Column = (typeof COLUMNS)[number][0]

const collator = new Intl.Collator('en', { numeric: true })
const about = (row: LineRow): string => row.error_message ?? text(row.enrichment_data?.description) ?? row.description ?? ''
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

function compare(one: LineRow, other: LineRow, by: Column): number {
  if (by === 'line_number') return one.line_number - other.line_number
  if (by === 'found') return collator.compare(about(one), about(other))
  return collator.compare(one[by] ?? '', other[by] ?? '') || one.line_number - other.line_number
}

function matches(row: LineRow, which: Which, words: readonly string[]): boolean {
  if (which !== 'all' && (which === 'pending' ? row.status !== 'pending' && row.status !== 'enriching' : row.status !== which)) return false
  if (words.length === 0) return true
  const all = `${row.mpn ?? ''} ${row.manufacturer ?? ''} ${row.reference ?? ''} ${row.description ?? ''} ${about(row)}`.toLowerCase()
  return words.every((word) => all.includes(word))
}

export function Lines({ rows }: { readonly rows: readonly LineRow[] }): ReactNode {
  const [which, setWhich] = useState<Which>('all')
  const [search, setSearch] = useState('')
  const [by, setBy] = useState<Column>('line_number')
  const [isDown, setDown] = useState(false)
  const [top, setTop] = useState(0)
  const asked = useDeferredValue(search)

  const found = useMemo(() => {
    const words = asked.toLowerCase().split(/\s+/).filter(Boolean)
    const some = rows.filter((row) => matches(row, which, words))
    if (by === 'line_number' && !isDown) return some // as they come
    return some.sort((one, other) => (isDown ? -1 : 1) * compare(one, other, by))
  }, [rows, which, asked, by, isDown])

  const start = Math.max(0, Math.min(Math.floor(top / ROW_PX), found.length) - BEYOND)
  const seen = found.slice(start, start + Math.ceil(SEEN_PX / ROW_PX) + 2 * BEYOND)
  const sort = (column: Column): void => {
    setDown(column === by && !isDown)
    setBy(column)
  }

  return (
    <>
      <div className="tools">
        <label className="search">
          <span className="hidden">Search the lines</span>
          <input type="search" placeholder="Search part, place, maker …" value={search} onChange={(event) => setSearch(event.target.value)} />
        </label>
        <Choice label="Lines with status" value={which} options={STATUSES} onChange={setWhich} />
        <p className="muted" role="status">{found.length.toLocaleString('en')} of {rows.length.toLocaleString('en')}</p>
      </div>
      <div className="lines" role="table" aria-label="Lines" aria-rowcount={found.length + 1}>
        <div role="rowgroup" className="head">
          <div role="row" aria-rowindex={1}>
            {COLUMNS.map(([column, name]) => (
              <span key={column} role="columnheader" aria-sort={by !== column ? 'none' : isDown ? 'descending' : 'ascending'}>
                <button type="button" onClick={() => sort(column)}>{name}<i aria-hidden="true">{by !== column ? '' : isDown ? ' ↓' : ' ↑'}</i></button>
              </span>
            ))}
          </div>
        </div>
        <div role="rowgroup" className="body" tabIndex={0} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
          <div role="presentation" style={{ height: found.length * ROW_PX }}>
            {seen.map((row, index) => <Line key={row.id} row={row} at={start + index} />)}
          </div>
        </div>
      </div>
      {found.length === 0 ? <Empty title="No such line">{rows.length === 0 ? 'The file had none.' : 'Search for less, or choose another status.'}</Empty> : null}
    </>
  )
}

function Line({ row, at }: { readonly row: LineRow; readonly at: number }): ReactNode {
  const { price, stock, supplier, lifecycle_status: lifecycle, datasheet_url: url } = row.enrichment_data ?? {}
  const datasheet = typeof url === 'string' && /^https?:\/\//i.test(url) ? url : null
  const facts = [
    text(supplier), typeof price === 'number' ? price.toLocaleString('en', { maximumFractionDigits: 4 }) : null,
    typeof stock === 'number' ? `${stock.toLocaleString('en')} in stock` : null, text(lifecycle),
  ].filter(Boolean).join(' · ')
  return (
    <div role="row" aria-rowindex={at + 2} className="line" style={{ transform: `translateY(${at * ROW_PX}px)` }}>
      <span role="cell" className="number">{row.line_number}</span>
      <span role="cell"><b>{row.mpn ?? 'No part number'}</b><small>{row.manufacturer}</small></span>
      <span role="cell" className="place"><span>{row.reference}</span><small>{row.quantity === null ? '' : `× ${row.quantity}`}</small></span>
      <span role="cell"><Pill status={row.status} /></span>
      <span role="cell" className="found">
        <span title={about(row)}>{about(row)}</span>
        <small>{facts}{datasheet ? <>{facts ? ' · ' : ''}<a href={datasheet} target="_blank" rel="noreferrer noopener">Datasheet</a></> : null}</small>
      </span>
    </div>
  )
}
