import { expect, it } from 'vitest'
import { count, duration, link, percent, secondsBetween, words } from '../src/react/format.js'

it.each([
  [0, '0 s'], [0.4, '0 s'], [59.6, '1 min'], [61, '1 min 1 s'], [3600, '1 h'], [3725, '1 h 2 min'], [90_000, '1 d 1 h'], [-5, '0 s'],
])('%d s is %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text)
})

it('numbers are written for people', () => {
  expect([count(20_000), percent(42.86), percent(100), words('entities_total'), words('')]).toEqual([
    '20,000', '42.9 %', '100 %', 'Entities total', '',
  ])
})

it('only what is an address becomes a link', () => {
  expect(['https://a.example/b.pdf', 'HTTP://a', 'javascript:alert(1)', ' https://a', 7, null].map(link)).toEqual([
    'https://a.example/b.pdf', 'HTTP://a', undefined, undefined, undefined, undefined,
  ])
})

it('what is not known has no length', () => {
  expect([secondsBetween('2026-01-01T00:00:00.000Z', '2026-01-01T00:01:00.500Z'), secondsBetween(null, 'x')]).toEqual([60.5, null])
})
