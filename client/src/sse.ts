// Server-Sent Events out of bytes, as WHATWG HTML 9.2.6 says. Pure: no network, no timers.

export interface Frame {
  /** The event's name; `message` where it has none. */
  readonly event: string
  /** null: an event without data, which is told to nobody but may move the last event id. */
  readonly data: string | null
  /** The last event id, if this event sets it. */
  readonly id: string | null
}

const END_OF_LINE = /\r\n|\r|\n/g

export class SseParser {
  /** What the server last asked for as reconnection time, in ms; null before it has. */
  retry: number | null = null
  readonly #decoder = new TextDecoder() // takes a BOM off the start, and keeps characters that chunks cut
  #begun: string[] = [] // a line whose end has not come
  #afterCr = false
  #event = ''
  #data: string[] = []
  #id: string | null = null

  /** The events that end in this chunk. What has no end yet waits for the next, and dies with the stream. */
  push(chunk: Uint8Array): Frame[] {
    let text = this.#decoder.decode(chunk, { stream: true })
    if (text === '') return []
    if (this.#afterCr && text[0] === '\n') text = text.slice(1)
    this.#afterCr = text.endsWith('\r')
    const frames: Frame[] = []
    let from = 0
    for (const end of text.matchAll(END_OF_LINE)) {
      this.#begun.push(text.slice(from, end.index))
      const line = this.#begun.join('')
      this.#begun = []
      if (line === '') this.#dispatch(frames)
      else this.#field(line)
      from = end.index + end[0].length
    }
    if (from < text.length) this.#begun.push(text.slice(from))
    return frames
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'data') this.#data.push(value)
    else if (name === 'event') this.#event = value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
    else if (name === 'retry' && /^[0-9]+$/.test(value)) this.retry = Number(value)
  }

  #dispatch(frames: Frame[]): void {
    const data = this.#data.length ? this.#data.join('\n') : null
    if (data !== null || this.#id !== null) frames.push({ event: this.#event || 'message', data, id: this.#id })
    this.#event = ''
    this.#data = []
    this.#id = null
  }
}
