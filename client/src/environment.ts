// What the connection asks of the world. Tests bring one of their own.

export interface Environment {
  fetch(url: string, init: RequestInit): Promise<Response>
  /** ms since the epoch; it goes on while the machine sleeps. */
  now(): number
  /** Runs `job` once after `ms`; returns what cancels it. */
  after(ms: number, job: () => void): () => void
  /** From 0 up to, not including, 1. */
  random(): number
  isOnline(): boolean
  /** Tells when the network comes or goes and when the page becomes visible; returns what ends that. */
  watch(tell: (what: 'online' | 'offline' | 'visible') => void): () => void
}

/** Longer times make setTimeout fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/** The browser's, and as much of it as there is elsewhere. */
export const environment: Environment = {
  fetch: (url, init) => fetch(url, init),
  now: () => Date.now(),
  after(ms, job) {
    const timer = setTimeout(job, Math.min(ms, LONGEST_MS))
    return () => clearTimeout(timer)
  },
  random: Math.random,
  isOnline: () => globalThis.navigator?.onLine !== false,
  watch(tell) {
    if (typeof window === 'undefined') return () => {}
    const stop = new AbortController()
    const { signal } = stop
    window.addEventListener('online', () => tell('online'), { signal })
    window.addEventListener('offline', () => tell('offline'), { signal })
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && tell('visible'), { signal })
    return () => stop.abort()
  },
}
