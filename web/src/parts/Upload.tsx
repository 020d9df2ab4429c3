'use client'

import type { BomAnswer, StartAnswer } from '@rowcast/client'
import { useRequest } from '@rowcast/client/react'
import { useRouter } from 'next/navigation'
import { type DragEvent, type ReactNode, useState } from 'react'
import { problem } from '../act'

export interface UploadProps {
  readonly projectId: string
  /** A file was taken, but its enrichment did not begin. */
  readonly onTaken: () => void
}

/** Takes a bill of materials, begins its enrichment and goes to where it can be watched. */
export function Upload({ projectId, onTaken }: UploadProps): ReactNode {
  const request = useRequest()
  const router = useRouter()
  const [error, setError] = useState<string | null>(null)
  const [name, setName] = useState<string | null>(null) // of the file that is on its way
  const [isOver, setOver] = useState(false)

  const take = async (file: File | undefined): Promise<void> => {
    if (!file || name !== null) return
    setName(file.name)
    setError(null)
    const body = new FormData()
    body.append('file', file)
    let isTaken = false
    try {
      const made = await request<BomAnswer>(`/api/projects/${projectId}/boms`, { method: 'POST', body })
      isTaken = true
      await request<StartAnswer>(`/api/boms/${made.bom_id}/enrichment/start`, { method: 'POST' })
      router.push(`/bom?id=${made.bom_id}`)
    } catch (reason) {
      setError(isTaken ? `${file.name} was taken, but its enrichment has not begun. Open it to begin.` : problem(reason))
      setName(null)
      if (isTaken) onTaken()
    }
  }
  const drop = (event: DragEvent): void => {
    event.preventDefault()
    setOver(false)
    void take(event.dataTransfer.files[0])
  }

  return (
    <div className="upload">
      <label
        data-over={isOver || undefined}
        onDragOver={(event) => {
          event.preventDefault()
          setOver(true)
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <input
          type="file"
          accept=".csv,.tsv,.txt,text/csv"
          disabled={name !== null}
          onChange={(event) => {
            void take(event.target.files?.[0])
            event.target.value = ''
          }}
        />
        <b>{name === null ? 'Upload a bill of materials' : `Reading ${name} …`}</b>
        <span className="muted">A CSV as your CAD tool exports it: choose a file, or drop it here. Enrichment begins at once.</span>
      </label>
      {error ? <p role="alert" className="wrong">{error}</p> : null}
    </div>
  )
}
