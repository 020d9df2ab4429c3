-- Supabase Lite serves as a role of its own, made anew before each start: a member of the API's roles and the owner of
-- Auth's tables. As the superuser it would, at its first request, grant anon and authenticated everything on every
-- table, and undo what the migrations revoked.
do $$
declare it record;
begin
  if not exists (select from pg_roles where rolname = 'supabase_lite') then
    create role supabase_lite login inherit;
  end if;
  grant anon, authenticated, service_role to supabase_lite;
  execute format('grant create on database %I to supabase_lite', current_database());
  for it in
    select format('schema %I', n.nspname) as name from pg_namespace n where n.nspname in ('auth', 'supabase_migrations')
    union all
    select format('table %s', c.oid::regclass) from pg_class c
    where c.relnamespace::regnamespace::text in ('auth', 'supabase_migrations') and c.relkind in ('r', 'S', 'v')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
    union all
    select format('function %s', p.oid::regprocedure) from pg_proc p where p.pronamespace::regnamespace::text = 'auth'
  loop
    execute format('alter %s owner to supabase_lite', it.name);
  end loop;
end $$;
