// Addresses for native EventSources, which can send no header: a ticket opens one stream.

import { environment, type Environment } from './environment.js'
import type { Feed, FeedEvent } from './feed.js'
import { type GetToken, problemOf } from './link.js'

export interface EventSourceUrlOptions {
  readonly url: string
  readonly getToken: GetToken
  /** The project that the feed belongs to. */
  readonly projectId: string
  readonly feed: Pick<Feed<unknown, FeedEvent>, 'path'>
  /** The last id that the page has had, to go on from there. */
  readonly since?: string | null
  readonly environment?: Pick<Environment, 'fetch'>
}

/**
 * An address that opens one stream, within a minute and without the token in it. An EventSource that reconnects repeats
 * its address, whose ticket is spent: close it on its first error and open another. (`connect` needs none of this.)
 *
 * Throws an Error that says what the service says.
 */
export async function eventSourceUrl(options: EventSourceUrlOptions): Promise<string> {
  const { getToken, projectId, feed, since = null, environment: world = environment } = options
  const url = options.url.replace(/\/+$/, '')
  const response = await world.fetch(`${url}/api/projects/${encodeURIComponent(projectId)}/stream-tickets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${(await getToken({ fresh: false })) ?? ''}` },
  })
  if (!response.ok) throw new Error((await problemOf(response)).message)
  const { ticket } = (await response.json()) as { ticket: string }
  const query = new URLSearchParams({ ticket, ...(since === null ? {} : { since }) })
  return `${url}${feed.path}${feed.path.includes('?') ? '&' : '?'}${query}`
}
