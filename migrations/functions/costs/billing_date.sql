-- billing_date: the billing day in a month that is given by its first day; past the month's end it is the last day.
create or replace function copilot_internal.billing_date(p_month date, p_billing_day integer)
returns date
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select least(p_month + (p_billing_day - 1), (p_month + interval '1 month')::date - 1)
$$;
comment on function copilot_internal.billing_date(date, integer) is 'The billing day in the month that begins on the given date.';
