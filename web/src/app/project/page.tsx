'use client'

import { type ReactNode, Suspense } from 'react'
import { Page } from '../../parts/Page'
import { Project } from '../../parts/Project'
import { Loading, NoAccess } from '../../parts/states'
import { useId } from '../../query'
import { Signed } from '../../session'

export default function ProjectPage(): ReactNode {
  return <Suspense fallback={<Loading what="The project" />}><Signed><Named /></Signed></Suspense>
}

function Named(): ReactNode {
  const id = useId()
  return id === null ? <Page title="No access"><NoAccess what="project" /></Page> : <Project key={id} id={id} />
}
