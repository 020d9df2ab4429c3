import path from 'node:path'
import type { NextConfig } from 'next'

const config: NextConfig = {
  // static files, unless a Next.js server is to run it: `next start` takes no export
  ...(process.env.ROWCAST_WEB_SERVER ? {} : { output: 'export' }),
  // what a checkout has of the client is used, which is beside this folder
  turbopack: { root: path.join(import.meta.dirname, '..') },
  // `npm run types` checks them, once and with the compiler that this folder names
  typescript: { ignoreBuildErrors: true },
  devIndicators: false,
}

export default config
