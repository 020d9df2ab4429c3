-- What workers write of a job for themselves: checkpoints, for the next attempt, and the numbers of their progress writes.

alter table public.jobs
  add column checkpoint jsonb constraint jobs_checkpoint_size check (octet_length(checkpoint::text) <= 262144),
  add column progress_number bigint not null default 0;
comment on column public.jobs.checkpoint is
  'What its worker left for the next attempt, at most 256 KiB. For workers alone: not shown to members, not in the change log.';
comment on column public.jobs.progress_number is
  'The number of its worker''s newest write of progress, which writes only above it: one that comes late changes nothing. A claim begins above all numbers of the one before. For workers alone: not shown to members, not in the change log.';

-- They are nobody's news: not logged, not told, and no change of the job.
select rowcast.untrack('public.jobs');
select rowcast.track('public.jobs', feed => 'project', key_column => 'project_id',
  except_columns => '{heartbeat_at,lease_until,payload,checkpoint,progress_number}');

create or replace function public.project_snapshot(project_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('project', project_snapshot.project_id),
    'rows', json_build_object(
      'ingestion_sources', (
        select coalesce(json_agg(to_jsonb(s) order by s.created_at, s.id), '[]')
        from public.ingestion_sources s where s.project_id = project_snapshot.project_id),
      'jobs', (
        select coalesce(json_agg(to_jsonb(j) - '{heartbeat_at,lease_until,payload,checkpoint,progress_number}'::text[] order by j.created_at, j.id), '[]')
        from public.jobs j where j.project_id = project_snapshot.project_id),
      'proposed_nodes', (
        select coalesce(json_agg(to_jsonb(n) order by n.created_at, n.id), '[]')
        from public.proposed_nodes n where n.project_id = project_snapshot.project_id)))
$$;

create or replace function rowcast.job_times() returns trigger language plpgsql set search_path = '' as $$
declare progressed boolean; rest public.jobs;
begin
  if tg_op = 'INSERT' then
    progressed := new.progress_stage is not null or new.progress_current <> 0
      or new.progress_total is not null or new.progress_message is not null;
    if progressed and new.progress_updated_at is null then
      new.progress_updated_at := now();
    end if;
  else
    progressed := new.progress_current <> old.progress_current or new.progress_stage is distinct from old.progress_stage
      or new.progress_total is distinct from old.progress_total or new.progress_message is distinct from old.progress_message;
    if progressed and new.progress_updated_at is not distinct from old.progress_updated_at then
      new.progress_updated_at := now();
    end if;
  end if;
  if new.status = 'running' and new.started_at is null then
    new.started_at := now();
  end if;
  if new.status not in ('completed', 'failed', 'stopped') then
    new.finished_at := null;
  elsif tg_op = 'INSERT' or new.status <> old.status then
    new.finished_at := now();
  elsif new.finished_at is null then
    new.finished_at := old.finished_at;
  end if;
  if tg_op = 'UPDATE' then
    new.updated_at := old.updated_at;
    if not progressed then  -- else the answer is known, and comparing whole rows is what costs here
      rest := new;
      rest.heartbeat_at := old.heartbeat_at;
      rest.lease_until := old.lease_until;
      rest.payload := old.payload;
      rest.checkpoint := old.checkpoint;
      rest.progress_number := old.progress_number;
    end if;
    if progressed or rest is distinct from old then
      new.updated_at := now();
    end if;
  end if;
  return new;
end $$;
