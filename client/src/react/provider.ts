'use client'

import { createContext, createElement, type ReactNode, useContext, useEffect, useRef, useState } from 'react'
import { Client, type ClientOptions } from './client.js'

const Context = createContext<Client | null>(null)
let configured: Client | null = null

/** Says once where the service is, for pages without a {@link RowcastProvider}. */
export function configure(options: ClientOptions): void {
  configured = new Client(options)
}

export interface RowcastProviderProps extends ClientOptions {
  readonly children?: ReactNode | undefined
}

/** Says where the service is, to all components below. `getToken` may be another function at each render. */
export function RowcastProvider({ children, ...options }: RowcastProviderProps): ReactNode {
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const [clients] = useState(() => new Map<string, Client>())
  let client = clients.get(options.url)
  if (!client) {
    client = new Client({ ...options, getToken: (ask) => latest.current.getToken(ask) })
    clients.set(options.url, client)
  }
  return createElement(Context.Provider, { value: client }, children)
}

export function useClient(): Client {
  const client = useContext(Context) ?? configured
  if (!client) throw new Error('rowcast: no service. Put <RowcastProvider url=… getToken=…> above, or call configure().')
  return client
}
