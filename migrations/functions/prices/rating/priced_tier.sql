-- priced_tier: the service tier that prices a call: the tier that the provider says it served (p_served, null if it
-- does not say), else the tier that was asked for. Batch stays batch, because answers from a batch endpoint still say
-- "standard".
-- Inlined, as running_limit(). src/domain/price.ts has the same rule.
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
