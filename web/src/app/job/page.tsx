'use client'

import { type ReactNode, Suspense } from 'react'
import { JobView } from '../../parts/JobView'
import { Page } from '../../parts/Page'
import { Loading, NoAccess } from '../../parts/states'
import { useId } from '../../query'
import { Signed } from '../../session'

export default function JobPage(): ReactNode {
  return <Suspense fallback={<Loading what="The job" />}><Signed><Named /></Signed></Suspense>
}

function Named(): ReactNode {
  const id = useId()
  const projectId = useId('project')
  return id === null || projectId === null ? <Page title="No access"><NoAccess what="job" /></Page> : <JobView key={id} id={id} projectId={projectId} />
}
