-- 0008 price edition: a number that grows with every change of prices or aliases. What was cached before a change says
-- so by its smaller number, in whatever order the news, the reading and the storing of it arrive.
create table copilot_internal.price_edition (
  only_row boolean primary key default true,
  edition bigint not null,
  constraint price_edition_one_row check (only_row)
);
comment on table copilot_internal.price_edition is
  'How often prices have changed: raised in the transaction of every change, so that a cached price knows that it is old.';
insert into copilot_internal.price_edition (edition) values (1);

do $$
begin
  if (select count(*) from copilot_internal.price_edition) <> 1 then
    raise exception 'migration 0008 did not make its one row';
  end if;
end $$;
