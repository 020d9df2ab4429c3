import type { ReactNode } from 'react'

export default function NotFound(): ReactNode {
  return (
    <main className="state">
      <h1>There is no such page</h1>
      <p>The address may be old, or mistyped.</p>
      <a className="button" href="/">Your projects</a>
    </main>
  )
}
