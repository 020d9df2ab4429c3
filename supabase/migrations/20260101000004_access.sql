-- Who may do what. Nobody but the service role writes; members read their projects; the change log, tickets and
-- configuration are the service's alone.
--
-- Supabase's default privileges grant anon, authenticated and service_role everything on a new table or function, so
-- all is revoked by name first; what follows is the whole of what is granted.

revoke all on
  public.organizations, public.projects, public.project_members, public.ingestion_sources, public.jobs,
  public.proposed_nodes, public.boms, public.bom_line_items, public.enrichment_events, public.enrichment_config,
  public.feed_changes, public.stream_tickets
from public, anon, authenticated, service_role;

grant select, insert, update, delete on
  public.organizations, public.projects, public.project_members, public.ingestion_sources, public.jobs,
  public.proposed_nodes, public.boms, public.bom_line_items, public.enrichment_config, public.stream_tickets
to service_role;
grant select, insert on public.enrichment_events to service_role;
grant select on public.feed_changes to service_role;

grant select on
  public.organizations, public.projects, public.project_members, public.ingestion_sources,
  public.proposed_nodes, public.boms, public.bom_line_items, public.enrichment_events
to authenticated;
-- All of a job but its payload. (So a page names its columns: `select *` is refused.)
grant select (
  id, project_id, kind, title, status, progress_stage, progress_current, progress_total, progress_message,
  progress_updated_at, pipeline, source_id, bom_id, priority, attempt, max_attempts, started_at, finished_at,
  heartbeat_at, lease_until, cancel_requested_at, error_message, created_by, staff, created_at, updated_at
) on public.jobs to authenticated;

-- SECURITY DEFINER, or the policy on project_members would ask itself.
create function public.is_member(project_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.project_members m
    where m.project_id = is_member.project_id and m.user_id = (select auth.uid()))
$$;
comment on function public.is_member(uuid) is 'Whether the signed-in user is a member of the project.';

revoke all on all functions in schema rowcast from public;
revoke all on function
  public.feed_since(text, uuid, bigint, int), public.feed_heads(text, uuid[]),
  public.prune_feed_changes(interval, int), public.job_heartbeat(uuid, int), public.is_member(uuid)
from public, anon, authenticated, service_role;
grant execute on function
  public.feed_since(text, uuid, bigint, int), public.feed_heads(text, uuid[]),
  public.prune_feed_changes(interval, int), public.job_heartbeat(uuid, int)
to service_role;
grant execute on function public.is_member(uuid) to authenticated, service_role;

alter table public.organizations enable row level security;
alter table public.projects enable row level security;
alter table public.project_members enable row level security;
alter table public.ingestion_sources enable row level security;
alter table public.jobs enable row level security;
alter table public.proposed_nodes enable row level security;
alter table public.boms enable row level security;
alter table public.bom_line_items enable row level security;
alter table public.enrichment_events enable row level security;
alter table public.enrichment_config enable row level security;
alter table public.feed_changes enable row level security;
alter table public.stream_tickets enable row level security;

create policy "members read" on public.projects for select to authenticated using (public.is_member(id));
create policy "members read" on public.organizations for select to authenticated
  using (exists (select from public.projects p where p.organization_id = organizations.id));
create policy "members read" on public.project_members for select to authenticated using (public.is_member(project_id));
create policy "members read" on public.ingestion_sources for select to authenticated using (public.is_member(project_id));
create policy "members read" on public.jobs for select to authenticated using (not staff and public.is_member(project_id));
create policy "members read" on public.proposed_nodes for select to authenticated using (public.is_member(project_id));
create policy "members read" on public.boms for select to authenticated
  using (source <> 'staff' and public.is_member(project_id));
-- Whoever sees a BOM sees its items and events.
create policy "members read" on public.bom_line_items for select to authenticated
  using (exists (select from public.boms b where b.id = bom_id));
create policy "members read" on public.enrichment_events for select to authenticated
  using (exists (select from public.boms b where b.id = bom_id));
