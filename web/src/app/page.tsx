'use client'

import Link from 'next/link'
import type { ReactNode } from 'react'
import { Page } from '../parts/Page'
import { Empty, Failure, Loading } from '../parts/states'
import { projects, useRead } from '../rows'
import { Signed, useSession } from '../session'

export default function Projects(): ReactNode {
  return <Signed><List /></Signed>
}

function List(): ReactNode {
  const { supabase, session } = useSession()
  const { row: found, error, again } = useRead('projects', () => projects(supabase))
  return (
    <Page title="Projects">
      {found ? null : error === null ? <Loading what="Your projects" /> : (
        <Failure title="Your projects can’t be read" action="Try again" onAction={again}>{error}</Failure>
      )}
      {found?.length === 0 ? (
        <Empty title="You are in no project yet">Ask an owner to add {session.user.email}. It shows here once you are a member.</Empty>
      ) : null}
      <ul className="cards">
        {found?.map(({ id, name, organizations, project_members: members }) => (
          <li key={id}>
            <Link href={`/project?id=${id}`}>
              <b>{name}</b>
              <span className="muted">{organizations?.name}</span>
              <span className="muted">
                {members.length} {members.length === 1 ? 'member' : 'members'}; you are {members.find((each) => each.user_id === session.user.id)?.role}
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </Page>
  )
}
