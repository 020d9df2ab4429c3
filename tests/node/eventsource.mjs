// A page whose EventSource is a library: node eventsource.mjs <library> <url> <event name>…
// Tells on stdout what it hears, a JSON object a line: {"what": "event", "event", "data", "id" (the last one so far)},
// {"what": "retry", "delay" (ms)} when it will come back, if it tells, and {"what": "closed"} when it does not. Ends when stdin does, or when it is closed.
import { createEventSource } from 'eventsource-client'
import { EventSource } from 'eventsource'

const [library, url, ...names] = process.argv.slice(2)
const tell = (what, fields) => process.stdout.write(JSON.stringify({ what, ...fields }) + '\n')

function closed() {
  tell('closed')
  setImmediate(() => process.exit())
}

const libraries = {
  eventsource() {
    const source = new EventSource(url)
    let last = '' // which it (4.1) tells only of events that carry one themselves, though it sends it when it comes back
    const hear = ({ type, data, lastEventId }) => tell('event', { event: type, data, id: (last = lastEventId || last) })
    for (const name of ['message', ...names]) source.addEventListener(name, (event) => 'data' in event && hear(event))
    source.addEventListener('error', () => source.readyState === EventSource.CLOSED && closed())
    return source
  },
  'eventsource-client'() {
    const source = createEventSource({
      url,
      onMessage: ({ data, event }) => tell('event', { event: event ?? 'message', data, id: source.lastEventId ?? '' }),
      onScheduleReconnect: ({ delay }) => tell('retry', { delay }),
      onDisconnect: () => setImmediate(() => source.readyState === 'closed' && closed()),
    })
    return source
  },
}

const source = libraries[library]()
process.stdin.resume().on('end', () => {
  source.close()
  process.exit()
})
