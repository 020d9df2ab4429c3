import type { ReactNode } from 'react'
import { percent } from './format.js'

export interface Segment {
  readonly kind: 'good' | 'warn' | 'bad' | 'accent'
  /** From 0 to 100. */
  readonly percent: number
}

export interface BarProps {
  /** What it is the progress of. */
  readonly label: string
  /** From 0 to 100; null while it can't be known. */
  readonly value: number | null
  /** What a screen reader says in place of the number. */
  readonly text?: string | undefined
  readonly segments?: readonly Segment[] | undefined
  /** In px. */
  readonly height?: number | undefined
  readonly animated?: boolean | undefined
}

export function Bar({ label, value, text, segments, height, animated = false }: BarProps): ReactNode {
  const shown = segments ?? [{ kind: 'accent', percent: value ?? 100 }]
  return (
    <div
      className="rowcast-bar"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={value ?? undefined}
      aria-valuetext={text ?? (value === null ? 'in progress' : percent(value))}
      data-animated={animated || undefined}
      data-unknown={value === null || undefined}
      style={height === undefined ? undefined : { blockSize: height }}
    >
      {shown.map((segment) => (
        <span key={segment.kind} data-kind={segment.kind} style={{ inlineSize: `${Math.min(100, Math.max(0, segment.percent))}%` }} />
      ))}
    </div>
  )
}
