-- Projects: who works on them, the documents they take in, the jobs that do the work, what the jobs propose.

-- updated_at belongs to the database: one clock, and an update that changes nothing leaves it alone.
create function rowcast.touch() returns trigger language plpgsql set search_path = '' as $$
begin
  new.updated_at := old.updated_at;
  if new is distinct from old then
    new.updated_at := now();
  end if;
  return new;
end $$;
comment on function rowcast.touch() is 'BEFORE UPDATE: sets updated_at when another column really changed.';

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null check (btrim(name) <> ''),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.organizations is 'Who projects belong to.';
comment on column public.organizations.name is 'Its name, as people read it.';

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations on delete restrict,
  name text not null check (btrim(name) <> ''),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index projects_organization_id on public.projects (organization_id);
comment on table public.projects is 'What a page shows live. Deleting one deletes all that is in it.';
comment on column public.projects.organization_id is 'The organization it belongs to, which can''t be deleted before it.';
comment on column public.projects.name is 'Its name, as people read it.';

create table public.project_members (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects on delete cascade,
  user_id uuid not null references auth.users on delete cascade,
  role text not null default 'viewer' check (role in ('owner', 'editor', 'viewer')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (project_id, user_id)
);
create index project_members_user_id on public.project_members (user_id);
comment on table public.project_members is 'Who may see a project. A membership that ends, ends the user''s streams.';
comment on column public.project_members.user_id is 'The member, a user of Supabase Auth.';
comment on column public.project_members.role is 'owner and editor may command jobs and decide on proposals; viewer may look.';

create table public.ingestion_sources (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects on delete cascade,
  source_name text not null check (btrim(source_name) <> ''),
  source_type text not null check (btrim(source_type) <> ''),
  uri text,
  status text not null default 'pending' check (status in ('pending', 'processing', 'completed', 'failed')),
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index ingestion_sources_project_id on public.ingestion_sources (project_id, created_at, id);
comment on table public.ingestion_sources is 'The documents that a project takes in.';
comment on column public.ingestion_sources.source_name is 'Its name, as people read it: a file''s name, a page''s title.';
comment on column public.ingestion_sources.source_type is 'What it is: markdown, html, pdf, ...';
comment on column public.ingestion_sources.uri is 'Where it came from.';
comment on column public.ingestion_sources.status is 'pending, processing, completed or failed.';
comment on column public.ingestion_sources.error_message is 'Why it failed.';

create table public.jobs (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects on delete cascade,
  kind text not null check (btrim(kind) <> ''),
  title text not null check (btrim(title) <> ''),
  status text not null default 'queued'
    check (status in ('queued', 'running', 'paused', 'completed', 'failed', 'stopped', 'stalled')),
  progress_stage text check (btrim(progress_stage) <> ''),
  progress_current bigint not null default 0 check (progress_current >= 0),
  progress_total bigint check (progress_total >= 0),
  progress_message text,
  progress_updated_at timestamptz,
  pipeline jsonb check (jsonb_typeof(pipeline) = 'object'),
  source_id uuid references public.ingestion_sources on delete set null,
  bom_id uuid,
  payload jsonb,
  priority smallint not null default 5 check (priority between 1 and 9),
  attempt int not null default 1 check (attempt >= 0),
  max_attempts int not null default 3 check (max_attempts >= 1),
  started_at timestamptz,
  finished_at timestamptz,
  heartbeat_at timestamptz,
  lease_until timestamptz,
  cancel_requested_at timestamptz,
  error_message text,
  created_by uuid references auth.users on delete set null,
  staff boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index jobs_project_id on public.jobs (project_id, created_at, id);
create index jobs_source_id on public.jobs (source_id);
create index jobs_created_by on public.jobs (created_by);
create index jobs_queue on public.jobs (kind, priority desc, created_at) where status = 'queued';
create index jobs_lease_until on public.jobs (lease_until) where status = 'running';
comment on table public.jobs is 'Work done for a project by a worker, with its progress.';
comment on column public.jobs.kind is 'What is done: ingest, enrich, or a name of your own.';
comment on column public.jobs.title is 'What is done, as people read it.';
comment on column public.jobs.status is 'queued, running, paused, completed, failed, stopped, or stalled (its worker''s lease ran out).';
comment on column public.jobs.progress_stage is 'The stage it is in; "complete" once it has succeeded.';
comment on column public.jobs.progress_current is 'Things done in this stage.';
comment on column public.jobs.progress_total is 'Things to do in this stage; null when unknown.';
comment on column public.jobs.progress_message is 'What is being done just now, as people read it.';
comment on column public.jobs.progress_updated_at is 'When progress last changed; null while there is none. Set by the database.';
comment on column public.jobs.pipeline is 'The pipeline progress object (stages, worker pool, metrics), written by the worker SDK.';
comment on column public.jobs.source_id is 'The document it works on, if it is one.';
comment on column public.jobs.bom_id is 'The bill of materials it works on, if it is one.';
comment on column public.jobs.payload is 'What a queued job is asked to do. No secrets. Not shown to members, not in the change log.';
comment on column public.jobs.priority is '1 to 9; 9 goes first.';
comment on column public.jobs.attempt is 'How often it has been tried, this time included.';
comment on column public.jobs.max_attempts is 'How often it may be tried.';
comment on column public.jobs.started_at is 'When it first ran. Set by the database.';
comment on column public.jobs.finished_at is 'When it was completed, failed or stopped. Set by the database.';
comment on column public.jobs.heartbeat_at is 'When its worker was last heard of. Not in the change log.';
comment on column public.jobs.lease_until is 'Until when its worker is taken to be alive. Not in the change log.';
comment on column public.jobs.cancel_requested_at is 'When someone asked it to stop; its worker sees it at its next heartbeat.';
comment on column public.jobs.error_message is 'Why it failed.';
comment on column public.jobs.created_by is 'The user who asked for it, if one did.';
comment on column public.jobs.staff is 'Works on a staff BOM: not shown to members. Set by the database from the BOM.';

create table public.proposed_nodes (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects on delete cascade,
  job_id uuid references public.jobs on delete set null,
  source_id uuid references public.ingestion_sources on delete set null,
  title text not null check (btrim(title) <> ''),
  body text,
  confidence double precision check (confidence between 0 and 1),
  status text not null default 'proposed' check (status in ('proposed', 'accepted', 'rejected')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index proposed_nodes_project_id on public.proposed_nodes (project_id, created_at, id);
create index proposed_nodes_job_id on public.proposed_nodes (job_id);
create index proposed_nodes_source_id on public.proposed_nodes (source_id);
comment on table public.proposed_nodes is 'What jobs propose and people accept or reject.';
comment on column public.proposed_nodes.job_id is 'The job that proposed it.';
comment on column public.proposed_nodes.source_id is 'The document it was found in.';
comment on column public.proposed_nodes.title is 'What is proposed, in a line.';
comment on column public.proposed_nodes.body is 'What is proposed, at length.';
comment on column public.proposed_nodes.confidence is '0 to 1.';
comment on column public.proposed_nodes.status is 'proposed, accepted or rejected.';

-- A job's times. A heartbeat, or another payload, is no change of the job that anyone is told of.
create function rowcast.job_times() returns trigger language plpgsql set search_path = '' as $$
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
    end if;
    if progressed or rest is distinct from old then
      new.updated_at := now();
    end if;
  end if;
  return new;
end $$;
comment on function rowcast.job_times() is
  'BEFORE INSERT OR UPDATE of jobs: progress_updated_at, started_at, finished_at and updated_at by the database''s clock.';

create trigger touch before update on public.organizations for each row execute function rowcast.touch();
create trigger touch before update on public.projects for each row execute function rowcast.touch();
create trigger touch before update on public.project_members for each row execute function rowcast.touch();
create trigger touch before update on public.ingestion_sources for each row execute function rowcast.touch();
create trigger touch before update on public.proposed_nodes for each row execute function rowcast.touch();
create trigger times before insert or update on public.jobs for each row execute function rowcast.job_times();

create function public.job_heartbeat(job_id uuid, lease_seconds int default 60)
returns json language plpgsql security definer set search_path = '' as $$
declare told json;
begin
  if job_id is null then
    raise exception 'job_id: must not be NULL' using errcode = 'null_value_not_allowed';
  elsif lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise exception 'lease_seconds: must be 1 to 3600, not %', coalesce(lease_seconds::text, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
  update public.jobs j
    set heartbeat_at = now(), lease_until = now() + make_interval(secs => lease_seconds)
    where j.id = job_heartbeat.job_id
    returning json_build_object('status', j.status, 'cancel_requested', j.cancel_requested_at is not null) into told;
  if told is null then
    raise exception 'there is no job %', job_id using errcode = 'PT404',  -- PostgREST answers 404 to it, not 500
      hint = 'It was deleted, or its project was. Its worker should stop.';
  end if;
  return told;
end $$;
comment on function public.job_heartbeat(uuid, int) is
  'A worker says that it is alive and holds its job for lease_seconds more; {status, cancel_requested} tells it whether to go on.';

create table public.stream_tickets (
  token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
  user_id uuid not null references auth.users on delete cascade,
  project_ids uuid[] not null check (cardinality(project_ids) between 1 and 20 and array_position(project_ids, null) is null),
  expires_at timestamptz not null,
  token_exp timestamptz not null,
  created_at timestamptz not null default now()
);
create index stream_tickets_user_id on public.stream_tickets (user_id);
create index stream_tickets_expires_at on public.stream_tickets (expires_at);
comment on table public.stream_tickets is 'Single-use tickets that open a stream; redeemed by delete ... returning. For the service alone.';
comment on column public.stream_tickets.token_hash is 'sha256 of the ticket, in hex; the ticket itself is stored nowhere.';
comment on column public.stream_tickets.user_id is 'Who it lets in.';
comment on column public.stream_tickets.expires_at is 'Until when it can be redeemed.';
comment on column public.stream_tickets.project_ids is 'The projects that it opens, whose access was asked when it was issued.';
comment on column public.stream_tickets.token_exp is 'When the access token that it was issued for expires; the stream ends then.';
