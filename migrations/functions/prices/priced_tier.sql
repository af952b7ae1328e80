-- priced_tier: the service tier that prices a call: the one that its provider says it served (p_served, null where it says nothing),
-- else the one that was asked for. Batch stays batch: a batch endpoint still answers "standard".
-- It has no search_path of its own, so that Postgres inlines it, as running_limit(). The same rule is in src/domain/price.ts.
create or replace function copilot_internal.priced_tier(p_asked text, p_served text)
returns text
language sql immutable parallel safe
as $$
  select case
    when pg_catalog.texteq(p_asked, 'batch') and p_served operator(pg_catalog.=) any (array['standard', 'default', 'auto']) then p_asked
    else coalesce(p_served, p_asked)
  end
$$;
comment on function copilot_internal.priced_tier(text, text) is 'The service tier that prices a call: what was served, but batch stays batch.';
