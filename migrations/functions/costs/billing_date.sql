-- billing_date: the billing day of the month that begins on p_month. A billing day past the month's end means its last
-- day.
create or replace function copilot_internal.billing_date(p_month date, p_billing_day integer)
returns date
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select least(p_month + (p_billing_day - 1), (p_month + interval '1 month')::date - 1)
$$;
comment on function copilot_internal.billing_date(date, integer) is 'The billing day in the month that begins on the given date.';
