-- next_booking: the first moment from p_from on, which lies in the future, at which a scope (null: any) has booked a
-- cost; null if there is none. Such a cost is booked at its occurred_at, and is looked up by it: few records lie in the
-- future.
-- The statement is planned for the actual values, as in opening_costs().
create or replace function copilot_internal.next_booking(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_from timestamptz
)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  execute format(
    'select min(c.booked_at) from copilot_internal.%I c
     where c.occurred_at >= $1 and c.booked_at >= $1 and c.recorded_at >= $2
       and ($3 is null or c.tenant_id = $3) and ($4 is null or c.user_id = $4)', p_resource_type || '_cost_records')
    into v_at
    -- A record is booked at most five minutes ahead of its recording, so earlier partitions are not read.
    using p_from, p_from - interval '5 minutes', p_tenant_id, p_user_id;
  return v_at;
end $$;
comment on function copilot_internal.next_booking(copilot_internal.resource_type, text, text, timestamptz) is 'The first cost of a scope that is booked at or after a moment.';
