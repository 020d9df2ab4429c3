import { expect, it } from 'vitest'
import { pipelineFeed } from '../src/pipeline.js'
import { projectFeed } from '../src/project.js'
import { eventSourceUrl } from '../src/tickets.js'
import { problem, World } from './world.js'

const world = new World()
const about = { url: 'http://service/', getToken: () => 'token', projectId: 'p', environment: world }

it('an address with a ticket opens a stream where the page was', async () => {
  world.answer = ({ token, path }) => Response.json({ ticket: `${token} for ${path}`, expiresIn: 60 }, { status: 201 })
  const address = new URL(await eventSourceUrl({ ...about, feed: projectFeed({ projectId: 'p' }), since: '7' }))
  expect([address.pathname, Object.fromEntries(address.searchParams)]).toEqual([
    '/api/projects/p/status', { snapshot: '1', ticket: 'token for /api/projects/p/stream-tickets', since: '7' },
  ])
  expect(await eventSourceUrl({ ...about, feed: pipelineFeed({ jobId: 'j' }) })).toMatch(/\/progress\?ticket=/)
})

it('that is not given says why', async () => {
  world.answer = () => problem(404, 'not_found')
  await expect(eventSourceUrl({ ...about, feed: projectFeed({ projectId: 'p' }) })).rejects.toThrow('not_found.')
})
