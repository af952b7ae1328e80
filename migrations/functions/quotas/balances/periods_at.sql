-- periods_at: the open balances of a quota whose period contains a moment. There may be two, if the quota has changed
-- its time zone.
-- The look-up begins only a little before the moment: no period is longer than the spans given here, however clocks
-- change. Otherwise it would read a quota's whole past. Inlined, as running_limit().
create or replace function copilot_internal.periods_at(p_quota_id bigint, p_period text, p_at timestamptz)
returns setof copilot_internal.quota_periods
language sql stable rows 1
as $$
  select p.* from copilot_internal.quota_periods p
  where p.quota_id operator(pg_catalog.=) p_quota_id and p.closed_at is null
    and p.starts_at operator(pg_catalog.<=) p_at and p.ends_at operator(pg_catalog.>) p_at
    and p.starts_at operator(pg_catalog.>=) case
      when pg_catalog.texteq(p_period, 'hour') then p_at operator(pg_catalog.-) interval '2 hours'
      when pg_catalog.texteq(p_period, 'day') then p_at operator(pg_catalog.-) interval '3 days'
      when pg_catalog.texteq(p_period, 'week') then p_at operator(pg_catalog.-) interval '10 days'
      when pg_catalog.texteq(p_period, 'month') then p_at operator(pg_catalog.-) interval '35 days'
      else '-infinity' end
  offset 0
$$;
comment on function copilot_internal.periods_at(bigint, text, timestamptz) is 'The open balances of a quota whose period contains a moment.';
