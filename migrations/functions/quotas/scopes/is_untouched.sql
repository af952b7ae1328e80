-- is_untouched: whether every quota of a scope came from a default, no administrator has set or deleted one, and
-- nothing has moved in any of its balances. A line that cost nothing leaves no trace there; idle_scopes() looks for
-- lines.
create or replace function copilot_internal.is_untouched(p_scope copilot_internal.scopes)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not exists (
    select from copilot_internal.scope_quotas(p_scope.resource_type, p_scope.tenant_id, p_scope.user_id) q
    where not q.from_default or q.deleted_at is not null
      or exists (
        select from copilot_internal.quota_periods p
        where p.quota_id = q.quota_id and (p.spent <> 0 or p.reserved <> 0 or p.opening_usd <> 0 or p.archived_usd <> 0)))
$$;
comment on function copilot_internal.is_untouched(copilot_internal.scopes) is 'Whether a scope has only quotas from defaults and nothing has moved in them.';
