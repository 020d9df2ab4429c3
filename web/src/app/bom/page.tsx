'use client'

import { type ReactNode, Suspense } from 'react'
import { Bom } from '../../parts/Bom'
import { Page } from '../../parts/Page'
import { Loading, NoAccess } from '../../parts/states'
import { useId } from '../../query'
import { Signed } from '../../session'

export default function BomPage(): ReactNode {
  return <Suspense fallback={<Loading what="The bill of materials" />}><Signed><Named /></Signed></Suspense>
}

function Named(): ReactNode {
  const id = useId()
  return id === null ? <Page title="No access"><NoAccess what="bill of materials" /></Page> : <Bom key={id} id={id} />
}
