'use client'

import { type ReactNode, useState } from 'react'

export interface SectionProps {
  readonly title: string
  readonly count?: number
  readonly aside?: ReactNode
  readonly children: ReactNode
}

export function Section({ title, count, aside, children }: SectionProps): ReactNode {
  return (
    <section className="section" aria-label={title}>
      <header>
        <h2>{title}{count === undefined ? null : <span className="count">{count.toLocaleString('en')}</span>}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}

export interface FewerProps<Row> {
  readonly rows: readonly Row[]
  readonly first: number
  readonly children: (rows: readonly Row[]) => ReactNode
}

/** The first rows, and more when asked: a project may have thousands. */
export function Fewer<Row>({ rows, first, children }: FewerProps<Row>): ReactNode {
  const [shown, setShown] = useState(first)
  const left = rows.length - shown
  return (
    <>
      {children(rows.slice(0, shown))}
      {left > 0 ? (
        <button type="button" className="button small" onClick={() => setShown(shown + 50)}>
          {left > 50 ? `Show 50 more of ${left.toLocaleString('en')}` : `Show ${left} more`}
        </button>
      ) : null}
    </>
  )
}

export interface ChoiceProps<Value extends string> {
  readonly label: string
  readonly value: Value
  readonly options: readonly (readonly [Value, string])[]
  readonly onChange: (value: Value) => void
}

/** One of a few, as buttons. */
export function Choice<Value extends string>({ label, value, options, onChange }: ChoiceProps<Value>): ReactNode {
  return (
    <div className="choice" role="group" aria-label={label}>
      {options.map(([option, name]) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => onChange(option)}>{name}</button>
      ))}
    </div>
  )
}
