'use client'

import { type ReactNode, Suspense } from 'react'
import { Loading, NoAccess } from '../../parts/states'
import { Project } from '../../parts/Project'
import { useId } from '../../query'
import { Signed } from '../../session'

export default function ProjectPage(): ReactNode {
  return <Suspense fallback={<Loading what="The project" />}><Signed><Named /></Signed></Suspense>
}

function Named(): ReactNode {
  const id = useId()
  return id === null ? <NoAccess what="project" /> : <Project key={id} id={id} />
}
