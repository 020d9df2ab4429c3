import { useEffect, useRef, useState } from 'react'

/** ms. Bars move smoothly between two values by themselves, and nobody reads numbers faster. */
const EVERY = 100

/** The value, but at most ten others a second: a hundred events are as many drawings of the page otherwise. */
export function useCalm<Value>(value: Value): Value {
  const [shown, setShown] = useState(value)
  const latest = useRef(value)
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const last = useRef(-EVERY)
  useEffect(() => {
    latest.current = value
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      last.current = performance.now()
      setShown(latest.current)
    }, Math.max(0, last.current + EVERY - performance.now()))
  }, [value])
  useEffect(() => () => {
    clearTimeout(timer.current)
    timer.current = undefined
  }, [])
  return shown
}
