-- scope_quotas: the quotas of one scope, deleted ones too, always by an index look-up, as find_reservation().
-- p_tenant_id, p_user_id: '' for none. Inlined, as running_limit().
create or replace function copilot_internal.scope_quotas(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text
)
returns setof copilot_internal.cost_quotas
language sql stable rows 2
as $$
  select q.* from copilot_internal.cost_quotas q
  where q.resource_type operator(pg_catalog.=) p_resource_type
    and coalesce(q.tenant_id, '') operator(pg_catalog.=) p_tenant_id and coalesce(q.user_id, '') operator(pg_catalog.=) p_user_id
  offset 0
$$;
comment on function copilot_internal.scope_quotas(copilot_internal.resource_type, text, text) is 'The quotas of one scope, deleted ones too, by an index look-up.';
