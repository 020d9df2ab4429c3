// The messages as the service's own tests hold them (tests/wire): what the client reads is what is sent.

import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { EnrichmentEvents, PipelineEvents, PipelinesEvents, ProjectEvents } from '../src/events.gen.js'

function golden<Events>(stream: string): Events {
  const folder = join(import.meta.dirname, '../../tests/wire', stream)
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return Object.fromEntries(
    files.map((file) => [basename(file, '.json'), JSON.parse(readFileSync(join(folder, file), 'utf8'))]),
  ) as Events
}

export const project = golden<ProjectEvents>('project')
export const enrichment = golden<EnrichmentEvents>('enrichment')
export const pipeline = golden<PipelineEvents>('pipeline')
export const pipelines = golden<PipelinesEvents>('pipelines')

/** An event as the connection tells it. */
export const told = <Name extends string, Data>(event: Name, data: Data): { event: Name; data: Data } => ({ event, data })
