// The messages as the service's own tests hold them (tests/wire): what the client reads is what is sent.

import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { EnrichmentEvents, PipelineEvents, PipelinesEvents, ProjectEvents } from '../src/events.gen.js'

function golden<Events>(stream: string): Events {
  const folder = new URL(`../../tests/wire/${stream}/`, import.meta.url)
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return Object.fromEntries(
    files.map((file) => [basename(file, '.json'), JSON.parse(readFileSync(new URL(file, folder), 'utf8'))]),
  ) as Events
}

export const project = golden<ProjectEvents>('project')
export const enrichment = golden<EnrichmentEvents>('enrichment')
export const pipeline = golden<PipelineEvents>('pipeline')
export const pipelines = golden<PipelinesEvents>('pipelines')

/** An event as the connection tells it. */
export const told = <Name extends string, Data>(event: Name, data: Data): { event: Name; data: Data } => ({ event, data })
