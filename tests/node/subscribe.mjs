// Lets @supabase/supabase-js loose on a server. Commands come in on stdin and events go out on stdout, a JSON object
// a line: {"do": "join", "topic", "binding"}, {"do": "auth", "token"}, {"do": "leave", "topic"};
// {"what": "status", "topic", "status"}, {"what": "system", "topic", "payload"}, {"what": "change", "topic", "payload"}.
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'

const [url, key, vsn] = process.argv.slice(2)
const client = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket, vsn, heartbeatIntervalMs: 200 },
})
const channels = new Map()
const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

client.realtime.onHeartbeat((status) => tell({ what: 'heartbeat', status }))

const commands = {
  join({ topic, binding }) {
    const channel = client
      .channel(topic)
      .on('system', {}, (payload) => tell({ what: 'system', topic, payload }))
      .on('postgres_changes', binding, (payload) => tell({ what: 'change', topic, payload }))
      .subscribe((status) => tell({ what: 'status', topic, status }))
    channels.set(topic, channel)
  },
  async auth({ token }) {
    await client.realtime.setAuth(token)
  },
  async leave({ topic }) {
    tell({ what: 'left', topic, status: await client.removeChannel(channels.get(topic)) })
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  await commands[command.do](command)
}
await client.removeAllChannels()
process.exit(0)
