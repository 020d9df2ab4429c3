import type { ReactNode } from 'react'
import { words } from './format.js'

const KINDS: Record<string, string> = {
  completed: 'good', enriched: 'good', accepted: 'good',
  running: 'accent', processing: 'accent', enriching: 'accent', in_progress: 'accent', proposed: 'accent',
  failed: 'bad', error: 'bad', stalled: 'warn', paused: 'warn', not_found: 'warn',
}

/** A status in a word. */
export function Pill({ status }: { readonly status: string }): ReactNode {
  return <span className="rowcast-pill" data-kind={KINDS[status] ?? 'none'}>{words(status)}</span>
}
