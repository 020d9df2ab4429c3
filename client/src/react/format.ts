// Numbers and times for people, in English. Pure.

const UNITS: readonly (readonly [number, string])[] = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]

/** A duration in s by its two largest units: "2 h 5 min". */
export function duration(seconds: number): string {
  let left = Math.max(0, Math.round(seconds))
  const first = UNITS.findIndex(([size]) => left >= size)
  if (first < 0) return '0 s'
  const parts: string[] = []
  for (const [size, name] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(left / size)
    left -= count * size
    if (count > 0) parts.push(`${count} ${name}`)
  }
  return parts.join(' ')
}

export const count = (value: number): string => value.toLocaleString('en')
export const percent = (value: number): string => `${Number(value.toFixed(1))} %`

/** "entities_total" as a person would write it. */
export function words(name: string): string {
  const text = name.replace(/[_-]+/g, ' ').trim()
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** The address if it is one that a page may link to: what comes from data may be anything. */
export function link(address: unknown): string | undefined {
  return typeof address === 'string' && /^https?:\/\//i.test(address) ? address : undefined
}

/** s from one moment to another, null where one is not known. */
export function secondsBetween(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000)
}
