import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Frame, SseParser } from '../src/sse.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const parse = (text: string): Frame[] => new SseParser().push(bytes(text))

function inPieces(all: Uint8Array, cuts: readonly number[]): Frame[] {
  const parser = new SseParser()
  const at = [...new Set([0, ...cuts.map((cut) => cut % (all.length + 1)), all.length])].sort((a, b) => a - b)
  return at.flatMap((from, index) => parser.push(all.subarray(from, at[index + 1] ?? from)))
}

describe('the format', () => {
  it.each<[string, string, Frame[]]>([
    ['an unnamed event', 'data: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['a name and an id', 'event: e\nid: 7\ndata: a\n\n', [{ event: 'e', data: 'a', id: '7' }]],
    ['several lines of data', 'data: a\ndata\ndata: b\n\n', [{ event: 'message', data: 'a\n\nb', id: null }]],
    ['one space is taken off, no more', 'data:  a\n\ndata:b\n\n', [
      { event: 'message', data: ' a', id: null }, { event: 'message', data: 'b', id: null },
    ]],
    ['a byte order mark', '\uFEFFdata: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['only one of them', '\uFEFF\uFEFFdata: a\n\n', []],
    ['comments', ': keepalive\n\n:\ndata: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['an id without data', ': keepalive\nid: 9\n\n', [{ event: 'message', data: null, id: '9' }]],
    ['an id that is taken back', 'id\n\n', [{ event: 'message', data: null, id: '' }]],
    ['an id with NUL', 'id: 1\0\ndata: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['a name without data', 'event: e\n\ndata: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['empty data', 'data\n\n', [{ event: 'message', data: '', id: null }]],
    ['a field nobody knows', 'Data: x\n data: x\ndata: a\n\n', [{ event: 'message', data: 'a', id: null }]],
    ['what has no end', 'data: a\n\ndata: b\n', [{ event: 'message', data: 'a', id: null }]],
    ['carriage returns', 'data: a\r\rdata: b\r\n\r\ndata: c\n\r\n', [
      { event: 'message', data: 'a', id: null }, { event: 'message', data: 'b', id: null },
      { event: 'message', data: 'c', id: null },
    ]],
  ])('%s', (_, text, frames) => {
    expect(parse(text)).toEqual(frames)
  })

  it.each<[string, number | null]>([
    ['retry: 1500\n', 1500], ['retry: 0\n', 0], ['retry: 1.5\n', null], ['retry: -1\n', null], ['retry\n', null],
  ])('%j asks to wait %s ms', (text, retry) => {
    const parser = new SseParser()
    parser.push(bytes(text))
    expect(parser.retry).toBe(retry)
  })
})

const line = fc.stringMatching(/^[^\r\n\0]*$/)
const event = fc.record({ data: fc.array(line, { minLength: 1 }), id: fc.option(line), name: fc.option(line) })
const endOfLine = fc.constantFrom('\n', '\r', '\r\n')

describe('however a stream is cut', () => {
  it('its events are the same', () => {
    fc.assert(
      fc.property(fc.array(event), fc.infiniteStream(endOfLine), fc.array(fc.nat()), (events, ends, cuts) => {
        const end = (): string => ends.next().value as string
        const text = events
          .map(({ data, id, name }) => {
            const fields = [name === null ? '' : `event: ${name}`, ...data.map((each) => `data: ${each}`), id === null ? '' : `id: ${id}`]
            // one kind of line end an event: "\r" and then "\n" would be one end, not two
            const ending = end()
            return fields.filter(Boolean).map((field) => field + ending).join('') + ending + ': between\n'
          })
          .join('')
        const frames = inPieces(bytes(text), cuts)
        expect(frames).toEqual(events.map(({ data, id, name }) => ({ event: name || 'message', data: data.join('\n'), id })))
      }),
    )
  })

  it('any text at all is read the same', () => {
    const noise = fc.string({ unit: fc.constantFrom('\r', '\n', ':', ' ', 'd', 'data', 'id', 'é', '“', '𝄞', '\0') })
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (text, cuts) => {
        expect(inPieces(bytes(text), cuts)).toEqual(parse(text))
      }),
    )
  })
})
