// A page made with the built client, which a test lets loose on the service. Arguments: the client's entry, the service's
// address, a token, a feed as JSON. Commands come in on stdin and what it knows goes out on stdout, a JSON object a line:
// {"do": "cut"} breaks its stream, {"do": "block", "what"} fails requests whose address has `what` in it, "" lets all pass;
// {"events": [names], "status", "data"} after each change.
import { createInterface } from 'node:readline'

const [entry, url, token, wanted] = process.argv.slice(2)
const { connect, environment, ...feeds } = await import(entry)
const { kind, ...options } = JSON.parse(wanted)

let blocked = null
const streams = new Set()
const world = {
  ...environment,
  async fetch(address, init) {
    if (blocked !== null && address.includes(blocked)) throw new TypeError('blocked')
    const cut = new AbortController()
    streams.add(cut)
    return environment.fetch(address, { ...init, signal: AbortSignal.any([init.signal, cut.signal]) })
  },
}

const connection = connect({
  url, getToken: () => token, feed: feeds[kind](options), environment: world, pollAfter: 1, pollInterval: 50, longestWait: 50,
})
const plain = (_, value) => (value instanceof Map ? [...value.values()] : value)
const tell = (events) => {
  const { status, data, error } = connection.getSnapshot()
  process.stdout.write(JSON.stringify({ events, status, error, data }, plain) + '\n')
}
connection.onEvents((events) => tell(events.map(({ event, data }) => ({ event, id: data.event_id }))))
connection.subscribe(() => tell([]))

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.do === 'block') blocked = command.what || null
  for (const each of streams) each.abort()
  streams.clear()
}
connection.close()
