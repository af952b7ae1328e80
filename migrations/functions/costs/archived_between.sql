-- archived_between: the archived months that have records of a span (p_from inclusive, p_to exclusive), as names of
-- partitions. Runs with its owner's rights: a reader of one tenant needs this too, and may see nothing else of the
-- archives.
create or replace function copilot_internal.archived_between(p_from timestamptz, p_to timestamptz)
returns setof text
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
  select a.partition from copilot_internal.cost_archives a
  where a.state in ('archived', 'deleted') and a.last_occurred_at >= p_from and a.first_occurred_at < p_to
$$;
comment on function copilot_internal.archived_between(timestamptz, timestamptz) is 'The archived months that have records of a span.';
