import type { Metadata, Viewport } from 'next'
import type { ReactNode } from 'react'
import '@rowcast/client/styles.css'
import './globals.css'

export const metadata: Metadata = {
  title: 'rowcast',
  description: 'What happens in your projects, as it happens.',
  referrer: 'no-referrer',
}
export const viewport: Viewport = { width: 'device-width', initialScale: 1, colorScheme: 'light dark' }

export default function Layout({ children }: { readonly children: ReactNode }): ReactNode {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  )
}
